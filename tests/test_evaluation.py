import json
from dataclasses import replace

import keras
import numpy as np
import pytest
from skimage.metrics import structural_similarity

import fmae_zoo
from fmae_zoo.errors import ArgumentError, DataError, UnknownModelError
from fmae_zoo.evaluation import FIGURES, Subject, head
from fmae_zoo.evaluation.elbo import binarised_test
from fmae_zoo.evaluation.knn import knn
from fmae_zoo.evaluation.linear_probe import linear_probe
from fmae_zoo.evaluation.reconstruction import mean_ssim, pca_mse
from fmae_zoo.evaluation.record import record_results, record_seed
from fmae_zoo.manifest import TrainingRecord, environment
from fmae_zoo.registry import find_entry
from tests.conftest import TINY_CONV, tiny_spec

pytestmark = pytest.mark.usefixtures("eager")

VAE = {
    "latent": {"type": "gaussian", "size": 4},
    "objective": {"type": "elbo", "likelihood": "gaussian", "sigma": 0.2},
}


OF_OTHERS = {"generation", "inpainting"}
"""Figures of Fashion-MNIST as a whole, not of the sample; or of hidden pixels."""


@pytest.fixture
def quick(monkeypatch):
    for name in ("HEAD", "WIDE_HEAD", "DENSE_TUNING", "CONVOLUTIONAL_TUNING"):
        monkeypatch.setattr(head, name, replace(getattr(head, name), epochs=1))


def test_every_figure_of_a_convolutional_vae(quick, few):
    recipe = {"noise": {"type": "gaussian", "amount": 0.1}}
    model = fmae_zoo.Autoencoder(tiny_spec(network=TINY_CONV, recipe=recipe, **VAE))
    seen = []
    results = fmae_zoo.evaluate(model, data=few, progress=seen.append)
    usual = [name for name, figure in FIGURES.items() if not figure.on_request]
    assert seen == usual
    assert list(results) == [name for name in usual if name not in OF_OTHERS]
    assert set(results["frozen_head"]) == {"latent", "features"}
    assert results["frozen_head"]["features"]["input_size"] == 7 * 7 * 4
    assert results["reconstruction"]["latent_size"] == 4
    json.dumps(results)


def test_figures_that_do_not_apply_are_left_out(quick, few):
    results = fmae_zoo.evaluate(
        fmae_zoo.Autoencoder(tiny_spec()), ["elbo", "frozen_head"], data=few
    )
    assert list(results) == ["frozen_head"]
    assert list(results["frozen_head"]) == ["latent"]


def test_a_head_says_how_it_was_trained(quick, few):
    model = fmae_zoo.Autoencoder(tiny_spec())
    results = fmae_zoo.evaluate(model, ["frozen_head", "fine_tuned"], data=few)
    frozen, tuned = results["frozen_head"]["latent"], results["fine_tuned"]
    assert frozen["learning_rate"] == head.HEAD.learning_rate
    assert tuned["learning_rate"] == head.DENSE_TUNING.learning_rate
    assert (frozen["augment"], tuned["augment"]) == (False, True)
    for report in (frozen, tuned):
        assert report["epochs"] == 1
        assert 0.0 <= report["validation_accuracy"] <= 1.0


def test_plans_follow_the_encoder():
    encoder = [{"filters": [4], "pool": "max"}, {"filters": [32], "pool": "average"}]
    network = {**TINY_CONV, "base": [7, 7, 32], "encoder": encoder}
    wide = {"network": network, "latent": {"type": "spatial", "size": 7 * 7 * 32}}
    plans = {}
    for name, spec in (("dense", tiny_spec()), ("wide", tiny_spec(**wide))):
        classifier = fmae_zoo.Classifier(fmae_zoo.Autoencoder(spec).encoder, 10)
        plans[name] = head.head_plan(classifier), head.tuning_plan(classifier)
    assert plans["dense"] == (head.HEAD, head.DENSE_TUNING)
    assert plans["wide"] == (head.WIDE_HEAD, head.CONVOLUTIONAL_TUNING)


def test_an_unknown_figure_is_refused(few):
    with pytest.raises(UnknownModelError, match="linear_probe"):
        fmae_zoo.evaluate(fmae_zoo.Autoencoder(tiny_spec()), ["kid"], data=few)


class Codes:
    """A stand-in for a model whose codes are known."""

    def __init__(self, train, test):
        self.size, self.train, self.test = train.shape[1], train, test

    def subject(self, few):
        subject = Subject(fmae_zoo.Autoencoder(tiny_spec()), few)
        subject.__dict__.update(train_codes=self.train, test_codes=self.test)
        return subject


