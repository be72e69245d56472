"""Images between two codes and along their values, and the page of pictures."""

import base64
import io
import json
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

import fmae_zoo
from fmae_zoo import Autoencoder
from fmae_zoo.datasets import Dataset
from fmae_zoo.entry import Entry
from fmae_zoo.errors import ArgumentError, DataError, ImagesError
from fmae_zoo.hub.contents import pictures_in, stage
from fmae_zoo.images import to_numpy
from fmae_zoo.looking import kl_of_values, linear, most_used, spherical
from fmae_zoo.show import page_of
from tests.conftest import tiny_spec

GAUSSIAN = {"latent": {"type": "gaussian", "size": 4}, "objective": {"type": "elbo"}}
VECTORS = {
    "latent": {"type": "vector_quantized", "size": 8, "dimension": 4, "vectors": 5},
    "objective": {"type": "committed_squared_error"},
}
SNAPPED = {
    "vectors": VECTORS,
    "categories": {
        "latent": {"type": "categorical", "size": 8, "categories": 4},
        "objective": {"type": "elbo"},
    },
    "levels": {"latent": {"type": "finite_scalar", "size": 4, "levels": [4, 5]}},
    "sphere": {
        "latent": {"type": "power_spherical", "size": 4},
        "objective": {"type": "elbo"},
    },
}


@pytest.fixture(scope="module")
def vae():
    return Autoencoder(tiny_spec(**GAUSSIAN), seed=1)


def test_the_ends_of_an_interpolation_are_the_reconstructions(vae, images):
    for method in ("linear", "spherical"):
        made = vae.interpolate(images[:3], images[3:6], steps=5, method=method)
        assert made.shape == (3, 5, 28, 28, 1)
        assert made.dtype == np.float32
        np.testing.assert_allclose(made[:, 0], vae.reconstruct(images[:3]), atol=1e-5)
        np.testing.assert_allclose(made[:, -1], vae.reconstruct(images[3:6]), atol=1e-5)


def test_the_middle_of_an_interpolation_is_the_mean_code_decoded(vae, images):
    codes = vae.encode(images[:2])
    mean = codes.mean(axis=0, keepdims=True)
    np.testing.assert_allclose(
        vae.interpolate(images[0], images[1], steps=3)[0, 1:2], vae.decode(mean), atol=1e-5
    )
    # On the arc it is as long as both codes where they are equally long: sin(a/2) / sin(a) of each.
    angle = np.arccos(codes[0] @ codes[1] / np.linalg.norm(codes, axis=1).prod())
    on_arc = codes.sum(axis=0, keepdims=True) * np.sin(angle / 2) / np.sin(angle)
    made = vae.interpolate(images[0], images[1], steps=3, method="spherical")
    np.testing.assert_allclose(made[0, 1:2], vae.decode(on_arc), atol=1e-5)
    assert np.abs(vae.decode(mean) - vae.decode(on_arc)).max() > 1e-4


def test_the_arc_is_that_of_scipy_and_keeps_the_length_of_codes():
    from scipy.spatial import geometric_slerp

    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((2, 6, 5))
    first, second = (each / np.linalg.norm(each, axis=1)[:, None] for each in (first, second))
    shares = np.linspace(0, 1, 7)
    way = spherical(first, second, shares)
    expected = [geometric_slerp(a, b, shares) for a, b in zip(first, second)]
    np.testing.assert_allclose(way, expected, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(3 * way, axis=2), 3.0)
    assert np.linalg.norm(linear(first, second, shares), axis=2).min() < 0.9


@pytest.mark.parametrize("times", [1.0, 2.0, -1.0, 0.0])
def test_codes_on_one_line_are_joined_by_it(times):
    first = np.array([[1.0, -2.0, 0.5]])
    shares = np.linspace(0, 1, 5)
    way = spherical(first, times * first, shares)
    np.testing.assert_allclose(way, linear(first, times * first, shares), atol=1e-9)


