"""The tables of registry/RESULTS.md."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from result_records import records_table
from result_rows import Row, link, pca_rows

from fmae_zoo.card.markup import table
from fmae_zoo.evaluation import FIGURES, protocols
from fmae_zoo.evaluation.figure import Measure, Protocol

NOTHING = "-"
LONG = 600
"""Seconds of a training that is not repeated with other seeds."""

HEAD = """# Results

`make readme` writes this file from the manifests of the entries. [results.csv](results.csv) has the
same numbers and more, unrounded. All figures are for the 10,000 test images, computed in float32.
The last 10,000 training images, after a fixed permutation, are the validation images: every choice
(epoch, C, k, sampler) was made on them. The weights were trained on the other 50,000. *Values* is
the number of values in a code. "-" means that a figure does not apply or was not measured. A table
leaves out entries that have none of its figures."""


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
        "The test images are encoded and decoded. The entry with the lowest error is first. The "
        "rows named PCA are the best linear code with as many values; their reconstructions are "
        "not clipped to [0, 1], those of the entry `pca` are.",
        ("reconstruction", "denoising", "inpainting"),
        (
            Column("denoising.noise", "noise"),
            Column("denoising.amount", "amount", "{:g}"),
            Column("inpainting.hidden", "hidden", "{:.2f}"),
        ),
    ),
    Section(
        "Generation",
        "New images are decoded from codes that a sampler draws. The entry whose images are "
        "closest to the test images is first. The columns after recall give the distance for each "
        "sampler of an entry, and for reconstructions, which are the best that its decoder can do.",
        ("generation", "fid"),
        (Column("generation.sampler", "default sampler"),),
    ),
    Section(
        "Likelihood",
        "How probable the test images are under the model, and how much of its code it uses. "
        "Compare only models with the same likelihood.",
        ("elbo", "nll", "code_use"),
        (Column("elbo.likelihood", "likelihood"),),
        group="elbo.likelihood",
    ),
    Section(
        "Features",
        "How well the ten classes can be predicted from features that were learned without "
        "labels. The entry with the best linear probe is first.",
        ("linear_probe", "knn", "frozen_head", "fine_tuned"),
    ),
    Section(
        "Other classifiers",
        "Classifiers of scikit-learn on the code. Those of the columns before the first are the "
        "linear probe and kNN of the table above.",
        ("heads",),
        (
            Column("linear_probe.accuracy", "logistic", "{:.4f}"),
            Column("knn.accuracy", "knn", "{:.4f}"),
        ),
    ),
    Section(
        "Few labels",
        "Classification with few labelled images of each class.",
        ("few_labels", "few_labels_fine_tuned"),
    ),
    Section(
        "Clusters",
        "How well clusters of the codes, found without labels, agree with the classes.",
        ("clustering", "umap_clustering"),
    ),
)


def results_text(rows: Sequence[Row], further: Sequence[str] = ()) -> str:
    """Return the text of registry/RESULTS.md, with further paragraphs after the figures."""
    placed = {name for section in SECTIONS for name in section.figures}
    others = tuple(name for name in FIGURES if name not in placed)
    parts = [HEAD, *_records(rows), "## Models", _table(MODELS, rows)]
    for section in (*SECTIONS, Section("Other figures", "All other figures.", others)):
        parts += _section(section, rows)
    parts += [*further, *_seeds(rows), *_training(rows)]
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
    yield "\n".join(f"- **{each.name}**: {each.words}." for each in mine if found[each])


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
            "The best entry for each task. Accuracies are compared on the validation images, and "
            "the test accuracy of the chosen entry is shown. Errors, likelihoods, few labels and "
            "clusters are compared by the numbers that are shown."
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
        yield "Mean ± standard deviation over trainings of the same spec with several seeds."
        cells = [
            [link(row), str(row["seeds"]), *(_spread(row, column) for column in repeated)]
            for row in several
        ]
        titles = ["model", "seeds", *(column.title for column in repeated)]
        yield table(titles, cells, right=range(1, len(titles)))
    long = [row for row in rows if row.get("seeds") == 1 and row.get("seconds", 0) > LONG]
    if long:
        yield (
            f"Trained with one seed, because a run takes more than {LONG // 60} minutes on two "
            f"cores: {', '.join(map(link, long))}."
        )


def _spread(row: Row, column: Column) -> str:
    ends = [row.get(f"{column.key}.{end}") for end in ("mean", "sd")]
    return NOTHING if None in ends else " ± ".join(map(column.form.format, ends))


def _training(rows: Sequence[Row]) -> Iterator[str]:
    yield "## Training"
    yield (
        "The recipe is in the spec of an entry, and the software versions are in its manifest. "
        "*Seconds* is the time of the whole training. The machines differed, so these times are "
        "only a rough guide. *Seeds* is the number of trainings that were measured; all tables "
        "except the one of seeds show the published training."
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
