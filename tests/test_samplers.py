"""Samplers: fitted to codes, kept with the model, chosen by name; and how near draws are."""

import json
import re
from dataclasses import replace

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file

import fmae_zoo
from fmae_zoo import Autoencoder
from fmae_zoo.entry import Entry
from fmae_zoo.errors import ArgumentError, DataError, FmaeError, WeightsError
from fmae_zoo.evaluation import Subject, generation
from fmae_zoo.evaluation.record import record_results, record_samplers
from fmae_zoo.latents.deterministic import DeterministicLatent
from fmae_zoo.latents.finite_scalar import FiniteScalarLatent
from fmae_zoo.layers.initial import Seeds
from fmae_zoo.layers.latent import LatentLayer
from fmae_zoo.manifest import Manifest
from fmae_zoo.samplers import SAMPLERS, Mixture, samplers_of, tensors_of, two_stage
from tests.conftest import TINY_CONV, tiny_spec

pytestmark = pytest.mark.usefixtures("eager")

GAUSSIAN = {"latent": {"type": "gaussian", "size": 4}, "objective": {"type": "elbo"}}


def fitted(few, **changes):
    model = Autoencoder(tiny_spec(**changes), seed=1)
    fmae_zoo.fit_samplers(model, few, names=["gmm"])
    return model


def layer_of(latent):
    return LatentLayer(latent, 0, Seeds(0), (28, 28, 1))


CONTINUOUS = DeterministicLatent(type="deterministic", size=3)
DISCRETE = FiniteScalarLatent(type="finite_scalar", size=10, levels=(4, 3))


def assert_draws_alike(one, other):
    assert one.samplers == other.samplers
    assert one.sampler == other.sampler
    for name in one.samplers:
        drawn = [model.generate(3, seed=5, sampler=name) for model in (one, other)]
        np.testing.assert_allclose(*drawn, atol=1e-6)


def test_draws_of_a_mixture_have_the_moments_of_the_codes():
    rng = np.random.default_rng(0)
    factor = rng.standard_normal((3, 3))
    codes = (rng.standard_normal((4000, 3)) @ factor.T + [1, -2, 3]).astype("float32")
    drawn = Mixture.fit(codes, layer_of(CONTINUOUS)).codes(20_000, np.random.default_rng(1))
    np.testing.assert_allclose(drawn.mean(0), codes.mean(0), atol=0.1)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(codes.T), atol=0.3)
    assert Mixture.fit(np.zeros((30, 257), "float32"), layer_of(CONTINUOUS)) is None
    assert Mixture.fit(codes, layer_of(DISCRETE)) is None


def test_draws_of_a_class_are_like_its_codes():
    rng = np.random.default_rng(0)
    centres = np.array([[-5, 0, 5], [5, 5, 0]], "float32")
    classes = np.arange(1000) % 2
    codes = centres[classes] + rng.standard_normal((1000, 3)).astype("float32")
    labels = classes[:, np.newaxis] == np.arange(3)
    mixture = Mixture.fit(codes, layer_of(CONTINUOUS), labels=labels)
    drawn = mixture.codes(4000, rng, np.arange(4000) % 4 % 3)
    np.testing.assert_allclose(drawn[1::4].mean(0), centres[1], atol=0.2)
    np.testing.assert_allclose(drawn[1::4].std(0), 1.0, atol=0.2)
    np.testing.assert_allclose(drawn[::4].mean(0), centres[0], atol=0.2)
    # Of the third class there are no codes: it is drawn like all of them.
    np.testing.assert_allclose(drawn[2::4].mean(0), codes.mean(0), atol=0.4)


def test_codes_that_are_all_the_same_are_drawn_again():
    codes = np.full((40, 3), 2.0, "float32")
    drawn = Mixture.fit(codes, layer_of(CONTINUOUS)).codes(5, np.random.default_rng(0))
    np.testing.assert_allclose(drawn, 2.0, atol=1e-3)


def test_codes_that_no_sampler_suits_are_said_to_be_so(few):
    wide = TINY_CONV | {"base": [7, 7, 32], "encoder": [{"filters": [32], "pool": "max"}] * 2}
    latent = {"type": "spatial", "size": 7 * 7 * 32}
    model = Autoencoder(tiny_spec(network=wide, latent=latent))
    with pytest.raises(ArgumentError, match="spatial codes of 1,568 values suit none"):
        fmae_zoo.fit_samplers(model, few)


