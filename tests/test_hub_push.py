"""Publishing to the Hub: real HTTP, the real client, a Hub of our own on 127.0.0.1."""

import json
import logging
import os
import shutil
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import HfApi, ModelCard

import fmae_zoo
from fmae_zoo import registry
from fmae_zoo.card import BEGIN, END, card_of
from fmae_zoo.entry import Entry
from fmae_zoo.errors import (
    ArgumentError,
    HubConflictError,
    HubConnectionError,
    HubError,
    HubPermissionError,
    HubServerError,
    HubTimeoutError,
    PushRefusedError,
)
from fmae_zoo.hub.contents import REPO_FILES
from fmae_zoo.hub.publisher import Publisher
from fmae_zoo.layout import KERAS_FILES
from fmae_zoo.manifest import MANIFEST_FILE, Manifest
from fmae_zoo.saving import golden_of, record_files
from fmae_zoo.verification import GOLDEN_TOLERANCE, golden_differences
from fmae_zoo.weights import save_tensors
from tests.conftest import run_python, tiny_spec
from tests.entries import FEW

pytestmark = pytest.mark.usefixtures("eager")

REPO = "me/tiny"
JSON = {"Content-Type": "application/json"}
OF_A_CLASSIFIER = {"head.json", "classifier.safetensors"}
OF_A_CRITIC = {"critic.safetensors"}
SAMPLERS = {"samplers.safetensors"}
NO_DISCUSSIONS = {"discussions": [], "count": 0, "start": 0}


@pytest.fixture(scope="module")
def model():
    return fmae_zoo.Autoencoder(tiny_spec(), seed=3)


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    """Folders of two models of one spec."""
    folder = tmp_path_factory.mktemp("saved")
    fmae_zoo.save(model, folder / "mine")
    fmae_zoo.save(fmae_zoo.Autoencoder(tiny_spec(), seed=9), folder / "other")
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    return shutil.copytree(saved / "mine", tmp_path / "mine")


@pytest.fixture
def other(saved):
    return saved / "other"


@pytest.fixture
def push(hub):
    def pushed(source, repo=REPO, token="hf_writer", **options):
        return fmae_zoo.push(source, repo, token=token, **options)

    return pushed


