"""Networks, which encode an image into features and decode a code into an image.

To add a network, write a file with a subclass of `NetworkComponent`; its docstring says what the
subclass must have.
"""

from typing import TYPE_CHECKING, TypeAlias

from fmae_zoo.component import any_of
from fmae_zoo.networks.base import NetworkComponent

Network: TypeAlias = NetworkComponent
"""Any of the networks, chosen by its `type`."""
if not TYPE_CHECKING:
    Network = any_of(__name__, NetworkComponent)

__all__ = ["Network", "NetworkComponent"]
