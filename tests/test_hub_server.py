"""The local Hub against the real client: what it promises to the tests that rely on it."""

import hashlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import warnings
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
import pytest
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    constants,
    get_session,
    hf_hub_download,
    snapshot_download,
)
from huggingface_hub.errors import (
    DisabledRepoError,
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.lfs import UploadInfo, post_lfs_batch_info

from tests.hub import Fault, LocalHub, Token

WEIGHTS = np.random.default_rng(0).bytes(300_000)
CARD = b"---\nlibrary_name: keras\nlicense: mit\ntags:\n- autoencoder\n---\n# A model\n"
FILES = {"README.md": CARD, "notes/hello.txt": b"hello\n", "model.safetensors": WEIGHTS}


@pytest.fixture(scope="module")
def running():
    with LocalHub() as hub:
        yield hub


@pytest.fixture
def hub(running: LocalHub) -> LocalHub:
    running.reset()
    return running


@pytest.fixture
def api(hub: LocalHub) -> HfApi:
    return HfApi(endpoint=hub.url, token="hf_writer")


@pytest.fixture
def download(hub: LocalHub, tmp_path: Path):
    """Return the content of a file, as the client puts it into an empty cache."""

    def read(filename: str, repo_id: str = "me/repo", token: str | bool = False, **options):
        options |= {"endpoint": hub.url, "cache_dir": tmp_path / "cache", "token": token}
        path = hf_hub_download(repo_id, filename, **options)
        return Path(path).read_bytes()

    return read


@pytest.fixture
def no_waiting(monkeypatch):
    """Let the client repeat at once."""
    monkeypatch.setattr(time, "sleep", lambda seconds: None)


def additions(files: dict[str, bytes]) -> list[CommitOperationAdd]:
    # A stream makes the client go the way of Git LFS rather than that of Xet.
    return [CommitOperationAdd(path, io.BytesIO(content)) for path, content in files.items()]


def push(api: HfApi, files: dict[str, bytes], repo_id: str = "me/repo", **options):
    return api.create_commit(repo_id, additions(files), commit_message="Add files", **options)


def seen(hub: LocalHub, **wanted) -> list:
    return [r for r in hub.log if all(getattr(r, key) == value for key, value in wanted.items())]


def status_of(error: pytest.ExceptionInfo) -> int:
    return error.value.response.status_code


# --- commits and files ------------------------------------------------------------------------


def test_what_is_committed_is_downloaded_byte_for_byte(hub, api, download):
    api.create_repo("me/repo")
    commit = push(api, FILES)
    assert {path: download(path) for path in FILES} == FILES
    info = api.model_info("me/repo", files_metadata=True)
    assert info.sha == commit.oid
    assert {s.rfilename for s in info.siblings} == {*FILES, ".gitattributes"}
    assert info.siblings[-1].size == len(b"hello\n")


def test_names_of_contents_are_those_of_git(api, hub):
    paths = ("d/a/x", "d/a.b/y", "d/a0", "b.bin")
    hub.seed("me/repo", dict.fromkeys(paths, b"hello\n"))
    entries = {e.path: e for e in api.list_repo_tree("me/repo", recursive=True)}
    # As `git ls-tree` prints them.
    assert entries["d/a/x"].blob_id == "ce013625030ba8dba906f756967f9e9ca394464a"
    assert entries["d/a"].tree_id == "e31a96220fbfbe7601ecc086a36b96dc27a8867e"
    assert entries["d"].tree_id == "165808cba2fcc21da3ebda1cda8aa0544884d3c9"
    lfs = entries["b.bin"].lfs
    assert lfs.sha256 == hashlib.sha256(b"hello\n").hexdigest()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{lfs.sha256}\nsize 6\n"
    assert (lfs.size, lfs.pointer_size) == (6, len(pointer))
    blob = f"blob {len(pointer)}\0{pointer}".encode()
    assert entries["b.bin"].blob_id == hashlib.sha1(blob).hexdigest()


def test_the_token_goes_to_the_hub_and_never_to_the_content_network(hub, api, download):
    api.create_repo("me/repo", private=True)
    push(api, FILES)
    assert download("model.safetensors", token="hf_reader") == WEIGHTS
    assert {r.method for r in seen(hub, listener="cdn")} == {"PUT", "GET"}
    assert all("authorization" in r.headers for r in seen(hub, listener="hub"))
    assert not any("authorization" in r.headers for r in seen(hub, listener="cdn"))


def test_a_signed_address_is_needed_for_content(hub):
    hub.seed("me/repo", FILES)
    oid = hashlib.sha256(WEIGHTS).hexdigest()
    assert get_session().get(f"{hub.cdn_url}/repos/me/repo/{oid}?Signature=0").status_code == 403


def test_files_that_are_there_already_are_not_committed_again(hub, api):
    api.create_repo("me/repo")
    first = push(api, FILES)
    again = push(api, FILES)
    assert again.oid == first.oid
    assert push(api, {**FILES, "notes/hello.txt": b"bye\n"}).oid != first.oid
    assert len(seen(hub, method="PUT")) == 1


def test_uploaded_content_must_have_the_announced_hash_and_size(hub, api):
    api.create_repo("me/repo")
    info = UploadInfo.from_bytes(WEIGHTS)
    longer = UploadInfo(len(WEIGHTS) + 1, b"", info.sha256)
    actions, errors, transfer = post_lfs_batch_info(
        [info, longer], "hf_writer", "model", "me/repo", revision="main", endpoint=hub.url
    )
    assert (errors, transfer) == ([], "basic")
    href, too_long = (action["actions"]["upload"]["href"] for action in actions)
    verify = actions[0]["actions"]["verify"]["href"]
    told = {"oid": info.sha256.hex(), "size": len(WEIGHTS)}
    headers = {"Authorization": "Bearer hf_writer"}
    other = bytes(len(WEIGHTS))
    assert get_session().put(href, content=other).status_code == 400
    assert get_session().put(href, content=WEIGHTS[1:]).status_code == 400
    assert get_session().put(too_long, content=WEIGHTS).status_code == 400
    assert get_session().post(verify, json=told, headers=headers).status_code == 404
    line = {"key": "lfsFile", "value": {"path": "w.bin", "algo": "sha256", **told}}
    assert commit_raw(hub, line).status_code == 400
    assert get_session().put(href, content=WEIGHTS).status_code == 200
    assert get_session().post(verify, json=told, headers=headers).status_code == 200
    assert commit_raw(hub, line).status_code == 200


def commit_raw(hub: LocalHub, *lines: dict):
    header = {"key": "header", "value": {"summary": "raw"}}
    content = "\n".join(json.dumps(line) for line in (header, *lines))
    headers = {"Authorization": "Bearer hf_writer", "Content-Type": "application/x-ndjson"}
    url = f"{hub.url}/api/models/me/repo/commit/main"
    return get_session().post(url, content=content.encode(), headers=headers)


@pytest.mark.parametrize("path", ["../up", "a/../b", "/etc/passwd", ".git/config", "a/.GIT/x", ""])
def test_paths_that_lead_elsewhere_are_refused(hub, path):
    before = hub.seed("me/repo", {})
    line = {"key": "file", "value": {"path": path, "content": "aGk=", "encoding": "base64"}}
    assert commit_raw(hub, line).status_code == 400
    assert hub.repo("me/repo").head.oid == before


def test_files_and_folders_are_deleted(hub, api):
    hub.seed("me/repo", {"a/1": b"1", "a/2": b"2", "b": b"b", "c": b"c"})
    gone = [CommitOperationDelete("a/"), CommitOperationDelete("b")]
    api.create_commit("me/repo", gone, commit_message="Remove")
    assert sorted(api.list_repo_files("me/repo")) == [".gitattributes", "c"]
    with pytest.raises(EntryNotFoundError, match="A file with this name doesn't exist"):
        api.delete_file("missing", "me/repo")


def test_a_file_takes_the_place_of_a_folder_and_the_reverse(hub, api):
    hub.seed("me/repo", {"a/1": b"1", "b": b"b"})
    push(api, {"a": b"file", "b/1": b"1"})
    assert sorted(api.list_repo_files("me/repo")) == [".gitattributes", "a", "b/1"]


def test_trees_paths_and_history(hub, api):
    first = hub.seed("me/repo", FILES)
    second = hub.seed("me/repo", {"notes/more.txt": b"more"})
    hub.tree_page_size = 2
    try:
        entries = {e.path: e for e in api.list_repo_tree("me/repo", recursive=True, expand=True)}
    finally:
        hub.tree_page_size = 1000
    assert set(entries) == {*FILES, ".gitattributes", "notes", "notes/more.txt"}
    assert entries["notes/hello.txt"].last_commit.oid == first
    assert entries["notes"].last_commit.oid == second
    assert [e.path for e in api.list_repo_tree("me/repo", "notes", revision=first)] == [
        "notes/hello.txt"
    ]
    found = api.get_paths_info("me/repo", ["notes", "README.md", "missing"])
    assert [info.path for info in found] == ["notes", "README.md"]
    oids = [commit.commit_id for commit in api.list_repo_commits("me/repo")]
    assert oids[:2] == [second, first]
    assert len(oids) == 3
    with pytest.raises(EntryNotFoundError):
        list(api.list_repo_tree("me/repo", "nowhere"))


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("license: [", "YAML"),
        ("- a list", "object"),
        ("license: Apache 2", "license"),
        ("license: mit\nmodel-index:\n- name: x", "results"),
        ("model-index:\n- name: x\n  results:\n  - task: {type: t}", r"results\[0\]\.dataset"),
    ],
)
def test_a_card_with_wrong_metadata_is_refused(hub, api, header, told):
    hub.seed("me/repo", {})
    card = f"---\n{header}\n---\n# Model\n".encode()
    with pytest.raises(ValueError, match=told):
        push(api, {"README.md": card})
    line = {"key": "file", "value": {"path": "README.md", "content": card.decode()}}
    assert commit_raw(hub, line).status_code == 400


