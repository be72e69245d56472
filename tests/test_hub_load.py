"""Loading from the Hub: real HTTP, the real client, a Hub of our own on 127.0.0.1."""

import json
import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants

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
from fmae_zoo.manifest import HubRecord, Manifest
from tests.conftest import run_python, tiny_spec

pytestmark = pytest.mark.usefixtures("eager")

NEEDED = {"spec.toml", "manifest.json", "encoder.safetensors", "decoder.safetensors"}


@pytest.fixture
def commit(hub, repo_files):
    return hub.seed("me/tiny", repo_files, tag="v1")


@pytest.fixture
def model():
    return fmae_zoo.Autoencoder(tiny_spec(), seed=3)


@pytest.fixture
def published(hub, repo_files, model, tmp_path):
    """The folder of a registered name that is pinned to a commit of its repo."""
    folder = fmae_zoo.save(model, tmp_path / "published")
    pin = HubRecord(repo="zoo/tiny-ae", commit=hub.seed("zoo/tiny-ae", repo_files, tag="v1"))
    Manifest.read(folder).model_copy(update={"hub": pin}).write(folder)
    registry.register(folder)
    return folder


def flipped(content):
    return content[:-1] + bytes([content[-1] ^ 1])


def failed_checks(source, data=None):
    return {c.name: c.detail for c in fmae_zoo.verify(source, data=data) if c.passed is False}


@pytest.mark.parametrize("revision", ["", "@v1", "@main", "commit"])
def test_a_repo_loads_by_tag_branch_and_commit(hub, commit, model, images, revision):
    loaded = fmae_zoo.load(f"hf://me/tiny{f'@{commit}' if revision == 'commit' else revision}")
    assert loaded.spec == model.spec
    np.testing.assert_array_equal(loaded.encode(images), model.encode(images))
    np.testing.assert_array_equal(loaded.reconstruct(images), model.reconstruct(images))


@pytest.mark.once
def test_the_revision_may_be_an_argument(hub, commit):
    hub.seed("me/tiny", {"spec.toml": b"moved on"})
    assert fmae_zoo.load("hf://me/tiny", revision="v1")
    with pytest.raises(ArgumentError, match="revision"):
        fmae_zoo.load("hf://me/tiny@v1", revision="main")
    with pytest.raises(ArgumentError, match="not published"):
        fmae_zoo.load("conv-ae-bn", pretrained=True, revision="main")


@pytest.mark.once
def test_what_is_on_the_machine_needs_no_request_and_a_tag_one(hub, commit):
    fmae_zoo.load("hf://me/tiny@v1")
    cold = len(hub.log)
    fmae_zoo.load("hf://me/tiny@v1")
    assert len(hub.log) == cold + 1
    fmae_zoo.load(f"hf://me/tiny@{commit}")
    fmae_zoo.load("conv-ae-bn", pretrained=True)
    assert len(hub.log) == cold + 1


@pytest.mark.once
def test_only_what_the_load_needs_is_fetched(hub, commit, repo_files):
    def received():
        return sum(r.bytes_sent for r in hub.log if r.method == "GET" and "/api/" not in r.path)

    encoder = fmae_zoo.load("hf://me/tiny@v1", part="encoder")
    assert encoder.output_shape == (None, 4)
    needed = NEEDED - {"decoder.safetensors"}
    assert received() == sum(len(repo_files[name]) for name in needed)
    fmae_zoo.load("hf://me/tiny@v1")
    assert received() == sum(len(repo_files[name]) for name in NEEDED)


@pytest.mark.once
def test_a_moved_branch_is_followed_and_a_commit_is_not(hub, commit, repo_files):
    assert fmae_zoo.pull("hf://me/tiny").name == commit
    moved = hub.seed("me/tiny", {**repo_files, "history.csv": b"epoch\n1\n"})
    # To look at the branch does not take its old weights away.
    assert registry.find_entry("hf://me/tiny").spec.name == "tiny-ae"
    assert fmae_zoo.load("hf://me/tiny", local_files_only=True)
    assert fmae_zoo.pull(f"hf://me/tiny@{commit}").name == commit
    assert registry.find_entry("hf://me/tiny").folder.name == moved


