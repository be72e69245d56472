"""Every way in which a load from the Hub fails has its own error, and leaves no damage.

Real HTTP, the real client, a Hub of our own on 127.0.0.1 in which things go wrong on demand.
"""

import json
import os
import subprocess
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from huggingface_hub import HfApi

import fmae_zoo
from fmae_zoo import errors
from tests.conftest import ROOT, run_python, tiny_spec

TINY = "hf://me/tiny@v1"

pytestmark = [pytest.mark.failure, pytest.mark.once]


@pytest.fixture
def commit(hub, repo_files):
    return hub.seed("me/tiny", repo_files, tag="v1")


@pytest.fixture
def loads(commit, images):
    """Assert that the model is loaded, and is the one in the repo."""
    expected = fmae_zoo.Autoencoder(tiny_spec(), seed=3).encode(images)

    def check(**options):
        loaded = fmae_zoo.load(TINY, **options)
        np.testing.assert_array_equal(loaded.encode(images), expected)

    return check


def failed(error, words, address=TINY, **options):
    """Load, and return the error, which must be of this class and of no other."""
    with pytest.raises(errors.HubError, match=words) as caught:
        fmae_zoo.load(address, **options)
    assert type(caught.value) is error
    text = "".join(traceback.format_exception(caught.value))
    # Neither the client's nor the transport's exceptions are shown to a user, nor a token.
    assert "httpx" not in text
    assert "huggingface_hub.errors" not in text
    assert "hf_writer" not in text
    return caught.value


def test_a_repo_that_is_missing_or_private(hub, repo_files):
    hub.seed("me/secret", repo_files, private=True)
    for address in ("hf://me/none", "hf://me/secret"):
        failed(errors.RepoNotFoundError, "no token was given", address)
        failed(errors.RepoNotFoundError, "may not read it", address, token="hf_other")
    assert fmae_zoo.load("hf://me/secret", token="hf_reader")


def test_a_gated_repo(hub, repo_files):
    hub.seed("me/gated", repo_files, gated=True)
    for token in (None, "hf_other"):
        failed(errors.GatedRepoError, "me/gated", "hf://me/gated", token=token)


def test_a_wrong_token_is_refused_even_with_a_warm_cache(hub, commit):
    failed(errors.HubPermissionError, "token", token="hf_wrong")
    assert fmae_zoo.load(TINY)
    failed(errors.HubPermissionError, "token", token="hf_wrong")


def test_a_disabled_repo(hub, commit):
    headers = {"X-Error-Message": "Access to this resource is disabled."}
    hub.fail("status", "/api/models/me/tiny", code=403, headers=headers)
    failed(errors.RepoNotFoundError, "disabled")


@pytest.mark.parametrize("revision", ["v9", "0" * 40, "refs/pr/7"])
def test_no_such_revision(hub, commit, revision):
    failed(errors.RevisionNotFoundError, revision, f"hf://me/tiny@{revision}")


def test_a_branch_that_is_named_like_a_commit_is_none(hub, commit, repo_files):
    hub.seed("me/tiny", repo_files | {"more.txt": b""}, branch="a" * 40)
    failed(errors.RevisionNotFoundError, "no such commit", f"hf://me/tiny@{'a' * 40}")


def test_a_name_that_only_the_library_refuses(hub):
    with pytest.raises(errors.ArgumentError, match="cannot start or end with '-'"):
        fmae_zoo.load("hf://me-/tiny")