def test_a_card_without_metadata_is_warned_about_and_a_good_one_is_not(hub, api):
    hub.seed("me/repo", {})
    with pytest.warns(UserWarning, match="empty or missing yaml metadata"):
        push(api, {"README.md": b"# Model\n"})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        push(api, {"README.md": CARD})


# --- refs -------------------------------------------------------------------------------------


def test_a_tag_stays_where_it_is_and_a_branch_moves(hub, api, download):
    first = hub.seed("me/repo", {"f": b"1"}, tag="v1")
    api.create_tag("me/repo", tag="v1.1", revision=first)
    api.create_branch("me/repo", branch="side/way", revision="v1")
    second = push(api, {"f": b"2"}, parent_commit=first).oid
    side = push(api, {"f": b"3"}, revision="side/way").oid
    refs = api.list_repo_refs("me/repo")
    assert {r.name: r.target_commit for r in refs.tags} == {"v1": first, "v1.1": first}
    assert {r.ref: r.target_commit for r in refs.branches} == {
        "refs/heads/main": second,
        "refs/heads/side/way": side,
    }
    revisions = {"v1": b"1", first: b"1", "main": b"2", "side/way": b"3", side: b"3"}
    assert {rev: download("f", revision=rev) for rev in revisions} == revisions
    assert api.model_info("me/repo", revision="side/way").sha == side
    for create in (
        lambda: api.create_tag("me/repo", tag="v1"),
        lambda: api.create_branch("me/repo", branch="main"),
    ):
        with pytest.raises(HfHubHTTPError) as error:
            create()
        assert status_of(error) == 409
    api.delete_tag("me/repo", tag="v1")
    with pytest.raises(RevisionNotFoundError):
        download("f", revision="v1")
    with pytest.raises(RevisionNotFoundError):
        api.delete_tag("me/repo", tag="v1")


