"""Every way in which a load from the Hub fails has its own error, and leaves no damage.

Real HTTP, the real client, a Hub of our own on 127.0.0.1 in which things go wrong on demand.
"""

import json
import os
import re
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

pytestmark = pytest.mark.failure


@pytest.fixture
def commit(hub, repo_files):
    return hub.seed("me/tiny", repo_files, tag="v1")


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


def test_no_such_repo(hub):
    failed(errors.RepoNotFoundError, "no repo me/none.*no token was given", "hf://me/none")
    failed(errors.RepoNotFoundError, "may not read it", "hf://me/none", token="hf_other")


def test_a_private_repo(hub, repo_files):
    hub.seed("me/secret", repo_files, private=True)
    failed(errors.RepoNotFoundError, "no token was given", "hf://me/secret")
    failed(errors.RepoNotFoundError, "may not read it", "hf://me/secret", token="hf_other")
    assert fmae_zoo.load("hf://me/secret", token="hf_reader")


def test_a_gated_repo(hub, repo_files):
    hub.seed("me/gated", repo_files, gated=True)
    words = "access is granted by its owner"
    failed(errors.GatedRepoError, words, "hf://me/gated")
    failed(errors.GatedRepoError, words, "hf://me/gated", token="hf_other")


def test_a_wrong_token(hub, commit):
    failed(errors.HubPermissionError, "does not know this token", token="hf_wrong")


def test_a_wrong_token_is_not_hidden_by_a_warm_cache(hub, commit):
    assert fmae_zoo.load(TINY)
    failed(errors.HubPermissionError, "does not know this token", token="hf_wrong")


def test_a_disabled_repo(hub, commit):
    hub.fail(
        "status",
        "/api/models/me/tiny",
        code=403,
        headers={"X-Error-Message": "Access to this resource is disabled."},
    )
    failed(errors.RepoNotFoundError, "disabled")


@pytest.mark.parametrize("revision", ["v9", "0" * 40, "refs/pr/7"])
def test_no_such_revision(hub, commit, revision):
    address = f"hf://me/tiny@{revision}"
    failed(errors.RevisionNotFoundError, re.escape(repr(revision)), address)


def test_no_such_file(hub, repo_files):
    files = {k: v for k, v in repo_files.items() if k != "decoder.safetensors"}
    hub.seed("me/half", files)
    failed(errors.RepoFileNotFoundError, r"no decoder\.safetensors", "hf://me/half")
    assert fmae_zoo.load("hf://me/half", part="encoder")


def test_a_rate_limit_is_waited_for(hub, commit):
    hub.fail("status", "/api/models/", code=429, headers={"Retry-After": "1"})
    began = time.monotonic()
    assert fmae_zoo.load(TINY)
    assert time.monotonic() - began >= 1.0


def test_a_rate_limit_longer_than_the_time_limit(hub, commit):
    hub.fail("status", "/api/models/", times=None, code=429, headers={"Retry-After": "3600"})
    began = time.monotonic()
    error = failed(errors.RateLimitError, "in 3600 s")
    assert error.retry_after == 3600
    assert time.monotonic() - began < 5
    assert len(hub.log) == 1


@pytest.mark.parametrize("path", ["spec.toml", "/repos/"])
def test_a_rate_limit_of_a_file_is_told_at_once(hub, commit, path):
    hub.fail("status", path, times=None, code=429, headers={"Retry-After": "3600"})
    began = time.monotonic()
    failed(errors.RateLimitError, "in 3600 s")
    assert time.monotonic() - began < 5


def test_a_rate_limit_without_an_hour(hub, commit):
    hub.fail("status", "/api/models/", times=None, code=429)
    failed(errors.RateLimitError, "Try again later")
    assert 1 < len(hub.log) < 6


@pytest.mark.parametrize("told", ["99999999999999", "1" * 400, "-5", "soon"])
def test_a_rate_limit_that_makes_no_sense(hub, commit, told):
    hub.fail("status", "/api/models/", times=None, code=429, headers={"Retry-After": told})
    failed(errors.RateLimitError, "Try again later", timeout=float("inf"))


