"""Loading from the Hub: real HTTP, the real client, a Hub of our own on 127.0.0.1."""

import json
import os
import shutil
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest

import fmae_zoo
from fmae_zoo import registry
from fmae_zoo.card import card_of
from fmae_zoo.entry import Entry
from fmae_zoo.errors import (
    ArgumentError,
    DigestError,
    HubPermissionError,
    NotCachedError,
    RepoFileNotFoundError,
    RepoNotFoundError,
    RevisionNotFoundError,
    SpecError,
    StaleCacheWarning,
    UnknownModelError,
    WeightsError,
)
from fmae_zoo.hub.address import HubAddress
from fmae_zoo.hub.options import HubOptions
from fmae_zoo.hub.repo import Repo
from fmae_zoo.manifest import HubRecord, Manifest
from fmae_zoo.spec import SPEC_FILE
from tests.conftest import ROOT, run_python, tiny_spec

pytestmark = pytest.mark.usefixtures("eager")

NEEDED = {"spec.toml", "manifest.json", "encoder.safetensors", "decoder.safetensors"}


@pytest.fixture
def commit(hub, repo_files):
    return hub.seed("me/tiny", repo_files, tag="v1")


@pytest.mark.parametrize("revision", ["", "@v1", "@main", "commit"])
def test_a_repo_loads_by_tag_branch_and_commit(hub, commit, images, revision):
    revision = f"@{commit}" if revision == "commit" else revision
    expected = fmae_zoo.Autoencoder(tiny_spec(), seed=3)
    loaded = fmae_zoo.load(f"hf://me/tiny{revision}")
    assert loaded.spec == expected.spec
    np.testing.assert_array_equal(loaded.encode(images), expected.encode(images))
    np.testing.assert_array_equal(loaded.reconstruct(images), expected.reconstruct(images))


def test_the_revision_may_be_an_argument(hub, commit, repo_files):
    other = {**repo_files, "history.csv": b"epoch\n"}
    hub.seed("me/tiny", other)
    assert fmae_zoo.load("hf://me/tiny", revision="v1")
    with pytest.raises(ArgumentError, match="has a revision already"):
        fmae_zoo.load("hf://me/tiny@v1", revision="main")
    with pytest.raises(ArgumentError, match="not published"):
        fmae_zoo.load("conv-ae-bn", pretrained=True, revision="main")


def test_requests_of_cold_and_warm_loads(hub, commit):
    fmae_zoo.load("hf://me/tiny@v1")
    cold = len(hub.log)
    assert cold == 1 + 2 * len(NEEDED)
    fmae_zoo.load("hf://me/tiny@v1")
    assert len(hub.log) == cold + 1
    fmae_zoo.load(f"hf://me/tiny@{commit}")
    assert len(hub.log) == cold + 1
    fmae_zoo.load("conv-ae-bn", pretrained=True)
    assert len(hub.log) == cold + 1


def test_only_what_the_load_needs_is_fetched(hub, commit, repo_files):
    encoder = fmae_zoo.load("hf://me/tiny@v1", part="encoder")
    assert encoder.output_shape == (None, 4)
    received = {r.path.rsplit("/", 1)[-1] for r in hub.log if r.method == "GET" and r.bytes_sent}
    assert not [name for name in received if "decoder" in name]
    sent = sum(r.bytes_sent for r in hub.log if r.method == "GET" and "/api/" not in r.path)
    needed = ("spec.toml", "manifest.json", "encoder.safetensors")
    assert sent == sum(len(repo_files[name]) for name in needed)
    fmae_zoo.load("hf://me/tiny@v1")
    sent = sum(r.bytes_sent for r in hub.log if r.method == "GET" and "/api/" not in r.path)
    assert sent == sum(len(repo_files[name]) for name in NEEDED)


