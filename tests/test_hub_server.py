"""The local Hub behaves as the real one where the tests of the package rely on it."""

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, HfApi, constants, get_session, hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.lfs import UploadInfo, post_lfs_batch_info

pytestmark = pytest.mark.once

REPO = "me/repo"
WEIGHTS = bytes(range(256)) * 1_000
CARD = b"---\nlibrary_name: keras\nlicense: mit\ntags:\n- autoencoder\n---\n# A model\n"
FILES = {"README.md": CARD, "hello.txt": b"hello\n", "model.safetensors": WEIGHTS}


@pytest.fixture
def api(hub):
    return HfApi(endpoint=hub.url, token="hf_writer")


@pytest.fixture
def download(hub, tmp_path):
    def read(filename, repo_id=REPO, token=False, **options):
        options |= {"endpoint": hub.url, "cache_dir": tmp_path / "cache", "token": token}
        return Path(hf_hub_download(repo_id, filename, **options)).read_bytes()

    return read


def push(api, files, **options):
    # A stream makes the client go the way of Git LFS rather than that of Xet.
    added = [CommitOperationAdd(path, io.BytesIO(content)) for path, content in files.items()]
    return api.create_commit(REPO, added, commit_message="Add files", **options)


def commit_raw(hub, line):
    header = {"key": "header", "value": {"summary": "raw"}}
    content = "\n".join(json.dumps(each) for each in (header, line)).encode()
    url = f"{hub.url}/api/models/{REPO}/commit/main"
    return get_session().post(url, content=content, headers={"Authorization": "Bearer hf_writer"})


def status_of(caught):
    return caught.value.response.status_code


def test_what_is_committed_is_downloaded_byte_for_byte_and_not_committed_again(api, download):
    api.create_repo(REPO)
    commit = push(api, FILES)
    assert {path: download(path) for path in FILES} == FILES
    info = api.model_info(REPO, files_metadata=True)
    files = {file.rfilename: file for file in info.siblings}
    assert (info.sha, files.keys()) == (commit.oid, {*FILES, ".gitattributes"})
    assert files["hello.txt"].blob_id == "ce013625030ba8dba906f756967f9e9ca394464a"
    assert files["model.safetensors"].lfs.sha256 == hashlib.sha256(WEIGHTS).hexdigest()
    assert push(api, FILES).oid == commit.oid


def test_content_goes_by_signed_addresses_of_another_host_without_the_token(hub, api, download):
    api.create_repo(REPO, private=True)
    push(api, FILES)
    assert download("model.safetensors", token="hf_reader") == WEIGHTS
    assert {r.method for r in hub.log if r.listener == "cdn"} == {"PUT", "GET"}
    assert all(("authorization" in r.headers) == (r.listener == "hub") for r in hub.log)
    oid = hashlib.sha256(WEIGHTS).hexdigest()
    assert get_session().get(f"{hub.cdn_url}/repos/{REPO}/{oid}?Signature=0").status_code == 403


def test_uploaded_content_must_have_the_announced_hash_and_size(hub, api):
    api.create_repo(REPO)
    info = UploadInfo.from_bytes(WEIGHTS)
    actions, _, _ = post_lfs_batch_info([info], "hf_writer", "model", REPO, endpoint=hub.url)
    href = actions[0]["actions"]["upload"]["href"]
    told = {"oid": info.sha256.hex(), "size": len(WEIGHTS)}
    line = {"key": "lfsFile", "value": {"path": "w.bin", "algo": "sha256", **told}}
    for wrong in (bytes(len(WEIGHTS)), WEIGHTS[1:]):
        assert get_session().put(href, content=wrong).status_code == 400
        assert commit_raw(hub, line).status_code == 400
    assert get_session().put(href, content=WEIGHTS).status_code == 200
    assert commit_raw(hub, line).status_code == 200


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("license: [", "YAML"),
        ("license: Apache 2", "license"),
        ("license: mit\nmodel-index:\n- name: x", "results"),
        ("model-index:\n- name: x\n  results:\n  - task: {type: t}", r"results\[0\]\.dataset"),
    ],
)
def test_a_card_with_wrong_metadata_is_refused(hub, api, header, told):
    hub.seed(REPO, {})
    card = f"---\n{header}\n---\n# Model\n"
    with pytest.raises(ValueError, match=told):
        push(api, {"README.md": card.encode()})
    line = {"key": "file", "value": {"path": "README.md", "content": card}}
    assert commit_raw(hub, line).status_code == 400


def test_a_tag_stays_where_it_is_and_a_branch_moves(hub, api, download):
    first = hub.seed(REPO, {"f": b"1"}, tag="v1")
    api.create_tag(REPO, tag="v1.1", revision=first)
    api.create_branch(REPO, branch="side/way", revision="v1")
    second = push(api, {"f": b"2"}, parent_commit=first).oid
    side = push(api, {"f": b"3"}, revision="side/way").oid
    refs = api.list_repo_refs(REPO)
    assert {r.name: r.target_commit for r in refs.tags} == {"v1": first, "v1.1": first}
    assert {r.name: r.target_commit for r in refs.branches} == {"main": second, "side/way": side}
    revisions = {"v1": b"1", first: b"1", "main": b"2", "side/way": b"3"}
    assert {revision: download("f", revision=revision) for revision in revisions} == revisions
    assert [commit.commit_id for commit in api.list_repo_commits(REPO)][:2] == [second, first]
    for again in (
        lambda: api.create_tag(REPO, tag="v1"),
        lambda: api.create_branch(REPO, branch="main"),
    ):
        with pytest.raises(HfHubHTTPError) as caught:
            again()
        assert status_of(caught) == 409