def test_others_propose_commits_in_pull_requests(hub, download):
    before = hub.seed("me/repo", FILES)
    other = HfApi(endpoint=hub.url, token="hf_other")
    with pytest.raises(HfHubHTTPError, match="create_pr=1") as error:
        push(other, {"f": b"1"})
    assert status_of(error) == 403
    commit = push(other, {"f": b"1", "new.bin": b"\0" * 9}, create_pr=True)
    assert commit.pr_revision == "refs/pr/1"
    assert hub.repo("me/repo").head.oid == before
    pulls = other.list_repo_refs("me/repo", include_pull_requests=True).pull_requests
    assert [(r.ref, r.target_commit) for r in pulls] == [("refs/pr/1", commit.oid)]
    push(other, {"f": b"2"}, revision="refs/pr/1")
    assert download("f", revision="refs/pr/1") == b"2"
    assert download("new.bin", revision="refs/pr/1") == b"\0" * 9


def test_a_commit_on_another_parent_than_the_branch_has_is_refused(hub, api):
    first = hub.seed("me/repo", {"f": b"1"})
    second = hub.seed("me/repo", {"f": b"2"})
    with pytest.raises(HfHubHTTPError, match="A commit has happened since") as error:
        push(api, {"f": b"3"}, parent_commit=first)
    assert status_of(error) == 412
    assert push(api, {"f": b"3"}, parent_commit=second).oid == hub.repo("me/repo").head.oid


