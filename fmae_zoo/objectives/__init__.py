"""Objectives: weighted sums of named loss terms.

To add one, add a file with a subclass of `ObjectiveComponent`; see its docstrings.
"""

from typing import TYPE_CHECKING, TypeAlias

from fmae_zoo.component import any_of
from fmae_zoo.objectives.base import ObjectiveComponent

Objective: TypeAlias = ObjectiveComponent
"""Any objective, chosen by its `type`."""
if not TYPE_CHECKING:
    Objective = any_of(__name__, ObjectiveComponent)

__all__ = ["Objective", "ObjectiveComponent"]