@pytest.fixture
def interruptible():
    """SIGINT interrupts, also in a process that a shell started in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def api(hub):
    return HfApi(endpoint=hub.url, token="hf_writer")


def files_in(api, repo=REPO, revision=None):
    info = api.model_info(repo, revision=revision, files_metadata=True)
    return {file.rfilename: file for file in info.siblings if file.rfilename != ".gitattributes"}


def sent(hub, kind="/commit/"):
    return [record for record in hub.log if record.method == "POST" and kind in record.path]


def test_a_model_is_pushed_and_comes_back(push, model, images, tmp_path):
    url = push(model, private=True, tag="v1")
    assert url.endswith("/me/tiny")
    assert url.changed
    loaded = fmae_zoo.load("hf://me/tiny@v1", token="hf_writer")
    np.testing.assert_array_equal(loaded.encode(images), model.encode(images))
    with pytest.raises(fmae_zoo.RepoNotFoundError):
        fmae_zoo.load("hf://me/tiny@v1", token="hf_other", cache_dir=tmp_path)


def test_the_repo_holds_what_it_must(push, api, folder):
    commit = push(folder).commit
    there = files_in(api)
    # The small model was not trained, so it has neither history nor curves, and has no sampler.
    assert set(there) == set(REPO_FILES) - OF_A_CLASSIFIER - OF_A_CRITIC - SAMPLERS - {
        "history.csv",
        "curves.png",
        "draws.png",
    }
    manifest = Manifest.read(fmae_zoo.pull(f"hf://{REPO}@{commit}"))
    for name, record in manifest.files.items():
        assert there[name].size == record.size
        if there[name].lfs:
            assert there[name].lfs.sha256 == record.sha256
    assert set(there) - set(manifest.files) == {"spec.toml", "manifest.json", "README.md"}
    assert not manifest.hub.commit


def test_a_folder_with_history_and_a_registered_name_are_pushed(push, api):
    push("dense-ae", "me/dense")
    assert set(files_in(api, "me/dense")) == set(REPO_FILES) - OF_A_CLASSIFIER - OF_A_CRITIC
    published = Manifest.read(fmae_zoo.pull("hf://me/dense"))
    bundled = registry.find_entry("dense-ae").manifest
    assert published.results == bundled.results
    assert published.files.items() >= bundled.files.items()


def test_there_is_one_commit(push, hub, folder, api):
    push(folder)
    assert len(sent(hub)) == 1
    assert len(api.list_repo_commits(REPO)) == 2


def test_the_same_again_is_no_commit_and_says_so(push, hub, folder, model, caplog):
    first = push(folder)
    with caplog.at_level(logging.WARNING, "fmae_zoo"):
        again = push(folder)
    assert (again.changed, again.commit) == (False, first.commit)
    assert f"holds the same already, at commit {first.commit}" in caplog.text
    assert push(model).commit == first.commit
    assert len(sent(hub)) == 1


def test_another_model_of_the_same_name_is_a_second_commit(push, hub, folder, api, other):
    first = push(folder)
    second = push(other)
    assert second.changed
    assert second.commit != first.commit
    assert fmae_zoo.load(f"hf://{REPO}@{first.commit}")


def test_what_the_new_model_does_not_have_leaves_the_repo(push, hub, folder, api, repo_files):
    hub.seed(REPO, {**repo_files, "history.csv": b"epoch\n1\n", "notes.txt": b"mine"})
    push(folder)
    assert "history.csv" not in files_in(api)
    assert "notes.txt" in files_in(api)


@pytest.mark.parametrize("held", ["keras", "other"])
@pytest.mark.failure
def test_a_repo_of_something_else_is_not_written_over(push, hub, folder, repo_files, held, api):
    if held == "keras":
        hub.seed(REPO, {"config.json": b"{}", "model.weights.h5": b"h5"})
    else:
        spec = repo_files["spec.toml"].replace(b"tiny-ae", b"other-ae")
        hub.seed(REPO, {**repo_files, "spec.toml": spec})
    before = api.model_info(REPO).sha
    words = "config.json" if held == "keras" else "other-ae"
    with pytest.raises(PushRefusedError, match=f"{words}.*another repo"):
        push(folder)
    assert api.model_info(REPO).sha == before


def test_a_card_that_a_person_edited_is_kept(push, hub, folder, api, other):
    push(folder)
    text = Path(api.hf_hub_download(REPO, "README.md")).read_text(encoding="utf-8")
    edited = text.replace(BEGIN, f"My words before.\n\n{BEGIN}").replace(
        END, f"{END}\n\nMy words after.\n"
    )
    edited = edited.replace("---\n", "---\nlanguage: en\n", 1)
    hub.seed(REPO, {"README.md": edited.encode()})
    push(other)
    now = Path(api.hf_hub_download(REPO, "README.md")).read_text(encoding="utf-8")
    assert "My words before." in now
    assert "My words after." in now
    assert ModelCard(now).data.language == "en"
    assert now.count(BEGIN) == now.count(END) == 1
    assert not push(other).changed


def test_a_branch_is_made_and_committed_to(push, api, folder):
    push(folder, branch="trial")
    assert "encoder.safetensors" in files_in(api, revision="trial")
    assert "encoder.safetensors" not in files_in(api)
    assert fmae_zoo.load(f"hf://{REPO}@trial")
    assert push(folder, branch="trial").changed is False


def test_a_pull_request_leaves_main_as_it_is(push, api, folder):
    url = push(folder, create_pr=True)
    assert url.changed
    assert "encoder.safetensors" not in files_in(api)
    assert "encoder.safetensors" in files_in(api, revision="refs/pr/1")
    assert "/discussions/1" in url
    with pytest.raises(ArgumentError, match="tag"):
        push(folder, create_pr=True, tag="v1")
    for words in ({"tag": "0" * 40}, {"tag": "main"}, {"branch": "refs/pr/1"}):
        with pytest.raises(ArgumentError, match="names a commit or a branch already"):
            push(folder, **words)


def test_a_tag_is_put_on_the_commit_and_never_moved(push, hub, folder, api, other):
    first = push(folder, tag="v1")
    assert push(folder, tag="v1").commit == first.commit
    with pytest.raises(HubConflictError, match=f"v1 is on commit {first.commit}.*Nothing was sent"):
        push(other, tag="v1")
    assert api.model_info(REPO).sha == first.commit
    second = push(other, tag="v2")
    tags = {tag.name: tag.target_commit for tag in api.list_repo_refs(REPO).tags}
    assert tags == {"v1": first.commit, "v2": second.commit}
    with pytest.raises(HubConflictError, match="v1 is on commit"):
        push(other, tag="v1")


@pytest.mark.failure
def test_private_is_not_pushed_into_a_public_repo(push, folder, api, other):
    push(folder)
    before = api.model_info(REPO).sha
    with pytest.raises(PushRefusedError, match="is public"):
        push(other, private=True)
    assert api.model_info(REPO).sha == before


def test_a_dry_run_lists_files_and_card_and_asks_nothing(push, hub, folder):
    planned = push(folder, dry_run=True, token=None)
    assert not hub.log
    assert set(planned.sizes) >= {"spec.toml", "encoder.safetensors", "README.md"}
    assert BEGIN in planned.card
    real = push(folder)
    assert real.sizes == planned.sizes
    assert real.card == planned.card


# What is refused before anything is sent


def spoil_digest(folder):
    content = bytearray((folder / "encoder.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "encoder.safetensors").write_bytes(bytes(content))


def spoil_golden(folder):
    """Goldens of another model, with a manifest that agrees with them."""
    spoilt = fmae_zoo.Autoencoder(tiny_spec(), seed=9)
    save_tensors(golden_of(spoilt), folder / "golden.safetensors")
    record_files(folder, Manifest.read(folder)).write(folder)


def spoil_spec(folder):
    path = folder / "spec.toml"
    path.write_text(path.read_text().replace("batch_size = 32", "batch_size = 33"))


def spoil_licence(folder):
    manifest = Manifest.read(folder)
    manifest.model_copy(update={"licence": "MIT"}).write(folder)


def forget_decoder(folder):
    manifest = Manifest.read(folder)
    files = {k: v for k, v in manifest.files.items() if k != "decoder.safetensors"}
    manifest.model_copy(update={"files": files}).write(folder)


def add_secret(folder):
    path = folder / "spec.toml"
    secret = "hf_" + "a1B2" * 9
    path.write_text(path.read_text() + f"# {secret}\n")


def add_key(folder):
    path = folder / "spec.toml"
    path.write_text("# -----BEGIN RSA PRIVATE KEY-----\n" + path.read_text())


REFUSED = {
    "wrong bytes": (spoil_digest, "SHA-256 expected"),
    "wrong goldens": (spoil_golden, "golden codes"),
    "another spec": (spoil_spec, "not the one"),
    "another licence": (spoil_licence, "licence"),
    "no decoder": (forget_decoder, r"records no decoder\.safetensors"),
    "a missing file": (lambda folder: (folder / "golden.safetensors").unlink(), "no file"),
    "an unknown file": (lambda folder: (folder / "thesis.docx").write_text("x"), "thesis.docx"),
    "a folder": (lambda folder: (folder / "sub").mkdir(), "sub"),
    "a link": (lambda folder: (folder / "curves.png").symlink_to("/etc/hostname"), "curves"),
    "a token": (add_secret, r"spec\.toml holds a Hugging Face token"),
    "a private key": (add_key, r"spec\.toml holds a private key"),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.failure
def test_a_folder_that_is_not_fit_is_refused_before_anything_is_sent(push, hub, folder, case):
    spoil, words = REFUSED[case]
    spoil(folder)
    with pytest.raises(PushRefusedError, match=words) as caught:
        push(folder)
    assert "a1B2" not in str(caught.value)
    assert not hub.log


@pytest.mark.failure
def test_the_token_in_use_is_not_sent_in_a_file(push, hub, folder):
    path = folder / "spec.toml"
    path.write_text(path.read_text() + "# hf_writer\n")
    with pytest.raises(PushRefusedError, match="the token in use"):
        push(folder)
    assert not hub.log


def test_what_a_training_leaves_stays_at_home(push, folder, api):
    (folder / "checkpoint.safetensors").write_bytes(b"optimizer")
    (folder / ".lock").write_text("")
    push(folder)
    assert set(files_in(api)) <= set(REPO_FILES)


def test_the_folders_of_a_machine_are_not_published(push, hub, few, tmp_path):
    """A training on data of one's own records where they lie."""
    folder = fmae_zoo.pull("dense-ae", tmp_path / "dense")
    manifest = Manifest.read(folder)
    training = manifest.training.model_copy(update={"data_source": "/home/alice/secret/photos"})
    manifest.model_copy(update={"training": training}).write(folder)
    pushed = push(folder, "me/dense")
    text = (fmae_zoo.pull(f"hf://me/dense@{pushed.commit}") / "manifest.json").read_text()
    assert '"data_source": "photos"' in text
    assert "alice" not in text + pushed.card