# --- who may do what --------------------------------------------------------------------------


def test_whoami(hub, api):
    account = api.whoami()
    assert account["name"] == "me"
    assert [org["name"] for org in account["orgs"]] == ["zoo"]
    assert account["auth"]["accessToken"]["role"] == "write"
    with pytest.raises(HfHubHTTPError, match="Invalid user token"):
        api.whoami(token="hf_wrong")


@pytest.mark.parametrize(
    ("token", "repo_id", "status"),
    [
        ("hf_writer", "me/new", None),
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
        assert api.list_repo_files(repo_id) == [".gitattributes"]
    else:
        with pytest.raises(HfHubHTTPError) as error:
            api.create_repo(repo_id)
        assert status_of(error) == status


def test_a_repository_that_exists_is_no_error_if_so_wished(hub, api):
    hub.seed("me/old", FILES)
    assert api.create_repo("me/old", exist_ok=True).repo_id == "me/old"
    assert "README.md" in api.list_repo_files("me/old")


def test_repositories_are_deleted_by_their_owners_only(hub, api):
    hub.seed("me/repo", FILES)
    with pytest.raises(HfHubHTTPError, match="403"):
        api.delete_repo("me/repo", token="hf_other")
    api.delete_repo("me/repo")
    with pytest.raises(RepositoryNotFoundError):
        api.model_info("me/repo")
    api.delete_repo("me/repo", missing_ok=True)


@pytest.mark.parametrize("repo_id", ["me/secret", "me/missing"])
def test_strangers_cannot_tell_a_private_repository_from_a_missing_one(hub, repo_id, download):
    hub.seed("me/secret", FILES, private=True)
    for token, status in ((False, 401), ("hf_other", 404)):
        for ask in (HfApi(endpoint=hub.url, token=token).model_info, None):
            with pytest.raises(RepositoryNotFoundError) as error:
                ask(repo_id) if ask else download("README.md", repo_id, token)
            assert status_of(error) == status


def test_gated_files_are_for_those_who_were_granted_access(hub, download):
    hub.seed("me/gated", FILES, gated=True)
    for token, status in ((False, 401), ("hf_other", 403)):
        with pytest.raises(GatedRepoError) as error:
            download("README.md", "me/gated", token)
        assert status_of(error) == status
    info = HfApi(endpoint=hub.url, token=False).model_info("me/gated")
    assert info.gated == "auto"
    hub.repo("me/gated").granted.add("other")
    assert download("model.safetensors", "me/gated", "hf_other") == WEIGHTS
    assert download("README.md", "me/gated", "hf_reader") == CARD


def test_a_disabled_repository_says_so(hub, api):
    hub.seed("me/repo", FILES)
    hub.repo("me/repo").disabled = True
    with pytest.raises(DisabledRepoError):
        api.model_info("me/repo")


def test_what_is_missing_has_its_own_error(hub, api, download, tmp_path):
    commit = hub.seed("me/repo", FILES)
    with pytest.raises(RevisionNotFoundError):
        download("README.md", revision="v9")
    with pytest.raises(EntryNotFoundError):
        download("config.json")
    assert list(tmp_path.rglob(f".no_exist/{commit}/config.json"))
    with pytest.raises(HfHubHTTPError, match="Invalid credentials") as error:
        api.model_info("me/repo", token="hf_wrong")
    assert not isinstance(error.value, RepositoryNotFoundError)
    answer = get_session().get(f"{hub.url}/api/models/me/repo/xet-read-token/main")
    assert (answer.status_code, set(answer.json())) == (404, {"error"})


def test_tokens_can_be_added_until_a_reset(hub):
    hub.tokens["hf_new"] = Token("new", "write", ("zoo",))
    api = HfApi(endpoint=hub.url, token="hf_new")
    assert api.create_repo("zoo/theirs").namespace == "zoo"
    hub.reset()
    with pytest.raises(HfHubHTTPError):
        api.whoami()


# --- the list of models -----------------------------------------------------------------------


def test_models_are_listed_in_pages_and_by_what_they_are(hub, api):
    for number in range(5):
        tag = b"even" if number % 2 == 0 else b"odd"
        card = b"---\nlibrary_name: keras\ntags: [fmae, %s]\n---\n" % tag
        hub.seed(f"me/ae-{number}", {"README.md": card})
    hub.seed("zoo/vae", {"README.md": b"---\ntags: [fmae]\n---\n"})
    hub.seed("other/secret", {"README.md": b"---\ntags: [fmae]\n---\n"}, private=True)
    hub.seed("other/broken", {"README.md": b"---\ntags: [fmae\n---\n"})

    def ids(**query) -> set[str]:
        return {model.id for model in api.list_models(**query)}

    hub.clear_log()
    assert ids(filter="fmae") == {*(f"me/ae-{n}" for n in range(5)), "zoo/vae"}
    assert len(hub.requests()) == 2
    assert ids(filter=["fmae", "odd"]) == {"me/ae-1", "me/ae-3"}
    assert ids(filter="keras", author="zoo") == set()
    assert ids(search="VA") == {"zoo/vae"}
    assert ids(author="other") == {"other/broken"}
    assert ids(author="other", token="hf_other") == {"other/broken", "other/secret"}
    assert len(list(api.list_models(limit=4))) == 4
    newest = next(api.list_models(sort="last_modified"))
    assert newest.id == "other/broken"


def test_a_list_tells_more_when_asked(hub, api):
    commit = hub.seed("me/repo", FILES)
    plain = next(api.list_models())
    assert (plain.sha, plain.card_data, plain.library_name) == (None, None, "keras")
    assert plain.tags == ["keras", "autoencoder", "license:mit", "region:us"]
    full = next(api.list_models(full=True, cardData=True))
    assert (full.sha, full.author, full.gated, full.card_data.license) == (
        commit,
        "me",
        False,
        "mit",
    )
    assert "model.safetensors" in {s.rfilename for s in full.siblings}
    expanded = next(api.list_models(expand=["sha"]))
    assert (expanded.sha, expanded.tags) == (commit, None)


# --- ranges and faults ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "status", "body", "told"),
    [
        ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=-2", 206, b"89", "bytes 8-9/10"),
        ("bytes=8-99", 206, b"89", "bytes 8-9/10"),
        ("bytes=10-", 416, b"", "bytes */10"),
        ("lines=1-2", 200, b"0123456789", None),
    ],
)
@pytest.mark.parametrize("name", ["regular.txt", "large.bin"])
def test_ranges(hub, name, wanted, status, body, told):
    hub.seed("me/repo", {name: b"0123456789"})
    answer = get_session().get(
        f"{hub.url}/me/repo/resolve/main/{name}", headers={"Range": wanted}, follow_redirects=True
    )
    found = (answer.status_code, answer.content, answer.headers.get("Content-Range"))
    assert found == (status, body, told)
    assert int(answer.headers["Content-Length"]) == len(body)


def test_headers_of_files(hub):
    commit = hub.seed("me/repo", {"f.txt": b"hello\n", "f.bin": b"hello\n"})
    regular = get_session().head(f"{hub.url}/me/repo/resolve/main/f.txt")
    assert (regular.status_code, regular.headers["Content-Length"]) == (200, "6")
    assert regular.headers["ETag"] == '"ce013625030ba8dba906f756967f9e9ca394464a"'
    large = get_session().head(f"{hub.url}/me/repo/resolve/main/f.bin", follow_redirects=False)
    assert large.status_code == 302
    oid = hashlib.sha256(b"hello\n").hexdigest()
    assert large.headers["X-Linked-ETag"] == f'"{oid}"'
    assert large.headers["X-Linked-Size"] == "6"
    assert large.headers["Location"].startswith(hub.cdn_url)
    assert regular.headers["X-Repo-Commit"] == large.headers["X-Repo-Commit"] == commit


def test_a_cut_download_goes_on_where_it_stopped(hub, download, no_waiting, monkeypatch):
    # The client keeps whole chunks only.
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)
    hub.seed("me/repo", FILES)
    hub.fail("cut", "model.safetensors")
    assert download("model.safetensors") == WEIGHTS
    first, second = seen(hub, listener="cdn")
    assert first.bytes_sent == len(WEIGHTS) // 2
    assert second.status == 206
    assert second.headers["range"] == f"bytes={len(WEIGHTS) // 2}-"
    assert second.bytes_sent == len(WEIGHTS) - len(WEIGHTS) // 2