def test_a_traversal_moves_the_chosen_values_and_no_other(vae, images, sample):
    [code] = vae.encode(images[:1])
    deviation = vae.encode(sample.train_images).std(axis=0)
    made = vae.traverse(images[0], values=[2, 0], steps=5, extent=2.0)
    assert made.shape == (2, 5, 28, 28, 1)
    for row, value in zip(made, (2, 0)):
        np.testing.assert_allclose(row[2:3], vae.reconstruct(images[:1]), atol=1e-5)
        for image, times in zip(row, (-2, -1, 0, 1, 2)):
            moved = code.copy()
            moved[value] += times * deviation[value]
            np.testing.assert_allclose(image[None], vae.decode(moved[None]), atol=1e-5)
    np.testing.assert_allclose(vae.traverse(code, (2, 0), 5, 2.0), made, atol=1e-6)
    others = vae.traverse(code, [0], 5, 2.0, images=images)
    assert np.abs(others - made[1]).max() > 1e-5


def test_the_kl_of_values_is_that_of_torch():
    from torch import distributions, from_numpy

    mean, log_variance = np.random.default_rng(0).standard_normal((2, 9, 3))
    scale = np.exp(log_variance / 2)
    posterior = distributions.Normal(from_numpy(mean), from_numpy(scale))
    exact = distributions.kl_divergence(posterior, distributions.Normal(0.0, 1.0))
    np.testing.assert_allclose(kl_of_values(mean, log_variance), exact.mean(0).numpy(), rtol=1e-6)


def test_the_most_used_values_are_moved_by_default(vae, images):
    use, deviation = vae.use_of_values(images)
    found = vae.posterior.predict(images[..., None] / np.float32(255), verbose=0)
    np.testing.assert_allclose(use, kl_of_values(found["mean"], found["log_variance"]), rtol=1e-4)
    np.testing.assert_allclose(deviation, vae.encode(images).std(axis=0), rtol=1e-5)
    order = list(most_used(use))
    assert order == sorted(range(4), key=lambda value: -use[value])
    made = vae.traverse(images[0], steps=3, images=images)
    np.testing.assert_allclose(made, vae.traverse(images[0], order, 3, images=images), atol=1e-6)
    plain = Autoencoder(tiny_spec(), seed=1)
    np.testing.assert_allclose(
        plain.use_of_values(images)[0], plain.encode(images).var(axis=0), rtol=1e-5
    )
    wide = Autoencoder(tiny_spec(latent={"type": "deterministic", "size": 12}))
    assert wide.traverse(images[0], steps=2, images=images).shape == (8, 2, 28, 28, 1)


def nearest_of(kind, model, codes):
    """The nearest codes, by NumPy."""
    if kind == "sphere":
        return codes / np.linalg.norm(codes, axis=1)[:, None]
    if kind == "categories":
        return np.eye(4)[codes.reshape(-1, 2, 4).argmax(axis=2)].reshape(-1, 8)
    if kind == "levels":
        levels = (np.arange(-2, 2) / 2, np.arange(-2, 3) / 2)
        grids = [levels[value % 2] for value in range(4)]
        columns = [
            grid[np.abs(codes[:, [i]] - grid).argmin(axis=1)] for i, grid in enumerate(grids)
        ]
        return np.stack(columns, axis=1)
    book = to_numpy(model.latent.codebook.embeddings.value)
    groups = codes.reshape(-1, 4)
    gaps = np.square(groups[:, None] - book).sum(axis=2)
    return book[gaps.argmin(axis=1)].reshape(-1, 8)


@pytest.mark.parametrize("kind", SNAPPED)
def test_codes_that_a_latent_does_not_have_become_the_nearest_that_it_has(kind, images):
    model = Autoencoder(tiny_spec(**SNAPPED[kind]), seed=1)
    codes = model.encode(images)
    np.testing.assert_allclose(to_numpy(model.latent.nearest(codes)), codes, atol=1e-6)
    some = np.random.default_rng(0).standard_normal((40, codes.shape[1])).astype("float32")
    expected = nearest_of(kind, model, some)
    np.testing.assert_allclose(to_numpy(model.latent.nearest(some)), expected, atol=1e-6)
    way = linear(codes[:1], codes[1:2], np.linspace(0, 1, 4))[0]
    made = model.interpolate(images[0], images[1], steps=4)[0]
    np.testing.assert_allclose(made, model.decode(nearest_of(kind, model, way)), atol=1e-5)


