import numpy as np
import pytest
from PIL import Image

from fmae_zoo.data import _write_idx
from fmae_zoo.errors import ImagesError
from fmae_zoo.images import ImageFiles, as_images


@pytest.mark.parametrize("shape", [(3, 28, 28), (3, 28, 28, 1)])
def test_bytes_and_floats_become_the_same_images(shape):
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    converted = as_images(array)
    assert converted.shape == (3, 28, 28, 1)
    assert converted.dtype == np.float32
    np.testing.assert_array_equal(converted, as_images(converted))
    np.testing.assert_allclose(as_images(array.astype("float64") / 255), converted, atol=1e-7)


def test_tensors_of_the_backend_are_taken():
    import keras

    tensor = keras.ops.ones((2, 28, 28, 1))
    assert as_images(tensor).shape == (2, 28, 28, 1)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((28, 28), np.uint8), ["(28, 28)", "images[None]"]),
        (np.zeros((2, 32, 32), np.uint8), ["(n, 28, 28, 1)", "(2, 32, 32)"]),
        (np.zeros((2, 28, 28, 3), np.uint8), ["(2, 28, 28, 3)"]),
        (np.zeros((2, 28, 28), np.int64), ["uint8", "int64"]),
        (np.zeros((2, 28, 28), bool), ["bool"]),
        (np.full((2, 28, 28), np.nan), ["NaN"]),
        (np.full((2, 28, 28), 255.0), ["[255, 255]", "Divide by 255"]),
        (np.full((2, 28, 28), -0.1), ["-0.1"]),
        (np.full((2, 28, 28), np.inf), ["inf"]),
        ("nonsense", ["()"]),
        ([[1, 2], [3]], ["list"]),
    ],
)
def test_anything_else_says_what_was_received_and_expected(array, words):
    with pytest.raises(ImagesError) as error:
        as_images(array)
    for word in words:
        assert word in str(error.value)


def test_no_images_are_images():
    assert as_images(np.zeros((0, 28, 28), np.uint8)).shape == (0, 28, 28, 1)


@pytest.fixture
def folder(tmp_path, images):
    (tmp_path / "deep").mkdir()
    Image.fromarray(images[0]).save(tmp_path / "a.png")
    Image.fromarray(images[1]).resize((56, 56)).convert("RGB").save(tmp_path / "deep" / "b.jpg")
    Image.new("RGBA", (300, 10), (255, 0, 0, 128)).save(tmp_path / "wide.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n not")
    (tmp_path / "notes.txt").write_text("not an image")
    np.save(tmp_path / "stack.npy", images)
    np.savez(tmp_path / "stack.npz", labels=np.zeros(16), images=images[:3])
    _write_idx(tmp_path / "stack-idx3-ubyte", images[:2])
    return tmp_path


def test_folders_arrays_and_idx_files_are_read_in_batches(folder, images):
    source = ImageFiles([folder, folder / "stack-idx3-ubyte", folder / "none.png"], batch_size=8)
    batches = list(source)
    names = [name for batch, _ in batches for name in batch]
    pixels = np.concatenate([batch for _, batch in batches])
    assert max(len(batch) for batch, _ in batches) == 8
    assert len(names) == len(pixels) == 3 + 16 + 3 + 2
    assert pixels.dtype == np.uint8
    first = names.index(f"{folder / 'stack.npy'}[0]")
    np.testing.assert_array_equal(pixels[first : first + 8], images[:8])
    np.testing.assert_array_equal(pixels[names.index(str(folder / "a.png"))], images[0])


def test_unreadable_files_are_listed_not_fatal(folder):
    (folder / "list.npy").write_bytes(b"\x93NUMPY broken")
    np.save(folder / "pickled.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.savez(folder / "labels.npz", labels=np.zeros(3))
    source = ImageFiles([folder, folder / "nothing.png"])
    assert sum(len(names) for names, _ in source) == 22
    assert {path.rsplit("/", 1)[1] for path in source.unreadable} == {
        "broken.png",
        "list.npy",
        "pickled.npy",
        "labels.npz",
        "nothing.png",
    }