def test_waits_count_for_the_time_limit(hub, commit):
    hub.fail("status", "/api/models/", times=None, code=429, headers={"Retry-After": "1"})
    began = time.monotonic()
    failed(errors.RateLimitError, "in 1 s", timeout=2.5)
    assert time.monotonic() - began < 3
    assert len(hub.log) == 3


@pytest.mark.parametrize("code", [500, 502, 503, 504])
def test_a_server_error_that_goes_on(hub, commit, code):
    hub.fail("status", "/api/models/", times=None, code=code)
    failed(errors.HubServerError, f"HTTP {code}")
    assert 1 < len(hub.log) < 6


@pytest.mark.parametrize("path", ["/api/models/", "encoder.safetensors", "spec.toml"])
@pytest.mark.parametrize("kind", ["status", "reset", "cut"])
def test_what_goes_wrong_once_is_tried_again(hub, commit, images, kind, path):
    method = "GET" if kind == "cut" or path == "encoder.safetensors" else None
    hub.fail(kind, path, method=method, **({"code": 503} if kind == "status" else {}))
    expected = fmae_zoo.Autoencoder(tiny_spec(), seed=3).encode(images)
    np.testing.assert_array_equal(fmae_zoo.load(TINY).encode(images), expected)
    assert hub.faults[0].hits == 1


def test_a_download_that_is_refused_for_ever(hub, commit):
    hub.fail("status", "/repos/", times=None, code=500)
    failed(errors.HubServerError, "HTTP 500")


def test_a_connection_that_is_always_reset(hub, commit):
    hub.fail("reset", "/api/models/", times=None)
    failed(errors.HubConnectionError, "the connection was lost|cannot reach")


def test_a_hub_that_is_not_there():
    code = (
        "import fmae_zoo, fmae_zoo.hub.client as client\n"
        "client.FIRST_WAIT = 0.01\n"
        "try:\n"
        "    fmae_zoo.pull('hf://me/tiny')\n"
        "except fmae_zoo.HubConnectionError as error:\n"
        "    print(error)\n"
    )
    result = run_python(code, HF_ENDPOINT="http://127.0.0.1:9")
    assert "cannot reach http://127.0.0.1:9" in result.stdout, result.stderr


def test_a_download_that_is_cut_is_taken_up_again(hub, commit, images):
    hub.fail("cut", "/repos/", method="GET", times=2)
    expected = fmae_zoo.Autoencoder(tiny_spec(), seed=3).encode(images)
    np.testing.assert_array_equal(fmae_zoo.load(TINY).encode(images), expected)
    assert hub.faults[0].hits == 2


@pytest.mark.parametrize("path", ["/api/models/", "spec.toml", "/repos/"])
def test_a_hang_ends_at_the_time_limit(hub, commit, path):
    hub.fail("stall", path, times=None)
    began = time.monotonic()
    failed(errors.HubTimeoutError, "time limit of 1.5 s.*timeout=", timeout=1.5)
    assert time.monotonic() - began < 6


def test_a_slow_download_ends_at_the_time_limit_too(hub, commit):
    """Each read is quick enough for the client: only the total is too long."""
    hub.fail("slow", "/repos/", times=None, bytes=64, delay=0.1)
    began = time.monotonic()
    failed(errors.HubTimeoutError, "time limit", timeout=2)
    assert time.monotonic() - began < 6
    hub.faults.clear()
    # What was given up holds no lock of the cache any more.
    began = time.monotonic()
    assert fmae_zoo.load(TINY)
    assert time.monotonic() - began < 5


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
def test_a_captive_portal(hub, commit, path):
    hub.fail("html", path, times=None)
    failed(errors.HubConnectionError, "is not the Hub.*login page")


def test_a_captive_portal_that_redirects(hub, commit):
    hub.fail("redirect", "/resolve/", times=None, to=f"{hub.cdn_url}/login")
    failed(errors.HubConnectionError, "is not the Hub")


def test_another_size_than_announced(hub, commit):
    hub.fail("wrong_size", r"spec\.toml", times=None, size=20)
    failed(errors.DigestError, r"spec\.toml")


def test_a_shorter_weights_file(hub, commit):
    hub.fail("wrong_size", r"encoder\.safetensors", times=None)
    failed(errors.DigestError, r"encoder\.safetensors")


