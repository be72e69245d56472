"""Readers, the table, downloads: what `load_data` promises of data other than Fashion-MNIST."""

import gzip
import hashlib
import io
import json
import re
import tarfile
import threading
import zipfile
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from fmae_zoo import datasets
from fmae_zoo.datasets import TABLE, Dataset, load_data, sources
from fmae_zoo.datasets.idx import write_idx
from fmae_zoo.datasets.readers import assembled
from fmae_zoo.errors import ArgumentError, DataError, HubError

pytestmark = pytest.mark.once

RNG = np.random.default_rng(5)
GREY = RNG.integers(0, 256, (12, 6, 5), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (12, 6, 5, 3), dtype=np.uint8)
LABELS = np.arange(12, dtype=np.uint8) % 3


def save_png(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def png(pixels) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


# The data set in memory


@pytest.mark.parametrize(("images", "shape"), [(GREY, (6, 5, 1)), (COLOUR, (6, 5, 3))])
def test_images_of_any_size_in_grey_and_colour(images, shape):
    data = Dataset(images, LABELS, images[:4], LABELS[:4], "mine")
    assert data.shape == shape
    assert data.num_classes == 3
    assert data.digest != replace(data, train_images=images[::-1]).digest


def test_without_labels_what_needs_them_says_so():
    data = Dataset(GREY, None, GREY[:4], None, "mine")
    assert len(data.split[0]) == 10
    for ask in (lambda: data.labels, lambda: data.num_classes):
        with pytest.raises(DataError, match="mine has no labels"):
            ask()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"test_labels": None}, "of all images, or of none"),
        ({"test_images": COLOUR}, "expected one shape"),
        ({"train_images": GREY[..., None]}, "expected uint8 .n, height, width"),
        ({"class_names": ("a", "b")}, "labels from 0 to 2; expected 0 to 1"),
        ({"train_labels": LABELS.astype(int) - 1}, "labels from -1"),
        ({"train_images": GREY.astype(np.float32)}, "dtype float32; expected uint8"),
        ({"train_labels": LABELS[:5]}, "labels of shape .5,.*expected an integer for each image"),
        ({"test_labels": LABELS.astype(np.float32)}, "dtype float32; expected an integer"),
        ({"test_images": "pictures"}, "expected NumPy arrays"),
        ({"train_images": GREY.tolist()}, "expected NumPy arrays"),
        ({"train_labels": LABELS.tolist()}, "expected NumPy arrays"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(changes, words):
    whole = {
        "train_images": GREY,
        "train_labels": LABELS,
        "test_images": GREY,
        "test_labels": LABELS,
        "source": "mine",
    }
    with pytest.raises(DataError, match=words):
        Dataset(**whole | changes)


@pytest.mark.parametrize(
    "validation",
    [(GREY, None), (GREY[:, 1:], LABELS), (COLOUR, LABELS)],
    ids=["labels", "size", "colour"],
)
def test_validation_images_unlike_those_to_train_on_are_refused(validation):
    splits = {"train": (GREY, LABELS), "validation": validation, "test": (GREY, LABELS)}
    with pytest.raises(DataError, match="the images to validate are not as those to train on"):
        assembled(splits, "mine")


def test_two_images_are_too_few_to_take_some_for_testing():
    with pytest.raises(DataError, match="2 images; three are the least"):
        assembled({"train": (GREY[:2], LABELS[:2])}, "mine")


@pytest.mark.parametrize(
    ("source", "tag"),
    [
        ("/data/My Photos_2.1", "my-photos-2-1"),
        ("/data/digits.npz", "digits"),
        ("/data/cifar-10-binary.tar.gz", "cifar-10-binary"),
        ("hf://me/Cats.v2@" + "a" * 40, "cats-v2"),
        ("/data/---", "data"),
        ("/data/" + "x" * 100, "x" * 64),
    ],
)
def test_the_tag_of_other_data_is_its_name_as_a_spec_takes_it(source, tag):
    assert Dataset(GREY, None, GREY, None, source).tag == tag


def test_the_sample_and_listed_data_have_the_tag_of_the_table(sample):
    assert sample.tag == datasets.DEFAULT
    assert Dataset(GREY, None, GREY, None, "x", listed="kmnist").tag == "kmnist"
    assert Dataset(GREY, None, GREY, None, "x", listed="kmnist").name == "KMNIST"


# Files and folders


def digits():
    images, labels = load_digits(return_X_y=True)
    return (images.reshape(-1, 8, 8) * 255 / 16).astype(np.uint8), labels


def test_the_digits_of_scikit_learn_as_an_archive(tmp_path):
    images, labels = digits()
    np.savez(tmp_path / "digits.npz", images=images, labels=labels)
    data = load_data(tmp_path / "digits.npz")
    assert (data.shape, data.num_classes, data.tag) == ((8, 8, 1), 10, "digits")
    assert len(data.test_images) == 1797 // 6
    assert len(data.train_images) + len(data.test_images) == 1797
    assert data.class_names is None
    rows = {image.tobytes(): label for image, label in zip(images, labels)}
    assert all(rows[i.tobytes()] == n for i, n in zip(data.test_images, data.test_labels))
    assert load_data(tmp_path / "digits.npz").digest == data.digest


@pytest.mark.parametrize("images", [GREY, COLOUR, GREY[..., None], GREY / np.float32(255)])
@pytest.mark.parametrize(
    "keys",
    [
        ("train_images", "train_labels", "test_images", "test_labels"),
        ("x_train", "y_train", "x_test", "y_test"),
    ],
)
@pytest.mark.parametrize("form", ["npz", "npy"])
def test_arrays_under_the_names_that_are_in_use(tmp_path, images, keys, form):
    arrays = dict(zip(keys, (images, LABELS[:, None].astype("int64"), images[:4], LABELS[:4])))
    path = tmp_path / "set.npz"
    if form == "npz":
        np.savez(path, **arrays)
    else:
        path = tmp_path
        for key, array in arrays.items():
            np.save(tmp_path / f"{key}.npy", array)
    data = load_data(str(path))
    expected = COLOUR if images is COLOUR else GREY
    np.testing.assert_array_equal(data.train_images, expected)
    np.testing.assert_array_equal(data.train_labels, LABELS)
    assert data.train_images.dtype == data.train_labels.dtype == np.uint8
    assert len(data.test_images) == 4


def test_images_that_were_published_to_validate_do(tmp_path):
    np.savez(
        tmp_path / "med.npz",
        train_images=GREY,
        train_labels=LABELS[:, None],
        val_images=255 - GREY[:3],
        val_labels=LABELS[:3, None],
        test_images=GREY[:2],
        test_labels=LABELS[:2, None],
    )
    data = load_data(tmp_path / "med.npz")
    fit, validation = data.split
    np.testing.assert_array_equal(data.train_images[fit], GREY)
    np.testing.assert_array_equal(data.train_images[validation], 255 - GREY[:3])


def test_one_array_of_images_has_no_labels(tmp_path):
    np.save(tmp_path / "all.npy", COLOUR)
    data = load_data(tmp_path / "all.npy")
    assert (data.shape, data.train_labels, data.test_labels) == ((6, 5, 3), None, None)


def test_idx_files_of_any_size_and_a_single_one(tmp_path):
    for name, array in zip(TABLE["fashion-mnist"].files, (GREY, LABELS, GREY[:4], LABELS[:4])):
        write_idx(tmp_path / name, array)
    data = load_data(tmp_path)
    assert (data.shape, data.class_names, data.listed) == ((6, 5, 1), None, None)
    assert load_data(tmp_path / "train-images-idx3-ubyte").train_labels is None


@pytest.mark.parametrize("images", [GREY, COLOUR])
def test_a_folder_of_pictures_with_a_folder_for_each_class(tmp_path, images):
    for split, size in (("train", 12), ("test", 6)):
        for i in range(size):
            save_png(tmp_path / "set" / split / f"class {LABELS[i]}" / f"{i:02}.png", images[i])
    (tmp_path / "set" / "train" / "notes.txt").write_text("no picture")
    data = load_data(tmp_path / "set")
    order = np.argsort(LABELS, kind="stable")
    np.testing.assert_array_equal(data.train_images, images[order])
    np.testing.assert_array_equal(data.train_labels, LABELS[order])
    assert len(data.test_images) == 6
    assert data.class_names == ("class 0", "class 1", "class 2")


def test_a_folder_of_pictures_without_classes_has_no_labels(tmp_path):
    for i, pixels in enumerate(GREY):
        save_png(tmp_path / f"{i:02}.png", pixels)
    data = load_data(tmp_path)
    assert (data.train_labels, data.class_names) == (None, None)
    assert (len(data.train_images), len(data.test_images)) == (10, 2)


def test_classes_without_train_and_test_are_split(tmp_path):
    for i, pixels in enumerate(GREY):
        save_png(tmp_path / "ab"[i % 2] / f"{i:02}.png", pixels)
    data = load_data(tmp_path)
    assert (data.class_names, data.num_classes) == (("a", "b"), 2)
    assert len(data.train_images) == 10


def test_one_coloured_picture_makes_the_set_one_of_colour(tmp_path):
    for i in range(4):
        save_png(tmp_path / f"{i}.png", GREY[i] if i else COLOUR[i])
    assert load_data(tmp_path).shape == (6, 5, 3)


def test_pictures_of_different_sizes_are_refused_with_the_sizes(tmp_path):
    for i, pixels in enumerate([*GREY, GREY[0, :4]]):
        save_png(tmp_path / f"{i}.png", pixels)
    with pytest.raises(DataError, match=r"2 sizes.*6x5 \(12\), 4x5 \(1\)"):
        load_data(tmp_path)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: (folder / "bad.png").write_bytes(png(GREY[0])[:40]), "bad.png: not a read"),
        (lambda folder: save_png(folder / "class" / "a.png", GREY[0]), "beside the folders"),
        (
            lambda folder: Image.fromarray(GREY[0].astype("uint16")).save(folder / "deep.png"),
            "expected 8 bits",
        ),
    ],
)
def test_a_picture_that_does_not_fit_is_named(tmp_path, spoil, words):
    for i, pixels in enumerate(GREY):
        save_png(tmp_path / f"{i}.png", pixels)
    spoil(tmp_path)
    with pytest.raises(DataError, match=words):
        load_data(tmp_path)