def test_a_token_that_is_asked_for_and_not_there(hub, commit, monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    failed(errors.HubPermissionError, "a token is needed", token=True)


def test_no_such_file(hub, repo_files):
    hub.seed("me/half", {k: v for k, v in repo_files.items() if k != "decoder.safetensors"})
    failed(errors.RepoFileNotFoundError, r"decoder\.safetensors", "hf://me/half")
    assert fmae_zoo.load("hf://me/half", part="encoder")


def test_a_rate_limit_is_waited_for(hub, commit):
    hub.fail("status", "/api/models/", code=429, headers={"Retry-After": "1"})
    began = time.monotonic()
    assert fmae_zoo.load(TINY)
    assert time.monotonic() - began >= 1.0


@pytest.mark.parametrize("path", ["/api/models/", "spec.toml", "/repos/", "xet-read-token"])
def test_a_rate_limit_longer_than_the_time_limit_is_told_at_once(hub, commit, path):
    if path == "xet-read-token":
        hub.fail("xet", "encoder.safetensors", times=None)
    hub.fail("status", path, times=None, code=429, headers={"Retry-After": "3600"})
    assert failed(errors.RateLimitError, "3600 s").retry_after == 3600
    assert len([r for r in hub.log if r.status == 429]) == 1


@pytest.mark.parametrize("told", [None, "99999999999999", "1" * 400, "-5", "soon"])
def test_a_rate_limit_without_a_time_that_makes_sense(hub, commit, told):
    headers = {} if told is None else {"Retry-After": told}
    hub.fail("status", "/api/models/", times=None, code=429, headers=headers)
    failed(errors.RateLimitError, "later", timeout=float("inf"))
    assert len(hub.log) < 6


def test_waits_count_for_the_time_limit(hub, commit):
    hub.fail("status", "/api/models/", times=None, code=429, headers={"Retry-After": "1"})
    failed(errors.RateLimitError, "in 1 s", timeout=2.5)
    assert len(hub.log) <= 3


@pytest.mark.parametrize(
    ("path", "code"),
    [(path, code) for path in ("/api/models/", "/repos/") for code in (500, 503)]
    + [("/repos/", code) for code in (401, 403, 404)],
)
def test_a_server_error_that_goes_on(hub, commit, path, code):
    """Storage that refuses a signed address is none of the token's faults."""
    hub.fail("status", path, times=None, code=code)
    failed(errors.HubServerError, str(code), token="hf_reader")
    assert len([r for r in hub.log if r.status == code]) < 6


@pytest.mark.parametrize("path", ["/api/models/", "/repos/", "spec.toml"])
@pytest.mark.parametrize("kind", ["status", "reset", "cut"])
def test_what_goes_wrong_is_tried_again(hub, loads, kind, path):
    settings = {"code": 503} if kind == "status" else {"times": 2} if path == "/repos/" else {}
    fault = hub.fail(kind, path, method="GET", **settings)
    loads()
    assert fault.hits == fault.times


@pytest.mark.parametrize("where", ["http://127.0.0.1:9", "http://user:s3cret@127.0.0.1:9"])
def test_a_hub_that_is_not_there(where):
    code = (
        "import fmae_zoo, fmae_zoo.hub.client as client\n"
        "client.FIRST_WAIT = 0.01\n"
        "try:\n"
        "    fmae_zoo.pull('hf://me/tiny')\n"
        "except fmae_zoo.HubConnectionError as error:\n"
        "    print(error)\n"
    )
    result = run_python(code, HF_ENDPOINT=where)
    assert "127.0.0.1:9" in result.stdout, result.stderr
    assert "s3cret" not in result.stdout + result.stderr


@pytest.mark.parametrize("path", ["/api/models/", "spec.toml", "/repos/"])
@pytest.mark.parametrize("kind", ["stall", "slow"])
def test_a_load_ends_at_the_time_limit_and_leaves_no_lock(hub, loads, kind, path):
    """Also where each read is quick enough for the client, and only the total is too long."""
    hub.fail(kind, path, times=None, **({"bytes": 16, "delay": 0.2} if kind == "slow" else {}))
    began = time.monotonic()
    failed(errors.HubTimeoutError, "limit of 1.5 s.*timeout=", timeout=1.5)
    assert time.monotonic() - began < 6
    hub.faults.clear()
    loads(timeout=30)


def test_a_time_limit_of_one_call_does_not_end_another(hub, commit, repo_files):
    """Nor does it close connections of other users of the Hub's client in the process."""
    hub.seed("me/slow", repo_files)
    hub.fail("slow", "/repos/me/slow/", times=None, bytes=64, delay=0.1)
    hub.fail("slow", "/api/models/me/tiny", times=None, bytes=64, delay=0.05)
    with ThreadPoolExecutor(2) as pool:
        other = pool.submit(HfApi(endpoint=hub.url).model_info, "me/tiny", files_metadata=True)
        failed(errors.HubTimeoutError, "time limit", "hf://me/slow", timeout=1)
        assert other.result().id == "me/tiny"


@pytest.mark.parametrize("path", [".*", "/resolve/"])
@pytest.mark.parametrize("kind", ["html", "redirect"])
def test_a_captive_portal(hub, commit, kind, path):
    settings = {"to": f"{hub.cdn_url}/login"} if kind == "redirect" else {}
    hub.fail(kind, path, times=None, **settings)
    failed(errors.HubConnectionError, "is not the Hub|cannot reach|redirect")


@pytest.mark.parametrize(
    ("kind", "file"),
    [("wrong_size", "spec.toml"), ("wrong_size", "encoder.safetensors"), ("corrupt", "spec.toml")],
)
def test_another_size_or_content_than_announced(hub, commit, kind, file):
    hub.fail(kind, file, times=None)
    failed(errors.DigestError, file)


def test_xet_storage_that_is_not_there(hub, commit):
    hub.fail("xet", "encoder.safetensors", times=None)
    failed(errors.HubConnectionError, "HF_HUB_DISABLE_XET=1")


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (errors.HubError, {"id": 3, "siblings": [1]}),
        (errors.HubConnectionError, {"sha": 5}),
        (errors.HubConnectionError, {"sha": "main"}),
        (
            errors.HubConnectionError,
            {"sha": "0" * 40, "siblings": [{"rfilename": "a", "size": "9"}]},
        ),
    ],
)
def test_an_answer_that_is_no_repo(hub, commit, error, answer):
    body = json.dumps({"id": "me/tiny", **answer})
    hub.fail("status", "/api/models/", times=None, code=200, body=body)
    failed(error, "not understood|is not the Hub")


