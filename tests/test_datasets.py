import gzip
import http.client
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import fmae_zoo
from fmae_zoo import datasets
from fmae_zoo.datasets import DEFAULT, TABLE, idx, sources
from fmae_zoo.errors import AbsentDataError, ArgumentError, DataError
from fmae_zoo.files import sha256_of

pytestmark = pytest.mark.once


def list_files(monkeypatch, digests, **changes):
    """Put other SHA-256 of Fashion-MNIST's files into the table."""
    files = {name: f"sha256:{digest}" for name, digest in digests.items()}
    monkeypatch.setitem(TABLE, DEFAULT, replace(TABLE[DEFAULT], files=files, **changes))


def listed_files():
    return {name: digest.removeprefix("sha256:") for name, digest in TABLE[DEFAULT].files.items()}


@pytest.fixture
def idx_folder(tmp_path, sample, monkeypatch):
    """The sample as IDX files, with their digests in the place of the real ones."""
    arrays = (sample.train_images, sample.train_labels, sample.test_images, sample.test_labels)
    digests = {}
    for name, array in zip(TABLE[DEFAULT].files, arrays):
        idx.write_idx(tmp_path / name, array)
        content = (tmp_path / name).read_bytes()
        digests[name] = sha256_of(content)
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content))
        (tmp_path / name).unlink()
    list_files(monkeypatch, digests)
    return tmp_path