def parquet(path, images, labels, names=None):
    rows = [{"bytes": png(image), "path": None} for image in images]
    columns = {"image": rows} | ({} if labels is None else {"label": labels.astype("int64")})
    table = pa.table(columns)
    if names:
        features = {"label": {"names": names, "_type": "ClassLabel"}}
        about = json.dumps({"info": {"features": features}})
        table = table.replace_schema_metadata({"huggingface": about})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)


@pytest.mark.parametrize("images", [GREY, COLOUR])
def test_parquet_as_the_hub_has_it(tmp_path, images):
    parquet(tmp_path / "data" / "train-0.parquet", images, LABELS, ["x", "y", "z"])
    parquet(tmp_path / "data" / "test-0.parquet", images[:4], LABELS[:4], ["x", "y", "z"])
    data = load_data(tmp_path)
    np.testing.assert_array_equal(data.train_images, images)
    np.testing.assert_array_equal(data.test_labels, LABELS[:4])
    assert data.class_names == ("x", "y", "z")
    one = load_data(tmp_path / "data" / "train-0.parquet")
    assert (len(one.train_images), len(one.test_images)) == (10, 2)


def test_parquet_without_labels_or_without_images(tmp_path):
    parquet(tmp_path / "a.parquet", GREY, None)
    assert load_data(tmp_path / "a.parquet").train_labels is None
    pq.write_table(pa.table({"text": ["no", "image"]}), tmp_path / "b.parquet")
    with pytest.raises(DataError, match="no column of images; there are text"):
        load_data(tmp_path / "b.parquet")


