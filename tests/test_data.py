import gzip
import http.client
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

import fmae_zoo
from fmae_zoo import data
from fmae_zoo.errors import AbsentDataError, ArgumentError, DataError
from fmae_zoo.files import sha256_of


@pytest.fixture
def idx_folder(tmp_path, sample, monkeypatch):
    """The sample as IDX files, with their digests in the place of the real ones."""
    arrays = (sample.train_images, sample.train_labels, sample.test_images, sample.test_labels)
    digests = {}
    for (name, _), array in zip(data.FILES.items(), arrays):
        data._write_idx(tmp_path / name, array)
        content = (tmp_path / name).read_bytes()
        digests[name] = sha256_of(content)
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content))
        (tmp_path / name).unlink()
    monkeypatch.setattr(data, "FILES", digests)
    return tmp_path


@pytest.fixture
def no_source(monkeypatch, tmp_path):
    """An empty cache, and no network, Hub, or Debian package."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(data, "DEBIAN_FOLDER", tmp_path / "nothing")
    monkeypatch.setattr(data, "KERAS_URL", "http://127.0.0.1:9/")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")

    def refuse(folder):
        raise AbsentDataError("unreachable")

    monkeypatch.setattr(data, "_download_from_hub", refuse)
    monkeypatch.setattr(data, "_download_from_debian", refuse)


def test_a_folder_is_read_back_exactly(idx_folder, sample):
    read = data.load_data(idx_folder)
    np.testing.assert_array_equal(read.train_images, sample.train_images)
    np.testing.assert_array_equal(read.test_labels, sample.test_labels)
    assert read.digest == sample.digest


def test_a_plain_idx_file_serves_as_well_as_a_gzipped_one(idx_folder, sample):
    for path in idx_folder.glob("*.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    assert data.load_data(idx_folder).digest == sample.digest


@pytest.mark.parametrize("read", [data.load_data, data._read_folder])
def test_an_altered_file_is_refused_with_its_name_and_both_digests(idx_folder, read):
    for name, expected in data.FILES.items():
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
    assert dict(read(idx_folder).files) == data.FILES


@pytest.mark.parametrize("keep", [0, 1, 9, 100, -1])
@pytest.mark.parametrize("gzipped", [True, False])
def test_a_truncated_file_is_refused_with_its_name_and_both_digests(idx_folder, keep, gzipped):
    name, expected = next(iter(data.FILES.items()))
    path = idx_folder / f"{name}.gz"
    if not gzipped:
        content = gzip.decompress(path.read_bytes())
        path.unlink()
        path = idx_folder / name
        path.write_bytes(content)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=f"{name}.*expected {expected}.*[0-9a-f]{{64}}"):
        data.load_data(idx_folder)


def test_another_data_set_is_taken_with_a_warning(idx_folder, caplog, monkeypatch):
    monkeypatch.setattr(data, "FILES", dict.fromkeys(data.FILES, "0" * 64))
    assert data.load_data(idx_folder).name == str(idx_folder)
    assert "not Fashion-MNIST" in caplog.text


@pytest.mark.parametrize(
    "changes",
    [
        {"train_images": np.zeros((3, 28, 28), np.float32), "train_labels": np.zeros(3, np.uint8)},
        {"train_labels": np.zeros(5, np.uint8)},
        {"test_labels": np.zeros(400, np.float32)},
        {"test_images": np.zeros((400, 28, 28, 1), np.uint8)},
        {"test_images": "pictures"},
    ],
)
def test_a_data_set_has_arrays_that_fit(sample, changes):
    with pytest.raises(DataError, match="expected"):
        replace(sample, **changes)


@pytest.mark.parametrize("function", [fmae_zoo.train, fmae_zoo.verify])
def test_a_folder_is_no_data_set(function):
    with pytest.raises(ArgumentError, match="load_data"):
        function("dense-ae", data="folder")
    with pytest.raises(ArgumentError, match="folder is 5; expected the path"):
        data.load_data(5)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\x00\x08",
        b"GIF89a",
        b"\x00\x00\x08\x03\x00",
        b"\x00\x00\x08\x01\x00\x00\x00\x05abc",
    ],
)
def test_what_is_no_idx_file_is_refused(content):
    with pytest.raises(DataError):
        data.parse_idx(content, "file")


def test_images_and_labels_must_fit(idx_folder, monkeypatch):
    monkeypatch.setattr(data, "FILES", dict.fromkeys(data.FILES, "0" * 64))
    data._write_idx(idx_folder / "train-labels-idx1-ubyte", np.zeros(7, np.uint8))
    (idx_folder / "train-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError, match="labels of shape"):
        data.load_data(idx_folder)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="train-images-idx3-ubyte"):
        data.load_data(tmp_path)


def test_the_cache_comes_first(idx_folder, no_source, sample, monkeypatch, tmp_path):
    cache = data.cache_folder()
    cache.mkdir(parents=True)
    for path in idx_folder.glob("*.gz"):
        (cache / path.name).write_bytes(path.read_bytes())
    assert data.find_data().source == str(cache)


def test_each_failed_source_is_reported_and_the_sample_says_so(no_source, caplog):
    failed = {}
    assert data.find_data(lambda source, error: failed.update({source: error})) is None
    assert len(failed) == 5
    assert "127.0.0.1" in str(failed["Keras download"])
    loaded = data.load_data()
    assert loaded.is_sample
    assert "sample" in caplog.text


def test_a_damaged_cache_is_warned_of_and_passed_over(idx_folder, no_source, caplog):
    cache = data.cache_folder()
    cache.mkdir(parents=True)
    for name in data.FILES:
        (cache / name).write_bytes(b"\x00\x00\x08\x01\x00\x00\x00\x01x")
    assert data.find_data() is None
    assert "truncated or altered" in caplog.text


def test_a_download_fills_the_cache_whole_or_not_at_all(idx_folder, no_source, monkeypatch):
    def broken(folder):
        (folder / next(iter(data.FILES))).write_bytes(b"half")
        raise AbsentDataError("the line was cut")

    monkeypatch.setattr(data, "_download_from_keras", broken)
    assert data.find_data() is None
    assert not data.cache_folder().exists()


@pytest.mark.parametrize("blocked", ["keras", "keras/datasets", "keras/datasets/fashion-mnist"])
def test_a_download_that_no_cache_can_keep_is_used_all_the_same(
    idx_folder, no_source, sample, monkeypatch, tmp_path, caplog, blocked
):
    def download(folder):
        for path in idx_folder.glob("*.gz"):
            (folder / path.name).write_bytes(path.read_bytes())

    monkeypatch.setattr(data, "_download_from_keras", download)
    (tmp_path / blocked).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / blocked).write_text("a file, where a folder should be")
    assert fmae_zoo.load_data().digest == sample.digest
    assert "cannot be written" in caplog.text
    assert "KERAS_HOME" in caplog.text


def test_concurrent_first_downloads_do_not_corrupt_the_cache(
    idx_folder, no_source, sample, monkeypatch
):
    def download(folder):
        for path in idx_folder.glob("*.gz"):
            (folder / path.name).write_bytes(path.read_bytes())

    monkeypatch.setattr(data, "_download_from_keras", download)
    found = []
    threads = [threading.Thread(target=lambda: found.append(data.find_data())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [each.digest for each in found] == [sample.digest] * 8
    assert sorted(p.name for p in data.cache_folder().iterdir()) == sorted(
        f"{name}.gz" for name in data.FILES
    )


def test_the_keras_mirror_is_downloaded(idx_folder, no_source, sample, monkeypatch):
    import functools
    import http.server

    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(idx_folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(data, "KERAS_URL", f"http://127.0.0.1:{server.server_port}/")
        assert data.find_data().digest == sample.digest
        server.shutdown()


@pytest.mark.parametrize(
    ("error", "word"),
    [(http.client.IncompleteRead(b"half", 100), "IncompleteRead"), (KeyError("image"), "image")],
)
def test_whatever_goes_wrong_in_a_source_is_reported_and_the_next_is_tried(
    no_source, monkeypatch, error, word
):
    def fail(folder):
        raise error

    monkeypatch.setattr(data, "_download_from_keras", fail)
    failed = {}
    assert data.find_data(lambda source, error: failed.update({source: error})) is None
    assert word in str(failed["Keras download"])
    assert "Debian package, downloaded" in failed


def test_the_debian_package_is_unpacked(idx_folder, no_source, sample, monkeypatch, tmp_path):
    def run(command, folder):
        from pathlib import Path

        if command[0] == "apt-get":
            (Path(folder) / "dataset-fashion-mnist_1_all.deb").touch()
        else:
            target = Path(folder) / data.DEBIAN_FOLDER.relative_to("/")
            target.mkdir(parents=True)
            for path in idx_folder.glob("*.gz"):
                (target / path.name).write_bytes(path.read_bytes())

    monkeypatch.undo()
    digests = {
        path.stem: sha256_of(gzip.decompress(path.read_bytes())) for path in idx_folder.glob("*.gz")
    }
    monkeypatch.setattr(data, "FILES", {name: digests[name] for name in data.FILES})
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(data, "_run", run)
    monkeypatch.setattr(data.Path, "exists", lambda path: True)
    assert data._fill_cache(data._download_from_debian).digest == sample.digest


def test_a_failing_command_gives_its_reason(tmp_path):
    with pytest.raises(DataError, match="ls"):
        data._run(["ls", "--no-such-option"], str(tmp_path))


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
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", lambda *_, **options: None)
    monkeypatch.setattr(huggingface_hub.HfApi, "hf_hub_download", download)
    target = tmp_path / "target"
    target.mkdir()
    data._download_from_hub(target)
    read = data.load_data(target)
    np.testing.assert_array_equal(read.train_images, sample.train_images[:20])
    np.testing.assert_array_equal(read.test_labels, sample.test_labels[:20])


def test_the_split_is_fixed_and_disjoint(sample):
    fit, validation = sample.split
    assert len(fit) == 1000
    assert len(validation) == 200
    assert set(fit) | set(validation) == set(range(1200))


def test_the_sample_is_stratified_and_small():
    from importlib import resources

    sample = data.load_sample()
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
        data._download_from_hub(tmp_path)
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
