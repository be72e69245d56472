"""What a figure is: how it is measured, what it is called, and where it is shown.

A figure is one file of this folder with a `Figure` named `FIGURE`, and a line in `FIGURES`. The
card, the lists, the README, the commands and `verify` read all that they say of it from there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fmae_zoo.evaluation.subject import Subject


@dataclass(frozen=True)
class Task:
    """A task by the Hub's identifier, and by the name that people read."""

    type: str
    name: str


RECONSTRUCTION = Task("image-to-image", "Image reconstruction")
CLASSIFICATION = Task("image-classification", "Image classification")
CODING = Task("image-feature-extraction", "Image feature extraction")
GENERATION = Task("unconditional-image-generation", "Generative modelling")


@dataclass(frozen=True)
class Measure:
    """One number of a figure.

    Attributes:
        key: under which `evaluate` returns it.
        title: for people.
        form: how the number is shown.
        unit: where there is one.
        column: its title in lists of models, where it is in them.
        short: its title in the zoo's tables of results, if it is not that of its column.
        less_is_better: which of two numbers is the better one.
        in_seeds: whether lists show its mean and deviation over seeds.
    """

    key: str
    title: str
    form: str = "{:.4f}"
    unit: str = ""
    column: str = ""
    short: str = ""
    less_is_better: bool = False
    in_seeds: bool = False

    @property
    def full_title(self) -> str:
        """Title and unit."""
        return f"{self.title}, {self.unit}" if self.unit else self.title

    @property
    def heading(self) -> str:
        """The title of a column of numbers, with the unit."""
        title = self.short or self.column or self.title
        return f"{title}, {self.unit}" if self.unit else title

    @property
    def column_key(self) -> str:
        """The column as a key: of JSON, and to sort by."""
        return self.column.lower().replace(" ", "_").replace("-", "_")

    def shown(self, value: float) -> str:
        """Return a number as it is shown."""
        return self.form.format(value)


@dataclass(frozen=True)
class Protocol:
    """How numbers of a figure are measured.

    Attributes:
        path: of them in a manifest's results; the first part is the figure's name.
        name: of the protocol, short: for the names of metrics.
        words: what is done.
        task: what the figure is of.
        measures: its numbers that have a row each.
        beside: further results of the same measurement.
        baselines: numbers of something else than the model, measured in the same way.
    """

    path: tuple[str, ...]
    name: str
    words: str
    task: Task
    measures: tuple[Measure, ...]
    beside: tuple[Measure, ...] = ()
    baselines: tuple[Measure, ...] = ()

    @property
    def results(self) -> tuple[Measure, ...]:
        """All that is the model's."""
        return self.measures + self.beside


@dataclass(frozen=True)
class Figure:
    """A figure of `evaluate`.

    Attributes:
        measure: from a model and data to numbers by key; None where the figure does not apply.
        protocols: how they are measured; a figure of several tables has one for each.
        needs_labels: whether data without labels do not have it.
        is_quick: whether it takes seconds and trains nothing, so that `verify` measures it again.
        of_samplers: whether it is of images that the model's sampler gives, and goes with it.
        on_request: whether it is measured only where it is named: it takes long, or needs what
            not everybody has.
    """

    measure: Callable[["Subject"], dict[str, Any] | None]
    protocols: tuple[Protocol, ...]
    needs_labels: bool = False
    is_quick: bool = False
    of_samplers: bool = False
    on_request: bool = False

    @property
    def name(self) -> str:
        """The name of the figure."""
        return self.protocols[0].path[0]