def cifar(path, count=5, suffix="bin"):
    images = RNG.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(count, dtype=np.uint8) % 10
    rows = np.concatenate([labels[:, None], images.transpose(0, 3, 1, 2).reshape(count, -1)], 1)
    with tarfile.open(path, "w:gz") as archive:
        for name in ("data_batch_1", "data_batch_2", "test_batch"):
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}.{suffix}")
            member.size = rows.nbytes
            archive.addfile(member, io.BytesIO(rows.tobytes()))
    return images, labels


def test_the_binary_archive_of_cifar(tmp_path):
    images, labels = cifar(tmp_path / "cifar.tar.gz")
    data = load_data(tmp_path / "cifar.tar.gz")
    np.testing.assert_array_equal(data.train_images, np.concatenate([images, images]))
    np.testing.assert_array_equal(data.test_labels, labels)
    assert data.shape == (32, 32, 3)
    cifar(tmp_path / "python.tar.gz", suffix="pkl")
    with pytest.raises(DataError, match=r"get cifar-10-binary\.tar\.gz"):
        load_data(tmp_path / "python.tar.gz")


def test_an_archive_of_objects_is_not_unpickled(tmp_path):
    np.savez(tmp_path / "evil.npz", train_images=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match="damaged"):
        load_data(tmp_path / "evil.npz")