@pytest.mark.failure
def test_without_a_token_nothing_is_asked(push, hub, folder):
    with pytest.raises(HubPermissionError, match=r"(?s)hf auth login.*--token-file"):
        push(folder, token=None)
    assert not hub.log


@pytest.mark.parametrize("source", ["hf://me/other", "nothing", "local:nowhere"])
@pytest.mark.failure
def test_a_source_that_cannot_be_pushed(push, hub, source, repo_files):
    hub.seed("me/other", repo_files)
    with pytest.raises((ArgumentError, fmae_zoo.UnknownModelError)):
        push(source)


@pytest.mark.failure
def test_offline_a_push_says_so(push, hub, folder, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubConnectionError, match="HF_HUB_OFFLINE"):
        push(folder)


# What goes wrong on the way


@pytest.mark.failure
def test_a_token_without_the_right_to_write(push, folder, other):
    with pytest.raises(HubPermissionError, match="may not write"):
        push(folder, token="hf_reader")
    push(folder)
    with pytest.raises(HubPermissionError, match="may not write"):
        push(other, token="hf_other")


@pytest.mark.failure
def test_another_publisher_in_between_is_a_conflict(push, hub, folder, api, other):
    push(folder)
    hub.fail("conflict", "/commit/")
    with pytest.raises(HubConflictError, match=r"somebody else committed.*nothing of yours"):
        push(other)
    assert push(other).changed


