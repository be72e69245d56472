"""`classify`: train a classifier on a pretrained encoder, as for the published figures."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from fmae_zoo.arguments import check_folder, check_integer, check_seed
from fmae_zoo.classifier import Classifier
from fmae_zoo.datasets import Dataset, check_dataset, load_named
from fmae_zoo.evaluation.head import (
    features_layer,
    head_plan,
    results_of,
    train_by,
    tunable,
    tuning_plan,
)
from fmae_zoo.evaluation.record import record_results
from fmae_zoo.files import write_text
from fmae_zoo.loading import load
from fmae_zoo.plots import plot_confusion
from fmae_zoo.saving import check_folder_for, save


@dataclass(frozen=True)
class Classified:
    """The result of `classify`.

    Attributes:
        classifier: Trained classifier, in float32.
        reports: Results of `Classifier.report` on the test images, by stage: `frozen` and, if the
            encoder was trained too, `fine_tuned`.
        title: Title of the confusion matrices: the source of the encoder.
        data: Data set it was trained and tested on.
        figures: Figures of the last stage, as `evaluate` returns them; empty if the classifier
            reads another layer than the default.
        seed: Seed of the training.
    """

    classifier: Classifier
    reports: dict[str, dict[str, Any]]
    title: str
    data: Dataset
    figures: dict[str, Any]
    seed: int

    def save(self, folder: str | Path) -> Path:
        """Write the classifier, its reports and confusion matrices; return the folder.

        `load` reads the folder. The figures are recorded in its manifest, unless they come from the
        small sample.

        Raises:
            FmaeError: The folder holds something else.
            OSError: The folder cannot be written.
        """
        spec = self.classifier.spec
        own = None if spec and spec.takes_fashion_mnist else self.data.test_images
        folder = save(self.classifier, folder, images=own)
        if self.figures and not self.data.is_sample:
            record_results(folder, self.figures, self.data, self.seed)
        write_text(folder / "report.json", json.dumps(self.reports, indent=2) + "\n")
        for name, report in self.reports.items():
            stage, names = name.replace("_", "-"), self.data.class_names
            title = f"{self.title}, {stage}: accuracy {report['accuracy']:.4f}"
            plot_confusion(report["confusion"], folder / f"confusion-{stage}.png", title, names)
        return folder


def classify(
    source: str | Path,
    *,
    fine_tune: bool = False,
    layer: str | None = None,
    epochs: int | None = None,
    tune_epochs: int | None = None,
    seed: int = 0,
    data: Dataset | None = None,
    output: str | Path | None = None,
    stage: Callable[[str], None] = lambda name: None,
    progress: Callable[[int, dict[str, float]], None] = lambda epoch, logs: None,
    done: Callable[[str, dict[str, Any]], None] = lambda name, report: None,
) -> Classified:
    """Train a classifier on a pretrained encoder: frozen, then fine-tuned if asked to.

    Args:
        source: Model with weights, as `load` takes it.
        fine_tune: Whether to train the encoder too, after the head.
        layer: Name of the encoder layer to read; by default `features` if it gives a feature map,
            else the latent.
        epochs: Number of epochs of the head; by default as for the published figures.
        tune_epochs: Number of epochs of head and encoder; by default as for the published figures.
        seed: Seed of the head's weights and of the order of the images.
        data: Data set; by default the one that the model's spec names.
        output: Folder to save the result in; it is checked before the training.
        stage: Function called with `frozen` or `fine_tuned` before that training.
        progress: Function called after each epoch with its number from 0, losses and accuracies.
        done: Function called with each stage and its report, before the result is saved.

    Raises:
        FmaeError: As `load`; or an argument has another type, the data has no labels, or the
            folder holds something else.
        OSError: The folder cannot be written.
    """
    check_seed(seed)
    seed = int(seed)
    check_dataset(data)
    for name, value in (("epochs", epochs), ("tune_epochs", tune_epochs)):
        if value is not None:
            check_integer(name, value, 1)
    epochs, tune_epochs = (value and int(value) for value in (epochs, tune_epochs))
    encoder = load(source, pretrained=True, part="encoder")
    data = data or load_named(encoder.spec.data)
    folder = None if output is None else check_folder("output", output)
    if folder is not None:
        check_folder_for(encoder.spec, folder, is_classifier=True)
        folder.mkdir(parents=True, exist_ok=True)
    published = features_layer(encoder)
    layer = layer or published
    classes, test_labels = data.num_classes, data.labels[1]
    head = Classifier(encoder, classes, layer=layer, seed=seed, labels=data.class_names)
    rows = [keras.callbacks.LambdaCallback(on_epoch_end=progress)]
    stage("frozen")
    trained = train_by(head_plan(head).lasting(epochs), head, data, seed, rows)
    reports = {"frozen": trained.classifier.report(data.test_images, test_labels)}
    done("frozen", reports["frozen"])
    if fine_tune:
        stage("fine_tuned")
        both = tunable(trained.classifier, encoder.spec.recipe)
        trained = train_by(tuning_plan(both).lasting(tune_epochs), both, data, seed, rows)
        reports["fine_tuned"] = trained.classifier.report(data.test_images, test_labels)
        done("fine_tuned", reports["fine_tuned"])
    figures = results_of(trained, [*reports.values()][-1]) if layer == published else {}
    result = Classified(trained.classifier, reports, str(source), data, figures, seed)
    if folder is not None:
        result.save(folder)
    return result