@pytest.mark.parametrize("how", ["variable", "argument", "network"])
def test_offline_the_cache_serves(hub, commit, images, how, monkeypatch):
    expected = fmae_zoo.load("hf://me/tiny@v1").encode(images)
    before = len(hub.log)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", how == "variable")
    if how == "network":
        hub.fail("reset", ".*", times=None)
    options = {"local_files_only": True} if how == "argument" else {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", StaleCacheWarning)
        for address in ("hf://me/tiny@v1", f"hf://me/tiny@{commit}"):
            loaded = fmae_zoo.load(address, **options)
            np.testing.assert_array_equal(loaded.encode(images), expected)
    # A tag may have been moved, and nobody could be asked; a commit is what it is.
    stale = [each for each in caught if each.category is StaleCacheWarning]
    assert len(stale) == (how == "network")
    assert how == "network" or len(hub.log) == before


@pytest.mark.once
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


@pytest.mark.once
@pytest.mark.failure
def test_a_repo_that_is_gone_is_served_from_the_cache_with_a_warning(hub, commit, images):
    expected = fmae_zoo.load("hf://me/tiny").encode(images)
    hub.delete("me/tiny")
    with pytest.warns(StaleCacheWarning, match=f"no repo me/tiny.*{commit}"):
        loaded = fmae_zoo.load("hf://me/tiny")
    np.testing.assert_array_equal(loaded.encode(images), expected)
    with pytest.raises(RepoNotFoundError):
        fmae_zoo.load("hf://me/tiny@v2")


@pytest.mark.once
@pytest.mark.parametrize("name", sorted(NEEDED))
@pytest.mark.failure
def test_wrong_bytes_in_the_cache_are_fetched_once_more(hub, commit, model, images, name):
    path = fmae_zoo.pull(f"hf://me/tiny@{commit}") / name
    altered = flipped(path.read_bytes())
    path.write_bytes(altered)
    loaded = fmae_zoo.load(f"hf://me/tiny@{commit}")
    np.testing.assert_array_equal(loaded.encode(images), model.encode(images))
    path.write_bytes(altered)
    with pytest.raises(DigestError, match=rf"(?s){name}.*expected.*received"):
        fmae_zoo.load(f"hf://me/tiny@{commit}", local_files_only=True)


@pytest.mark.once
@pytest.mark.failure
def test_a_link_that_leads_nowhere_is_mended(hub, commit):
    path = fmae_zoo.pull("hf://me/tiny@v1") / "encoder.safetensors"
    path.resolve().unlink()
    with pytest.raises(NotCachedError, match=r"encoder\.safetensors"):
        fmae_zoo.load(f"hf://me/tiny@{commit}", local_files_only=True)
    assert fmae_zoo.load(f"hf://me/tiny@{commit}")


@pytest.mark.once
@pytest.mark.failure
@pytest.mark.parametrize("name", sorted(NEEDED))
def test_a_cache_without_links_is_mended_too(hub, commit, name, monkeypatch):
    """As on Windows, where the client copies in place of linking."""
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_SYMLINKS", True)
    path = fmae_zoo.pull("hf://me/tiny@v1") / name
    assert not path.is_symlink()
    whole = path.read_bytes()
    for damaged in (flipped(whole), whole[: len(whole) // 2], b""):
        for revision in ("v1", commit):
            path.write_bytes(damaged)
            assert fmae_zoo.load(f"hf://me/tiny@{revision}")
    assert fmae_zoo.pull("hf://me/tiny@v1")
    assert path.read_bytes() == whole


@pytest.mark.once
def test_a_store_that_several_repos_share_is_no_damage(hub, commit, tmp_path):
    """The client links twice there: from the file to the blob, and on to the shared store."""
    path = fmae_zoo.pull("hf://me/tiny@v1") / "encoder.safetensors"
    blob = path.parent / path.readlink()
    shared = tmp_path / ("5e7" + "0" * 61)
    blob.rename(shared)
    blob.symlink_to(shared)
    assert fmae_zoo.load(f"hf://me/tiny@{commit}", local_files_only=True)


@pytest.mark.once
@pytest.mark.failure
@pytest.mark.parametrize("times", [1, None])
def test_wrong_bytes_of_the_hub_are_fetched_once_more_then_refused(
    hub, commit, model, images, times
):
    fault = hub.fail("corrupt", "encoder.safetensors", method="GET", times=times)
    if times is None:
        with pytest.raises(DigestError, match=r"(?s)encoder\.safetensors.*expected.*received"):
            fmae_zoo.load("hf://me/tiny@v1")
        assert fault.hits == 2
        hub.faults.clear()
    loaded = fmae_zoo.load("hf://me/tiny@v1")
    np.testing.assert_array_equal(loaded.encode(images), model.encode(images))


@pytest.mark.once
@pytest.mark.failure
def test_a_file_that_is_not_the_manifests_is_not_even_downloaded(hub, repo_files):
    altered = flipped(repo_files["encoder.safetensors"])
    hub.seed("me/other", {**repo_files, "encoder.safetensors": altered})
    with pytest.raises(DigestError, match=r"encoder\.safetensors"):
        fmae_zoo.load("hf://me/other")
    assert not [record for record in hub.log if "encoder" in record.path]


@pytest.mark.once
@pytest.mark.failure
def test_a_spec_that_the_weights_were_not_trained_by_is_refused(hub, repo_files):
    spec = repo_files["spec.toml"].replace(b"batch_size = 32", b"batch_size = 33")
    hub.seed("me/other", {**repo_files, "spec.toml": spec})
    with pytest.raises(DigestError, match="spec"):
        fmae_zoo.load("hf://me/other")


@pytest.mark.once
@pytest.mark.failure
def test_a_repo_of_something_else_says_so(hub, repo_files):
    hub.seed("me/keras", {"config.json": b"{}", "README.md": b"# mine"})
    with pytest.raises(RepoFileNotFoundError, match=r"spec\.toml.*keras\.saving\.load_model"):
        fmae_zoo.load("hf://me/keras")
    hub.seed("me/spec", {"spec.toml": repo_files["spec.toml"]})
    with pytest.raises(fmae_zoo.NoWeightsError, match=r"manifest\.json"):
        fmae_zoo.load("hf://me/spec")


@pytest.mark.once
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


@pytest.mark.once
@pytest.mark.failure
def test_a_source_that_is_none_of_the_three_names_all_three():
    with pytest.raises(UnknownModelError, match=r"registered name.*local:FOLDER.*hf://"):
        fmae_zoo.load("xyzzy")


@pytest.mark.once
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


@pytest.mark.once
@pytest.mark.failure
def test_two_processes_load_at_once(hub, commit, tmp_path):
    code = "import sys, fmae_zoo; fmae_zoo.load('hf://me/tiny@v1', cache_dir=sys.argv[1])"
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda _: run_python(code, str(tmp_path / "shared")), range(2)))
    assert [result.returncode for result in results] == [0, 0], results


def test_a_published_name_is_mended_from_the_commit_that_it_is_pinned_to(
    hub, published, model, images
):
    hub.seed("zoo/tiny-ae", {"spec.toml": b"moved on"})
    assert fmae_zoo.load("tiny-ae", pretrained=True)
    assert not hub.log
    (published / "decoder.safetensors").unlink()
    encoder = published / "encoder.safetensors"
    encoder.write_bytes(flipped(encoder.read_bytes()))
    loaded = fmae_zoo.load("tiny-ae", pretrained=True)
    np.testing.assert_array_equal(loaded.reconstruct(images), model.reconstruct(images))
    asked = len(hub.log)
    fmae_zoo.load("tiny-ae", pretrained=True)
    assert len(hub.log) == asked
    with pytest.raises(SpecError):
        fmae_zoo.load("tiny-ae", pretrained=True, revision="main")


@pytest.mark.once
def test_pull_of_a_published_name_fetches_what_is_missing(published, tmp_path):
    assert fmae_zoo.pull("tiny-ae") == published
    (published / "decoder.safetensors").unlink()
    pulled = fmae_zoo.pull("tiny-ae")
    assert [path.name for path in pulled.iterdir()] == ["decoder.safetensors"]
    assert fmae_zoo.load(fmae_zoo.pull("tiny-ae", tmp_path / "whole", local_files_only=True))


@pytest.mark.once
@pytest.mark.failure
def test_a_pin_is_enforced(hub, published, tmp_path):
    other = fmae_zoo.save(fmae_zoo.Autoencoder(tiny_spec(), seed=4), tmp_path / "other")
    encoder = (other / "encoder.safetensors").read_bytes()
    pin = HubRecord(
        repo="zoo/tiny-ae", commit=hub.seed("zoo/tiny-ae", {"encoder.safetensors": encoder})
    )
    Manifest.read(published).model_copy(update={"hub": pin}).write(published)
    (published / "encoder.safetensors").unlink()
    with pytest.raises(DigestError, match=r"encoder\.safetensors"):
        Entry.read(published).build(pretrained=True)


@pytest.mark.once
def test_a_revision_of_a_name_is_that_of_its_repo(hub, repo_files, published, model):
    loaded = fmae_zoo.load("tiny-ae", revision="v1", part="encoder").get_weights()
    for one, other in zip(loaded, model.encoder.get_weights()):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(RevisionNotFoundError, match="'v9'"):
        fmae_zoo.load("tiny-ae", pretrained=True, revision="v9")
    spec = repo_files["spec.toml"].replace(b"tiny-ae", b"other-ae")
    manifest = json.loads(repo_files["manifest.json"]) | {"name": "other-ae", "spec_sha256": ""}
    hub.seed("zoo/tiny-ae", {"spec.toml": spec, "manifest.json": json.dumps(manifest).encode()})
    with pytest.raises(UnknownModelError, match="other-ae"):
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


def test_pull_writes_a_folder_that_is_a_local_source(hub, commit, model, images, tmp_path):
    folder = fmae_zoo.pull("hf://me/tiny@v1", tmp_path / "mine")
    assert not any(path.is_symlink() for path in folder.iterdir())
    (folder / "README.md").write_text("mine")
    assert fmae_zoo.pull("hf://me/tiny@v1", folder) == folder
    assert (folder / "README.md").read_text() == "mine"
    hub.delete("me/tiny")
    loaded = fmae_zoo.load(f"local:{folder}")
    np.testing.assert_array_equal(loaded.encode(images), model.encode(images))


@pytest.mark.once
@pytest.mark.failure
@pytest.mark.parametrize("damage", ["altered", "missing"])
def test_pull_of_a_damaged_entry_that_is_not_published(model, tmp_path, damage):
    folder = fmae_zoo.save(model, tmp_path / "mine")
    path = folder / "encoder.safetensors"
    if damage == "altered":
        path.write_bytes(flipped(path.read_bytes()))
    else:
        path.unlink()
    registry.register(folder)
    for target in (None, tmp_path / "out"):
        with pytest.raises(WeightsError, match="encoder"):
            fmae_zoo.pull("tiny-ae", target)
    assert not (tmp_path / "out").exists()


@pytest.mark.once
def test_pull_offline_of_a_repo_without_a_card(hub, repo_files):
    hub.seed("me/bare", {k: v for k, v in repo_files.items() if k != "README.md"})
    folder = fmae_zoo.pull("hf://me/bare")
    assert fmae_zoo.pull("hf://me/bare", local_files_only=True) == folder


@pytest.mark.once
def test_pull_of_a_name_copies_the_packages_own_without_a_request(hub, tmp_path):
    assert fmae_zoo.load(fmae_zoo.pull("dense-ae", tmp_path / "dense"), part="encoder")
    assert not hub.log


@pytest.mark.once
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
    assert failed_checks("hf://me/wrong", few).keys() == {"config.json"}


@pytest.mark.once
@pytest.mark.failure
def test_pull_does_not_write_over_another_model(hub, commit, tmp_path):
    folder = fmae_zoo.save(fmae_zoo.Autoencoder(tiny_spec(), seed=9), tmp_path / "mine")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for source in ("hf://me/tiny@v1", "dense-ae"):
        with pytest.raises(ArgumentError, match=r"other weights|another spec"):
            fmae_zoo.pull(source, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.once
def test_the_cache_of_the_options_is_used(hub, commit, tmp_path):
    fmae_zoo.load("hf://me/tiny@v1", cache_dir=tmp_path / "elsewhere", token="hf_reader")
    assert (tmp_path / "elsewhere" / "models--me--tiny" / "snapshots" / commit).is_dir()
    assert not Path(os.environ["HF_HOME"], "hub").exists()


@pytest.mark.once
def test_verify_finds_a_card_whose_figures_were_edited(hub, tmp_path, few):
    folder = fmae_zoo.pull("dense-ae", tmp_path / "dense")
    entry = registry.find_entry("dense-ae")
    card = card_of(entry, "me/dense")
    (folder / "README.md").write_text(card)
    assert not failed_checks(folder, few)
    mse = str(entry.manifest.results["reconstruction"]["mse"])
    assert mse in card
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    hub.seed("me/dense", {**files, "README.md": card.replace(mse, "0.0001").encode()})
    failed = failed_checks("hf://me/dense", few)
    assert failed.keys() == {"README.md"}
    assert mse in failed["README.md"]


@pytest.mark.once
def test_a_time_limit_without_end(hub, commit):
    for timeout in (1e12, float("inf")):
        assert fmae_zoo.load("hf://me/tiny", timeout=timeout)


@pytest.mark.once
@pytest.mark.failure
def test_a_saved_token_that_cannot_be_had_matters_only_where_one_is_sent(hub, commit, monkeypatch):
    assert fmae_zoo.load("hf://me/tiny@v1")
    monkeypatch.setenv("HF_OIDC_RESOURCE", "me/tiny")
    assert fmae_zoo.load(f"hf://me/tiny@{commit}")
    assert fmae_zoo.load("hf://me/tiny@v1", local_files_only=True)
    assert fmae_zoo.load("hf://me/tiny@v1", token=False)
    with pytest.raises(HubPermissionError, match="token cannot be had"):
        fmae_zoo.load("hf://me/tiny@v1")


@pytest.mark.once
def test_threads_load_at_once(hub, commit, model, images):
    with ThreadPoolExecutor(4) as pool:
        loaded = list(pool.map(lambda _: fmae_zoo.load("hf://me/tiny@v1"), range(4)))
    for each in loaded:
        np.testing.assert_array_equal(each.encode(images), model.encode(images))