def test_a_moved_branch_is_followed_and_a_commit_is_not(hub, commit, repo_files):
    assert fmae_zoo.load("hf://me/tiny")
    moved = hub.seed("me/tiny", {**repo_files, "history.csv": b"epoch\n1\n"})
    folder = fmae_zoo.pull(f"hf://me/tiny@{commit}")
    assert folder.name == commit
    assert (
        fmae_zoo.hub.entry.HubEntry.open(
            HubAddress("me/tiny"), fmae_zoo.hub.options.HubOptions()
        ).folder.name
        == moved
    )


@pytest.mark.parametrize("how", ["variable", "argument", "network"])
def test_offline_the_cache_serves(hub, commit, images, how, monkeypatch):
    from huggingface_hub import constants

    expected = fmae_zoo.load("hf://me/tiny@v1").encode(images)
    before = len(hub.log)
    options = {}
    if how == "variable":
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    elif how == "argument":
        options = {"local_files_only": True}
    else:
        hub.fail("reset", ".*", times=None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", StaleCacheWarning)
        for address in ("hf://me/tiny@v1", f"hf://me/tiny@{commit}"):
            np.testing.assert_array_equal(
                fmae_zoo.load(address, **options).encode(images), expected
            )
    stale = [str(each.message) for each in caught if each.category is StaleCacheWarning]
    # A tag may have been moved, and nobody could be asked; a commit is what it is.
    assert len(stale) == (how == "network")
    if how != "network":
        assert len(hub.log) == before


@pytest.mark.parametrize("warm", ["nothing", "encoder"])
@pytest.mark.failure
def test_offline_what_is_missing_is_named_and_how_to_get_it(hub, commit, warm):
    if warm == "encoder":
        fmae_zoo.load("hf://me/tiny@v1", part="encoder")
    missing = "revision" if warm == "nothing" else r"decoder\.safetensors"
    with pytest.raises(NotCachedError, match=rf"(?s){missing}.*fmae pull hf://me/tiny@v1"):
        fmae_zoo.load("hf://me/tiny@v1", local_files_only=True)
    assert fmae_zoo.pull("hf://me/tiny@v1")
    assert fmae_zoo.load("hf://me/tiny@v1", local_files_only=True)


@pytest.mark.failure
def test_a_repo_that_is_gone_is_served_from_the_cache_with_a_warning(hub, commit, images):
    expected = fmae_zoo.load("hf://me/tiny").encode(images)
    hub.delete("me/tiny")
    with pytest.warns(StaleCacheWarning, match=f"no repo me/tiny.*{commit}"):
        loaded = fmae_zoo.load("hf://me/tiny")
    np.testing.assert_array_equal(loaded.encode(images), expected)
    with pytest.raises(RepoNotFoundError):
        fmae_zoo.load("hf://me/tiny@v2")


@pytest.mark.parametrize("name", sorted(NEEDED))
@pytest.mark.failure
def test_wrong_bytes_in_the_cache_are_fetched_once_more(hub, commit, images, name):
    expected = fmae_zoo.load("hf://me/tiny@v1").encode(images)
    path = fmae_zoo.pull(f"hf://me/tiny@{commit}") / name
    altered = bytearray(path.read_bytes())
    altered[len(altered) // 2] ^= 1
    path.write_bytes(bytes(altered))
    before = len(hub.log)
    loaded = fmae_zoo.load(f"hf://me/tiny@{commit}")
    np.testing.assert_array_equal(loaded.encode(images), expected)
    assert len(hub.log) == before + 2
    path.write_bytes(bytes(altered))
    with pytest.raises(DigestError, match=rf"(?s){name}.*offline.*expected.*received"):
        fmae_zoo.load(f"hf://me/tiny@{commit}", local_files_only=True)


@pytest.mark.failure
def test_a_link_that_leads_nowhere_is_mended(hub, commit):
    path = fmae_zoo.pull("hf://me/tiny@v1") / "encoder.safetensors"
    path.resolve().unlink()
    with pytest.raises(NotCachedError, match=r"encoder\.safetensors"):
        fmae_zoo.load(f"hf://me/tiny@{commit}", local_files_only=True)
    assert fmae_zoo.load(f"hf://me/tiny@{commit}")


@pytest.mark.failure
@pytest.mark.parametrize("name", sorted(NEEDED))
def test_a_cache_without_links_is_mended_too(hub, commit, name, monkeypatch):
    """As on Windows, where the client copies in place of linking."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_SYMLINKS", True)
    path = fmae_zoo.pull("hf://me/tiny@v1") / name
    assert not path.is_symlink()
    whole = path.read_bytes()
    for damaged in (whole[:-1] + bytes([whole[-1] ^ 1]), whole[: len(whole) // 2], b""):
        for revision in ("v1", commit):
            path.write_bytes(damaged)
            assert fmae_zoo.load(f"hf://me/tiny@{revision}")
    assert fmae_zoo.pull("hf://me/tiny@v1")
    assert path.read_bytes() == whole


def test_a_store_that_several_repos_share_is_no_damage(hub, commit, tmp_path):
    """The client links twice there: from the file to the blob, and on to the shared store."""
    path = fmae_zoo.pull("hf://me/tiny@v1") / "encoder.safetensors"
    blob = path.parent / path.readlink()
    shared = tmp_path / ("5e7" + "0" * 61)
    blob.rename(shared)
    blob.symlink_to(shared)
    assert fmae_zoo.load(f"hf://me/tiny@{commit}", local_files_only=True)


@pytest.mark.failure
def test_wrong_bytes_of_the_hub_are_refused_after_a_second_try(hub, commit, repo_files):
    hub.fail("corrupt", "encoder.safetensors", times=None)
    digest = Manifest.model_validate_json(repo_files["manifest.json"]).files["encoder.safetensors"]
    with pytest.raises(DigestError, match="once more") as caught:
        fmae_zoo.load("hf://me/tiny@v1")
    assert f"expected SHA-256 {digest.sha256}" in str(caught.value)
    assert str(caught.value).count("SHA-256 ") == 2
    hub.faults.clear()
    assert fmae_zoo.load("hf://me/tiny@v1")


@pytest.mark.failure
def test_wrong_bytes_once_are_mended(hub, commit, images):
    hub.fail("corrupt", "encoder.safetensors", method="GET", times=1)
    expected = fmae_zoo.Autoencoder(tiny_spec(), seed=3).encode(images)
    np.testing.assert_array_equal(fmae_zoo.load("hf://me/tiny@v1").encode(images), expected)


@pytest.mark.failure
def test_a_file_that_is_not_the_manifests_is_not_even_downloaded(hub, repo_files):
    content = bytearray(repo_files["encoder.safetensors"])
    content[-1] ^= 1
    hub.seed("me/other", {**repo_files, "encoder.safetensors": bytes(content)})
    with pytest.raises(DigestError, match="the Hub's file is not the manifest's"):
        fmae_zoo.load("hf://me/other")
    assert not [record for record in hub.log if "encoder" in record.path]


@pytest.mark.failure
def test_a_spec_that_the_weights_were_not_trained_by_is_refused(hub, repo_files):
    spec = repo_files["spec.toml"].replace(b"batch_size = 32", b"batch_size = 33")
    assert spec != repo_files["spec.toml"]
    hub.seed("me/other", {**repo_files, "spec.toml": spec})
    with pytest.raises(DigestError, match="not the one that the weights were trained by"):
        fmae_zoo.load("hf://me/other")


@pytest.mark.failure
def test_a_repo_of_something_else_says_so(hub, repo_files):
    hub.seed("me/keras", {"config.json": b"{}", "README.md": b"# mine"})
    with pytest.raises(RepoFileNotFoundError, match=r"no spec\.toml.*keras\.saving\.load_model"):
        fmae_zoo.load("hf://me/keras")
    hub.seed("me/spec", {"spec.toml": repo_files["spec.toml"]})
    with pytest.raises(fmae_zoo.NoWeightsError, match=r"manifest\.json"):
        fmae_zoo.load("hf://me/spec")


@pytest.mark.parametrize(
    "address",
    ["hf://", "hf://me", "hf://me/a/b", "hf://me/a@", "hf://../a", "hf://me/..", "hf://me/a@../b"]
    + ["hf://me/a b", "hf://me/a@b c", "hf://me/a@/b", "hf:///a", "hf://me/a@b@c", "hf://me/x--y"],
)
@pytest.mark.failure
def test_a_wrong_address_is_refused_without_a_request(hub, address):
    with pytest.raises(ArgumentError, match=r"Hub|revision"):
        fmae_zoo.load(address)
    assert not hub.log


@pytest.mark.failure
def test_a_source_that_is_none_of_the_three_names_all_three(hub):
    with pytest.raises(UnknownModelError, match=r"registered name.*local:FOLDER.*hf://"):
        fmae_zoo.load("xyzzy")


@pytest.mark.parametrize(
    "options",
    [{"token": "a b"}, {"token": ""}, {"token": "hf_\n"}, {"token": 3}]
    + [{"timeout": 0}, {"timeout": "1"}, {"timeout": -1}, {"timeout": float("nan")}]
    + [{"cache_dir": 3}, {"local_files_only": "yes"}, {"revision": "a b"}],
)
@pytest.mark.failure
def test_wrong_options_are_refused_without_a_request(hub, commit, options):
    with pytest.raises(ArgumentError) as caught:
        fmae_zoo.load("hf://me/tiny", **options)
    assert not hub.log
    assert "hf_" not in str(caught.value)


def test_a_load_leaves_no_thread_behind(hub, commit, tmp_path):
    def ours():
        return {one for one in threading.enumerate() if "process_request" not in one.name}

    fmae_zoo.load("hf://me/tiny@v1", cache_dir=tmp_path / "first")
    before = ours()
    for number in range(3):
        fmae_zoo.load("hf://me/tiny@v1", cache_dir=tmp_path / str(number))
    assert ours() <= before


@pytest.mark.failure
def test_two_processes_load_at_once(hub, commit, tmp_path):
    code = (
        "import sys, fmae_zoo\n"
        "ae = fmae_zoo.load('hf://me/tiny@v1', cache_dir=sys.argv[1])\n"
        "print(ae.encoder.count_params())\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-c", code, str(tmp_path / "shared")]
    both = [
        subprocess.Popen(words, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert outputs[0][0] == outputs[1][0]


def test_a_published_name_is_mended_from_the_hub(hub, repo_files, tmp_path, images):
    folder = tmp_path / "published"
    fmae_zoo.save(fmae_zoo.Autoencoder(tiny_spec(), seed=3), folder)
    commit = hub.seed("zoo/tiny-ae", repo_files)
    hub.seed("zoo/tiny-ae", {**repo_files, "spec.toml": b"moved on"})
    pin = HubRecord(repo="zoo/tiny-ae", commit=commit)
    Manifest.read(folder).model_copy(update={"hub": pin}).write(folder)
    registry.register(folder)
    expected = fmae_zoo.load("tiny-ae", pretrained=True).encode(images)
    assert not hub.log
    (folder / "decoder.safetensors").unlink()
    content = bytearray((folder / "encoder.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "encoder.safetensors").write_bytes(bytes(content))
    np.testing.assert_array_equal(
        fmae_zoo.load("tiny-ae", pretrained=True).encode(images), expected
    )
    assert len(hub.log) == 5
    fmae_zoo.load("tiny-ae", pretrained=True)
    assert len(hub.log) == 5
    with pytest.raises(SpecError):
        fmae_zoo.load("tiny-ae", pretrained=True, revision="main")


def test_pull_of_a_published_name_fetches_what_is_missing(hub, repo_files, tmp_path):
    folder = fmae_zoo.save(fmae_zoo.Autoencoder(tiny_spec(), seed=3), tmp_path / "published")
    pin = HubRecord(repo="zoo/tiny-ae", commit=hub.seed("zoo/tiny-ae", repo_files))
    Manifest.read(folder).model_copy(update={"hub": pin}).write(folder)
    registry.register(folder)
    assert fmae_zoo.pull("tiny-ae") == folder
    (folder / "decoder.safetensors").unlink()
    pulled = fmae_zoo.pull("tiny-ae")
    assert [path.name for path in pulled.iterdir()] == ["decoder.safetensors"]
    whole = fmae_zoo.pull("tiny-ae", tmp_path / "whole", local_files_only=True)
    assert fmae_zoo.load(whole).encode(np.zeros((1, 28, 28))).shape == (1, 4)


@pytest.mark.failure
def test_a_pin_is_enforced(hub, repo_files, tmp_path):
    folder = tmp_path / "published"
    fmae_zoo.save(fmae_zoo.Autoencoder(tiny_spec(), seed=3), folder)
    other = fmae_zoo.save(fmae_zoo.Autoencoder(tiny_spec(), seed=4), tmp_path / "other")
    encoder = (other / "encoder.safetensors").read_bytes()
    commit = hub.seed("zoo/tiny-ae", {**repo_files, "encoder.safetensors": encoder})
    pin = HubRecord(repo="zoo/tiny-ae", commit=commit)
    Manifest.read(folder).model_copy(update={"hub": pin}).write(folder)
    (folder / "encoder.safetensors").unlink()
    with pytest.raises(DigestError, match="expected SHA-256"):
        Entry.read(folder).build(pretrained=True)


def test_a_revision_of_a_name_is_that_of_its_repo(hub, repo_files, tmp_path):
    folder = fmae_zoo.save(fmae_zoo.Autoencoder(tiny_spec(), seed=3), tmp_path / "published")
    commit = hub.seed("zoo/tiny-ae", repo_files, tag="v1")
    pin = HubRecord(repo="zoo/tiny-ae", commit=commit)
    Manifest.read(folder).model_copy(update={"hub": pin}).write(folder)
    registry.register(folder)
    expected = fmae_zoo.Autoencoder(tiny_spec(), seed=3).encoder.get_weights()
    loaded = fmae_zoo.load("tiny-ae", revision="v1", part="encoder").get_weights()
    for one, other in zip(loaded, expected):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(RevisionNotFoundError, match="'v9'"):
        fmae_zoo.load("tiny-ae", pretrained=True, revision="v9")
    spec = repo_files["spec.toml"].replace(b"tiny-ae", b"other-ae")
    manifest = json.loads(repo_files["manifest.json"])
    manifest |= {"name": "other-ae", "spec_sha256": ""}
    files = {**repo_files, "spec.toml": spec, "manifest.json": json.dumps(manifest).encode()}
    hub.seed("zoo/tiny-ae", files)
    with pytest.raises(UnknownModelError, match=r"holds other-ae\.fmnist"):
        fmae_zoo.load("tiny-ae", pretrained=True, revision="main")


def test_keras_alone_loads_the_encoder(hub, commit, images, tmp_path):
    """In a process that cannot import fmae_zoo."""
    np.save(tmp_path / "images.npy", images[..., None].astype("float32") / 255.0)
    code = (
        "import sys\n"
        "sys.modules['fmae_zoo'] = None\n"
        "import keras, numpy as np\n"
        "model = keras.saving.load_model('hf://me/tiny')\n"
        "assert not model.compiled\n"
        "codes = model.predict(np.load(sys.argv[1] + '/images.npy'), verbose=0)\n"
        "np.save(sys.argv[1] + '/codes.npy', codes)\n"
    )
    result = run_python(code, str(tmp_path), HF_HUB_CACHE=str(tmp_path / "keras-cache"))
    assert result.returncode == 0, result.stderr
    expected = fmae_zoo.load("hf://me/tiny").encode(images)
    np.testing.assert_allclose(np.load(tmp_path / "codes.npy"), expected, atol=1e-5)


def test_pull_writes_a_folder_that_is_a_local_source(hub, commit, images, tmp_path):
    folder = fmae_zoo.pull("hf://me/tiny@v1", tmp_path / "mine")
    assert not any(path.is_symlink() for path in folder.iterdir())
    assert (folder / "README.md").is_file()
    expected = fmae_zoo.load("hf://me/tiny@v1").encode(images)
    hub.delete("me/tiny")
    np.testing.assert_array_equal(fmae_zoo.load(f"local:{folder}").encode(images), expected)
    with pytest.raises(ArgumentError, match="another spec"):
        fmae_zoo.pull("dense-ae", folder)


@pytest.mark.failure
@pytest.mark.parametrize("damage", ["altered", "missing"])
def test_pull_of_a_damaged_entry_that_is_not_published(hub, tmp_path, damage):
    folder = fmae_zoo.save(fmae_zoo.Autoencoder(tiny_spec(), seed=3), tmp_path / "mine")
    path = folder / "encoder.safetensors"
    content = path.read_bytes()
    path.unlink()
    if damage == "altered":
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    registry.register(folder)
    for target in (None, tmp_path / "out"):
        with pytest.raises(WeightsError, match="no other copy"):
            fmae_zoo.pull("tiny-ae", target)
    assert not (tmp_path / "out").exists()


def test_pull_keeps_a_card_that_was_edited(hub, commit, tmp_path):
    folder = fmae_zoo.pull("hf://me/tiny", tmp_path / "mine")
    (folder / "README.md").write_text("mine")
    fmae_zoo.pull("hf://me/tiny", folder)
    assert (folder / "README.md").read_text() == "mine"


def test_pull_offline_of_a_repo_without_a_card(hub, repo_files):
    hub.seed("me/bare", {k: v for k, v in repo_files.items() if k != "README.md"})
    folder = fmae_zoo.pull("hf://me/bare")
    assert fmae_zoo.pull("hf://me/bare", local_files_only=True) == folder


def test_pull_of_a_name_copies_the_packages_own_without_a_request(hub, tmp_path):
    folder = fmae_zoo.pull("dense-ae", tmp_path / "dense")
    assert not hub.log
    assert fmae_zoo.load(f"local:{folder}", part="encoder")
    shutil.rmtree(folder)


def test_evaluate_does_not_write_into_the_cache(hub, commit, few):
    from fmae_zoo.evaluation.record import check_data

    with pytest.raises(ArgumentError, match="fmae pull"):
        check_data(registry.find_entry("hf://me/tiny"), few)


def test_verify_checks_what_is_on_the_hub(hub, commit, repo_files, few):
    checks = fmae_zoo.verify("hf://me/tiny@v1", data=few)
    assert {check.passed for check in checks} <= {True, None}
    names = {check.name for check in checks}
    assert {"encoder.safetensors", "model.weights.h5", "README.md", "golden codes"} <= names
    manifest = json.loads(repo_files["manifest.json"])
    manifest["files"]["config.json"]["sha256"] = "0" * 64
    hub.seed("me/wrong", {**repo_files, "manifest.json": json.dumps(manifest).encode()})
    failed = [c for c in fmae_zoo.verify("hf://me/wrong", data=few) if c.passed is False]
    assert [check.name for check in failed] == ["config.json"]
    assert "0" * 64 in failed[0].detail


@pytest.mark.failure
def test_pull_does_not_write_over_other_weights(hub, commit, tmp_path):
    folder = fmae_zoo.save(fmae_zoo.Autoencoder(tiny_spec(), seed=9), tmp_path / "mine")
    before = (folder / "encoder.safetensors").read_bytes()
    with pytest.raises(ArgumentError, match="would be lost"):
        fmae_zoo.pull("hf://me/tiny@v1", folder)
    assert (folder / "encoder.safetensors").read_bytes() == before
    again = fmae_zoo.pull("hf://me/tiny@v1", tmp_path / "again")
    assert fmae_zoo.pull("hf://me/tiny@v1", again) == again


def test_looking_at_a_branch_does_not_take_its_old_weights_away(hub, commit, repo_files):
    assert fmae_zoo.load("hf://me/tiny")
    hub.seed("me/tiny", {**repo_files, "history.csv": b"epoch\n1\n"})
    assert registry.find_entry("hf://me/tiny").spec.name == "tiny-ae"
    assert fmae_zoo.load("hf://me/tiny", local_files_only=True)


def test_the_cache_of_the_options_is_used(hub, commit, tmp_path):
    fmae_zoo.load("hf://me/tiny@v1", cache_dir=tmp_path / "elsewhere", token="hf_reader")
    assert (tmp_path / "elsewhere" / "models--me--tiny" / "snapshots" / commit).is_dir()
    assert not Path(os.environ["HF_HOME"], "hub").exists()


def test_verify_finds_a_card_whose_figures_were_edited(hub, tmp_path, few):
    folder = fmae_zoo.pull("dense-ae", tmp_path / "dense")
    (folder / "README.md").write_text(card_of(registry.find_entry("dense-ae"), "me/dense"))
    assert all(check.passed is not False for check in fmae_zoo.verify(folder, data=few))
    text = (folder / "README.md").read_text()
    mse = str(registry.find_entry("dense-ae").manifest.results["reconstruction"]["mse"])
    assert mse in text
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    hub.seed("me/dense", {**files, "README.md": text.replace(mse, "0.0001").encode()})
    failed = [c for c in fmae_zoo.verify("hf://me/dense", data=few) if c.passed is False]
    assert [check.name for check in failed] == ["README.md"]
    assert mse in failed[0].detail


@pytest.mark.parametrize("timeout", [1e12, float("inf")])
def test_a_time_limit_without_end(hub, commit, timeout):
    assert fmae_zoo.load("hf://me/tiny", timeout=timeout)


@pytest.mark.failure
def test_a_saved_token_that_cannot_be_had_matters_only_where_one_is_sent(hub, commit, monkeypatch):
    assert fmae_zoo.load("hf://me/tiny@v1")
    monkeypatch.setenv("HF_OIDC_RESOURCE", "me/tiny")
    assert fmae_zoo.load(f"hf://me/tiny@{commit}")
    assert fmae_zoo.load("hf://me/tiny@v1", local_files_only=True)
    assert fmae_zoo.load("hf://me/tiny@v1", token=False)
    with pytest.raises(HubPermissionError, match="token cannot be had"):
        fmae_zoo.load("hf://me/tiny@v1")


def test_threads_load_at_once(hub, commit, images):
    from concurrent.futures import ThreadPoolExecutor

    expected = fmae_zoo.Autoencoder(tiny_spec(), seed=3).encode(images)
    with ThreadPoolExecutor(4) as pool:
        models = list(pool.map(lambda _: fmae_zoo.load("hf://me/tiny@v1"), range(4)))
    for model in models:
        np.testing.assert_array_equal(model.encode(images), expected)


def test_a_file_that_came_meanwhile_is_not_taken_away(hub, commit, monkeypatch):
    """Another thread may fetch a file between the look for it and its download."""
    fmae_zoo.load("hf://me/tiny@v1")
    repo = Repo.open(HubAddress("me/tiny", commit), HubOptions())
    path = repo.folder / SPEC_FILE
    before = path.lstat().st_ino
    looks = []

    def not_at_first(repo, file):
        looks.append(file)
        return len(looks) > 1 and file.is_file()

    monkeypatch.setattr(Repo, "_has", not_at_first)
    assert repo.file(SPEC_FILE) == path
    assert looks
    assert path.lstat().st_ino == before
