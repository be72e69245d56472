"""Unusual images, and the images most similar to one."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score

import fmae_zoo
from fmae_zoo import Autoencoder, neighbours
from fmae_zoo.anomalies import AnomalyDetector
from fmae_zoo.errors import ArgumentError, ImagesError
from fmae_zoo.neighbours import nearest
from fmae_zoo.plots_ranked import Column, plot_ranked
from tests.conftest import tiny_spec
from tests.test_show import SNAPPED

pytestmark = pytest.mark.usefixtures("eager")

MODELS = ("pca", "dense-ae", "conv-vae-bn")
REFUSED = {
    "told the class": {"classes": 10},
    "hidden pixels": {
        "objective": {"type": "masked_squared_error"},
        "recipe": {"mask": {"probability": 0.5}},
    },
    "2,000 values": {"latent": {"type": "deterministic", "size": 2000}},
}


@pytest.fixture(scope="module", params=MODELS)
def detector(request, sample):
    model = fmae_zoo.load(request.param, pretrained=True)
    return AnomalyDetector(model).fit(sample.train_images[sample.split[1]])


@pytest.fixture(scope="module")
def others():
    digits = np.uint8(load_digits().images[:100] * 255 / 16).repeat(4, 1).repeat(4, 2)
    noise = np.random.default_rng(0).integers(0, 256, (100, 28, 28), dtype=np.uint8)
    return {"noise": noise, "digits": digits[:, 2:-2, 2:-2]}


@pytest.fixture
def photos(sample, tmp_path):
    """Six pictures of clothes, one of noise, and a file that is none."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, image in enumerate(sample.test_images[:6]):
        Image.fromarray(image).save(folder / f"{number}.png")
    noise = np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "noise.png")
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


def test_noise_and_digits_are_more_unusual_than_clothes(detector, others, sample):
    normal = detector.scores(sample.test_images[::4])
    for kind, least in (("noise", 0.99), ("digits", 0.65)):
        other = detector.scores(others[kind])
        labels = np.repeat([0, 1], [len(normal.both), len(other.both)])
        assert roc_auc_score(labels, np.concatenate([normal.both, other.both])) > least