@pytest.mark.parametrize("name", ["a.npz", "a.npy", "a.parquet", "a.tar.gz", "a.idx", "a"])
@pytest.mark.parametrize("keep", [0, 30, -20])
def test_what_is_damaged_is_an_error_that_names_it(tmp_path, name, keep):
    path = tmp_path / name
    if name == "a.npz":
        np.savez(path, images=GREY)
    elif name == "a.npy":
        np.save(path, GREY)
    elif name == "a.parquet":
        parquet(path, GREY, LABELS)
    elif name == "a.tar.gz":
        cifar(path)
    else:
        write_idx(path, GREY)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=re.escape(str(path))):
        load_data(path)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("kminst", "Did you mean kmnist or"),
        ("Fashion-MNIST", "Did you mean fashion-mnist"),
        ("./no-such-folder", "no such file or folder"),
        ("qqq", "Known are fashion-mnist, mnist"),
    ],
)
def test_what_is_neither_name_nor_path_is_refused_with_what_is_near(name, words, tmp_path):
    with pytest.raises(DataError, match=words):
        load_data(name)


# The table and its downloads


def test_the_table_says_all_of_every_data_set():
    assert {"fashion-mnist", "mnist", "kmnist", "emnist", "cifar10", "pathmnist"} <= set(TABLE)
    assert len(TABLE) == 16
    for name, listed in TABLE.items():
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)
        assert listed.format in {"idx", *sources.READERS}
        assert len(set(listed.classes)) == len(listed.classes) > 1
        assert listed.shape[2] in (1, 3)
        assert listed.licence
        assert listed.url.endswith("/")
        assert len(listed.files) == (4 if listed.format == "idx" else 1)
        for digest in listed.files.values():
            assert re.fullmatch("sha256:[0-9a-f]{64}|md5:[0-9a-f]{32}", digest)


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A publisher on this machine: a dictionary of files, and of how often each was asked for."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    files: dict[str, bytes] = {}
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            name = self.path.lstrip("/")
            asked.append(name)
            content = files.get(name)
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        running.files, running.asked = files, asked

        def publish(name, contents):
            files.update(contents)
            digests = {n: f"md5:{hashlib.md5(c).hexdigest()}" for n, c in contents.items()}
            url = f"http://127.0.0.1:{running.server_port}/"
            monkeypatch.setitem(TABLE, name, replace(TABLE[name], url=url, files=digests))

        running.publish = publish
        yield running
        running.shutdown()


def idx_files(folder) -> dict[str, bytes]:
    contents = {}
    for name, array in zip(TABLE["kmnist"].files, (GREY, LABELS, GREY[:4], LABELS[:4])):
        write_idx(folder / "one", array)
        contents[name] = gzip.compress((folder / "one").read_bytes())
    return contents


def npz_file(**arrays) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def emnist_file(folder) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for split in ("train", "test"):
            for kind, array in (("images-idx3", GREY), ("labels-idx1", LABELS)):
                write_idx(folder / "one", array)
                content = gzip.compress((folder / "one").read_bytes())
                archive.writestr(f"gzip/emnist-balanced-{split}-{kind}-ubyte.gz", content)
    return buffer.getvalue()


