"""The base class of all networks."""

from typing import TYPE_CHECKING, ClassVar, Self

from fmae_zoo.component import Affine, Component, Shape
from fmae_zoo.types import Tensor

if TYPE_CHECKING:
    from fmae_zoo.layers.initial import Seeds


class NetworkComponent(Component):
    """Base of all networks, which map images to features and codes to images.

    A subclass sets `type` and overrides the methods that differ. Its layers come from
    `layers.family()` and have names; a layer that outputs a code or logits is float32.
    """

    suits_xla: ClassVar[bool] = False
    """True if TensorFlow on a CPU trains the network faster with a step compiled by XLA."""

    hidden: ClassVar[float] = 0.0
    """Input value of a pixel that a mask hides."""

    type: str

    @property
    def affine(self) -> Affine | None:
        """The decoder output that is an affine map of the code; None for most networks.

        Only networks whose features are the pixels have one.
        """
        return None

    @property
    def hidden_patch(self) -> int:
        """Side in pixels of the smallest patch that can be hidden; 1 for single pixels."""
        return 1

    def check(self, shape: Shape) -> None:
        """Check that the network can take images of a shape.

        Raises:
            ValueError: The network cannot take the shape; the message says which shapes it can.
        """

    def for_shape(self, shape: Shape) -> Self:
        """Return the network adapted to another image shape; itself if nothing depends on it."""
        return self

    def features_size(self, shape: Shape) -> int:
        """Return the number of values in the features of one image."""
        raise NotImplementedError

    def parameters(self, latent_size: int, shape: Shape) -> int:
        """Return the number of weights in all kernels, including those around the latent."""
        raise NotImplementedError

    def encode(self, image: Tensor, seeds: "Seeds") -> Tensor:
        """Connect an image `(n, height, width, channels)` to a layer named `features`."""
        raise NotImplementedError

    def decode(self, code: Tensor, shape: Shape, seeds: "Seeds") -> Tensor:
        """Connect a code `(n, d)` to image logits `(n, height, width, channels)`, float32."""
        raise NotImplementedError
