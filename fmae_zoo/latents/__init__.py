"""Latents: what lies between the encoder's features and the decoder's code.

To add one: a file with a `LatentComponent`, whose docstring says what it must have.
"""

from typing import TYPE_CHECKING, TypeAlias

from fmae_zoo.component import any_of
from fmae_zoo.latents.base import Draw, LatentComponent

Latent: TypeAlias = LatentComponent
"""Any of them, chosen by its `type`."""
if not TYPE_CHECKING:
    Latent = any_of(__name__, LatentComponent)

__all__ = ["Draw", "Latent", "LatentComponent"]
