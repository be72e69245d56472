"""What a figure is: how it is measured, what it is called, and where it is shown.

A figure is one file of this folder with a `Figure` named `FIGURE`, and a line in `FIGURES`. The
card, the lists, the README, the commands and `verify` take all that they say about it from there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fmae_zoo.evaluation.subject import Subject


@dataclass(frozen=True)
class Task:
    """A task, with the Hub's identifier (`type`) and a name for people."""

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
        key: Key of the number in the result of `evaluate`.
        title: Name of the number for people.
        form: Format string of the number.
        unit: Unit, if there is one.
        column: Title of its column in lists of models, if they show it.
        short: Title in the zoo's tables of results, if it differs from `column`.
        less_is_better: Whether a smaller number is better.
        in_seeds: Whether lists show its mean and standard deviation over seeds.
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
        """The title and the unit."""
        return f"{self.title}, {self.unit}" if self.unit else self.title

    @property
    def heading(self) -> str:
        """The title of a column of these numbers, with the unit."""
        title = self.short or self.column or self.title
        return f"{title}, {self.unit}" if self.unit else title

    @property
    def column_key(self) -> str:
        """The column title as a key, for JSON and for sorting."""
        return self.column.lower().replace(" ", "_").replace("-", "_")

    def shown(self, value: float) -> str:
        """Return a number as text."""
        return self.form.format(value)


@dataclass(frozen=True)
class Protocol:
    """How numbers of a figure are measured.

    Attributes:
        path: Keys of the numbers' table in a manifest's results; the first is the figure's name.
        name: Short name of the protocol, used in the names of metrics.
        words: Description of the measurement.
        task: Task that the figure belongs to.
        measures: Main numbers, each with a row of its own.
        beside: Further numbers of the same measurement.
        baselines: Numbers of something other than the model, measured in the same way.
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
        """All numbers of the model."""
        return self.measures + self.beside


@dataclass(frozen=True)
class Figure:
    """A figure of `evaluate`.

    Attributes:
        measure: Function from a `Subject` to numbers by key, or None if the figure does not apply.
        protocols: How the numbers are measured; one protocol for each table of the figure.
        needs_labels: Whether the figure needs labels.
        is_quick: Whether it takes seconds and trains nothing, so that `verify` measures it again.
        of_samplers: Whether it depends on the model's sampler, and is removed when that changes.
        on_request: Whether it is measured only if named, because it is slow or needs files that
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
