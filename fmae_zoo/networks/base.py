"""What networks have in common."""

from typing import TYPE_CHECKING, ClassVar, Self

from fmae_zoo.component import Affine, Component, Shape
from fmae_zoo.types import Tensor

if TYPE_CHECKING:
    from fmae_zoo.layers.initial import Seeds


class NetworkComponent(Component):
    """Base of all networks: from images to features, and from codes to images.

    A subclass has a `type`, and overrides what differs. Its layers come from `layers.family()`,
    have names, and are float32 where they give a code or logits.
    """

    suits_xla: ClassVar[bool] = False
    """Whether TensorFlow on a CPU trains it faster when XLA compiles the step."""

    hidden: ClassVar[float] = 0.0
    """What a pixel that is hidden by a mask is at the input."""

    type: str

    @property
    def affine(self) -> Affine | None:
        """What is an affine map of the code, where features are the pixels; None of most."""
        return None

    @property
    def hidden_patch(self) -> int:
        """Height and width, in pixels, of what is hidden as a whole; 1 where pixels are."""
        return 1

    def check(self, shape: Shape) -> None:
        """Refuse images of a shape that the network cannot take.

        Raises:
            ValueError: it cannot; the message says which it can.
        """

    def for_shape(self, shape: Shape) -> Self:
        """Return the network for images of another shape: the same, where nothing depends on it."""
        return self

    def features_size(self, shape: Shape) -> int:
        """Return the number of values in the features of an image."""
        raise NotImplementedError

    def parameters(self, latent_size: int, shape: Shape) -> int:
        """Return the number of weights in all kernels, both of the latent's sides included."""
        raise NotImplementedError

    def encode(self, image: Tensor, seeds: "Seeds") -> Tensor:
        """Connect an image tensor `(n, height, width, channels)` to a layer `features`."""
        raise NotImplementedError

    def decode(self, code: Tensor, shape: Shape, seeds: "Seeds") -> Tensor:
        """Connect a code `(n, d)` to image logits `(n, height, width, channels)`, float32."""
        raise NotImplementedError
