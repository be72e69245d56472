import numpy as np
import pytest
from PIL import Image

from fmae_zoo import plots
from tests.conftest import run_python


def drawn(path) -> np.ndarray:
    """The picture as an array, checked to hold more than white."""
    pixels = np.asarray(Image.open(path).convert("L"))
    assert pixels.std() > 5
    return pixels


@pytest.mark.parametrize("epochs", [1, 2, 50])
def test_curves(tmp_path, epochs):
    rows = [
        {"epoch": e + 1, "loss": 10.0 / (e + 1), "val_loss": 11.0 / (e + 1)} for e in range(epochs)
    ]
    plain = drawn(plots.plot_curves(rows, tmp_path / "curves.png", "title"))
    marked = drawn(plots.plot_curves(rows, tmp_path / "marked.png", "title", kept=epochs))
    assert (plain != marked).any()


def test_negative_figures_are_drawn_too(tmp_path):
    rows = [{"epoch": e, "loss": -100.0 * e, "val_loss": -90.0 * e} for e in range(1, 5)]
    drawn(plots.plot_curves(rows, tmp_path / "curves.png"))


def test_the_callers_matplotlib_is_left_alone(tmp_path):
    code = """
import matplotlib, sys
matplotlib.use("svg")
before = dict(matplotlib.rcParams)
from fmae_zoo import plots
plots.plot_curves([{"epoch": 1, "loss": 2.0, "val_loss": 2.0}], sys.argv[1])
assert matplotlib.get_backend() == "svg"
assert dict(matplotlib.rcParams) == before
"""
    result = run_python(code, str(tmp_path / "curves.png"))
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("count", [1, 3, 16])
def test_reconstructions_and_grids(tmp_path, images, count):
    pairs = images[:count] / 255.0
    drawn(plots.plot_reconstructions(images[:count], pairs[..., None], tmp_path / "pairs.png", "t"))
    drawn(plots.plot_grid(pairs, tmp_path / "grid.png", "t"))


@pytest.mark.parametrize("classes", [2, 10, 25])
def test_confusion(tmp_path, classes):
    matrix = np.random.default_rng(0).integers(0, 100, (classes, classes))
    drawn(plots.plot_confusion(matrix, tmp_path / "confusion.png", "title"))
    drawn(plots.plot_confusion(np.zeros((3, 3), int), tmp_path / "empty.png", "nothing"))


def test_a_long_title_makes_a_wider_picture(tmp_path, images):
    title = "a title of a good many words that is wider than one small picture"
    for draw in (
        lambda path, title: plots.plot_grid(images[:1], path, title),
        lambda path, title: plots.plot_reconstructions(images[:1], images[:1], path, title),
        lambda path, title: plots.plot_confusion(np.eye(2, dtype=int), path, title),
    ):
        narrow, wide = (drawn(draw(tmp_path / "p.png", text)) for text in ("short", title))
        assert wide.shape[1] > narrow.shape[1]
        assert (wide[:, -8:] == 255).all()


def test_latent_map(tmp_path, sample):
    points = np.random.default_rng(0).standard_normal((len(sample.test_labels), 2))
    drawn(plots.plot_latent_map(points, sample.test_labels, tmp_path / "map.png", "title"))


def test_reconstructions_differ_where_the_images_do(tmp_path, images):
    one = drawn(plots.plot_grid(images[:4], tmp_path / "one.png"))
    other = drawn(plots.plot_grid(images[4:8], tmp_path / "other.png"))
    assert (one != other).any()


def test_a_report_is_drawn_as_it_comes_and_dollars_are_no_formula(tmp_path):
    drawn(plots.plot_confusion([[3, 1], [0, 4]], tmp_path / "confusion.png", "a$b_{$c"))