def test_one_that_is_told_the_class_is_told_that_of_each_row(images):
    model = Autoencoder(tiny_spec(classes=10, **GAUSSIAN), seed=1)
    made = model.interpolate(images[:2], images[2:4], steps=3, label=[4, 7])
    np.testing.assert_allclose(made[0, 0], model.reconstruct(images[:1], label=4)[0], atol=1e-5)
    np.testing.assert_allclose(made[1, 2], model.reconstruct(images[3:4], label=7)[0], atol=1e-5)
    row = model.traverse(images[0], [1], 3, images=images, label=7)
    np.testing.assert_allclose(row[0, 1], model.reconstruct(images[:1], label=7)[0], atol=1e-5)
    for wrong in ({}, {"label": [4, 7, 1]}, {"label": 11}):
        with pytest.raises(ArgumentError, match="label"):
            model.interpolate(images[:2], images[2:4], **wrong)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda ae, x: ae.interpolate(x, x[:2]), ImagesError, "16 first images and 2 second"),
        (lambda ae, x: ae.interpolate(x[:, :9], x), ImagesError, "Expected images of shape"),
        (lambda ae, x: ae.interpolate(x, x, steps=1), ArgumentError, "steps is 1"),
        (lambda ae, x: ae.interpolate(x, x, steps=2.5), ArgumentError, "steps is 2.5"),
        (lambda ae, x: ae.interpolate(x, x, method="cubic"), ArgumentError, "linear, spherical"),
        (lambda ae, x: ae.interpolate(x, x, label=1), ArgumentError, "told none"),
        (lambda ae, x: ae.traverse(x), ImagesError, "received 16 images"),
        (lambda ae, x: ae.traverse(np.zeros(5)), ArgumentError, "a code of 4 numbers"),
        (lambda ae, x: ae.traverse(np.full(4, np.nan)), ArgumentError, "finite"),
        (lambda ae, x: ae.traverse(["a"] * 4), ArgumentError, "a code of 4 numbers"),
        (lambda ae, x: ae.traverse(x[0], [4]), ArgumentError, "is 4; expected .* 0 to 3"),
        (lambda ae, x: ae.traverse(x[0], [-1]), ArgumentError, "is -1"),
        (lambda ae, x: ae.traverse(x[0], 2), ArgumentError, "values is 2"),
        (lambda ae, x: ae.traverse(x[0], steps=1), ArgumentError, "steps is 1"),
        (lambda ae, x: ae.traverse(x[0], extent=0), ArgumentError, "extent is 0"),
        (lambda ae, x: ae.traverse(x[0], images=x[:1]), ImagesError, "two images or more"),
    ],
)
def test_what_cannot_be_shown_is_refused(vae, images, call, error, words):
    with pytest.raises(error, match=words):
        call(vae, images)


class Page(HTMLParser):
    """Reads a page: its pictures, texts, and whether each element is closed."""

    VOID = ("meta", "img", "link", "br", "hr", "input")

    def __init__(self, text):
        super().__init__()
        self.open, self.pictures, self.tags, self.texts = [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag == "img":
            self.pictures.append(dict(attrs))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else "", data.strip()))

    def all(self, tag):
        return [text for of, text in self.texts if of == tag and text]


def shown(model, data, folder, seed=0):
    fmae_zoo.save(model, folder, images=data.test_images)
    return page_of(model, Entry.read(folder), data, seed)


def checked(text):
    page = Page(text)
    assert not {"script", "link", "iframe"} & set(page.tags)
    assert not [word for word in ("http:", "https:", "url(", "@import", "//cdn") if word in text]
    for picture in page.pictures:
        assert picture["alt"].strip()
        kind, _, content = picture["src"].partition(",")
        assert kind == "data:image/png;base64"
        with Image.open(io.BytesIO(base64.b64decode(content))) as image:
            assert image.getchannel("A").getextrema() == (0, 255) or image.height == 28
            if picture["class"] != "chart":
                times = int(picture["width"]) / image.width
                assert times == int(times) == int(picture["height"]) / image.height
    return page


