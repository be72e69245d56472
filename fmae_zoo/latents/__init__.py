"""Latents: what lies between the encoder's features and the decoder's code.

To add one: a file with a `Component` that has `size`, `has_prior`, `fits`, `parameters` and
`sampler`, as `deterministic.py` has them, and its class in `Latent`.
"""

from typing import Annotated

from pydantic import Field

from fmae_zoo.latents.deterministic import DeterministicLatent
from fmae_zoo.latents.gaussian import GaussianLatent
from fmae_zoo.latents.spatial import SpatialLatent

Latent = Annotated[
    DeterministicLatent | GaussianLatent | SpatialLatent, Field(discriminator="type")
]

__all__ = ["DeterministicLatent", "GaussianLatent", "Latent", "SpatialLatent"]
