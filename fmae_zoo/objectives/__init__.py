"""Objectives: named terms in, one scalar out.

To add one: a file with an `ObjectiveComponent`, whose docstring says what it must have, and its
class in `Objective`.
"""

from typing import Annotated

from pydantic import Field

from fmae_zoo.objectives.clustered_squared_error import ClusteredSquaredError
from fmae_zoo.objectives.elbo import ELBO
from fmae_zoo.objectives.squared_error import SquaredError

Objective = Annotated[ClusteredSquaredError | ELBO | SquaredError, Field(discriminator="type")]

__all__ = ["ELBO", "ClusteredSquaredError", "Objective", "SquaredError"]
