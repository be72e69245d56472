"""Figures that compare codes with classes: other classifiers, few labels, clusters."""

import json
import sys
from dataclasses import replace
from types import SimpleNamespace

import joblib
import numpy as np
import pytest
from click.testing import CliRunner

import fmae_zoo
from fmae_zoo.cli import cli
from fmae_zoo.datasets import load_sample
from fmae_zoo.errors import ArgumentError, DataError
from fmae_zoo.evaluation import (
    clustering,
    few_labels,
    few_labels_fine_tuned,
    heads,
    umap_clustering,
)
from fmae_zoo.evaluation.graph import neighbour_graph
from fmae_zoo.evaluation.subject import Subject
from fmae_zoo.sklearn import fit_head

SPREAD = 0.1


@pytest.fixture(scope="module")
def model():
    return fmae_zoo.load("pca", pretrained=True)


@pytest.fixture(scope="module")
def sample():
    return load_sample()


@pytest.fixture
def subject(model, sample):
    """The sample's labels with codes that are a cluster for each class."""
    subject = Subject(model, sample)
    centres = 10 * np.eye(10, 32)
    noise = np.random.default_rng(0)
    for name, labels in zip(("train_codes", "test_codes"), sample.labels):
        codes = centres[labels] + SPREAD * noise.normal(size=(len(labels), 32))
        setattr(subject, name, codes.astype("float32"))
    return subject


@pytest.mark.once
def test_clusters_of_classes_are_found(subject):
    found = clustering.FIGURE.measure(subject)
    assert list(found) == ["kmeans", "mixture", "spectral"]
    for method in ("kmeans", "spectral"):
        assert found[method]["seeds"] == clustering.SEEDS
        for key in ("accuracy", "nmi", "ari"):
            assert found[method][key] == pytest.approx(1.0, abs=0.01)
            assert found[method]["sd"][key] == pytest.approx(0.0, abs=0.01)


@pytest.mark.once
def test_clusters_on_umap_say_what_is_not_installed(subject, monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ArgumentError, match=r'pip install "fmae-zoo\[umap\]"'):
        umap_clustering.FIGURE.measure(subject)


@pytest.mark.once
def test_clusters_on_an_embedding_of_umap(subject, monkeypatch):
    class UMAP:
        def __init__(self, n_components, **settings):
            self.size = n_components

        def fit_transform(self, codes):
            return codes[:, : self.size]

    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=UMAP))
    found = umap_clustering.FIGURE.measure(subject)
    assert found["accuracy"] > 0.8
    assert found["seeds"] == clustering.SEEDS


@pytest.mark.once
def test_agreement_is_that_of_the_definitions():
    # Of two classes, one is split: the best matching leaves two of eight images out.
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    clusters = np.array([5, 5, 7, 7, 2, 2, 2, 2])
    found = clustering.agreement(labels, clusters)
    assert found["accuracy"] == 6 / 8
    # Mutual information log 2; entropies log 2 and 1.5 log 2.
    assert found["nmi"] == pytest.approx(1 / 1.25)
    same = clustering.agreement(labels, 1 - labels)
    assert (same["accuracy"], same["nmi"], same["ari"]) == (1.0, 1.0, 1.0)


def test_one_label_of_each_class_is_enough_for_codes_in_clusters(subject, monkeypatch):
    monkeypatch.setattr(few_labels, "COUNTS", (1, 2))
    monkeypatch.setattr(few_labels, "DRAWS", 3)
    found = few_labels.few_labels(subject)
    for way in ("inductive", "transductive"):
        assert found[way]["draws"] == 3
        assert found[way]["accuracy_1"] > 0.99
        # The baselines read the real images, on which a label of each class says less.
        for baseline in ("pixels", "pca"):
            assert 0.2 < found[way]["curves"][baseline]["1"]["mean"] < 0.8
            assert found[way]["curves"][baseline]["1"]["sd"] > 0.0
        assert found[way]["curves"]["code"]["1"]["mean"] == found[way]["accuracy_1"]


@pytest.mark.once
def test_labels_that_are_not_drawn_change_nothing(subject, sample, monkeypatch):
    """Labels of test images are read by the measurement of the accuracy alone."""
    monkeypatch.setattr(few_labels, "COUNTS", (1,))
    monkeypatch.setattr(few_labels, "DRAWS", 2)
    features = subject.train_codes, subject.test_codes
    [(_, right)] = few_labels._transductive(subject, *features)
    subject.data = replace(sample, test_labels=(sample.labels[1] + 1) % 10)
    [(_, wrong)] = few_labels._transductive(subject, *features)
    hidden = len(sample.labels[0]) - 10, len(sample.labels[1])
    np.testing.assert_allclose(wrong, right * hidden[0] / sum(hidden), atol=0.01)


@pytest.mark.once
def test_drawn_labels_are_balanced_and_differ_by_seed(sample):
    labels = sample.labels[0]
    first, second = (few_labels.drawn(labels, 5, seed) for seed in (0, 1))
    for chosen in (first, second):
        assert len(set(chosen)) == 50
        np.testing.assert_array_equal(np.bincount(labels[chosen]), np.full(10, 5))
    assert set(first) != set(second)
    with pytest.raises(DataError, match="class 0 has 120 images"):
        few_labels.drawn(labels, 121, 0)