def test_a_status_has_code_headers_and_body_and_the_times_it_was_given(hub, api, no_waiting):
    hub.seed("me/repo", FILES)
    fault = hub.fail(
        "status", "/refs", method="GET", times=2, skip=1, code=429, headers={"Retry-After": "7"}
    )
    hub.faults.append(Fault("status", "/tree/", code=503, body='{"error": "tired"}'))
    api.list_repo_refs("me/repo")
    for _ in range(2):
        with pytest.raises(HfHubHTTPError) as error:
            api.list_repo_refs("me/repo")
        assert (status_of(error), error.value.response.headers["Retry-After"]) == (429, "7")
    api.list_repo_refs("me/repo")
    assert fault.hits == 2
    assert len(list(api.list_repo_tree("me/repo"))) == 4
    assert [r.status for r in hub.log if "/tree/" in r.path] == [503, 200]


def test_a_reset_is_seen_as_one(hub):
    hub.seed("me/repo", FILES)
    hub.fail("reset", "/README.md")
    host, port = hub.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b"GET /me/repo/resolve/main/README.md HTTP/1.1\r\nHost: x\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    assert hub.log[-1].status is None


def test_a_stalled_request_ends_when_the_fault_is_taken_away(hub):
    hub.seed("me/repo", FILES)
    fault = hub.fail("stall", "/README.md", times=2)
    url = f"{hub.url}/me/repo/resolve/main/README.md"
    with pytest.raises(Exception, match="timed out"):
        get_session().get(url, timeout=0.1)
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(get_session().get, url, timeout=10)
        with pytest.raises(TimeoutError):
            asked.result(0.1)
        assert fault.hits == 2
        hub.faults.remove(fault)
        with pytest.raises(Exception, match="disconnected"):
            asked.result(5)