def test_probes_read_labels_that_the_codes_hold_and_no_others(few):
    rng = np.random.default_rng(0)
    noise = [
        0.05 * rng.standard_normal((n, 10)) for n in (len(few.train_labels), len(few.test_labels))
    ]
    telling = Codes(
        *(np.eye(10)[y] + e for y, e in zip((few.train_labels, few.test_labels), noise))
    )
    silent = Codes(*(rng.standard_normal(e.shape) for e in noise))
    for probe in (linear_probe, knn):
        assert probe(telling.subject(few))["accuracy"] == 1.0
        assert probe(silent.subject(few))["accuracy"] < 0.4


def test_probes_choose_on_validation_not_on_test(few):
    """Test labels do not change what is chosen."""
    model = fmae_zoo.Autoencoder(tiny_spec())
    shuffled = replace(few, test_labels=np.roll(few.test_labels, 1))
    for probe, choice in ((linear_probe, "C"), (knn, "k")):
        one, other = (probe(Subject(model, data)) for data in (few, shuffled))
        assert one[choice] == other[choice]
        assert one["validation_accuracy"] == other["validation_accuracy"]


def test_a_probe_of_one_class_is_an_error_that_says_so(few):
    one = replace(few, train_labels=np.zeros_like(few.train_labels))
    with pytest.raises(DataError, match="all of one class"):
        fmae_zoo.evaluate(fmae_zoo.Autoencoder(tiny_spec()), ["linear_probe"], data=one)


def test_wide_codes_are_not_probed(few):
    wide = fmae_zoo.Autoencoder(tiny_spec(latent={"type": "deterministic", "size": 1025}))
    assert linear_probe(Subject(wide, few)) is None
    assert knn(Subject(wide, few)) is None


def test_reconstruction_figures_are_what_they_say(few):
    model = fmae_zoo.Autoencoder(tiny_spec())
    result = fmae_zoo.evaluate(model, ["reconstruction"], data=few)["reconstruction"]
    images = few.test_images[..., None] / 255.0
    mse = np.mean((images - model.reconstruct(few.test_images)) ** 2)
    assert result["mse"] == pytest.approx(mse, rel=1e-5)
    assert result["psnr"] == pytest.approx(10 * np.log10(1 / mse), rel=1e-5)


@pytest.mark.once
@pytest.mark.parametrize("shape", [(5, 28, 28, 1), (3, 32, 24, 3), (2, 7, 10, 1)])
def test_ssim_is_that_of_scikit_image(shape):
    from skimage.metrics import structural_similarity

    rng = np.random.default_rng(0)
    images = rng.random(shape)
    noisy = np.clip(images + 0.1 * rng.normal(size=shape), 0.0, 1.0)
    side = min(shape[1:3])
    theirs = [
        structural_similarity(
            image,
            other,
            win_size=min(11, side - 1 + side % 2),
            data_range=1.0,
            gaussian_weights=True,
            use_sample_covariance=False,
            channel_axis=-1,
        )
        for image, other in zip(images, noisy)
    ]
    assert mean_ssim(images, noisy) == pytest.approx(np.mean(theirs), abs=1e-9)


def test_ssim_is_one_for_the_same_image_and_uses_an_11_pixel_window(few):
    images = few.test_images[:4, ..., None] / 255.0
    assert mean_ssim(images, images) == pytest.approx(1.0)
    blurred = np.clip(images * 0.5 + 0.2, 0, 1)
    windowed = [
        structural_similarity(
            a[..., 0], b[..., 0], data_range=1.0, gaussian_weights=True, sigma=1.5,
            truncate=5 / 1.5, use_sample_covariance=False,
        )
        for a, b in zip(images, blurred)
    ]  # fmt: skip
    assert mean_ssim(images, blurred) == pytest.approx(np.mean(windowed), abs=1e-9)


def test_pca_is_no_row_where_the_code_is_as_wide_as_the_image(few):
    assert pca_mse(few, 784) is None
    assert pca_mse(few, 12_544) is None
    assert pca_mse(few, 4) > pca_mse(few, 32) > 0


def test_elbo_terms_are_those_of_the_formula(few):
    model = fmae_zoo.Autoencoder(tiny_spec(**VAE))
    result = fmae_zoo.evaluate(model, ["elbo"], data=few)["elbo"]
    images = few.test_images[..., None].astype("float32") / 255
    posterior = model.posterior.predict(images, verbose=0)
    mean, log_variance = posterior["mean"], posterior["log_variance"]
    kl = 0.5 * (mean**2 + np.exp(log_variance) - 1 - log_variance).sum(axis=1).mean()
    noise = np.random.default_rng(0).standard_normal(mean.shape).astype("float32")
    decoded = model.decode(mean + np.exp(log_variance / 2) * noise)
    constant = 392 * np.log(2 * np.pi * 0.04)
    nll = (((decoded - images) ** 2).sum(axis=(1, 2, 3)) / 0.08).mean() + constant
    assert result["kl"] == pytest.approx(kl, rel=1e-4)
    assert result["reconstruction"] == pytest.approx(nll, rel=1e-4)
    assert result["elbo"] == pytest.approx(-kl - nll, rel=1e-4)


