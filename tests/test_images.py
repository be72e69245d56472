import os

import numpy as np
import pytest
from PIL import Image

from fmae_zoo.datasets.idx import write_idx
from fmae_zoo.errors import ImagesError
from fmae_zoo.images import ImageFiles, as_images, has_bright_border

SHAPE = (28, 28, 1)


@pytest.mark.parametrize("shape", [(3, 28, 28), (3, 28, 28, 1)])
def test_bytes_and_floats_become_the_same_images(shape):
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    converted = as_images(array, SHAPE)
    assert converted.shape == (3, 28, 28, 1)
    assert converted.dtype == np.float32
    np.testing.assert_array_equal(converted, as_images(converted, SHAPE))
    np.testing.assert_allclose(
        as_images(array.astype("float64") / 255, SHAPE), converted, atol=1e-7
    )


def test_tensors_of_the_backend_are_taken():
    import keras

    tensor = keras.ops.ones((2, 28, 28, 1))
    assert as_images(tensor, SHAPE).shape == (2, 28, 28, 1)


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
        as_images(array, SHAPE)
    for word in words:
        assert word in str(error.value)


def test_no_images_are_images():
    assert as_images(np.zeros((0, 28, 28), np.uint8), SHAPE).shape == (0, 28, 28, 1)


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
    write_idx(tmp_path / "stack-idx3-ubyte", images[:2])
    return tmp_path


def test_folders_arrays_and_idx_files_are_read_in_batches(folder, images):
    source = ImageFiles([folder, folder / "none.png"], SHAPE, batch_size=8)
    batches = list(source)
    names = [name for batch, _ in batches for name in batch]
    pixels = np.concatenate([batch for _, batch in batches])
    assert max(len(batch) for batch, _ in batches) == 8
    assert len(names) == len(pixels) == 3 + 16 + 3 + 2
    assert pixels.dtype == np.uint8
    first = names.index(f"{folder / 'stack.npy'}[0]")
    np.testing.assert_array_equal(pixels[first : first + 8], images[:8])
    np.testing.assert_array_equal(pixels[names.index(str(folder / "a.png"))], images[0])


def test_sixteen_bit_pictures_are_scaled_and_floats_without_a_range_are_listed(tmp_path):
    ramp = np.linspace(0, 65535, 28 * 28).reshape(28, 28).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / "wide.png")
    Image.fromarray(np.ones((28, 28), np.float32)).save(tmp_path / "float.tiff")
    Image.fromarray(np.full((28, 28), 70_000, np.int32)).save(tmp_path / "int.tiff")
    source = ImageFiles([tmp_path], SHAPE)
    ((_, pictures),) = list(source)
    np.testing.assert_allclose(pictures[0], ramp / 257, atol=1)
    assert [path.rsplit("/", 1)[1] for path in source.unreadable] == ["float.tiff", "int.tiff"]


def test_damaged_archives_are_listed_wherever_they_are_damaged(tmp_path, images):
    np.savez_compressed(tmp_path / "whole.npz", images=images)
    content = (tmp_path / "whole.npz").read_bytes()
    (tmp_path / "whole.npz").unlink()
    for offset in np.random.default_rng(0).integers(0, len(content), 40):
        (tmp_path / f"{offset}.npz").write_bytes(content[:offset])
    source = ImageFiles([tmp_path], SHAPE)
    assert list(source) == []
    assert len(source.unreadable) == len(list(tmp_path.iterdir()))


def test_floats_are_passed_on_as_they_are(tmp_path):
    array = np.random.default_rng(0).random((3, 28, 28), dtype=np.float32)
    np.save(tmp_path / "FLOATS.NPY", array)
    (tmp_path / "FLOATS.NPY.npy").rename(tmp_path / "FLOATS.NPY")
    ((_, pictures),) = list(ImageFiles([tmp_path], SHAPE))
    np.testing.assert_array_equal(pictures, array)


def test_a_partly_bad_array_says_from_where_it_was_left_out(tmp_path):
    array = np.zeros((10, 28, 28), np.float32)
    array[9] = 7.0
    np.save(tmp_path / "part.npy", array)
    source = ImageFiles([tmp_path], SHAPE, batch_size=4)
    assert [len(names) for names, _ in source] == [4, 4]
    assert "from number 8 on" in next(iter(source.unreadable.values()))


def test_names_that_are_no_text_can_be_printed(tmp_path, images):
    path = os.fsencode(tmp_path) + b"/caf\xe9.png"
    Image.fromarray(images[0]).save(os.fsdecode(path), format="PNG")
    ((names, _),) = list(ImageFiles([tmp_path], SHAPE))
    names[0].encode("utf-8")