def test_wrong_bytes(hub, commit):
    hub.fail("corrupt", "/repos/", times=None)
    failed(errors.DigestError, "(?s)once more.*expected.*received")


def test_xet_storage_that_is_not_there(hub, commit):
    hub.fail("xet", "encoder.safetensors", times=None)
    failed(errors.HubConnectionError, "Xet storage failed.*HF_HUB_DISABLE_XET=1")


def test_a_rate_limit_on_the_way_to_xet_storage_is_one(hub, commit):
    hub.fail("xet", "encoder.safetensors", times=None)
    hub.fail("status", "xet-read-token", times=None, code=429, headers={"Retry-After": "3600"})
    assert failed(errors.RateLimitError, "in 3600 s").retry_after == 3600


def test_an_answer_that_is_no_repo(hub, commit):
    hub.fail("status", "/api/models/", times=None, code=200, body=b'{"id": 3, "siblings": [1]}')
    failed(errors.HubError, "not understood")


@pytest.mark.parametrize(
    "answer",
    [{"sha": 5}, {"sha": "main"}, {"sha": "0" * 40, "siblings": [{"rfilename": "a", "size": "9"}]}],
)
def test_an_answer_with_other_types(hub, commit, answer):
    body = json.dumps({"id": "me/tiny", **answer})
    hub.fail("status", "/api/models/", times=None, code=200, body=body)
    failed(errors.HubConnectionError, "is not the Hub")


@pytest.mark.parametrize("code", [401, 403, 404])
def test_storage_that_refuses_is_not_the_tokens_fault(hub, commit, code):
    hub.fail("status", "/repos/", times=None, code=code)
    failed(errors.HubServerError, "storage refused", token="hf_reader")


def test_a_token_that_the_hub_repeats_is_not_shown(hub, commit, caplog):
    hub.fail("echo_token", "/api/models/", times=None)
    with caplog.at_level("INFO"), caplog.at_level("DEBUG", "fmae_zoo"):
        error = failed(errors.HubServerError, "HTTP 500", token="hf_writer")
    assert "<token>" in str(error)
    assert "hf_writer" not in caplog.text


def test_a_full_disk(hub, commit, tmp_path):
    """Of real: the process may write files of 2,000 bytes at most."""
    code = (
        "import resource, sys, fmae_zoo\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
        "try:\n"
        "    fmae_zoo.pull('hf://me/tiny@v1', cache_dir=sys.argv[1])\n"
        "except fmae_zoo.CacheError as error:\n"
        "    print(error)\n"
    )
    cache = tmp_path / "small"
    result = run_python(code, str(cache))
    assert "disk of the cache is full" in result.stdout, result.stderr
    assert str(cache) in result.stdout
    assert not list(cache.rglob("*.incomplete"))
    assert fmae_zoo.load(TINY, cache_dir=cache)


def test_a_cache_that_cannot_be_written(hub, commit, tmp_path):
    (tmp_path / "file").write_text("in the way")
    failed(errors.CacheError, "cannot be written.*HF_HUB_CACHE", cache_dir=tmp_path / "file")


@pytest.mark.parametrize("folder", ["x" * 300, "~nobody-of-this-name/x", "a\0b"])
def test_a_cache_that_can_be_no_folder(hub, commit, folder):
    with pytest.raises((errors.CacheError, errors.ArgumentError)):
        fmae_zoo.load(TINY, cache_dir=folder)


def test_a_folder_in_the_place_of_a_cached_file(hub, commit, tmp_path):
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


def test_pull_into_a_full_disk_leaves_the_folder_as_it_was(hub, commit, tmp_path):
    folder = fmae_zoo.pull(TINY, tmp_path / "mine")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    code = (
        "import resource, sys, fmae_zoo\n"
        "fmae_zoo.pull('hf://me/tiny@v1', cache_dir=sys.argv[1])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
        "try:\n"
        "    fmae_zoo.pull('hf://me/tiny@v1', sys.argv[2], cache_dir=sys.argv[1])\n"
        "except OSError as error:\n"
        "    print(type(error).__name__, error)\n"
    )
    result = run_python(code, str(tmp_path / "cache"), str(folder))
    assert "OSError" in result.stdout, result.stderr
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