def test_a_bernoulli_elbo_is_of_binarised_images(few):
    model = fmae_zoo.Autoencoder(tiny_spec(**VAE | {"objective": {"type": "elbo"}}))
    subject = Subject(model, few)
    binary = binarised_test(subject)
    assert set(np.unique(binary)) == {0.0, 1.0}
    np.testing.assert_array_equal(binary, binarised_test(subject))
    assert fmae_zoo.evaluate(model, ["elbo"], data=few)["elbo"]["likelihood"] == "bernoulli"


@pytest.mark.parametrize("binarise", [False, True])
def test_the_encoder_reads_binarised_images_only_where_it_was_trained_on_them(few, binarise):
    parts = {"objective": {"type": "elbo"}, "recipe": {"binarise": binarise}}
    model = fmae_zoo.Autoencoder(tiny_spec(**VAE | parts))
    binary = binarised_test(Subject(model, few))
    read = binary if binarise else few.test_images[..., None].astype("float32") / 255
    posterior = model.posterior.predict(read, verbose=0)
    mean, log_variance = posterior["mean"], posterior["log_variance"]
    noise = np.random.default_rng(0).standard_normal(mean.shape).astype("float32")
    decoded = model.decode(mean + np.exp(log_variance / 2) * noise).astype("float64")
    nats = -np.log(np.where(binary == 1, decoded, 1 - decoded)).sum(axis=(1, 2, 3)).mean()
    found = fmae_zoo.evaluate(model, ["elbo"], data=few)["elbo"]
    assert found["reconstruction"] == pytest.approx(nats, rel=1e-4)


def training_with(seed, data):
    return TrainingRecord(
        seed=seed,
        epochs=1,
        best_epoch=1,
        seconds=1.0,
        data_digest=data.digest,
        environment=environment(),
    )


def test_figures_go_into_the_manifest_beside_the_others(few, tmp_path):
    fmae_zoo.save(fmae_zoo.Autoencoder(tiny_spec()), tmp_path)
    real = replace(few, is_sample=False)
    record_results(tmp_path, {"knn": {"accuracy": 0.5}}, real)
    record_results(tmp_path, {"linear_probe": {"accuracy": 0.6}}, real)
    record_seed(tmp_path, training_with(7, few), {"knn": {"accuracy": 0.4}}, real)
    manifest = find_entry(tmp_path).manifest
    assert set(manifest.results) == {"knn", "linear_probe"}
    assert manifest.seeds["7"].results["knn"]["accuracy"] == 0.4
    assert manifest.seeds["7"].training.seed == 7
    assert manifest.seeds["7"].evaluations["knn"].data_digest == few.digest
    assert set(manifest.evaluations) == {"knn", "linear_probe"}
    how = manifest.evaluations["knn"]
    assert how.environment["backend"] == keras.backend.backend()
    assert how.data_digest == few.digest


def test_figures_of_other_data_are_not_published(few, tmp_path):
    history = fmae_zoo.train(tiny_spec(), data=few, epochs=1, output=tmp_path)
    assert history.record.data_source == few.source
    other = replace(few, test_labels=few.test_labels[::-1], is_sample=False)
    with pytest.raises(DataError, match="was trained on"):
        record_results(tmp_path, {"knn": {"accuracy": 0.5}}, other)


def test_figures_of_the_sample_are_never_published(sample, tmp_path):
    fmae_zoo.save(fmae_zoo.Autoencoder(tiny_spec()), tmp_path)
    with pytest.raises(DataError, match="sample"):
        record_results(tmp_path, {"knn": {"accuracy": 0.5}}, sample)


def test_writing_twice_by_name_keeps_what_was_written_first(few, tmp_path):
    fmae_zoo.save(fmae_zoo.Autoencoder(tiny_spec()), tmp_path)
    name = fmae_zoo.register(tmp_path)
    real = replace(few, is_sample=False)
    record_results(name, {"knn": {"accuracy": 0.5}}, real, seed=3)
    record_results(name, {"linear_probe": {"accuracy": 0.6}}, real)
    for seed in (1, 2):
        record_seed(name, training_with(seed, few), {"knn": {"accuracy": seed / 10}}, real)
    manifest = find_entry(name).manifest
    assert set(manifest.results) == {"knn", "linear_probe"}
    assert manifest.evaluations["knn"].seed == 3
    figures = {seed: record.results for seed, record in manifest.seeds.items()}
    assert figures == {"1": {"knn": {"accuracy": 0.1}}, "2": {"knn": {"accuracy": 0.2}}}


def test_a_name_is_no_model(few):
    with pytest.raises(ArgumentError, match="received str"):
        fmae_zoo.evaluate("dense-ae", data=few)
