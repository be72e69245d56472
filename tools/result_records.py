"""The best entry at each task, beside the goal and what others published."""

from collections.abc import Sequence
from dataclasses import dataclass

from result_rows import Row, link

from fmae_zoo.card.markup import table
from fmae_zoo.evaluation import protocols

NOTEBOOK = "the original project's notebook, 12,544 values"
README = "supervised, from the data set's README"
NOROUZI = "Norouzi et al. 2020, arXiv 2004.04795, dense, 40 values"


@dataclass(frozen=True)
class Record:
    """A task.

    Attributes:
        paths: of the figures in the manifest's results that count, the last part the number's key.
        goal: at least, or of an error at most.
        published: by others, each with its source.
        most_values: of a code.
        needs: a setting that an entry must have, and its value.
    """

    title: str
    paths: tuple[str, ...]
    goal: float | None = None
    published: str = "-"
    most_values: float = float("inf")
    needs: tuple[str, str] | None = None


RECORDS = (
    Record(
        "linear probe, at most 128 values",
        ("linear_probe.accuracy",),
        0.90,
        f"multilayer perceptron 0.8833, XGBoost 0.898 ({README})",
        128,
    ),
    Record("kNN, at most 40 values", ("knn.accuracy",), 0.90, most_values=40),
    Record(
        "frozen head",
        ("frozen_head.latent.accuracy", "frozen_head.features.accuracy"),
        0.935,
        f"0.9241 on validation ({NOTEBOOK}); HOG and SVM 0.926 ({README})",
    ),
    Record(
        "fine-tuned",
        ("fine_tuned.accuracy",),
        0.945,
        f"0.9190 ({NOTEBOOK}); ResNet18 0.949 ({README})",
    ),
    Record(
        "MSE, at most 32 values",
        ("reconstruction.mse",),
        0.0050,
        "0.0151 (PCA, 32 values)",
        32,
    ),
    Record(
        "MSE, at most 128 values",
        ("reconstruction.mse",),
        0.0020,
        "0.0063 (PCA, 128 values)",
        128,
    ),
    Record(
        "MSE, any number of values",
        ("reconstruction.mse",),
        published=f"0.0011 on validation ({NOTEBOOK})",
    ),
    Record(
        "negative log-likelihood of binary images, at most 40 values",
        ("nll.nll",),
        published=f"VAE 228.70, VampPrior 227.35, Exemplar VAE 226.75 ({NOROUZI})",
        most_values=40,
        needs=("elbo.likelihood", "bernoulli"),
    ),
)


def records_table(rows: Sequence[Row]) -> str:
    """Return the table of the tasks that an entry has a figure of; empty where there is none."""
    measures = {
        ".".join((*each.path, measure.key)): measure
        for each in protocols()
        for measure in each.measures
    }
    cells = []
    for record in RECORDS:
        found = best(rows, record)
        if found is None:
            continue
        row, path = found
        shown, less = measures[path].shown, measures[path].less_is_better
        bound = "at most" if less else "at least"
        goal = "-" if record.goal is None else f"{bound} {record.goal:.{4 if less else 3}f}"
        cells.append(
            [record.title, f"**{shown(row[path])}**", link(row), f"{row['values']:,}", goal]
            + [record.published]
        )
    titles = ("task", "test", "entry", "values", "goal", "published by others")
    return table(titles, cells, right=(1, 3, 4)) if cells else ""


def best(rows: Sequence[Row], record: Record) -> tuple[Row, str] | None:
    """Return the best entry and the path of its number; None where no entry has one.

    An accuracy is chosen by that on validation, and one without is left out; the least error
    or negative log-likelihood is the best one.
    """
    candidates = []
    for row in rows:
        for path in record.paths:
            table, _, key = path.rpartition(".")
            chosen_by = row.get(f"{table}.validation_accuracy" if key == "accuracy" else path)
            fits = row["values"] <= record.most_values
            fits &= record.needs is None or row.get(record.needs[0]) == record.needs[1]
            if path in row and chosen_by is not None and fits:
                candidates.append((chosen_by if key == "accuracy" else -chosen_by, row, path))
    if not candidates:
        return None
    _, row, path = max(candidates, key=lambda each: each[0])
    return row, path