def files_of(name, folder) -> dict[str, bytes]:
    if name == "kmnist":
        return idx_files(folder)
    if name == "emnist":
        return {"gzip.zip": emnist_file(folder)}
    if name == "cifar10":
        cifar(folder / "archive")
        return {"cifar-10-binary.tar.gz": (folder / "archive").read_bytes()}
    images = COLOUR if TABLE[name].shape[2] == 3 else GREY
    arrays = {"train_images": images, "test_images": images[:4]}
    arrays |= {"train_labels": LABELS[:, None], "test_labels": LABELS[:4, None]}
    if name == "mnist":
        arrays = {"x_train": GREY, "y_train": LABELS, "x_test": GREY[:4], "y_test": LABELS[:4]}
    else:
        arrays |= {"val_images": images[:3], "val_labels": LABELS[:3, None]}
    return {f"{name}.npz": npz_file(**arrays)}


@pytest.mark.parametrize("name", ["kmnist", "emnist", "mnist", "cifar10", "pathmnist", "octmnist"])
def test_a_listed_data_set_is_downloaded_once_and_then_read_from_the_cache(server, tmp_path, name):
    server.publish(name, files_of(name, tmp_path))
    first = load_data(name)
    assert first.class_names == TABLE[name].classes
    assert (first.name, first.tag) == (TABLE[name].title, name)
    assert first.shape[2] == TABLE[name].shape[2]
    assert first.source == str(datasets.cache_folder(name))
    assert datasets.in_cache(TABLE[name])
    asked = len(server.asked)
    assert load_data(name).digest == first.digest
    assert len(server.asked) == asked == len(TABLE[name].files)


def test_emnist_is_turned_upright(server, tmp_path):
    server.publish("emnist", files_of("emnist", tmp_path))
    np.testing.assert_array_equal(load_data("emnist").train_images, GREY.transpose(0, 2, 1))


