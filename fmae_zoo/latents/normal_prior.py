"""A bottleneck without noise, for objectives that make its codes standard normal."""

from typing import TYPE_CHECKING, ClassVar, Literal

from fmae_zoo.latents.base import LatentComponent
from fmae_zoo.latents.deterministic import projected
from fmae_zoo.types import Tensor

if TYPE_CHECKING:
    from fmae_zoo.layers.initial import Seeds


class NormalPriorLatent(LatentComponent):
    """A linear bottleneck of `size` values with a standard normal prior.

    The posterior is a single point, so there is no KL. Instead an objective compares the codes of
    a batch with draws of the prior, as in adversarial autoencoders (Makhzani et al. 2015,
    arXiv 1511.05644).
    """

    gives: ClassVar[frozenset[str]] = frozenset({"mean", "prior"})

    type: Literal["normal_prior"]

    @property
    def noise_size(self) -> int:
        """Number of noise values per code: `size`, as the prior's codes are the noise itself."""
        return self.size

    def parameters(self, features: Tensor, seeds: "Seeds") -> dict[str, Tensor]:
        """Connect features to `{"mean": (n, size)}`."""
        return {"mean": projected(features, self.size, "latent", seeds)}
