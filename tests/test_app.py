"""What the tabs of `fmae app` show, computed without a browser; and the Space of the page."""

import base64
import io
import re
import threading

import numpy as np
import pytest
import yaml
from PIL import Image

import fmae_zoo
import tests.hub.spaces  # noqa: F401 - the routes of Spaces
from fmae_zoo.errors import ArgumentError, HubPermissionError, ImagesError
from tests.conftest import tiny_spec

gradio = pytest.importorskip("gradio", reason="the extra app is not installed")

from fmae_zoo.app import (  # noqa: E402
    compare,
    drawing,
    generate,
    loaded,
    page,
    reconstruct,
    space,
    train,
    walk,
)

pytestmark = pytest.mark.usefixtures("eager")
GAUSSIAN = {"latent": {"type": "gaussian", "size": 4}, "objective": {"type": "elbo"}}


@pytest.fixture
def saved(tmp_path, few, monkeypatch):
    """Save a small model with random weights, and return its name; the data are a few images."""
    monkeypatch.setattr(loaded, "dataset", lambda name: few)
    names = []

    def save(**changes):
        folder = tmp_path / f"model-{len(names)}"
        fmae_zoo.save(fmae_zoo.Autoencoder(tiny_spec(**changes), seed=3), folder)
        names.append(f"local:{folder}")
        return names[-1]

    yield save
    for name in names:
        loaded._models.pop(name, None)


def pixels(address: str) -> np.ndarray:
    """Return the picture of a data URI as it is stored, in [0, 1]."""
    data = base64.b64decode(address.partition("base64,")[2])
    return np.asarray(Image.open(io.BytesIO(data))) / 255.0


def test_a_result_has_error_neighbours_and_classes(saved, few):
    name = saved()
    model = fmae_zoo.load(name)
    html = reconstruct.result(name, few.test_images[5], int(few.test_labels[5]), 5, "fashion-mnist")
    image = few.test_images[5:6, ..., None] / 255.0
    error = np.mean((model.reconstruct(image.astype(np.float32)) - image) ** 2)
    assert f"Mean squared error {error:.4f}" in html
    assert html.count("<figure") == 3 + reconstruct.NEIGHBOURS
    pictures = [pixels(each) for each in re.findall(r'src="([^"]+)"', html)]
    np.testing.assert_allclose(pictures[0], 1.0 - image[0, ..., 0], atol=1e-6)
    assert all(not np.allclose(pictures[0], each) for each in pictures[3:])
    assert html.count('class="fmae-bar"') == 2 * reconstruct.CLASSES


def test_a_result_of_an_unknown_model_is_a_sentence(few):
    html = reconstruct.result("conv-ae", few.test_images[0])
    assert "There is no model" in html
    assert 'role="alert"' in html


def test_the_nearest_codes_vote_where_there_is_no_classifier(saved, few, monkeypatch):
    look = loaded.loaded(saved())
    monkeypatch.setattr(type(look.model.spec), "takes_fashion_mnist", False)
    votes = look.probabilities(few.test_images[:3])
    np.testing.assert_allclose(votes.sum(axis=1), 1.0)
    assert votes[0, few.test_labels[0]] >= 0.1


@pytest.mark.parametrize("size", [2, 4])
def test_a_place_of_the_map_is_decoded(saved, few, size):
    name = saved(latent={"type": "deterministic", "size": size})
    look = loaded.loaded(name)
    codes = look.model.encode(few.test_images)
    shown = walk.map_of(name)
    assert len(shown["x"]) == len(shown["label"]) == len(few.test_images)
    x, y = shown["x"][7], shown["y"][7]
    start = walk.start_at(name, 7, x, y)
    np.testing.assert_allclose(start["code"], codes[7], atol=1e-3)
    if size == 2:
        there = walk.start_at(name, 7, x + 1.0, y - 2.0)
        np.testing.assert_allclose(there["code"], codes[7] + [1.0, -2.0], atol=1e-3)
    made = walk.moved(name, start, [])
    np.testing.assert_allclose(made, look.model.reconstruct(few.test_images[7:8])[0], atol=1e-3)


def test_a_slider_moves_the_most_used_value(saved, few):
    name = saved()
    look = loaded.loaded(name)
    use, deviation = look.model.use_of_values(few.train_images)
    code = look.codes[0].copy()
    start = {"code": code.copy(), "label": None}
    made = walk.moved(name, start, [1.5, 0.0])
    code[use.argmax()] += 1.5 * deviation[use.argmax()]
    np.testing.assert_allclose(made, look.model.decode(code[None])[0], atol=1e-5)
    assert np.abs(made - walk.moved(name, start, [])).max() > 1e-6


def test_a_path_begins_and_ends_at_the_images(saved, few):
    name = saved()
    model = loaded.loaded(name).model
    shown = walk.path(name, 1, 9)
    frames = np.split(1.0 - pixels(shown["sprite"]), shown["count"], axis=1)
    ends = model.reconstruct(few.test_images[[1, 9]])[..., 0]
    np.testing.assert_allclose(frames[0], ends[0], atol=3e-3)
    np.testing.assert_allclose(frames[-1], ends[1], atol=3e-3)