@pytest.mark.parametrize("name", ["kmnist", "pathmnist"])
@pytest.mark.parametrize(
    "spoil", [lambda c: c[:-1], lambda c: c[: len(c) // 2], lambda c: c[:-9] + b"123456789"]
)
def test_a_download_with_another_digest_is_refused_and_not_kept(server, tmp_path, name, spoil):
    server.publish(name, files_of(name, tmp_path))
    last = list(TABLE[name].files)[-1]
    server.files[last] = spoil(server.files[last])
    with pytest.raises(DataError, match=f"No source has {TABLE[name].title}"):
        load_data(name)
    assert not datasets.cache_folder(name).exists()


def test_a_damaged_cache_is_mended_without_a_word(server, tmp_path, caplog):
    server.publish("mnist", files_of("mnist", tmp_path))
    whole = load_data("mnist")
    path = datasets.cache_folder("mnist") / "mnist.npz"
    path.write_bytes(path.read_bytes()[:100])
    assert load_data("mnist").digest == whole.digest
    assert not caplog.text


def test_without_a_network_all_reasons_are_told_at_once(server, monkeypatch):
    away = replace(TABLE["cifar10"], url="http://127.0.0.1:9/")
    monkeypatch.setitem(TABLE, "cifar10", away)
    with pytest.raises(DataError) as error:
        load_data("cifar10")
    for words in ("No source has CIFAR-10", "no file cifar-10-binary.tar.gz in", "127.0.0.1:9/"):
        assert words in str(error.value)


def test_a_server_that_says_nothing_is_given_up(server, monkeypatch):
    import socket

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        monkeypatch.setitem(TABLE, "mnist", replace(TABLE["mnist"], url=url))
        monkeypatch.setattr(sources, "TIMEOUT", 0.2)
        with pytest.raises(DataError, match="timed out"):
            load_data("mnist")


def test_a_server_that_trickles_is_given_up(server, tmp_path, monkeypatch):
    server.publish("mnist", files_of("mnist", tmp_path))
    monkeypatch.setattr(sources, "DOWNLOAD_LIMIT", -1.0)
    with pytest.raises(DataError, match="not done within"):
        load_data("mnist")


def test_a_data_set_of_the_hub_by_its_name(monkeypatch, tmp_path):
    import huggingface_hub

    parquet(tmp_path / "plain" / "train-0.parquet", COLOUR, LABELS, ["x", "y", "z"])
    parquet(tmp_path / "plain" / "test-0.parquet", COLOUR[:4], LABELS[:4], ["x", "y", "z"])

    def repo_with(*names):
        siblings = [SimpleNamespace(rfilename=name) for name in names]
        info = SimpleNamespace(sha="a" * 40, siblings=siblings)
        monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", lambda *_, **options: info)

    def download(api, repo, file, **options):
        assert (repo, options["repo_type"], options["revision"]) == ("me/cats", "dataset", "a" * 40)
        return str(tmp_path / file)

    files = ("plain/train-0.parquet", "plain/test-0.parquet")
    repo_with("README.md", *files, "../evil.parquet", "plain/../../evil.parquet")
    monkeypatch.setattr(huggingface_hub.HfApi, "hf_hub_download", download)
    for address in ("hf://me/cats", "hf://datasets/me/cats", "hf://me/cats@main"):
        data = load_data(address)
        np.testing.assert_array_equal(data.train_images, COLOUR)
        assert (data.class_names, data.tag) == (("x", "y", "z"), "cats")
        assert data.source == f"hf://me/cats@{'a' * 40}"
    repo_with("a/x.parquet", "b/x.parquet")
    with pytest.raises(DataError, match="of one data set; found a, b"):
        load_data("hf://me/cats")


@pytest.mark.failure
def test_a_data_set_that_the_hub_has_not(hub):
    with pytest.raises(HubError, match="me/no-such-data"):
        load_data("hf://me/no-such-data")
    with pytest.raises(ArgumentError, match="no repo on the Hub"):
        load_data("hf://nobody")


# In the commands


def test_the_table_is_listed(fmae, server, tmp_path):
    server.publish("mnist", files_of("mnist", tmp_path))
    load_data("mnist")
    rows = {row["name"]: row for row in json.loads(fmae("data", "--json")[1])}
    assert set(rows) == set(TABLE)
    assert rows["mnist"]["cached"]
    assert not rows["kmnist"]["cached"]
    out = fmae("data")[1]
    assert "pathmnist" in out
    assert "28x28x3" in out


def test_an_unknown_name_is_wrong_usage_with_the_nearest(fmae):
    code, _, err = fmae("evaluate", "dense-ae", "--data", "kminst")
    assert code == 2
    assert "Did you mean" in err


def test_facts_of_one_data_set(fmae, server, tmp_path):
    server.publish("cifar10", files_of("cifar10", tmp_path))
    facts = json.loads(fmae("data", "--data", "cifar10", "--json")[1])
    assert facts["shape"] == [32, 32, 3]
    assert facts["class_names"][0] == "airplane"
    np.save(tmp_path / "plain.npy", GREY)
    assert "no labels" in fmae("data", "--data", tmp_path / "plain.npy")[1]


def test_what_the_hub_has_given_to_another_program_is_read_without_a_network(monkeypatch, tmp_path):
    import huggingface_hub

    commit = "c" * 40
    repo = tmp_path / "hub" / "datasets--zalando-datasets--fashion_mnist"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text(commit)
    for split, count in (("train", 12), ("test", 4)):
        name = f"fashion_mnist/{split}-00000-of-00001.parquet"
        parquet(repo / "snapshots" / commit / name, GREY[:count], LABELS[:count])

    def unreachable(*args, **options):
        raise ConnectionError("no network")

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", unreachable)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    (tmp_path / "idx").mkdir()
    sources.download_from_hub(TABLE["fashion-mnist"], tmp_path / "idx")
    names = list(TABLE["fashion-mnist"].files)
    for name, expected in zip(names, (GREY, LABELS, GREY[:4], LABELS[:4])):
        np.testing.assert_array_equal(datasets.read_idx(tmp_path / "idx" / name), expected)


def test_the_reason_of_a_failing_command_is_told(tmp_path):
    with pytest.raises(DataError, match="no-such-option"):
        sources._run(["ls", "--no-such-option"], str(tmp_path))