def test_a_slow_body_is_whole_in_the_end(hub, download):
    hub.seed("me/repo", {"f.bin": bytes(range(100))})
    hub.fail("slow", "/repos/", bytes=20, delay=0.02)
    start = time.monotonic()
    assert download("f.bin") == bytes(range(100))
    assert time.monotonic() - start > 0.07


@pytest.mark.parametrize("name", ["f.txt", "f.bin"])
def test_corrupt_content_has_the_right_size_and_headers(hub, download, name):
    hub.seed("me/repo", {name: b"hello\n"})
    hub.fail("corrupt", r"/resolve/main/f\.txt|/repos/", times=None)
    content = download(name)
    assert len(content) == 6
    assert content != b"hello\n"


@pytest.mark.parametrize("size", [None, 4, 9])
@pytest.mark.parametrize("name", ["f.txt", "f.bin"])
def test_a_wrong_size_is_told_and_sent_alike(hub, download, name, size):
    hub.seed("me/repo", {name: b"hello\n"})
    hub.fail("wrong_size", name, times=None, size=size)
    assert download(name) == b"hello\n\0\0\0"[: size or 3]


def test_a_captive_portal_is_no_hub(hub, download):
    hub.seed("me/repo", FILES)
    hub.fail("html", times=None)
    with pytest.raises(LocalEntryNotFoundError, match="X-Repo-Commit"):
        download("README.md")
    answer = get_session().get(f"{hub.url}/api/models/me/repo")
    assert (answer.status_code, answer.headers["Content-Type"][:9]) == (200, "text/html")