@pytest.mark.parametrize("create_pr", [False, True])
@pytest.mark.failure
def test_a_lost_answer_is_resolved_by_looking(push, hub, folder, api, create_pr, other):
    push(other)
    hub.fail("lose_answer", "/commit/")
    url = push(folder, create_pr=create_pr)
    assert url.changed
    revision = "refs/pr/1" if create_pr else "main"
    assert url.commit == api.model_info(REPO, revision=revision).sha
    assert len(sent(hub)) == 2


@pytest.mark.parametrize("kind", ["reset", "status"])
@pytest.mark.failure
def test_a_commit_that_failed_on_the_way_is_sent_again(push, hub, folder, kind):
    fault = hub.fail(kind, "/commit/", times=2, **({"code": 503} if kind == "status" else {}))
    assert push(folder).changed
    assert fault.hits == 2
    assert fmae_zoo.load(f"hf://{REPO}")


@pytest.mark.failure
def test_a_hub_that_goes_on_failing_leaves_the_repo_as_it_was(push, hub, folder, api, other):
    first = push(folder)
    hub.fail("status", "/commit/", times=None, code=500)
    with pytest.raises(HubServerError, match=r"HTTP 500.*No commit was made"):
        push(other)
    assert 1 < len(sent(hub)) - 1 < 6
    assert api.model_info(REPO).sha == first.commit


@pytest.mark.failure
def test_a_hub_that_is_gone_after_the_commit_leaves_it_open(push, hub, folder, other):
    push(folder)
    hub.fail("lose_answer", "/commit/")
    # The state is asked for twice before the commit.
    hub.fail("reset", "/revision/", times=None, skip=2)
    with pytest.raises(HubConnectionError, match="Whether the push was done is not known"):
        push(other)


@pytest.mark.failure
def test_an_upload_that_breaks_is_sent_again(push, hub, folder):
    fault = hub.fail("status", "/upload/", method="PUT", times=1, code=500)
    assert push(folder).changed
    assert fault.hits == 1


@pytest.mark.parametrize("kind", ["lose_answer", "reset"])
@pytest.mark.failure
def test_a_tag_whose_answer_is_lost(push, hub, folder, api, kind):
    fault = hub.fail(kind, "/tag/")
    url = push(folder, tag="v1")
    assert fault.hits == 1
    assert [tag.target_commit for tag in api.list_repo_refs(REPO).tags] == [url.commit]


