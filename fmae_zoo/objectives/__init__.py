"""Objectives: named terms in, one scalar out.

To add one: a file with an `ObjectiveComponent`, whose docstring says what it must have.
"""

from typing import TYPE_CHECKING, TypeAlias

from fmae_zoo.component import any_of
from fmae_zoo.objectives.base import ObjectiveComponent

Objective: TypeAlias = ObjectiveComponent
"""Any of them, chosen by its `type`."""
if not TYPE_CHECKING:
    Objective = any_of(__name__, ObjectiveComponent)

__all__ = ["Objective", "ObjectiveComponent"]
