"""Latents: the parts that turn the encoder's features into the decoder's code.

To add one, add a file with a subclass of `LatentComponent`; see its docstrings.
"""

from typing import TYPE_CHECKING, TypeAlias

from fmae_zoo.component import any_of
from fmae_zoo.latents.base import Draw, LatentComponent

Latent: TypeAlias = LatentComponent
"""Any latent, chosen by its `type`."""
if not TYPE_CHECKING:
    Latent = any_of(__name__, LatentComponent)

__all__ = ["Draw", "Latent", "LatentComponent"]