@pytest.mark.once
@pytest.mark.parametrize("name", heads.HEADS)
def test_a_head_is_chosen_by_validation_and_fitted_to_all(name, subject):
    head = heads.HEADS[name]
    _, test_labels = subject.data.labels
    quick = replace(head, values=head.values[:1]) if name in ("boosting", "mlp") else head
    fitted, setting, accuracy = quick.chosen(subject.train_codes, subject.data)
    assert setting in head.values
    assert accuracy > 0.95
    assert fitted.score(subject.test_codes, test_labels) > 0.95


@pytest.mark.once
def test_a_single_class_is_refused(subject):
    data = replace(subject.data, train_labels=np.zeros_like(subject.data.labels[0]))
    with pytest.raises(DataError, match="one class"):
        heads.HEADS["logistic"].chosen(subject.train_codes, data)


@pytest.mark.parametrize(("head", "figure"), [("logistic", "linear_probe"), ("knn", "knn")])
def test_heads_are_those_of_the_figures(head, figure, model, sample):
    found = fit_head("pca", head, data=sample)
    expected = fmae_zoo.evaluate(model, figure, data=sample)[figure]
    assert found.report["accuracy"] == pytest.approx(expected["accuracy"], abs=0.003)
    assert found.report["validation_accuracy"] == pytest.approx(
        expected["validation_accuracy"], abs=0.005
    )


@pytest.mark.once
def test_a_fitted_head_is_written_and_read(tmp_path, sample):
    found = fit_head("pca", "logistic", data=sample)
    folder = found.save(tmp_path / "head")
    read = joblib.load(folder / "classifier.joblib")
    np.testing.assert_array_equal(
        read.predict(sample.test_images), found.pipeline.predict(sample.test_images)
    )
    assert (folder / "classifier.joblib").stat().st_size < 20_000  # No weights of an encoder.
    assert json.loads((folder / "report.json").read_text()) == found.report
    assert (folder / "confusion.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.once
def test_classify_with_a_head(tmp_path, monkeypatch, sample):
    monkeypatch.setattr("fmae_zoo.cli.classify.data_for", lambda *_: sample)
    words = ["classify", "pca", "--head", "forest", "-o", str(tmp_path / "out"), "--json"]
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)["reports"]["forest"]
    assert report["accuracy"] > 0.7
    assert (tmp_path / "out" / "classifier.joblib").is_file()
    refused = CliRunner().invoke(cli, ["classify", "pca", "--head", "svm", "--fine-tune"])
    assert refused.exit_code == 2
    assert "no layers or epochs" in refused.output


@pytest.mark.once
def test_an_unknown_head_is_refused(sample):
    with pytest.raises(ArgumentError, match="expected one of logistic"):
        fit_head("pca", "tree", data=sample)


@pytest.mark.once
def test_labels_spread_as_scikit_learn_spreads_them(subject, sample):
    from sklearn.semi_supervised import LabelSpreading

    labels = np.concatenate(sample.labels)
    codes = np.concatenate([subject.train_codes, subject.test_codes])
    codes += np.random.default_rng(1).normal(size=codes.shape) * 3  # So that not all are right.
    graph = neighbour_graph(codes)
    draws = [few_labels.drawn(sample.labels[0], 2, seed) for seed in (0, 1)]
    for chosen, found in zip(draws, few_labels._spread(graph, labels, draws)):
        known = np.full(len(labels), -1)
        known[chosen] = labels[chosen]
        theirs = LabelSpreading(
            kernel=lambda *_: graph, alpha=few_labels.ALPHA, max_iter=few_labels.ITERATIONS
        )
        assert (theirs.fit(codes, known).transduction_ == found).mean() > 0.98
        assert 0.5 < (found == labels).mean() < 1.0


@pytest.mark.once
def test_draws_of_other_seeds_are_other_draws(subject, monkeypatch):
    monkeypatch.setattr(few_labels, "DRAWS", 3)
    drawn = []
    for subject.seed in (0, 1):
        drawn += [tuple(each) for each in few_labels.draws_of(subject, 2)]
    assert len(set(drawn)) == 6


@pytest.mark.once
def test_codes_that_are_too_wide_are_refused(sample):
    with pytest.raises(ArgumentError, match="codes of 12,544 values"):
        fit_head("conv-ae-bn-spatial", "svm", data=sample)


@pytest.mark.once
def test_few_labels_fine_tune_the_encoder(sample, monkeypatch):
    monkeypatch.setattr(few_labels_fine_tuned, "COUNTS", (2, 50))
    monkeypatch.setattr(few_labels_fine_tuned, "DRAWS", 2)
    monkeypatch.setattr(few_labels, "DRAWS", 2)
    ae = fmae_zoo.load("dense-ae", pretrained=True)
    before = [each.copy() for each in ae.get_weights()]
    found = few_labels_fine_tuned.FIGURE.measure(Subject(ae, sample))
    assert found["curve"]["50"]["mean"] == found["accuracy_50"]
    assert 0.3 < found["accuracy_2"] < found["accuracy_50"] - 0.1
    assert found["accuracy_50"] > 0.7
    assert found["curve"]["50"]["sd"] > 0
    for was, weights in zip(before, ae.get_weights()):
        np.testing.assert_array_equal(was, weights)