def test_a_sampler_of_other_classes_is_refused(few):
    model, other = (fitted(few, classes=classes) for classes in (10, 11))
    assert model.fitted["gmm"].classes == 10
    with pytest.raises(WeightsError, match="of 11 classes; expected 10"):
        model.fitted = other.fitted
    with pytest.raises(WeightsError, match="of 10 classes; expected none"):
        Autoencoder(tiny_spec()).fitted = model.fitted
    alike = Mixture(*(each[:1] for each in fitted(few).fitted["gmm"].tensors().values()))
    model.fitted = {"gmm": alike}
    drawn = alike.codes(6, np.random.default_rng(3))
    images = model.generate(6, seed=3, label=np.arange(6))
    np.testing.assert_allclose(images, model.decode(drawn, label=np.arange(6)), atol=1e-6)


def test_a_class_of_one_image_is_drawn_like_all():
    codes = np.random.default_rng(0).standard_normal((50, 3)).astype("float32")
    labels = (np.arange(50) == 0)[:, None] == np.array([True, False])
    mixture = Mixture.fit(codes, layer_of(CONTINUOUS), labels=labels)
    drawn = mixture.codes(2000, np.random.default_rng(0), np.zeros(2000, int))
    np.testing.assert_allclose(drawn.std(axis=0), codes.std(axis=0), atol=0.2)


def test_samplers_that_are_written_take_the_figure_of_the_old_ones_away(few, tmp_path):
    folder = fmae_zoo.save(fitted(few), tmp_path / "saved")
    measured = replace(few, is_sample=False)
    record_results(
        f"local:{folder}",
        {"generation": {"frechet": 1.0}, "fid": {"fid": 1.0}, "knn": {}},
        measured,
    )
    record_samplers(f"local:{folder}", fitted(few, **GAUSSIAN))
    assert set(Entry.read(folder).manifest.results) == {"knn"}


def test_a_full_disk_leaves_the_samplers_that_were_there(few, tmp_path, monkeypatch):
    model = fitted(few)
    folder = fmae_zoo.save(model, tmp_path / "saved")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Manifest, "write", full)
    with pytest.raises(OSError, match="No space"):
        record_samplers(f"local:{folder}", fitted(few, latent={"type": "deterministic", "size": 4}))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_samplers_of_weights_that_are_gone_go_too(few, tmp_path):
    model = fitted(few)
    fmae_zoo.save(model, tmp_path / "saved")
    model.forget_samplers()
    fmae_zoo.save(model, tmp_path / "saved")
    assert not (tmp_path / "saved" / "samplers.safetensors").exists()
    assert fmae_zoo.load(f"local:{tmp_path / 'saved'}").samplers == ()


def test_a_model_generates_by_the_sampler_that_is_named(few):
    model = fitted(few, **GAUSSIAN)
    assert model.samplers == ("prior", "gmm")
    assert model.sampler == "prior"
    by_name = {name: model.generate(4, seed=2, sampler=name) for name in model.samplers}
    assert not np.allclose(by_name["prior"], by_name["gmm"], atol=1e-3)
    np.testing.assert_array_equal(model.generate(4, seed=2), by_name["prior"])
    model.sampler = "gmm"
    np.testing.assert_array_equal(model.generate(4, seed=2), by_name["gmm"])
    noise = np.random.default_rng(2).standard_normal((4, 4)).astype("float32")
    np.testing.assert_allclose(model.decode(noise), by_name["prior"], atol=1e-6)
    codes = model.fitted["gmm"].codes(4, np.random.default_rng(2))
    np.testing.assert_allclose(model.decode(codes), by_name["gmm"], atol=1e-6)


def test_a_sampler_that_is_not_there_is_refused(few):
    model = Autoencoder(tiny_spec())
    with pytest.raises(FmaeError, match="fit_samplers"):
        model.generate(2)
    with pytest.raises(ArgumentError, match="'prior'; expected one of none"):
        model.sampler = "prior"
    for names, words in (
        (["other"], "names: other; expected some of gmm"),
        (["gmm", 3], "names: 3; expected"),
        ([[1]], "names: [1]; expected"),
        (None, "names is None; expected"),
        (["autoregressive"], "suit none of the samplers autoregressive"),
    ):
        with pytest.raises(ArgumentError, match=re.escape(words)):
            fmae_zoo.fit_samplers(model, few, names=names)
    fmae_zoo.fit_samplers(model, few, names=["gmm"])
    with pytest.raises(ArgumentError, match="'other'; expected one of gmm"):
        model.generate(2, sampler="other")
    with pytest.raises(FmaeError, match="no prior"):
        model.generate(2, sampler="prior")
    assert model.generate(2).shape == (2, 28, 28, 1)


