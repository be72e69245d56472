"""Networks: how an image becomes features, and a code becomes an image again.

To add one: a file with a `NetworkComponent`, whose docstring says what it must have.
"""

from typing import TYPE_CHECKING, TypeAlias

from fmae_zoo.component import any_of
from fmae_zoo.networks.base import NetworkComponent

Network: TypeAlias = NetworkComponent
"""Any of them, chosen by its `type`."""
if not TYPE_CHECKING:
    Network = any_of(__name__, NetworkComponent)

__all__ = ["Network", "NetworkComponent"]
