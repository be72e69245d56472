"""The tables of registry/RESULTS.md."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from result_records import records_table
from result_rows import Row, link, pca_rows

from fmae_zoo.card.markup import bullets, table
from fmae_zoo.evaluation import FIGURES, protocols
from fmae_zoo.evaluation.figure import Measure, Protocol

NOTHING = "-"
HEAD = """# Results

`make readme` writes this file from the manifests of the entries; [results.csv](results.csv) has the
same numbers, and more, unrounded. All figures are of the 10,000 test images, computed in float32.
Every choice (epoch, C, k, sampler) was made on the last 10,000 training images after a fixed
permutation, and the weights were trained on the other 50,000. *Values* are the numbers that a code
has. "-" is a figure that does not apply or was not measured; a table leaves out entries that have
none of its figures."""


@dataclass(frozen=True)
class Column:
    """A column: key of the value in a row, title, format, and whether lower values are better."""

    key: str
    title: str
    form: str = "{}"
    less_is_better: bool = False

    def cell(self, row: Row) -> str:
        """Return the text of a row's cell in this column."""
        value = row.get(self.key)
        return NOTHING if value is None else self.form.format(value)


@dataclass(frozen=True)
class Section:
    """A section of RESULTS.md with one table.

    Attributes:
        title: Title of the section.
        words: Text above the table.
        figures: Names of the figures in the table.
        beside: Further columns, shown before the figures.
        group: Key of a column whose equal values are grouped; within a group the row with the best
            first figure comes first.
    """

    title: str
    words: str
    figures: tuple[str, ...]
    beside: tuple[Column, ...] = ()
    group: str = ""


MODEL = Column("model", "model")
VALUES = Column("values", "values", "{:,}")
MODELS = (
    MODEL,
    Column("network", "network"),
    Column("latent", "latent"),
    Column("objective", "objective"),
    VALUES,
    Column("parameters", "parameters", "{:,}"),
)
TRAINING = (
    MODEL,
    Column("backend", "backend"),
    Column("precision", "precision"),
    Column("epochs", "epochs"),
    Column("best_epoch", "epoch kept"),
    Column("seconds", "seconds", "{:,.0f}"),
    Column("seeds", "seeds"),
)
SECTIONS = (
    Section(
        "Reconstruction",
        "Test images, encoded and decoded again. The least error is first. PCA, the best that "
        "a linear code with as many values can do, stands between the models.",
        ("reconstruction", "denoising", "inpainting"),
        (
            Column("denoising.noise", "noise"),
            Column("denoising.amount", "amount", "{:g}"),
            Column("inpainting.hidden", "hidden", "{:.2f}"),
        ),
    ),
    Section(
        "Generation",
        "New images, decoded from codes that a sampler draws. The nearest to the test images are "
        "first. The columns after recall have the distance with each sampler that an entry has, "
        "and that of reconstructions, which is what its decoder can do at best.",
        ("generation", "fid"),
        (Column("generation.sampler", "default sampler"),),
    ),
    Section(
        "Likelihood",
        "How probable a model says that the test images are, and how much of its code it uses. "
        "Compare within one likelihood only.",
        ("elbo", "nll", "code_use"),
        (Column("elbo.likelihood", "likelihood"),),
        group="elbo.likelihood",
    ),
    Section(
        "Features",
        "How well the ten classes can be read from what was learned without labels. The best "
        "linear probe is first.",
        ("linear_probe", "knn", "frozen_head", "fine_tuned"),
    ),
)


def results_text(rows: Sequence[Row]) -> str:
    """Return the text of registry/RESULTS.md."""
    placed = {name for section in SECTIONS for name in section.figures}
    others = tuple(name for name in FIGURES if name not in placed)
    parts = [HEAD, *_records(rows), "## Models", _table(MODELS, rows)]
    for section in (*SECTIONS, Section("Other figures", "What else was measured.", others)):
        parts += _section(section, rows)
    parts += [*_seeds(rows), *_training(rows)]
    return "\n\n".join(parts) + "\n"


def _section(section: Section, rows: Sequence[Row]) -> Iterator[str]:
    mine = [each for each in protocols() if each.path[0] in section.figures]
    found = {
        each: [column for column in columns_of(each) if any(column.key in row for row in rows)]
        for each in mine
    }
    measured = [column for columns in found.values() for column in columns]
    if not measured:
        return
    everything = [*rows, *(pca_rows(rows) if "reconstruction" in section.figures else ())]
    shown = [row for row in everything if any(column.key in row for column in measured)]
    first = measured[0]
    shown.sort(
        key=lambda row: (
            str(row.get(section.group, "~")),
            first.key not in row,
            row.get(first.key, 0) * (1 if first.less_is_better else -1),
        )
    )
    beside = [column for column in section.beside if any(column.key in row for row in rows)]
    yield f"## {section.title}"
    yield section.words
    yield _table([MODEL, VALUES, *beside, *measured], shown)
    yield bullets(f"**{each.name}**: {each.words}." for each in mine if found[each])


def columns_of(protocol: Protocol) -> list[Column]:
    """Return the columns of a protocol: measures, numbers with a short title, head parameters."""
    further = [each for each in protocol.beside + protocol.baselines if each.short]
    head = Column(".".join((*protocol.path, "head_parameters")), "its parameters", "{:,}")
    return [*(_column(protocol, each) for each in (*protocol.measures, *further)), head]


def _column(protocol: Protocol, measure: Measure) -> Column:
    title = ", ".join((measure.heading, *protocol.path[1:]))
    key = ".".join((*protocol.path, measure.key))
    return Column(key, title, measure.form, measure.less_is_better)


def _records(rows: Sequence[Row]) -> Iterator[str]:
    found = records_table(rows)
    if found:
        yield "## Records"
        yield (
            "The best entry at each task. Where a figure has its own on validation, the entry "
            "was chosen by that, and its test figure stands here; errors and likelihoods are "
            "compared by themselves."
        )
        yield found


def _seeds(rows: Sequence[Row]) -> Iterator[str]:
    repeated = [
        column
        for protocol in protocols()
        for column, measure in zip(columns_of(protocol), protocol.measures)
        if measure.in_seeds
    ]
    several = [row for row in rows if any(f"{column.key}.sd" in row for column in repeated)]
    if several:
        yield "## Seeds"
        yield "Mean ± standard deviation over trainings with several seeds, of the same spec."
        cells = [
            [link(row), str(row["seeds"]), *(_spread(row, column) for column in repeated)]
            for row in several
        ]
        titles = ["model", "seeds", *(column.title for column in repeated)]
        yield table(titles, cells, right=range(1, len(titles)))


def _spread(row: Row, column: Column) -> str:
    ends = [row.get(f"{column.key}.{end}") for end in ("mean", "sd")]
    return NOTHING if None in ends else " ± ".join(map(column.form.format, ends))


def _training(rows: Sequence[Row]) -> Iterator[str]:
    yield "## Training"
    yield (
        "The spec of an entry has its recipe, its manifest the versions. *Seconds* are of the "
        "whole training, each on the machine that was at hand: they say only about how long it "
        "takes. "
        "*Seeds* is how many trainings were measured; all tables but that of seeds are of the "
        "published one."
    )
    yield _table(TRAINING, [row for row in rows if "epochs" in row])


def _table(columns: Sequence[Column], rows: Sequence[Row]) -> str:
    cells = [[link(row), *(column.cell(row) for column in columns[1:])] for row in rows]
    right = [
        index
        for index, column in enumerate(columns)
        if not any(isinstance(row.get(column.key), str) for row in rows)
    ]
    return table([column.title for column in columns], cells, right=right)