@pytest.mark.parametrize("changes", [{}, GAUSSIAN, {"classes": 10}], ids=["ae", "vae", "told"])
def test_samplers_are_kept_wherever_the_model_is(few, tmp_path, hub, changes):
    model = fitted(few, **changes)
    model.sampler = "gmm"
    fmae_zoo.save(model, tmp_path / "saved")
    assert_draws_alike(model, fmae_zoo.load(f"local:{tmp_path / 'saved'}"))
    model.save(tmp_path / "model.keras")
    assert_draws_alike(model, keras.saving.load_model(tmp_path / "model.keras"))
    fmae_zoo.push(model, "me/with-samplers", token="hf_writer")
    assert_draws_alike(model, fmae_zoo.load("hf://me/with-samplers"))
    folder = fmae_zoo.pull("hf://me/with-samplers", tmp_path / "pulled")
    assert_draws_alike(model, fmae_zoo.load(f"local:{folder}"))
    checks = fmae_zoo.verify(f"local:{folder}")
    assert "samplers.safetensors" in [check.name for check in checks]
    assert all(check.passed is not False for check in checks)
    part = fmae_zoo.load(f"local:{folder}", part="decoder")
    assert part.name.endswith("decoder")


def test_a_folder_is_pushed_with_its_samplers(few, tmp_path, hub):
    model = fitted(few)
    fmae_zoo.save(model, tmp_path / "saved")
    fmae_zoo.push(f"local:{tmp_path / 'saved'}", "me/with-samplers", token="hf_writer")
    assert_draws_alike(model, fmae_zoo.load("hf://me/with-samplers"))
    card = (fmae_zoo.pull("hf://me/with-samplers", tmp_path / "pulled") / "README.md").read_text()
    assert "decoded draws of the sampler gmm" in card


def test_what_samplers_cannot_be_fitted_to_is_refused(few):
    for model in ("tiny-ae", fmae_zoo.Classifier(Autoencoder(tiny_spec()).encoder, 10)):
        with pytest.raises(ArgumentError, match="expected an Autoencoder"):
            fmae_zoo.fit_samplers(model, few)
    two = replace(few, train_images=few.train_images[:2], train_labels=few.train_labels[:2])
    with pytest.raises(DataError, match="1 images to fit samplers to"):
        fmae_zoo.fit_samplers(Autoencoder(tiny_spec()), two)
    model = Autoencoder(tiny_spec())
    model.set_weights([np.full_like(each, np.nan) for each in model.get_weights()])
    with pytest.raises(ArgumentError, match="codes are NaN or infinite"):
        fmae_zoo.fit_samplers(model, few)


def test_a_damaged_file_of_samplers_is_refused(few, tmp_path):
    fmae_zoo.save(fitted(few), tmp_path / "saved")
    path = tmp_path / "saved" / "samplers.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"samplers\.safetensors"):
        fmae_zoo.load(f"local:{tmp_path / 'saved'}")


def test_an_autoregressive_sampler_is_stored_in_half_and_draws_the_same(few, tmp_path, compiled):
    latent = {"type": "finite_scalar", "size": 4, "levels": [4, 3]}
    model = Autoencoder(tiny_spec(latent=latent), seed=1)
    fmae_zoo.fit_samplers(model, few, names=["autoregressive"])
    folder = fmae_zoo.save(model, tmp_path / "saved")
    stored = load_file(folder / "samplers.safetensors")
    assert {str(each.dtype) for key, each in stored.items() if "kernel" in key} == {"float16"}
    assert stored["autoregressive.alphabet"].dtype == np.float32
    assert_draws_alike(model, fmae_zoo.load(f"local:{folder}"))


def test_tensors_that_are_no_sampler_are_refused(few):
    tensors = tensors_of(fitted(few).fitted)
    assert samplers_of(tensors, 4)["gmm"].codes(2, np.random.default_rng(0)).shape == (2, 4)
    with pytest.raises(WeightsError, match="expected tensors of shapes"):
        samplers_of(tensors, 5)
    with pytest.raises(WeightsError, match="there is no sampler other"):
        samplers_of({"other.weights": np.ones(2)}, 4)
    with pytest.raises(WeightsError, match="sum to one"):
        samplers_of(tensors | {"gmm.weights": tensors["gmm.weights"] * 2}, 4)
    with pytest.raises(WeightsError, match="expected tensors"):
        samplers_of({"gmm.weights": tensors["gmm.weights"]}, 4)
    with pytest.raises(WeightsError, match="expected tensors"):
        samplers_of(tensors | {"gmm.weights": np.array(1.0)}, 4)
    for damaged in (tensors["gmm.means"] * np.nan, tensors["gmm.means"] * 1j):
        with pytest.raises(WeightsError, match="finite numbers, float32"):
            samplers_of(tensors | {"gmm.means": damaged}, 4)