def test_unreadable_files_are_listed_not_fatal(folder):
    (folder / "list.npy").write_bytes(b"\x93NUMPY broken")
    np.save(folder / "pickled.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.savez(folder / "labels.npz", labels=np.zeros(3))
    source = ImageFiles([folder, folder / "nothing.png"], SHAPE)
    assert sum(len(names) for names, _ in source) == 24
    assert {path.rsplit("/", 1)[1] for path in source.unreadable} == {
        "broken.png",
        "list.npy",
        "pickled.npy",
        "labels.npz",
        "nothing.png",
    }


def test_the_order_of_pictures_and_arrays_is_kept(tmp_path, images):
    Image.fromarray(images[0]).save(tmp_path / "first.png")
    np.save(tmp_path / "second.npy", images[1:3])
    paths = [tmp_path / "first.png", tmp_path / "second.npy", tmp_path / "third"]
    Image.fromarray(images[3]).save(paths[2], format="png")
    found = [batch for _, batch in ImageFiles(paths, SHAPE)]
    np.testing.assert_array_equal(np.concatenate(found), images[:4])


def test_every_array_of_an_npz_and_idx_files_in_folders_are_read(tmp_path, images):
    np.savez(tmp_path / "a.npz", train=images[:2], labels=np.arange(2), test=images[2:5])
    write_idx(tmp_path / "b-idx3-ubyte", images[5:7])
    source = ImageFiles([tmp_path], SHAPE)
    batches = list(source)
    np.testing.assert_array_equal(np.concatenate([each for _, each in batches]), images[:7])
    names = [name.rsplit("/", 1)[1] for batch, _ in batches for name in batch]
    assert names[0] == "a.npz:train[0]"
    assert names[2] == "a.npz:test[0]"
    assert not source.unreadable


@pytest.mark.parametrize("suffix", ["png", "gif", "bmp", "npy", "npz"])
def test_flipped_bits_are_never_fatal(tmp_path, images, suffix):
    path = tmp_path / f"x.{suffix}"
    if suffix == "npy":
        np.save(path, images)
    elif suffix == "npz":
        np.savez_compressed(path, images)
    else:
        Image.fromarray(images[0]).save(path)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(150):
        content = bytearray(whole)
        for place in rng.integers(0, min(len(content), 400), 2):
            content[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(content)
        source = ImageFiles([path], SHAPE)
        for _, batch in source:
            assert batch.shape[1:] == (28, 28)


def test_images_beside_python_objects_in_an_archive_are_read(tmp_path, images):
    labels = np.array(["shoe", None], dtype=object)
    np.savez(tmp_path / "both.npz", images=images, names=labels)
    source = ImageFiles([tmp_path / "both.npz"], SHAPE)
    ((_, pictures),) = list(source)
    np.testing.assert_array_equal(pictures, images)
    assert source.unreadable == {}


def test_pictures_are_turned_as_exif_says_and_transparent_is_background(tmp_path):
    pixels = np.zeros((28, 28), np.uint8)
    pixels[:14] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # the top of the stored picture is its right
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    clear = np.full((28, 28, 4), 255, np.uint8)
    clear[:, 14:, 3] = 0
    Image.fromarray(clear).save(tmp_path / "clear.png")
    Image.fromarray(clear[..., [0, 3]]).save(tmp_path / "clear-grey.png")
    found = dict(zip(*next(iter(ImageFiles([tmp_path], SHAPE)))))
    named = {name.rsplit("/", 1)[-1]: image for name, image in found.items()}
    np.testing.assert_array_equal(named["turned.png"], np.rot90(pixels, -1))
    for name in ("clear.png", "clear-grey.png"):
        np.testing.assert_array_equal(named[name][:, :14], 255)
        np.testing.assert_array_equal(named[name][:, 14:], 0)


def test_an_array_of_no_images_is_listed(tmp_path):
    np.save(tmp_path / "none.npy", np.zeros((0, 28, 28), np.uint8))
    files = ImageFiles([tmp_path / "none.npy"], SHAPE)
    assert list(files) == []
    assert "no images" in files.unreadable[str(tmp_path / "none.npy")]


def test_a_masked_array_is_refused(images):
    with pytest.raises(ImagesError, match="masked"):
        as_images(np.ma.masked_array(images), SHAPE)


@pytest.mark.parametrize("kind", ["uint8", "float32"])
def test_a_bright_background_is_told_from_a_dark_one(sample, kind):
    images = np.concatenate([sample.train_images, sample.test_images])
    images = images if kind == "uint8" else images / np.float32(255.0)
    inverted = images.max() - images
    assert not has_bright_border(images).any()
    assert has_bright_border(inverted).mean() > 0.99
    # Off-white, as photographs have it.
    assert has_bright_border(inverted - inverted // 6 if kind == "uint8" else inverted * 0.85).all()


@pytest.mark.full_data
def test_no_image_of_fashion_mnist_has_a_bright_background(full_data):
    for images in (full_data.train_images, full_data.test_images):
        assert not has_bright_border(images).any()
        assert has_bright_border(255 - images).sum() >= len(images) - 4