def test_a_conditional_model_is_told_the_class(saved, few):
    name = saved(classes=10, **GAUSSIAN)
    html = reconstruct.result(
        name, few.test_images[0], label=int(few.test_labels[0]), data="fashion-mnist"
    )
    assert "Mean squared error" in html
    assert walk.start_at(name, 3, 0.0, 0.0)["label"] == few.test_labels[3]
    images = [generate.drawn(name, 4, 0, "prior", label, 0.5) for label in (1, 2)]
    assert not np.allclose(*images)
    assert [number for _, number in generate.classes_of(loaded.loaded(name))] == list(range(10))


def test_temperature(saved):
    name = saved(**GAUSSIAN)
    model = loaded.loaded(name).model
    same = generate.drawn(name, 4, 7, "prior", None, 1.0)
    np.testing.assert_array_equal(same, model.generate(4, 7))
    cold = generate.drawn(name, 4, 7, "prior", None, 0.0)
    np.testing.assert_allclose(cold, np.broadcast_to(cold[:1], cold.shape), atol=1e-6)
    codes = np.random.default_rng(7).standard_normal((4, 4)).astype(np.float32)
    warm = generate.drawn(name, 4, 7, "prior", None, 2.0)
    np.testing.assert_allclose(warm, model.decode(2.0 * codes), atol=1e-5)
    assert generate.has_temperature(name, "prior")
    with pytest.raises(ArgumentError, match="temperature is -1"):
        generate.drawn(name, 4, 7, "prior", None, -1.0)


def test_discrete_codes_have_no_temperature(saved):
    latent = {"type": "categorical", "size": 6, "categories": 3}
    name = saved(latent=latent, objective={"type": "elbo"})
    assert not generate.has_temperature(name, "prior")


def test_a_training_tells_how_it_goes_and_saves(few, tmp_path):
    told = list(train.training("dense-ae", 2, few, tmp_path / "run"))
    rows = [each["rows"] for each in told if "rows" in each]
    assert [len(each) for each in rows] == [1, 2]
    assert told[-1]["made"].shape == (train.SHOWN, 28, 28, 1)
    assert fmae_zoo.load(f"local:{tmp_path / 'run'}").reconstruct(few.test_images).max() <= 1.0
    with pytest.raises(fmae_zoo.TrainingError, match="checkpoint"):
        list(train.training("dense-ae", 2, few, tmp_path / "run"))


def test_a_training_stops_after_the_epoch(few, tmp_path):
    stop = threading.Event()
    running = train.training("dense-ae", 50, few, tmp_path / "run", stop)
    next(running)
    stop.set()
    with pytest.raises(ArgumentError, match="Another training"):
        next(train.training("dense-ae", 1, few, tmp_path / "other"))
    rows = [each["rows"] for each in running if "rows" in each]
    assert len(rows[-1]) < 10
    assert fmae_zoo.load(f"local:{tmp_path / 'run'}").spec.name == "dense-ae"


@pytest.mark.once
def test_uploads(tmp_path, few):
    dark = np.zeros((60, 60), np.uint8)
    dark[20:40, 20:40] = 200
    Image.fromarray(dark).save(tmp_path / "dark.png")
    Image.fromarray(255 - dark).save(tmp_path / "bright.png")
    np.save(tmp_path / "arrays.npy", few.test_images[:3])
    one, note = reconstruct.uploaded(tmp_path / "dark.png", (28, 28, 1))
    assert (one.shape, note, one[14, 14]) == ((28, 28), "", 200)
    same, note = reconstruct.uploaded(tmp_path / "bright.png", (28, 28, 1))
    assert "inverted" in note
    np.testing.assert_allclose(same.astype(int), one.astype(int), atol=1)
    first, _ = reconstruct.uploaded(tmp_path / "arrays.npy", (28, 28, 1))
    np.testing.assert_array_equal(first, few.test_images[0])


@pytest.mark.once
@pytest.mark.failure
@pytest.mark.parametrize("name", ["words.txt", "broken.png", "other.npy"])
def test_a_wrong_upload_is_refused_in_a_sentence(tmp_path, name):
    (tmp_path / name).write_bytes(b"not a picture")
    with pytest.raises(ImagesError, match=f"{name}: expected a picture") as refused:
        reconstruct.uploaded(tmp_path / name, (28, 28, 1))
    assert str(tmp_path) not in str(refused.value)


@pytest.mark.once
def test_a_drawing_is_bright_on_black():
    layer = np.zeros((280, 280, 4), np.uint8)
    with pytest.raises(ImagesError, match="nothing was drawn"):
        reconstruct.drawn({"layers": [layer]}, (28, 28, 1))
    layer[100:200, 50:150, 3] = 255
    image = reconstruct.drawn({"layers": [layer]}, (28, 28, 1))
    assert (image.shape, image[15, 10], image[0, 0]) == ((28, 28), 255, 0)
    assert reconstruct.drawn({"layers": [layer]}, (32, 32, 3)).shape == (32, 32, 3)