def test_the_command_fits_keeps_and_says_so(few, tmp_path, fmae, idx, monkeypatch):
    monkeypatch.setattr(two_stage, "EPOCHS", 1)
    history = fmae_zoo.train(tiny_spec(**GAUSSIAN), data=few, epochs=1)
    folder = tmp_path / "mine"
    fmae_zoo.save(history.model, folder)
    source = f"local:{folder}"
    code, out, _ = fmae("samplers", source, "--data", idx, "--json")
    assert code == 0
    assert json.loads(out)["default"] == "prior"
    assert not (folder / "samplers.safetensors").exists()
    assert fmae("samplers", source, "--data", idx, "--write")[0] == 0
    assert fmae_zoo.load(source).samplers == ("prior", "gmm", "two-stage")
    new = tmp_path / "new.png"
    code, out, _ = fmae("generate", source, "-n", 4, "-o", new, "--json")
    assert (code, json.loads(out)["sampler"]) == (0, "prior")
    code, out, _ = fmae("generate", source, "-n", 4, "--sampler", "gmm", "-o", new, "--json")
    assert (code, json.loads(out)["sampler"]) == (0, "gmm")


# How near draws are to real images.


def test_the_distance_is_that_of_normal_distributions():
    rng = np.random.default_rng(0)
    one, other = rng.standard_normal((2, 20_000, 3))
    assert generation.frechet(one, one) == pytest.approx(0.0, abs=1e-8)
    assert generation.frechet(one, one + [1, 2, 0]) == pytest.approx(5.0)
    # Of independent values: the sum of (s - t)^2 of the standard deviations.
    assert generation.frechet(one * [1, 2, 3], other) == pytest.approx(5.0, rel=0.05)
    from scipy.linalg import sqrtm

    other = other @ rng.standard_normal((3, 3)) + 1
    covariances = np.cov(one.T), np.cov(other.T)
    trace = np.trace(covariances[0] + covariances[1] - 2 * sqrtm(covariances[0] @ covariances[1]))
    expected = trace.real + np.square(one.mean(0) - other.mean(0)).sum()
    assert generation.frechet(one, other) == pytest.approx(expected, rel=1e-6)


def test_precision_and_recall_tell_what_is_made_up_from_what_is_left_out():
    rng = np.random.default_rng(0)
    left, right = rng.standard_normal((500, 2)), rng.standard_normal((500, 2)) + 100
    both = np.concatenate([left, right])
    precision, recall = generation.overlap(rng.standard_normal((400, 2)), both)
    assert precision > 0.9
    assert 0.4 < recall < 0.55
    precision, recall = generation.overlap(both, rng.standard_normal((400, 2)))
    assert 0.4 < precision < 0.55
    assert recall > 0.9


def test_the_figure_is_of_each_sampler_and_of_reconstructions(few, monkeypatch):
    monkeypatch.setattr(generation, "is_measured_on", lambda spec, data: True)
    monkeypatch.setattr(generation, "COUNT", 40)
    monkeypatch.setattr(
        generation, "features_of", lambda images: np.reshape(images, (len(images), -1))[:, ::100]
    )
    model = Autoencoder(tiny_spec(**GAUSSIAN), seed=1)
    distances = fmae_zoo.fit_samplers(model, few, names=["gmm"])
    assert distances.keys() == {"prior", "gmm"}
    assert model.sampler == min(distances, key=distances.get)
    figure = generation.generation(Subject(model, few))
    assert figure["sampler"] == model.sampler
    assert figure["frechet"] == figure[f"frechet_{model.sampler}"]
    drawn = model.generate(40, sampler="prior").reshape(40, -1)[:, ::100]
    real = few.test_images.reshape(len(few.test_images), -1)[:, ::100]
    assert figure["frechet_prior"] == pytest.approx(generation.frechet(drawn, real))
    assert 0 <= figure["precision"] <= 1
    assert 0 <= figure["recall"] <= 1
    shown = {measure.key for measure in generation.FIGURE.protocols[0].results}
    assert {key for key in figure if key.startswith("frechet")} <= shown
    assert {f"frechet_{name}" for name in SAMPLERS} <= shown


def test_the_figure_does_not_apply_to_the_sample(few):
    assert generation.generation(Subject(Autoencoder(tiny_spec()), few)) is None


def test_a_training_drops_what_was_fitted_to_the_codes_before_it(few):
    for train in ("fit", "train_on_batch"):
        model = fitted(few, **GAUSSIAN)
        model.sampler = "gmm"
        model.compile("adam")
        getattr(model, train)(few.train_images[:8, ..., None] / np.float32(255))
        assert (model.samplers, model.sampler) == (("prior",), "prior")
