"""Networks: how an image becomes features, and a code becomes an image again.

To add one: a file with a `Component` that has `features_size`, `parameters`, `encode` and
`decode`, as `dense.py` has them, and its class in `Network`.
"""

from typing import Annotated

from pydantic import Field

from fmae_zoo.networks.conv import ConvNetwork
from fmae_zoo.networks.dense import DenseNetwork

Network = Annotated[ConvNetwork | DenseNetwork, Field(discriminator="type")]

__all__ = ["ConvNetwork", "DenseNetwork", "Network"]