@pytest.mark.once
def test_residual_colours():
    image, made = np.full((1, 3, 1), 0.5), np.array([[[1.0], [0.5], [0.0]]])
    colours = drawing.residual(image, made)[0].tolist()
    assert colours == [[255, 0, 0], [255, 255, 255], [0, 0, 255]]


@pytest.mark.once
def test_the_scatter_shows_published_figures():
    names, shown = compare.scatter("reconstruction.mse", "parameters")
    index = names.index("conv-ae-bn")
    assert shown["x"][index] == pytest.approx(0.00294, abs=1e-5)
    assert shown["y"][index] == 971_201
    assert shown["log"] == [True, False] or shown["log"] == [True, True]
    assert "vit-mae" not in names  # It has no such error.
    assert {"reconstruction.mse", "generation.frechet", "seconds"} <= set(compare.measured())


@pytest.mark.once
def test_details_and_curves_of_models():
    html = compare.details("conv-vae-bn")
    assert 'fmae_zoo.load("conv-vae-bn", pretrained=True)' in html
    assert "0.8701" in html
    frame = compare.histories(["conv-vae-bn", "pca"], "val_loss")
    assert set(frame["model"]) == {"conv-vae-bn", "pca"}
    assert frame["value"][0] == pytest.approx(255.42537)
    assert compare.histories(["conv-vae-bn"], "val_loss", relative=True)["value"][0] == 1.0
    assert compare.columns_of(["conv-vae-bn"])[0] == "val_loss"


@pytest.mark.once
def test_a_folder_is_never_used_twice(tmp_path):
    assert train.free_folder("a", tmp_path) == tmp_path / "a"
    (tmp_path / "a").mkdir()
    assert train.free_folder("a", tmp_path) == tmp_path / "a-2"


@pytest.mark.once
def test_the_page_asks_no_other_server(monkeypatch):
    monkeypatch.setattr(page, "_warm_up", lambda: None)
    config = page.build().get_config_file()
    tabs = [each["props"] for each in config["components"] if each["type"] == "tabitem"]
    assert {"Reconstruct", "Walk", "Generate", "Compare", "Train"} < {t["label"] for t in tabs}
    assert not config["analytics_enabled"]
    theme = page.APPEARANCE["theme"]
    assert not theme._stylesheets
    own = "".join(map(drawing.script, ("points.js", "film.js", "page.css")))
    assert "http" not in own


@pytest.mark.once
def test_a_space_is_written(fmae, tmp_path):
    folder = tmp_path / "space"
    code, out, err = fmae("app", "--space", "me/zoo", "-o", folder)
    assert (code, out.strip()) == (0, str(folder)), err
    card = (folder / "README.md").read_text()
    header = yaml.safe_load(card.split("---")[1])
    assert (header["sdk"], header["app_file"]) == ("gradio", "app.py")
    assert header["sdk_version"] == gradio.__version__
    compile((folder / "app.py").read_text(), "app.py", "exec")
    needs = (folder / "requirements.txt").read_text()
    assert needs == f"fmae-zoo[app,torch]=={fmae_zoo.__version__}\n"
    assert fmae("app", "--space", "me/zoo", "-o", folder)[0] == 0
    (folder / "app.py").write_text("mine")
    code, _, err = fmae("app", "--space", "me/zoo", "-o", folder)
    assert (code, "differs" in err) == (1, True)


@pytest.mark.once
def test_a_space_is_pushed(fmae, hub, tmp_path):
    (tmp_path / "token").write_text("hf_writer\n")
    words = ("app", "--space", "me/zoo", "-o", tmp_path / "space", "--push")
    code, out, err = fmae(*words, "--token-file", tmp_path / "token", "--install", "fmae-zoo @ x")
    assert code == 0, err
    assert out.strip() == f"{hub.url}/spaces/me/zoo"
    tree = hub.store.repos["me/zoo"].resolve("main").tree
    assert tree["requirements.txt"].content == b"fmae-zoo @ x\n"
    assert b"launch()" in tree["app.py"].content
    assert fmae(*words, "--token-file", tmp_path / "token", "--install", "fmae-zoo @ x")[0] == 0


@pytest.mark.once
@pytest.mark.failure
def test_a_space_needs_a_token(hub):
    with pytest.raises(HubPermissionError, match="token"):
        space.push_space("me/zoo", {"app.py": ""}, token=False)
    assert not hub.log


@pytest.mark.once
@pytest.mark.failure
@pytest.mark.parametrize(
    ("words", "code", "named"),
    [
        (("--push",), 2, "--space"),
        (("--space", "me/zoo", "--private"), 2, "--push"),
        (("--space", "me"), 1, "'me'"),
        (("--space", "me/zoo", "--install", "a\nb"), 1, "one line"),
        (("--port", "0"), 2, "--port"),
    ],
)
def test_wrong_words(fmae, tmp_path, monkeypatch, words, code, named):
    monkeypatch.chdir(tmp_path)
    got, out, err = fmae("app", *words)
    assert (got, out) == (code, "")
    assert named in err
    assert not [*tmp_path.iterdir()]
