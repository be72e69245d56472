"""Objectives: named terms in, one scalar out.

To add one: a file with a `Component` that has `needs_posterior`, `loss_label`, `term_names`,
`terms` and `weights`, as `squared_error.py` has them, and its class in `Objective`.
"""

from typing import Annotated

from pydantic import Field

from fmae_zoo.objectives.elbo import ELBO
from fmae_zoo.objectives.squared_error import SquaredError

Objective = Annotated[ELBO | SquaredError, Field(discriminator="type")]

__all__ = ["ELBO", "Objective", "SquaredError"]