@pytest.mark.parametrize("code", [302, 307])
def test_a_redirect_leads_where_it_was_told_to(hub, code):
    hub.fail("redirect", "/api/models", to=f"{hub.cdn_url}/elsewhere", code=code)
    answer = get_session().get(f"{hub.url}/api/models/me/repo", follow_redirects=True)
    assert answer.status_code == 404
    assert [(r.listener, r.status) for r in hub.log] == [("hub", code), ("cdn", 404)]


def test_a_lost_answer_hides_work_that_was_done(hub, api):
    before = hub.seed("me/repo", FILES)
    hub.fail("lose_answer", "/commit/")
    with pytest.raises(Exception, match="disconnected"):
        push(api, {"f": b"1"}, parent_commit=before)
    head = hub.repo("me/repo").head
    assert (head.parent, head.tree["f"].content) == (before, b"1")


@pytest.mark.parametrize("branch", ["main", "side"])
def test_another_publisher_is_faster(hub, api, branch):
    before = hub.seed("me/repo", FILES)
    api.create_branch("me/repo", branch="side")
    hub.fail("conflict", files={"theirs": b"1"})
    with pytest.raises(HfHubHTTPError, match="A commit has happened since"):
        push(api, {"f": b"1"}, parent_commit=before, revision=branch)
    assert "theirs" in api.list_repo_files("me/repo", revision=branch)
    assert push(api, {"f": b"1"}, revision=branch).oid


def test_xet_is_promised_and_not_there(hub):
    hub.seed("me/repo", FILES)
    hub.fail("xet", times=None)
    url = f"{hub.url}/me/repo/resolve/main/model.safetensors"
    answer = get_session().head(url, follow_redirects=False)
    assert len(answer.headers["X-Xet-Hash"]) == 64
    assert get_session().get(answer.links["xet-auth"]["url"]).status_code == 404