def test_scores_are_what_they_are_said_to_be(detector, images, sample):
    normal = detector.scores(sample.train_images[sample.split[1]])
    found, model = detector.scores(images), detector.model
    squares = np.square(images / 255 - model.reconstruct(images)[..., 0])
    np.testing.assert_allclose(found.reconstruction, squares.sum(axis=(1, 2)), rtol=1e-4)
    errors = normal.reconstruction
    assert (detector.mean[0], detector.deviation[0]) == pytest.approx((errors.mean(), errors.std()))
    # Held-out codes are a little less likely than fitted ones.
    assert 0.0 < detector.mean[1] - normal.density.mean() < detector.deviation[1]
    parts = np.stack([found.reconstruction, found.density], axis=1)
    summed = ((parts - detector.mean) / detector.deviation).sum(axis=1)
    np.testing.assert_allclose(found.both, summed, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("count", [10, 30, 300])
def test_the_sum_is_about_zero_for_normal_images_that_were_not_fitted(count, sample):
    detector = AnomalyDetector(fmae_zoo.load("pca", pretrained=True))
    found = detector.fit(sample.train_images[:count]).scores(sample.test_images).both
    assert -2.5 < np.median(found) < 2.5
    assert np.percentile(found, 95) < 10.0


def test_the_density_is_that_of_scipy(sample):
    from scipy.stats import multivariate_normal

    detector = AnomalyDetector(fmae_zoo.load("pca", pretrained=True)).fit(sample.train_images[:300])
    assert detector.density.n_components == 1
    normal = multivariate_normal(detector.density.means_[0], detector.density.covariances_[0])
    codes = detector.model.encode(sample.test_images[:9])
    expected = -normal.logpdf(codes)
    np.testing.assert_allclose(detector.scores(sample.test_images[:9]).density, expected, rtol=1e-6)


def test_scores_depend_on_the_image_alone(detector, images):
    order = np.random.default_rng(0).permutation(len(images))
    whole, turned, one = (detector.scores(images[each]) for each in (slice(None), order, [3]))
    for name in ("reconstruction", "density", "both"):
        values = getattr(whole, name)
        np.testing.assert_allclose(getattr(turned, name), values[order], rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(getattr(one, name), values[[3]], rtol=1e-3, atol=1e-3)
    assert len(detector.scores(images[:0]).both) == 0


@pytest.mark.parametrize("kind", SNAPPED)
def test_discrete_and_spherical_codes_have_scores(kind, sample, images):
    model = Autoencoder(tiny_spec(**SNAPPED[kind]))
    scores = AnomalyDetector(model).fit(sample.train_images[:100]).scores(images)
    assert all(np.isfinite(each).all() for each in vars(scores).values())


@pytest.mark.parametrize("words", REFUSED)
def test_models_that_cannot_score_an_image_say_why(words):
    model = Autoencoder(tiny_spec(**REFUSED[words]))
    with pytest.raises(ArgumentError, match=words):
        AnomalyDetector(model)


def test_wrong_arguments_are_refused(images):
    detector = AnomalyDetector(Autoencoder(tiny_spec()))
    with pytest.raises(ArgumentError, match="call fit first"):
        detector.scores(images)
    with pytest.raises(ImagesError, match="Expected 10 normal images or more; received 1"):
        detector.fit(images[:1])
    with pytest.raises(ImagesError, match="28"):
        detector.fit(images[:, :20])
    with pytest.raises(ArgumentError, match="seed is -1"):
        detector.fit(images, seed=-1)
    with pytest.raises(ArgumentError, match="expected an Autoencoder"):
        AnomalyDetector("pca")


def test_anomalies_ranks_files_and_draws_them(fmae, photos, idx, tmp_path):
    options = ["--data", idx, "-o", tmp_path / "worst.png"]
    code, out, err = fmae("anomalies", "pca", photos, "nowhere.png", *options, "--top", 3)
    assert code == 0, err
    assert out.splitlines()[2].split()[0].endswith("noise.png")
    assert "100.00%" in out
    assert len(out.splitlines()) == 2 + 3
    assert "broken.png: not a readable picture" in err
    assert "nowhere.png: no such file or folder" in err
    with Image.open(tmp_path / "worst.png") as picture:
        picture.verify()
        assert picture.format == "PNG"


@pytest.mark.parametrize("by", ["reconstruction", "density"])
def test_anomalies_as_json_has_every_image(fmae, photos, idx, sample, tmp_path, by):
    np.save(tmp_path / "floats.npy", sample.test_images[:2] / 255)
    words = ["anomalies", "pca", photos, tmp_path / "floats.npy", "--by", by, "--data", idx]
    code, out, err = fmae(*words, "--json", "-o", tmp_path / "worst.png")
    assert code == 0, err
    content = json.loads(out)
    scores = [each[by] for each in content["images"]]
    assert len(scores) == 9
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= each["percentile"] <= 100 for each in content["images"])
    assert len(content["unreadable"]) == 1
    assert (tmp_path / "worst.png").exists()


@pytest.mark.parametrize("command", ["anomalies", "similar"])
def test_without_a_readable_image_or_a_model_both_fail(fmae, command, photos, idx):
    query = [photos / "0.png"] if command == "similar" else []
    end = [] if query else ["--data", idx]
    code, out, _ = fmae(command, "pca", *query, photos / "broken.png", *end, "--json")
    assert (code, json.loads(out)["error"]["type"]) == (1, "ImagesError")
    assert fmae(command, "pcaa", *query, photos, *end)[0] == 1
    assert fmae(command, "pca", *query)[0] == 2


def test_similar_finds_the_query_itself_first(fmae, photos, tmp_path):
    words = ["similar", "pca", photos / "2.png", photos]
    code, out, err = fmae(*words, "-k", 50, "--json", "-o", tmp_path / "near.png")
    assert code == 0, err
    content = json.loads(out)
    assert (content["searched"], len(content["images"])) == (7, 7)
    first, *rest = content["images"]
    assert first["image"].endswith("2.png")
    assert first["distance"] < 1e-3
    distances = [each["distance"] for each in rest]
    assert distances[0] > 0.1
    assert distances == sorted(distances)
    assert "broken.png" in "".join(content["unreadable"])
    with Image.open(tmp_path / "near.png") as picture:
        picture.verify()
    code, out, _ = fmae(*words, "-k", 2)
    assert (code, len(out.splitlines())) == (0, 2 + 2)


def test_similar_searches_a_data_set(fmae, few, idx, tmp_path):
    Image.fromarray(few.test_images[5]).save(tmp_path / "query.png")
    words = ["similar", "conv-vae-bn", tmp_path / "query.png"]
    code, out, err = fmae(*words, "--data", idx, "-k", 3, "--json")
    assert code == 0, err
    content = json.loads(out)
    assert content["searched"] == len(few.train_images) + len(few.test_images)
    assert content["images"][0]["image"] == "test[5]"
    assert fmae(*words)[0] == 2
    assert fmae(*words, tmp_path, "--data", idx)[0] == 2


def test_similar_asks_for_one_image(fmae, photos, sample, tmp_path):
    np.save(tmp_path / "many.npy", sample.test_images[:3])
    for query, words in (("many.npy", "3 images"), ("photos/broken.png", "not a readable picture")):
        code, _, err = fmae("similar", "pca", tmp_path / query, photos)
        assert code == 1
        assert words in err


def test_nearest_codes_are_those_of_numpy():
    codes, queries = np.random.default_rng(0).standard_normal((2, 40, 5)).astype(np.float32)
    found, distances = nearest(codes, queries[:7], 6)
    exact = np.linalg.norm(queries[:7, None] - codes, axis=2)
    np.testing.assert_array_equal(found, np.argsort(exact, axis=1)[:, :6])
    np.testing.assert_allclose(distances, np.sort(exact, axis=1)[:, :6], rtol=1e-6)
    assert nearest(codes, codes[:2], 99)[0].shape == (2, 40)
    for wrong in (codes[:0], codes[:, :3]):
        with pytest.raises(ArgumentError, match="received shapes"):
            nearest(wrong, queries, 3)


def test_many_codes_are_searched_by_faiss_if_it_is_there(monkeypatch):
    codes = np.random.default_rng(0).standard_normal((30, 4)).astype(np.float32)
    expected, used = nearest(codes, codes[:3], 5), []

    class Index:
        def __init__(self, size):
            used.append(size)

        def add(self, codes):
            self.codes = codes

        def search(self, queries, count):
            squares = np.square(queries[:, None] - self.codes).sum(axis=2)
            order = np.argsort(squares, axis=1)[:, :count]
            return np.take_along_axis(squares, order, axis=1), order

    monkeypatch.setitem(sys.modules, "faiss", SimpleNamespace(IndexFlatL2=Index))
    nearest(codes, codes[:3], 5)
    assert not used
    monkeypatch.setattr(neighbours, "MANY", 20)
    for one, other in zip(nearest(codes, codes[:3], 5), expected):
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert used == [4]
    monkeypatch.setitem(sys.modules, "faiss", None)
    np.testing.assert_array_equal(nearest(codes, codes[:3], 5)[0], expected[0])


def test_the_plot_takes_colour_other_sizes_and_any_number(tmp_path):
    images = np.random.default_rng(0).random((11, 20, 40, 3))
    columns = [Column("1", "$name$" * 9, (each, each), each.mean(2)) for each in images]
    for count in (1, 11):
        path = plot_ranked(columns[:count], tmp_path / "a.png", "title", "note", ("a", "b", "c"))
        with Image.open(path) as picture:
            assert picture.width > 250