def test_the_page_is_well_formed_and_loads_nothing(few, tmp_path):
    model = Autoencoder(tiny_spec(summary="<script>alert(1)</script> & more", **GAUSSIAN), seed=1)
    fmae_zoo.fit_samplers(model, few)
    model.sampler = "gmm"
    text, titles, left_out = shown(model, few, tmp_path / "vae")
    page = checked(text)
    assert page.all("h1") == ["tiny-ae"]
    assert "<script>alert(1)</script> & more" in page.all("p")
    assert page.all("h2") == titles
    assert titles == [
        "New images",
        "Reconstructions",
        "Between two images",
        "Along the values of the code",
        "Nearest neighbours",
        "Arithmetic of codes",
        "Use of the code",
    ]
    assert not left_out
    captions = page.all("figcaption")
    assert captions[:2] == ["Sampler: gmm, the default", "Sampler: prior, the latent's own"]
    assert "minus Sneaker, plus Ankle boot" in captions
    assert any("small sample" in each for each in page.all("p"))
    again = page_of(model, Entry.read(tmp_path / "vae"), few, 0)
    assert again[0] == text


def test_a_model_without_a_prior_says_so_and_one_that_is_told_classes_shows_them(few, tmp_path):
    text, titles, left_out = shown(Autoencoder(tiny_spec(**VECTORS)), few, tmp_path / "plain")
    page = checked(text)
    assert "New images" not in titles
    assert "no prior" in left_out["New images"]
    assert any("no prior" in each for each in page.all("dd"))
    assert any("replaced by the nearest" in each for each in page.all("p"))
    assert any("perplexity" in each for each in page.all("p"))
    told = Autoencoder(tiny_spec(classes=10, **GAUSSIAN))
    page = checked(shown(told, few, tmp_path / "told")[0])
    assert "One code, each class" in page.all("h2")
    assert "Arithmetic of codes" not in page.all("h2")
    bare = replace(few, train_labels=None, test_labels=None)
    with pytest.raises(DataError, match="no labels"):
        page_of(told, Entry.read(tmp_path / "told"), bare)
    with pytest.raises(DataError, match="two training and two test images"):
        page_of(
            told,
            Entry.read(tmp_path / "told"),
            replace(few, test_images=few.test_images[:1], test_labels=few.test_labels[:1]),
        )


def test_colour_images_without_labels_have_a_page(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 8, 6, 3), dtype=np.uint8)
    data = Dataset(pixels[:25], None, pixels[25:], None, "mine")
    model = Autoencoder(tiny_spec(shape=[8, 6, 3], data="mine"))
    with pytest.raises(ArgumentError, match="images="):
        model.traverse(pixels[0])
    text, _, left_out = shown(model, data, tmp_path / "colour")
    page = checked(text)
    assert {picture["class"] for picture in page.pictures} == {"colour", "chart"}
    assert "no labels" in left_out["Arithmetic of codes"]


def test_the_command_writes_the_page(fmae, idx, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fmae_zoo.save(Autoencoder(tiny_spec(**GAUSSIAN)), tmp_path / "model")
    source = f"local:{tmp_path / 'model'}"
    code, out, _ = fmae("show", source, "--data", idx, "-o", "page.html", "--json")
    assert code == 0
    facts = json.loads(out)
    assert facts["output"] == "page.html"
    assert facts["sections"][0] == "New images"
    assert checked((tmp_path / "page.html").read_text(encoding="utf-8")).pictures
    code, _, error = fmae("show", source, "-o", "page.pdf")
    assert code == 2
    assert ".html" in error


def test_a_published_model_has_pictures_on_its_card(tmp_path):
    for name in ("told", "staged"):
        (tmp_path / name).mkdir()
    entry = stage(Autoencoder(tiny_spec(classes=10, **GAUSSIAN)), tmp_path / "told")
    names = pictures_in(tmp_path / "told")
    assert names == ["reconstructions.png", "draws.png", "traversals.png"]
    assert sum(entry.manifest.files[name].size for name in names) < 300_000
    pixels = np.random.default_rng(0).integers(0, 256, (5, 8, 6, 3), dtype=np.uint8)
    colour = Autoencoder(tiny_spec(shape=[8, 6, 3], data="mine"))
    fmae_zoo.save(colour, tmp_path / "saved", images=pixels)
    assert not pictures_in(tmp_path / "saved")
    stage(tmp_path / "saved", tmp_path / "staged")
    names = pictures_in(tmp_path / "staged")
    assert names == ["reconstructions.png", "interpolations.png", "traversals.png"]