def test_an_error_can_repeat_the_token(hub, api):
    hub.fail("echo_token")
    with pytest.raises(HfHubHTTPError, match="hf_writer") as error:
        api.whoami()
    assert "hf_writer" in error.value.response.headers["X-Error-Message"]


def test_faults_that_do_not_exist_are_refused(hub):
    with pytest.raises(ValueError, match="wrong_size"):
        hub.fail("explode")
    with pytest.raises(TypeError, match="code"):
        hub.fail("cut", code=500)


# --- the server itself ------------------------------------------------------------------------


def test_the_log_has_what_was_asked_and_answered(hub, api):
    hub.seed("me/repo", FILES)
    api.model_info("me/repo", files_metadata=True)
    position = len(hub.log)
    api.get_paths_info("me/repo", "README.md")
    (record,) = hub.requests(since=position)
    assert (record.listener, record.method, record.status) == ("hub", "POST", 200)
    assert record.headers["authorization"] == "Bearer hf_writer"
    assert b"README.md" in record.body
    assert hub.log[0].path.endswith("?blobs=true")
    answer = get_session().get(f"{hub.url}/me/repo/resolve/main/README.md")
    assert hub.log[-1].bytes_sent == len(answer.content) == len(CARD)


def test_one_connection_serves_many_requests_without_delay(hub, api):
    hub.seed("me/repo", FILES)
    api.model_info("me/repo")
    start = time.monotonic()
    for _ in range(25):
        api.model_info("me/repo")
    assert time.monotonic() - start < 25 * 0.03


def test_it_starts_and_stops_at_once_even_with_a_stalled_client(capfd):
    start = time.monotonic()
    hub = LocalHub().start()
    assert time.monotonic() - start < 0.5
    hub.fail("stall")
    host, port = hub.url.removeprefix("http://").split(":")
    idle = socket.create_connection((host, int(port)), timeout=5)
    with idle, socket.create_connection((host, int(port)), timeout=5) as client:
        client.sendall(b"GET /api/models HTTP/1.1\r\nHost: x\r\n\r\n")
        while not hub.log:
            time.sleep(0.005)
        start = time.monotonic()
        hub.stop()
        assert client.recv(1) == idle.recv(1) == b""
        assert time.monotonic() - start < 1
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)))
    assert capfd.readouterr() == ("", "")


def test_a_client_that_leaves_early_disturbs_nobody(hub, capfd):
    hub.seed("me/repo", {"f.txt": b"x" * 5_000_000})
    host, port = hub.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as client:
        client.sendall(b"GET /me/repo/resolve/main/f.txt HTTP/1.1\r\nHost: x\r\n\r\n")
        client.recv(10)
    answer = get_session().get(f"{hub.url}/me/repo/resolve/main/f.txt")
    assert len(answer.content) == 5_000_000
    assert capfd.readouterr() == ("", "")


def test_keras_loads_a_model_from_it(hub, tmp_path, monkeypatch):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        hub.seed("me/repo", {name: archive.read(name) for name in archive.namelist()})
    address = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, hub.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address)
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    loaded = keras.saving.load_model("hf://me/repo")
    np.testing.assert_array_equal(loaded.get_weights()[0], model.get_weights()[0])
    folder = snapshot_download("me/repo", endpoint=hub.url, cache_dir=tmp_path / "other")
    assert (Path(folder) / "model.weights.h5").stat().st_size > 0


@pytest.mark.skipif(os.name == "nt", reason="no SIGINT for a child process there")
def test_a_person_can_run_it():
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.hub"],
        cwd=Path(__file__).parent.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    endpoint = process.stdout.readline().strip()
    assert process.stdout.readline().strip() == "export HF_TOKEN=hf_writer"
    assert endpoint.startswith("export HF_ENDPOINT=http://127.0.0.1:")
    api = HfApi(endpoint=endpoint.partition("=")[2], token="hf_writer")
    assert api.whoami()["name"] == "me"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=10) == ("", "")
    assert process.returncode == 0