def test_a_token_that_the_hub_repeats_is_not_shown(hub, commit, caplog):
    hub.fail("echo_token", "/api/models/", times=None)
    with caplog.at_level("INFO"), caplog.at_level("DEBUG", "fmae_zoo"):
        error = failed(errors.HubServerError, "HTTP 500", token="hf_writer")
    assert "<token>" in str(error)
    assert "hf_writer" not in caplog.text


FULL_DISK = """
import resource, sys, fmae_zoo
cache, *folder = sys.argv[1:]
if folder:
    fmae_zoo.pull("hf://me/tiny@v1", cache_dir=cache)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
try:
    fmae_zoo.pull("hf://me/tiny@v1", *folder, cache_dir=cache)
except OSError as error:
    print(type(error).__name__, error)
"""


def test_a_full_disk(hub, commit, tmp_path):
    """Of real: the process may write files of 2,000 bytes at most."""
    cache = tmp_path / "small"
    result = run_python(FULL_DISK, str(cache))
    assert result.stdout.startswith("CacheError"), result.stderr
    assert str(cache) in result.stdout
    assert not list(cache.rglob("*.incomplete"))
    assert fmae_zoo.load(TINY, cache_dir=cache)


def test_pull_into_a_full_disk_leaves_the_folder_as_it_was(hub, commit, tmp_path):
    folder = fmae_zoo.pull(TINY, tmp_path / "mine")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    result = run_python(FULL_DISK, str(tmp_path / "cache"), str(folder))
    assert result.stdout.startswith("OSError"), result.stderr
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_cache_that_cannot_be_written(hub, commit, tmp_path):
    (tmp_path / "file").write_text("in the way")
    failed(errors.CacheError, "HF_HUB_CACHE", cache_dir=tmp_path / "file")
    for folder in ("x" * 300, "~nobody-of-this-name/x", "a\0b"):
        with pytest.raises((errors.CacheError, errors.ArgumentError)):
            fmae_zoo.load(TINY, cache_dir=folder)


def test_a_folder_in_the_place_of_a_cached_file(hub, commit):
    path = fmae_zoo.pull(TINY) / "encoder.safetensors"
    path.unlink()
    path.mkdir()
    with pytest.raises(errors.HubError):
        fmae_zoo.load(TINY)


def test_a_load_that_is_interrupted_leaves_a_cache_that_loads(hub, commit, tmp_path):
    hub.fail("stall", "/repos/", times=None)
    code = "import sys, fmae_zoo; fmae_zoo.pull('hf://me/tiny@v1', cache_dir=sys.argv[1])"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    cache = tmp_path / "cut"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(cache)], env=env, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while not any("/repos/" in record.path for record in hub.log) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    process.wait()
    hub.faults.clear()
    assert fmae_zoo.load(TINY, cache_dir=cache)
