"""The best entry for each task, with the goal and the results that others published."""

from collections.abc import Sequence
from dataclasses import dataclass

from result_rows import Row, link

from fmae_zoo.card.markup import table
from fmae_zoo.evaluation import protocols

NOTEBOOK = "the original project's notebook, 12,544 values"
README = "supervised, from the data set's README"
AUTHORS = "the authors' tables"
CLUSTERINGS = ("clustering.kmeans", "clustering.mixture", "clustering.spectral", "umap_clustering")
NOROUZI = "Norouzi et al. 2020, arXiv 2004.04795, dense, 40 values"


@dataclass(frozen=True)
class Record:
    """A task for which RESULTS.md names the best entry.

    Attributes:
        title: Name of the task.
        paths: Dotted paths of the figures that count in the manifest's results; the last part is
            the key of the number.
        goal: Lowest number that reaches the goal; for an error or a negative log-likelihood, the
            highest.
        published: Results of others, each with its source.
        most_values: Maximum number of values in a code.
        needs: Setting that an entry must have, and its value.
        tried: What was tried to reach the goal; shown if it is not reached.
        by_test: Whether an accuracy has no validation images to be compared on.
    """

    title: str
    paths: tuple[str, ...]
    goal: float | None = None
    published: str = "-"
    most_values: float = float("inf")
    needs: tuple[str, str] | None = None
    tried: str = ""
    by_test: bool = False

    def reached(self, value: float, less_is_better: bool) -> bool:
        """Return whether a value is at least as good as the goal; True if there is no goal."""
        if self.goal is None:
            return True
        return value <= self.goal if less_is_better else value >= self.goal


RECORDS = (
    Record(
        "linear probe, at most 128 values",
        ("linear_probe.accuracy",),
        0.90,
        f"multilayer perceptron 0.8833, XGBoost 0.898 ({README})",
        128,
        tried="conv-ae-bn with 32 to 256 clusters and weights of 0.3 to 4 for their loss, with "
        "masked images, and with networks of half the cost reached 0.877 to 0.891 on validation. A "
        "larger weight of the clusters makes reconstructions worse.",
    ),
    Record(
        "kNN, at most 40 values",
        ("knn.accuracy",),
        0.90,
        most_values=40,
        tried="every objective in the tables below, with 32 values. Even the 128 values of "
        "conv-ae-bn do not reach the goal.",
    ),
    Record(
        "frozen head",
        ("frozen_head.latent.accuracy", "frozen_head.features.accuracy"),
        0.935,
        f"0.9241 on validation ({NOTEBOOK}); HOG and SVM 0.926 ({README})",
        tried="heads on the features of every larger entry, trained with and without clusters in "
        "the loss.",
    ),
    Record(
        "fine-tuned",
        ("fine_tuned.accuracy",),
        0.945,
        f"0.9190 ({NOTEBOOK}); ResNet18 0.949 ({README})",
        tried="the larger encoders, with augmentation and a lower learning rate. Networks with "
        "residual blocks were not tried.",
    ),
    Record(
        "ten labels of each class, transductive",
        ("few_labels.transductive.accuracy_10",),
        0.80,
        "0.7614 (Calder et al. 2020, arXiv 2006.11184, PoissonMBO)",
        tried="labels spread over graphs of 10 neighbours, by cosine and with weights of distances "
        "or without, with alpha of 0.9 to 0.999.",
        by_test=True,
    ),
    Record(
        "clusters, accuracy",
        tuple(f"{method}.accuracy" for method in CLUSTERINGS),
        0.72,
        f"k-means on an autoencoder 0.61, N2D 0.672, SPC 0.679 ({AUTHORS})",
        tried="k-means and mixtures on latent means, raw, standardised and of unit length, on "
        "spectral embeddings of 10, 15 and 25 values, and on those of UMAP.",
        by_test=True,
    ),
    Record(
        "clusters, normalised mutual information",
        tuple(f"{method}.nmi" for method in CLUSTERINGS),
        0.74,
        f"k-means on an autoencoder 0.64, N2D 0.684, SPC 0.735 ({AUTHORS})",
        tried="the same.",
        by_test=True,
    ),
    Record(
        "MSE, at most 32 values",
        ("reconstruction.mse",),
        0.0050,
        "0.0151 (PCA, 32 values)",
        32,
        tried="the common convolutional network for eight epochs and dense networks for forty. A "
        "larger network with 32 values and longer training was not tried.",
    ),
    Record(
        "MSE, at most 128 values",
        ("reconstruction.mse",),
        0.0020,
        "0.0063 (PCA, 128 values)",
        128,
        tried="conv-ae-bn for forty epochs, without masks in the last third, and with Muon for "
        "convolutions reached 0.0027 on validation, with a lower accuracy of the linear probe.",
    ),
    Record(
        "MSE, any number of values",
        ("reconstruction.mse",),
        published=f"0.0011 on validation ({NOTEBOOK})",
    ),
    Record(
        "negative log-likelihood of binary images, at most 40 values",
        ("nll.nll",),
        226.5,
        published=f"VAE 228.70, VampPrior 227.35, Exemplar VAE 226.75 ({NOROUZI})",
        most_values=40,
        needs=("elbo.likelihood", "bernoulli"),
        tried="dense-vae-40 with ReLU units and 100 epochs reached 231.74; with gated units and "
        "150 epochs it is better. Longer training was not tried.",
    ),
)


def records_table(rows: Sequence[Row]) -> str:
    """Return the table of the tasks as Markdown, without tasks that no entry has a figure for.

    It is empty if no task is left.
    """
    measures = {
        ".".join((*each.path, measure.key)): measure
        for each in protocols()
        for measure in each.measures
    }
    cells, missed = [], []
    for record in RECORDS:
        found = best(rows, record)
        if found is None:
            continue
        row, path = found
        shown, less = measures[path].shown, measures[path].less_is_better
        bound = "at most" if less else "at least"
        goal = "-" if record.goal is None else f"{bound} {shown(record.goal)}"
        cells.append(
            [record.title, f"**{shown(row[path])}**", link(row), f"{row['values']:,}", goal]
            + [record.published]
        )
        if not record.reached(row[path], less):
            missed.append(f"- {record.title}: {record.tried}")
    if not cells:
        return ""
    titles = ("task", "test", "entry", "values", "goal", "published by others")
    text = table(titles, cells, right=(1, 3, 4))
    if missed:
        text += "\n\nWhat was tried where a goal is not reached:\n\n" + "\n".join(missed)
    return text


def best(rows: Sequence[Row], record: Record) -> tuple[Row, str] | None:
    """Return the best entry and the path of its number; None if no entry has one.

    For an accuracy, the entry with the highest validation accuracy is chosen; entries without one
    are left out. For an error or a negative log-likelihood, the lowest test value is chosen.
    """
    candidates = []
    for row in rows:
        for path in record.paths:
            table, _, key = path.rpartition(".")
            by_validation = key == "accuracy" and not record.by_test
            chosen_by = row.get(f"{table}.validation_accuracy" if by_validation else path)
            fits = row["values"] <= record.most_values
            fits &= record.needs is None or row.get(record.needs[0]) == record.needs[1]
            if path in row and chosen_by is not None and fits:
                is_more_better = by_validation or record.by_test
                candidates.append((chosen_by if is_more_better else -chosen_by, row, path))
    if not candidates:
        return None
    _, row, path = max(candidates, key=lambda each: each[0])
    return row, path