@pytest.mark.failure
def test_a_tag_that_cannot_be_made_says_that_the_commit_was(push, hub, folder, api):
    hub.fail("status", "/tag/", times=None, code=403)
    with pytest.raises(HubPermissionError, match=r"pushed, as commit .* without the tag v1"):
        push(folder, tag="v1")
    assert "encoder.safetensors" in files_in(api)


@pytest.mark.failure
def test_a_hub_that_hangs_is_left_at_the_time_limit(push, hub, folder):
    hub.fail("stall", "/preupload/", times=None)
    with pytest.raises(HubTimeoutError, match="time limit of 2 s"):
        push(folder, timeout=2)


@pytest.mark.failure
@pytest.mark.parametrize("method", ["contents", "_check_same_model"])
def test_what_a_busy_machine_does_between_requests_counts_too(
    push, hub, folder, api, monkeypatch, method
):
    own = getattr(Publisher, method)

    def slowly(*args):
        time.sleep(0.8)
        return own(*args)

    monkeypatch.setattr(Publisher, method, slowly)
    with pytest.raises(HubTimeoutError, match=r"limit of 0\.7 s"):
        push(folder, timeout=0.7)
    assert not [record for record in hub.log if "/commit/" in record.path]


@pytest.mark.failure
def test_many_slow_answers_end_at_the_time_limit_together(push, hub, folder, monkeypatch):
    """Each is quick enough; and the wait before a second try is of the same time."""
    began = []
    prepare = Publisher.prepare_repo
    monkeypatch.setattr(
        Publisher,
        "prepare_repo",
        lambda *args: began.append(time.monotonic()) or prepare(*args),
    )
    hub.fail("status", "/preupload/", code=503, times=2)
    hub.fail("slow", times=None, bytes=64, delay=0.1)
    with pytest.raises(HubTimeoutError, match=r"limit of 1\.5 s"):
        push(folder, timeout=1.5)
    assert time.monotonic() - began[0] < 2.5


@pytest.mark.failure
def test_a_lost_answer_under_somebody_elses_commit(push, hub, folder, api, other):
    push(other)
    hub.fail("lose_answer", "/commit/", files={"other.txt": b"theirs"})
    url = push(folder, tag="v1")
    newest, mine = (commit.commit_id for commit in api.list_repo_commits(REPO)[:2])
    assert "other.txt" in files_in(api, revision=newest)
    assert url.commit == mine
    assert [tag.target_commit for tag in api.list_repo_refs(REPO).tags] == [mine]


@pytest.mark.failure
def test_another_pull_request_with_the_same_files_is_not_this_one(push, hub, folder):
    """One that is closed, say: it is not listed, but its reference is there."""
    first = push(folder, create_pr=True)
    body = json.dumps(NO_DISCUSSIONS)
    hub.fail("status", "/discussions", times=None, code=200, body=body)
    hub.fail("status", "/commit/", code=503)
    second = push(folder, create_pr=True)
    assert second.changed
    assert first.endswith("/discussions/1")
    assert second.endswith("/discussions/2")


def test_the_same_pull_request_again_is_none(push, hub, folder):
    first = push(folder, create_pr=True)
    again = push(folder, create_pr=True)
    assert (str(again), again.commit, again.changed) == (str(first), first.commit, False)
    assert len(sent(hub)) == 1


@pytest.mark.failure
def test_a_card_that_the_hub_refuses(push, hub, folder):
    body = json.dumps({"errors": [{"message": '"license" is unknown'}]})
    hub.fail("status", "/validate-yaml", times=None, code=400, body=body, headers=JSON)
    with pytest.raises(PushRefusedError, match="license"):
        push(folder)
    assert not sent(hub)


@pytest.mark.failure
def test_a_commit_that_leaves_files_out_is_no_success(push, hub, folder):
    """The Hub tells the client to leave out what a .gitignore in the repo names."""
    names = push(folder, dry_run=True).sizes
    files = [
        {"path": name, "uploadMode": "regular", "shouldIgnore": name == "config.json"}
        for name in names
    ]
    body = json.dumps({"files": files})
    hub.fail("status", "/preupload/", times=None, code=200, body=body, headers=JSON)
    with pytest.raises(HubError, match="gitignore"):
        push(folder)