def test_others_propose_commits_in_pull_requests(hub, download):
    before = hub.seed(REPO, FILES)
    other = HfApi(endpoint=hub.url, token="hf_other")
    with pytest.raises(HfHubHTTPError) as caught:
        push(other, {"f": b"1"})
    assert status_of(caught) == 403
    commit = push(other, {"f": b"1", "new.bin": b"\0" * 9}, create_pr=True)
    pulls = other.list_repo_refs(REPO, include_pull_requests=True).pull_requests
    assert [(r.ref, r.target_commit) for r in pulls] == [("refs/pr/1", commit.oid)]
    assert [each.git_reference for each in other.get_repo_discussions(REPO)] == ["refs/pr/1"]
    assert download("new.bin", revision="refs/pr/1") == b"\0" * 9
    assert other.model_info(REPO).sha == before


@pytest.mark.parametrize(
    ("token", "repo_id", "status"),
    [
        ("hf_writer", "zoo/new", None),
        ("hf_writer", "me/old", 409),
        ("hf_writer", "other/new", 403),
        ("hf_reader", "me/new", 403),
        ("hf_wrong", "me/new", 401),
        (False, "me/new", 401),
    ],
)
def test_who_may_create_a_repository(hub, token, repo_id, status):
    hub.seed("me/old", {})
    api = HfApi(endpoint=hub.url, token=token)
    if status is None:
        assert api.create_repo(repo_id).repo_id == repo_id
        return
    with pytest.raises(HfHubHTTPError) as caught:
        api.create_repo(repo_id)
    assert status_of(caught) == status


@pytest.mark.parametrize("repo_id", ["me/secret", "me/missing"])
def test_strangers_cannot_tell_a_private_repository_from_a_missing_one(hub, repo_id):
    hub.seed("me/secret", FILES, private=True)
    for token, status in ((False, 401), ("hf_other", 404)):
        with pytest.raises(RepositoryNotFoundError) as caught:
            HfApi(endpoint=hub.url, token=token).model_info(repo_id)
        assert status_of(caught) == status


def test_gated_files_are_for_those_who_have_access(hub, download):
    hub.seed("me/gated", FILES, gated=True)
    for token, status in ((False, 401), ("hf_other", 403)):
        with pytest.raises(GatedRepoError) as caught:
            download("README.md", "me/gated", token)
        assert status_of(caught) == status
    assert download("README.md", "me/gated", "hf_reader") == CARD


def test_what_is_missing_has_its_own_error(hub, api, download):
    hub.seed(REPO, FILES)
    with pytest.raises(RevisionNotFoundError):
        download("README.md", revision="v9")
    with pytest.raises(EntryNotFoundError):
        download("config.json")
    with pytest.raises(HfHubHTTPError, match="Invalid credentials"):
        api.model_info(REPO, token="hf_wrong")


def test_models_are_listed_in_pages_and_by_what_they_are(hub, api):
    for number in range(4):
        hub.seed(f"me/ae-{number}", {"README.md": b"---\ntags: [fmae]\n---\n"})
    hub.seed("zoo/vae", {"README.md": b"---\ntags: [fmae, odd]\n---\n"})
    hub.seed("other/secret", {"README.md": b"---\ntags: [fmae]\n---\n"}, private=True)
    hub.seed("other/broken", {"README.md": b"---\ntags: [fmae\n---\n"})

    def ids(**query):
        return {model.id for model in api.list_models(**query)}

    assert ids(filter="fmae") == {*(f"me/ae-{n}" for n in range(4)), "zoo/vae"}
    assert len(hub.log) == 2
    assert ids(filter=["fmae", "odd"]) == ids(search="VA") == {"zoo/vae"}
    assert ids(author="other", token="hf_other") == {"other/broken", "other/secret"}
    assert len(list(api.list_models(limit=4))) == 4


def test_a_cut_download_goes_on_where_it_stopped(hub, download, monkeypatch):
    # The client keeps whole chunks only.
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)
    hub.seed(REPO, FILES)
    hub.fail("cut", "model.safetensors")
    assert download("model.safetensors") == WEIGHTS
    first, second = [r for r in hub.log if r.listener == "cdn"]
    assert (first.bytes_sent, second.bytes_sent) == (len(WEIGHTS) // 2,) * 2
    assert (second.status, second.headers["range"]) == (206, f"bytes={len(WEIGHTS) // 2}-")


@pytest.mark.parametrize("branch", ["main", "side"])
def test_a_commit_on_another_parent_than_the_branch_has_is_refused(hub, api, branch):
    before = hub.seed(REPO, FILES)
    api.create_branch(REPO, branch="side")
    hub.seed(REPO, {"theirs": b"1"}, branch=branch)
    with pytest.raises(HfHubHTTPError) as caught:
        push(api, {"f": b"1"}, parent_commit=before, revision=branch)
    assert status_of(caught) == 412
    assert push(api, {"f": b"1"}, revision=branch).oid


@pytest.mark.skipif(os.name == "nt", reason="no SIGINT for a child process there")
def test_a_person_can_run_it():
    words = [sys.executable, "-m", "tests.hub"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    url = process.stdout.readline().strip().removeprefix("export HF_ENDPOINT=")
    token = process.stdout.readline().strip().removeprefix("export HF_TOKEN=")
    assert HfApi(endpoint=url, token=token).create_repo(REPO).repo_id == REPO
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30) == ("", "")
    assert process.returncode == 0