@pytest.fixture
def no_source(monkeypatch, tmp_path):
    """An empty cache, and no network, Hub, or Debian package."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(sources, "DEBIAN_FOLDER", tmp_path / "nothing")
    monkeypatch.setitem(TABLE, DEFAULT, replace(TABLE[DEFAULT], url="http://127.0.0.1:9/"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")

    def refuse(listed, folder):
        raise AbsentDataError("unreachable")

    monkeypatch.setattr(sources, "download_from_hub", refuse)
    monkeypatch.setattr(sources, "download_from_debian", refuse)


def test_a_folder_is_read_back_exactly(idx_folder, sample):
    read = datasets.load_data(idx_folder)
    np.testing.assert_array_equal(read.train_images, sample.train_images)
    np.testing.assert_array_equal(read.test_labels, sample.test_labels)
    assert read.digest == sample.digest


@pytest.mark.parametrize(
    "read",
    [
        datasets.load_data,
        lambda folder: sources.read_listed(TABLE[DEFAULT], folder),
    ],
)
def test_an_altered_file_is_refused_with_its_name_and_both_digests(idx_folder, read):
    for name, expected in listed_files().items():
        path = idx_folder / f"{name}.gz"
        whole = path.read_bytes()
        content = bytearray(gzip.decompress(whole))
        content[300] ^= 1
        path.write_bytes(gzip.compress(bytes(content)))
        with pytest.raises(DataError) as error:
            read(idx_folder)
        for word in (path.name, expected, sha256_of(bytes(content))):
            assert word in str(error.value)
        path.write_bytes(whole)
    assert dict(read(idx_folder).files) == listed_files()


@pytest.mark.parametrize("keep", [0, 1, 9, 100, -1])
@pytest.mark.parametrize("gzipped", [True, False])
def test_a_truncated_file_is_refused_with_its_name(idx_folder, keep, gzipped):
    name = next(iter(listed_files()))
    path = idx_folder / f"{name}.gz"
    if not gzipped:
        content = gzip.decompress(path.read_bytes())
        path.unlink()
        path = idx_folder / name
        path.write_bytes(content)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=name):
        datasets.load_data(idx_folder)


def test_another_data_set_is_taken_with_a_warning(idx_folder, caplog, monkeypatch):
    list_files(monkeypatch, dict.fromkeys(listed_files(), "0" * 64))
    assert datasets.load_data(idx_folder).name == str(idx_folder)
    assert "not Fashion-MNIST" in caplog.text


@pytest.mark.parametrize("function", [fmae_zoo.train, fmae_zoo.verify])
def test_a_folder_is_no_data_set(function):
    with pytest.raises(ArgumentError, match="load_data"):
        function("dense-ae", data="folder")
    with pytest.raises(ArgumentError, match="name_or_path is 5; expected the path"):
        datasets.load_data(5)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\x00\x08",
        b"GIF89a",
        b"\x00\x00\x08\x03\x00",
        b"\x00\x00\x08\x01\x00\x00\x00\x05abc",
        b"\x00\x00\x08\x00\x05",
    ],
)
def test_what_is_no_idx_file_is_refused(content):
    with pytest.raises(DataError):
        idx.parse_idx(content, "file")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="train-images-idx3-ubyte"):
        datasets.load_data(tmp_path)


def test_the_cache_comes_first(idx_folder, no_source, sample, monkeypatch, tmp_path):
    cache = datasets.cache_folder()
    cache.mkdir(parents=True)
    for path in idx_folder.glob("*.gz"):
        (cache / path.name).write_bytes(path.read_bytes())
    assert datasets.find_data().source == str(cache)


def test_each_failed_source_is_reported_and_the_sample_says_so(no_source, caplog):
    failed = {}
    assert datasets.find_data(lambda source, error: failed.update({source: error})) is None
    assert len(failed) == 5
    assert "127.0.0.1" in str(failed["Keras download"])
    loaded = datasets.load_data()
    assert loaded.is_sample
    assert "sample" in caplog.text


def test_sources_that_fail_before_one_that_works_are_not_spoken_of(
    idx_folder, no_source, monkeypatch, caplog
):
    monkeypatch.setattr(sources, "DEBIAN_FOLDER", idx_folder)
    assert datasets.find_data().source == str(idx_folder)
    assert not caplog.records
    monkeypatch.setattr(sources, "DEBIAN_FOLDER", idx_folder / "nothing")
    assert datasets.find_data() is None
    (record,) = caplog.records
    for word in ("Keras cache", "Debian package", "Keras download", "Hub data set", "downloaded"):
        assert word in record.getMessage()


@pytest.mark.parametrize("blocked", ["keras", "keras/datasets", "keras/datasets/fashion-mnist"])
def test_a_download_that_no_cache_can_keep_is_used_all_the_same(
    idx_folder, no_source, sample, monkeypatch, tmp_path, caplog, blocked
):
    def download(listed, folder):
        for path in idx_folder.glob("*.gz"):
            (folder / path.name).write_bytes(path.read_bytes())

    monkeypatch.setattr(sources, "download_files", download)
    (tmp_path / blocked).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / blocked).write_text("a file, where a folder should be")
    assert fmae_zoo.load_data().digest == sample.digest
    assert "cannot be written" in caplog.text
    assert "KERAS_HOME" in caplog.text


def test_concurrent_first_downloads_do_not_corrupt_the_cache(
    idx_folder, no_source, sample, monkeypatch
):
    def download(listed, folder):
        for path in idx_folder.glob("*.gz"):
            (folder / path.name).write_bytes(path.read_bytes())

    monkeypatch.setattr(sources, "download_files", download)
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(datasets.find_data())) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [each.digest for each in found] == [sample.digest] * 8
    assert sorted(p.name for p in datasets.cache_folder().iterdir()) == sorted(
        f"{name}.gz" for name in listed_files()
    )


def test_the_keras_mirror_is_downloaded(idx_folder, no_source, sample, monkeypatch):
    import functools
    import http.server

    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(idx_folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/"
        monkeypatch.setitem(TABLE, DEFAULT, replace(TABLE[DEFAULT], url=url))
        assert datasets.find_data().digest == sample.digest
        server.shutdown()


@pytest.mark.parametrize(
    ("error", "word"),
    [(http.client.IncompleteRead(b"half", 100), "IncompleteRead"), (KeyError("image"), "image")],
)
def test_whatever_goes_wrong_in_a_source_is_reported_and_the_next_is_tried(
    no_source, monkeypatch, error, word
):
    def fail(listed, folder):
        raise error

    monkeypatch.setattr(sources, "download_files", fail)
    failed = {}
    assert datasets.find_data(lambda source, error: failed.update({source: error})) is None
    assert word in str(failed["Keras download"])
    assert "Debian package, downloaded" in failed


def test_the_debian_package_is_unpacked(idx_folder, no_source, sample, monkeypatch, tmp_path):
    def run(command, folder):
        from pathlib import Path

        if command[0] == "apt-get":
            (Path(folder) / "dataset-fashion-mnist_1_all.deb").touch()
        else:
            target = Path(folder) / sources.DEBIAN_FOLDER.relative_to("/")
            target.mkdir(parents=True)
            for path in idx_folder.glob("*.gz"):
                (target / path.name).write_bytes(path.read_bytes())

    monkeypatch.undo()
    digests = {
        path.stem: sha256_of(gzip.decompress(path.read_bytes())) for path in idx_folder.glob("*.gz")
    }
    list_files(monkeypatch, {name: digests[name] for name in listed_files()})
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(sources, "_run", run)
    assert sources.fill_cache(TABLE[DEFAULT], sources.download_from_debian).digest == sample.digest


def test_the_hub_data_set_is_converted(no_source, sample, monkeypatch, tmp_path):
    import io

    import huggingface_hub
    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL import Image

    def png(image):
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, format="PNG")
        return {"bytes": buffer.getvalue(), "path": ""}

    def download(api, repo, file, **options):
        split = "train" if "train" in file else "test"
        images = getattr(sample, f"{split}_images")[:20]
        labels = getattr(sample, f"{split}_labels")[:20]
        table = pa.table({"image": [png(i) for i in images], "label": labels.astype("int64")})
        pq.write_table(table, tmp_path / f"{split}.parquet")
        return str(tmp_path / f"{split}.parquet")

    monkeypatch.undo()
    names = [f"fashion_mnist/{split}-00000-of-00001.parquet" for split in ("train", "test")]
    siblings = [SimpleNamespace(rfilename=name) for name in names]
    info = SimpleNamespace(sha="a" * 40, siblings=siblings)
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", lambda *_, **options: info)
    monkeypatch.setattr(huggingface_hub.HfApi, "hf_hub_download", download)
    target = tmp_path / "target"
    target.mkdir()
    sources.download_from_hub(TABLE[DEFAULT], target)
    read = datasets.load_data(target)
    np.testing.assert_array_equal(read.train_images, sample.train_images[:20])
    np.testing.assert_array_equal(read.test_labels, sample.test_labels[:20])


def test_the_split_is_fixed_and_disjoint(sample):
    fit, validation = sample.split
    assert len(fit) == 1000
    assert len(validation) == 200
    assert set(fit) | set(validation) == set(range(1200))


def test_the_sample_is_stratified_and_small():
    from importlib import resources

    sample = datasets.load_sample()
    assert sample.is_sample
    assert np.bincount(sample.train_labels).tolist() == [120] * 10
    assert np.bincount(sample.test_labels).tolist() == [40] * 10
    assert resources.files("fmae_zoo").joinpath("sample.npz").stat().st_size < 1_000_000


def test_an_unreachable_hub_is_an_absent_source_at_once(monkeypatch, tmp_path):
    import huggingface_hub

    def unreachable(*args, **options):
        raise ConnectionError("no network")

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", unreachable)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "empty"))
    began = time.perf_counter()
    with pytest.raises(AbsentDataError, match="the Hub cannot be reached"):
        sources.download_from_hub(TABLE[DEFAULT], tmp_path)
    assert time.perf_counter() - began < 5.0


@pytest.mark.full_data
def test_the_sample_is_a_slice_of_the_real_data(full_data, sample):
    known = {image.tobytes() for image in full_data.train_images}
    assert all(image.tobytes() in known for image in sample.train_images)
    known = {image.tobytes() for image in full_data.test_images}
    assert all(image.tobytes() in known for image in sample.test_images)


@pytest.mark.full_data
def test_the_real_data_has_its_shape_and_split(full_data):
    assert full_data.train_images.shape == (60_000, 28, 28)
    assert full_data.test_images.shape == (10_000, 28, 28)
    fit, validation = full_data.split
    assert (len(fit), len(validation)) == (50_000, 10_000)
