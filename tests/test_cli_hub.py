"""`fmae push`, `pull`, `search`, `publish`, and `hf://` wherever a name is taken."""

import json
import shutil

import numpy as np
import pytest

import fmae_zoo
from fmae_zoo import registry
from fmae_zoo.entry import Entry
from tests.conftest import tiny_spec

pytestmark = pytest.mark.usefixtures("eager")


@pytest.fixture
def folder(tmp_path):
    return fmae_zoo.save(fmae_zoo.Autoencoder(tiny_spec(), seed=3), tmp_path / "mine")


@pytest.fixture
def token(tmp_path):
    path = tmp_path / "token"
    path.write_text("hf_writer\n")
    return path


@pytest.mark.once
def test_push_search_pull_and_verify(fmae, hub, folder, token, tmp_path):
    push = ("push", f"local:{folder}", "me/tiny", "--private", "--tag", "v1")
    code, out, err = fmae(*push, "-m", "first", "--token-file", token)
    assert code == 0, err
    assert out == f"{hub.url}/me/tiny\n"
    code, _, err = fmae(*push, "--token-file", token)
    assert (code, "the same already" in err) == (0, True)
    code, out, _ = fmae("search", "tiny", "--author", "me", "--token-file", token)
    assert (code, "hf://me/tiny" in out) == (0, True)
    assert fmae("search")[1] == ""
    copy = tmp_path / "copy"
    code, out, _ = fmae("pull", "hf://me/tiny@v1", "-o", copy, "--token-file", token)
    assert (code, out) == (0, f"{copy}\n")
    code, out, _ = fmae("verify", copy, "--json")
    assert code == 0
    assert {row["passed"] for row in json.loads(out)[str(copy)]} <= {True, None}


@pytest.mark.once
def test_a_dry_run_shows_files_and_card_and_sends_nothing(fmae, hub, folder):
    code, out, err = fmae("push", folder, "me/tiny", "--dry-run")
    assert code == 0
    assert "encoder.safetensors" in out
    assert "library_name: keras" in out
    assert "Nothing was sent" in err
    content = json.loads(fmae("push", folder, "me/tiny", "--dry-run", "--json")[1])
    assert content["bytes"]["encoder.safetensors"] > 0
    assert content["card"].startswith("---")
    assert not hub.log


@pytest.mark.once
def test_branch_and_pull_request(fmae, hub, folder, token):
    push = ("push", folder, "me/tiny", "--token-file", token, "--json")
    assert json.loads(fmae(*push, "--branch", "b")[1])["changed"]
    assert "/discussions/1" in fmae(*push, "--create-pr")[1]


@pytest.mark.once
def test_every_command_takes_an_address(fmae, hub, repo_files, tmp_path, few, idx):
    hub.seed("me/tiny", repo_files)
    name, data, photos = "hf://me/tiny", ("--data", idx), tmp_path / "photos.npy"
    np.save(photos, few.test_images[:4])
    for made, *words in (
        ("codes.npz", "embed", name, photos),
        ("pairs.png", "reconstruct", name, photos),
        ("head", "classify", name, "--epochs", "1", *data),
        ("run", "train", name, "--epochs", "1", *data),
    ):
        code, _, err = fmae(*words, "-o", tmp_path / made)
        assert code == 0, err
        assert (tmp_path / made).exists()
    assert "nearest neighbours" in fmae("evaluate", name, "--figure", "knn", *data)[1]
    assert "A model for the tests" in fmae("info", name)[1]
    assert fmae("verify", f"{name}@main", "--timeout", "60")[0] == 0


@pytest.mark.once
@pytest.mark.failure
@pytest.mark.parametrize(
    ("words", "code", "named"),
    [
        (("pull", "hf://me/none"), 1, "me/none"),
        (("info", "hf://me/none"), 1, "me/none"),
        (("pull", "hf://me"), 1, "'me'"),
        (("push", "dense-ae", "me"), 1, "'me'"),
        (("push", "dense-ae", "me/x"), 1, "token"),
        (("push", "dense-ae", "me/x", "--token-file", "nowhere"), 2, "nowhere"),
        (("push", "dense-ae", "me/x", "--timeout", "0"), 2, "timeout"),
        (("push", "nothing", "me/x", "--dry-run"), 1, "'nothing'"),
        (("publish", "nothing", "--org", "zoo"), 1, "'nothing'"),
        (("publish",), 2, "--org"),
        (("search", "--limit", "0"), 2, "limit"),
    ],
)
def test_what_goes_wrong_is_said_in_a_line(fmae, hub, words, code, named):
    got, out, err = fmae(*words)
    assert (got, out) == (code, "")
    assert named in err
    assert "Traceback" not in err


@pytest.mark.once
@pytest.mark.failure
@pytest.mark.parametrize("content", ["", "two words", "\x00"])
def test_a_token_file_without_a_token(fmae, hub, tmp_path, content):
    (tmp_path / "bad").write_text(content)
    code, _, err = fmae("push", "dense-ae", "me/tiny", "--token-file", tmp_path / "bad")
    assert code == 1
    assert "expected one token" in err
    assert "words" not in err
    assert not hub.log


@pytest.mark.once
def test_publish_pins(fmae, hub, token, tmp_path):
    copy = shutil.copytree(registry.find_entry("dense-vae").folder, tmp_path / "dense-vae")
    registry._table()["dense-vae.fmnist"] = Entry.read(copy)
    code, out, err = fmae("publish", "dense-vae", "--org", "zoo", "--token-file", token, "--json")
    assert code == 0, err
    pinned = json.loads((copy / "manifest.json").read_text())["hub"]
    assert pinned == {"repo": "zoo/dense-vae", "commit": json.loads(out)["dense-vae"]["commit"]}