@pytest.mark.failure
def test_a_hub_that_is_gone_after_its_answer_says_what_is_known(push, hub, folder, api):
    push(folder)
    commits = "/api/models/me/tiny/revision/[0-9a-f]{40}"
    fault = hub.fail("status", commits, times=None, code=500)
    other = fmae_zoo.Autoencoder(tiny_spec(), seed=11)
    with pytest.raises(HubServerError, match=r"has the commit [0-9a-f]{40}; whether it is whole"):
        push(other)
    assert fault.hits
    hub.faults.clear()
    assert not push(other).changed


@pytest.mark.failure
@pytest.mark.parametrize("path", ["/preupload/", "/upload/", "/verify", "/validate-yaml"])
def test_nothing_is_sent_after_a_push_that_was_given_up(push, hub, folder, api, path):
    hub.seed(REPO, {"notes.txt": b"mine"})
    before = api.model_info(REPO).sha
    hub.fail("stall", path)
    with pytest.raises(HubTimeoutError):
        push(folder, timeout=1.5)
    hub.faults.clear()
    time.sleep(3)
    assert api.model_info(REPO).sha == before


@pytest.mark.failure
@pytest.mark.parametrize("path", ["/tag/", "/branch/", "/upload/", "/commit/", "/preupload/"])
def test_a_login_page_in_the_middle_of_a_push(push, hub, folder, path):
    hub.fail("html", path, times=None)
    with pytest.raises(HubConnectionError, match="is not the Hub"):
        push(folder, tag="v1", branch="b")


@pytest.mark.failure
def test_what_the_client_says_of_retries_is_not_repeated(push, hub, folder, capfd):
    fault = hub.fail("reset", "/upload/")
    push(folder)
    captured = capfd.readouterr()
    assert fault.hits == 1
    assert "Signature" not in captured.err + captured.out
    assert "thrown while requesting" not in captured.err


@pytest.mark.failure
def test_a_repo_of_something_else_gets_no_branch(push, hub, folder, api):
    hub.seed(REPO, {"config.json": b"{}"})
    with pytest.raises(PushRefusedError, match="nothing was sent"):
        push(folder, branch="feature/x")
    assert [branch.name for branch in api.list_repo_refs(REPO).branches] == ["main"]


def test_plain_words_at_home_are_kept(push, folder, api):
    (folder / "README.md").write_text("# Mine\n\nHello from the user.\n")
    card = push(folder).card
    assert "Hello from the user." in card
    assert ModelCard(card).data.library_name == "keras"


@pytest.mark.failure
@pytest.mark.parametrize("path", ["/preupload/", "/upload/", "/commit/"])
def test_nothing_is_sent_after_an_interrupt(push, hub, folder, api, path, interruptible):
    hub.seed(REPO, {"notes.txt": b"mine"})
    before = api.model_info(REPO).sha
    hub.fail("stall", path)

    def interrupt():
        while not any(path in record.path for record in hub.log):
            time.sleep(0.01)
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        push(folder)
    thread.join()
    hub.faults.clear()
    time.sleep(2)
    assert api.model_info(REPO).sha == before


@pytest.mark.failure
def test_a_tag_of_which_nothing_is_known(push, hub, folder):
    push(folder)
    hub.fail("status", "/refs", times=None, skip=1, code=500)
    with pytest.raises(HubServerError, match=r"same already.*whether the tag v1 was made is not"):
        push(folder, tag="v1")


def test_a_card_edited_at_home_is_the_first_on_the_hub(push, folder, api):
    mine = card_of(Entry.read(folder), REPO) + "\nMy words at home.\n"
    (folder / "README.md").write_text(mine)
    assert "My words at home." in push(folder).card
    assert (folder / "README.md").read_text() == mine


@pytest.mark.failure
@pytest.mark.parametrize("words", [{"private": "yes"}, {"message": 5}, {"message": b"x"}])
def test_wrong_arguments_are_refused_without_a_request(push, hub, folder, words):
    with pytest.raises(ArgumentError, match=next(iter(words))):
        push(folder, **words)
    with pytest.raises(ArgumentError, match="names and an organisation"):
        fmae_zoo.publish("dense-ae", org=None)
    with pytest.raises(ArgumentError, match="tag is 5"):
        fmae_zoo.search(tag=5)
    assert not hub.log


# Search and publish


def test_search_finds_the_zoos_models_and_no_others(push, hub, folder, repo_files):
    push(folder, "me/one")
    push(folder, "me/two", private=True)
    push("dense-vae", "zoo/dense-vae")
    hub.seed("me/foreign", {"README.md": b"---\ntags:\n- keras\n---\n"})

    def names(*args, **options):
        return {found.source for found in fmae_zoo.search(*args, **options)}

    assert names() == {"hf://me/one", "hf://zoo/dense-vae"}
    assert names(token="hf_writer") == {"hf://me/one", "hf://me/two", "hf://zoo/dense-vae"}
    assert names(author="zoo") == names(tag="gaussian") == names("dense") == {"hf://zoo/dense-vae"}
    assert names(author="me", token="hf_writer", limit=1) < {"hf://me/one", "hf://me/two"}
    assert names("xyzzy") == set()
    for address in names():
        assert fmae_zoo.load(address, part="encoder")


def test_the_whole_circle(hub, tmp_path):
    """Publish entries, delete the local copies, load each by name: the goldens are equal."""
    table = registry._table()
    originals = {}
    for name, entry in list(table.items()):
        if entry not in FEW and entry.spec.name != "conv-ae-bn":
            del table[name]
            continue
        originals[entry.folder / MANIFEST_FILE] = (entry.folder / MANIFEST_FILE).read_bytes()
        table[name] = Entry.read(shutil.copytree(entry.folder, tmp_path / name))
    names = registry.list_models(pretrained=True)
    names = [name for name in names if not registry.find_entry(name).is_classifier]
    pushed = fmae_zoo.publish(org="zoo", token="hf_writer")
    assert set(pushed) == {*names, "conv-ae-bn.fmnist-classifier"}
    assert all(one.changed for one in pushed.values())
    again = fmae_zoo.publish("conv-ae-bn", org="zoo", token="hf_writer")["conv-ae-bn"]
    assert (again.changed, again.commit) == (False, pushed["conv-ae-bn"].commit)
    for name in names:
        entry = registry.find_entry(name)
        assert entry.manifest.hub.repo == f"zoo/{name}"
        assert entry.manifest.hub.commit == pushed[name].commit
        for path in entry.folder.glob("*.safetensors"):
            path.unlink()
        before = len(hub.log)
        model = fmae_zoo.load(name, pretrained=True)
        assert len(hub.log) > before
        differences = golden_differences(entry, model)
        assert max(differences.values()) <= GOLDEN_TOLERANCE
        before = len(hub.log)
        fmae_zoo.load(name, pretrained=True)
        assert len(hub.log) == before
    for path, content in originals.items():
        assert path.read_bytes() == content


@pytest.mark.failure
def test_publish_takes_registered_names_only(hub, folder):
    with pytest.raises(ArgumentError, match="no registered name"):
        fmae_zoo.publish([f"local:{folder}"], org="zoo", token="hf_writer")
    with pytest.raises(ArgumentError, match="no repo on the Hub"):
        fmae_zoo.publish(["dense-ae", "dense-ae.fmnist"], org="zoo/x", token="hf_writer")
    assert not hub.log


@pytest.mark.failure
def test_publish_keeps_what_went_well(hub, tmp_path):
    table = registry._table()
    for name in ("dense-ae", "dense-vae"):
        copy = shutil.copytree(registry.find_entry(name).folder, tmp_path / name)
        table[f"{name}.fmnist"] = Entry.read(copy)
    spoil_digest(tmp_path / "dense-vae")
    with pytest.raises(PushRefusedError):
        fmae_zoo.publish(["dense-ae", "dense-vae"], org="zoo", token="hf_writer")
    assert registry.find_entry("dense-ae").manifest.hub.commit
    assert not registry.find_entry("dense-vae").manifest.hub.commit


def test_the_native_files_are_the_same_in_every_process(repo_files, tmp_path):
    """Else a repeated push would not be seen to be one."""
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from fmae_zoo import Autoencoder\n"
        "from fmae_zoo.hub.contents import stage\n"
        "from tests.conftest import run_python, tiny_spec\n"
        "Autoencoder(tiny_spec(name='first'))\n"
        "stage(Autoencoder(tiny_spec(), seed=3), Path(sys.argv[1]))\n"
    )
    result = run_python(code, str(tmp_path))
    assert result.returncode == 0, result.stderr
    for name in KERAS_FILES:
        assert (tmp_path / name).read_bytes() == repo_files[name]
