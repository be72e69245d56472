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
from huggingface_hub import HfApi, ModelCard, constants

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
REFUSED_CARD = json.dumps({"errors": [{"message": '"license" is unknown'}]})
OF_OTHERS = {"head.json", "classifier.safetensors", "critic.safetensors"}
OF_A_TRAINING = {"samplers.safetensors", "history.csv", "curves.png", "draws.png"}


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


def card_in(api):
    return Path(api.hf_hub_download(REPO, "README.md")).read_text(encoding="utf-8")


def tags_in(api):
    return {tag.name: tag.target_commit for tag in api.list_repo_refs(REPO).tags}


def commits_sent(hub):
    return [r for r in hub.log if r.method == "POST" and "/commit/" in r.path]


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
    assert set(there) == set(REPO_FILES) - OF_OTHERS - OF_A_TRAINING
    manifest = Manifest.read(fmae_zoo.pull(f"hf://{REPO}@{commit}"))
    for name, record in manifest.files.items():
        assert there[name].size == record.size
        assert not there[name].lfs or there[name].lfs.sha256 == record.sha256
    assert set(there) - set(manifest.files) == {"spec.toml", "manifest.json", "README.md"}
    assert not manifest.hub.commit


def test_a_registered_name_is_pushed_with_its_history_and_figures(push, api):
    push("dense-ae", "me/dense")
    assert set(files_in(api, "me/dense")) == set(REPO_FILES) - OF_OTHERS
    published = Manifest.read(fmae_zoo.pull("hf://me/dense"))
    bundled = registry.find_entry("dense-ae").manifest
    assert published.results == bundled.results
    assert published.files.items() >= bundled.files.items()


@pytest.mark.once
def test_a_push_is_one_commit_and_the_same_again_is_none(push, hub, folder, model, other, caplog):
    first = push(folder)
    assert len(commits_sent(hub)) == 1
    with caplog.at_level(logging.WARNING, "fmae_zoo"):
        again = push(folder)
    assert (again.changed, again.commit) == (False, first.commit)
    assert first.commit in caplog.text
    assert push(model).commit == first.commit
    assert len(commits_sent(hub)) == 1
    second = push(other)
    assert second.changed
    assert second.commit != first.commit
    assert fmae_zoo.load(f"hf://{REPO}@{first.commit}")


@pytest.mark.once
def test_what_the_new_model_does_not_have_leaves_the_repo(push, hub, folder, api, repo_files):
    hub.seed(REPO, {**repo_files, "history.csv": b"epoch\n1\n", "notes.txt": b"mine"})
    push(folder)
    assert "history.csv" not in files_in(api)
    assert "notes.txt" in files_in(api)


@pytest.mark.once
@pytest.mark.parametrize("held", ["config.json", "other-ae"])
@pytest.mark.failure
def test_a_repo_of_something_else_is_not_written_over(push, hub, folder, repo_files, held, api):
    spec = repo_files["spec.toml"].replace(b"tiny-ae", b"other-ae")
    of_keras = {"config.json": b"{}", "model.weights.h5": b"h5"}
    before = hub.seed(REPO, of_keras if held == "config.json" else repo_files | {"spec.toml": spec})
    for branch in ("main", "feature/x"):
        with pytest.raises(PushRefusedError, match=held):
            push(folder, branch=branch)
    refs = api.list_repo_refs(REPO)
    assert [(ref.name, ref.target_commit) for ref in refs.branches] == [("main", before)]


@pytest.mark.once
def test_a_card_that_a_person_edited_is_kept(push, hub, folder, api, other):
    push(folder)
    edited = card_in(api).replace(BEGIN, f"My words before.\n\n{BEGIN}")
    edited = edited.replace(END, f"{END}\n\nMy words after.\n")
    hub.seed(REPO, {"README.md": edited.replace("---\n", "---\nlanguage: en\n", 1).encode()})
    push(other)
    now = card_in(api)
    assert "My words before." in now
    assert "My words after." in now
    assert ModelCard(now).data.language == "en"
    assert now.count(BEGIN) == now.count(END) == 1
    assert not push(other).changed


@pytest.mark.once
@pytest.mark.parametrize("edited", [True, False])
def test_a_card_written_at_home_is_the_first_on_the_hub(push, folder, edited):
    mine = card_of(Entry.read(folder), REPO) if edited else "# Mine\n"
    mine += "\nMy words at home.\n"
    (folder / "README.md").write_text(mine)
    card = push(folder).card
    assert "My words at home." in card
    assert ModelCard(card).data.library_name == "keras"
    assert (folder / "README.md").read_text() == mine


@pytest.mark.once
def test_a_branch_is_made_and_committed_to(push, api, folder):
    push(folder, branch="trial")
    assert "encoder.safetensors" in files_in(api, revision="trial")
    assert "encoder.safetensors" not in files_in(api)
    assert fmae_zoo.load(f"hf://{REPO}@trial")
    assert push(folder, branch="trial").changed is False


@pytest.mark.once
def test_a_pull_request_leaves_main_as_it_is(push, hub, api, folder):
    first = push(folder, create_pr=True)
    assert first.changed
    assert first.endswith("/discussions/1")
    assert "encoder.safetensors" not in files_in(api)
    assert "encoder.safetensors" in files_in(api, revision="refs/pr/1")
    again = push(folder, create_pr=True)
    assert (str(again), again.commit, again.changed) == (str(first), first.commit, False)
    assert len(commits_sent(hub)) == 1


@pytest.mark.once
def test_a_tag_is_put_on_the_commit_and_never_moved(push, folder, api, other):
    first = push(folder, tag="v1")
    assert push(folder, tag="v1").commit == first.commit
    with pytest.raises(HubConflictError, match=f"v1 is on commit {first.commit}"):
        push(other, tag="v1")
    assert api.model_info(REPO).sha == first.commit
    second = push(other, tag="v2")
    with pytest.raises(HubConflictError, match="v1"):
        push(other, tag="v1")
    assert tags_in(api) == {"v1": first.commit, "v2": second.commit}


@pytest.mark.once
def test_a_dry_run_lists_files_and_card_and_asks_nothing(push, hub, folder):
    planned = push(folder, dry_run=True, token=None)
    assert not hub.log
    assert set(planned.sizes) >= {"spec.toml", "encoder.safetensors", "README.md"}
    assert BEGIN in planned.card
    real = push(folder)
    assert real.sizes == planned.sizes
    assert real.card == planned.card


# What is refused before anything is sent


def flip_a_bit(path):
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def edit(name, old, new):
    def spoil(folder):
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1))

    return spoil


def spoil_golden(folder):
    """Goldens of another model, with a manifest that agrees with them."""
    spoilt = fmae_zoo.Autoencoder(tiny_spec(), seed=9)
    save_tensors(golden_of(spoilt), folder / "golden.safetensors")
    record_files(folder, Manifest.read(folder)).write(folder)


def forget_decoder(folder):
    manifest = Manifest.read(folder)
    files = {k: v for k, v in manifest.files.items() if k != "decoder.safetensors"}
    manifest.model_copy(update={"files": files}).write(folder)


TOKEN = "hf_" + "a1B2" * 9
KEY = "-----BEGIN RSA PRIVATE KEY-----"
REFUSED = {
    "wrong bytes": (lambda folder: flip_a_bit(folder / "encoder.safetensors"), "encoder"),
    "wrong goldens": (spoil_golden, "golden codes"),
    "another spec": (edit("spec.toml", "batch_size = 32", "batch_size = 33"), "spec"),
    "another licence": (edit("manifest.json", "Apache-2.0", "MIT"), "licence"),
    "no decoder": (forget_decoder, r"decoder\.safetensors"),
    "a missing file": (lambda folder: (folder / "golden.safetensors").unlink(), "golden"),
    "an unknown file": (lambda folder: (folder / "thesis.docx").write_text("x"), "thesis.docx"),
    "a folder": (lambda folder: (folder / "sub").mkdir(), "sub"),
    "a link": (lambda folder: (folder / "curves.png").symlink_to("/etc/hostname"), "curves"),
    "a token": (edit("spec.toml", "name", f"# {TOKEN}\nname"), r"spec\.toml holds a .* token"),
    "a private key": (edit("spec.toml", "name", f"# {KEY}\nname"), r"spec\.toml holds a private"),
    "the token in use": (edit("spec.toml", "name", "# hf_writer\nname"), "the token in use"),
}


@pytest.mark.once
@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.failure
def test_a_folder_that_is_not_fit_is_refused_before_anything_is_sent(push, hub, folder, case):
    spoil, words = REFUSED[case]
    spoil(folder)
    with pytest.raises(PushRefusedError, match=words) as caught:
        push(folder)
    assert "a1B2" not in str(caught.value)
    assert not hub.log


@pytest.mark.once
def test_what_a_training_leaves_stays_at_home(push, folder, api):
    (folder / "checkpoint.safetensors").write_bytes(b"optimizer")
    (folder / ".lock").write_text("")
    push(folder)
    assert set(files_in(api)) <= set(REPO_FILES)


@pytest.mark.once
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


@pytest.mark.once
@pytest.mark.failure
@pytest.mark.parametrize(
    ("offline", "error", "words"),
    [(False, HubPermissionError, "hf auth login"), (True, HubConnectionError, "HF_HUB_OFFLINE")],
)
def test_without_token_or_network_nothing_is_asked(
    push, hub, folder, monkeypatch, offline, error, words
):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    with pytest.raises(error, match=words):
        push(folder, token="hf_writer" if offline else None)
    assert not hub.log


# What goes wrong on the way


@pytest.mark.once
@pytest.mark.failure
@pytest.mark.parametrize(
    ("error", "options", "fault"),
    [
        (HubPermissionError, {"token": "hf_reader"}, None),
        (HubPermissionError, {"token": "hf_other"}, None),
        (PushRefusedError, {"private": True}, None),
        (HubServerError, {}, ("/commit/", {"code": 500})),
        (PushRefusedError, {}, ("/validate-yaml", {"code": 400, "body": REFUSED_CARD})),
    ],
    ids=["reader", "stranger", "private", "failing", "card"],
)
def test_a_push_that_fails_leaves_the_repo_as_it_was(
    push, hub, folder, other, api, error, options, fault
):
    before = push(folder).commit
    if fault:
        hub.fail("status", fault[0], times=None, headers=JSON, **fault[1])
    with pytest.raises(error):
        push(other, **options)
    assert len(commits_sent(hub)) < 6
    assert api.model_info(REPO).sha == before


@pytest.mark.once
@pytest.mark.failure
def test_another_publisher_in_between_is_a_conflict(push, hub, folder, api, other):
    push(folder)
    hub.fail("conflict", "/commit/")
    with pytest.raises(HubConflictError, match=r"somebody else committed.*nothing of yours"):
        push(other)
    assert push(other).changed


@pytest.mark.once
@pytest.mark.parametrize(
    ("create_pr", "theirs"),
    [
        (False, None),
        (True, None),
        (False, {"other.txt": b"theirs"}),
        (False, {"README.md": b"---\nlicense: mit\n---\ntheirs"}),
    ],
)
@pytest.mark.failure
def test_a_lost_answer_is_resolved_by_looking(push, hub, folder, api, other, create_pr, theirs):
    push(other)
    hub.fail("lose_answer", "/commit/", files=theirs)
    url = push(folder, create_pr=create_pr)
    assert url.changed
    commits = api.list_repo_commits(REPO, revision="refs/pr/1" if create_pr else "main")
    assert url.commit == commits[1 if theirs else 0].commit_id
    assert len(commits_sent(hub)) == 2


@pytest.mark.once
@pytest.mark.parametrize(
    ("kind", "path", "settings"),
    [
        ("reset", "/commit/", {"times": 2}),
        ("status", "/commit/", {"times": 2, "code": 503}),
        ("status", "/upload/", {"code": 500}),
        ("reset", "/upload/", {}),
        ("reset", "/tag/", {}),
        ("lose_answer", "/tag/", {}),
    ],
)
@pytest.mark.failure
def test_what_fails_on_the_way_is_sent_again(push, hub, folder, api, capfd, kind, path, settings):
    fault = hub.fail(kind, path, **settings)
    url = push(folder, tag="v1")
    assert fault.hits == fault.times
    assert tags_in(api) == {"v1": url.commit}
    assert fmae_zoo.load(f"hf://{REPO}")
    captured = capfd.readouterr()
    assert "Signature" not in captured.err + captured.out
    assert "thrown while requesting" not in captured.err


@pytest.mark.once
@pytest.mark.failure
def test_a_hub_that_is_gone_after_the_commit_leaves_it_open(push, hub, folder, other):
    push(folder)
    hub.fail("lose_answer", "/commit/")
    # The state is asked for once before the commit.
    hub.fail("reset", "/revision/", times=None, skip=1)
    with pytest.raises(HubConnectionError, match="Whether the push was done is not known"):
        push(other)


@pytest.mark.once
@pytest.mark.failure
def test_a_tag_that_cannot_be_made_says_that_the_commit_was(push, hub, folder, api):
    hub.fail("status", "/tag/", times=None, code=403)
    with pytest.raises(HubPermissionError, match=r"pushed, as commit .* without the tag v1"):
        push(folder, tag="v1")
    assert "encoder.safetensors" in files_in(api)


@pytest.mark.once
@pytest.mark.parametrize("kind", ["stall", "slow"])
@pytest.mark.failure
def test_a_push_ends_at_the_time_limit(push, hub, folder, kind):
    """Also where each answer is quick enough, and only all together take too long."""
    hub.fail("status", "/preupload/", code=503, times=2)
    hub.fail(kind, times=None, **({"bytes": 64, "delay": 0.1} if kind == "slow" else {}))
    began = time.monotonic()
    with pytest.raises(HubTimeoutError, match=r"limit of 1\.5 s"):
        push(folder, timeout=1.5)
    assert time.monotonic() - began < 10


@pytest.mark.once
@pytest.mark.failure
def test_a_closed_pull_request_with_the_same_files_is_not_this_one(push, hub, folder):
    first = push(folder, create_pr=True)
    none_open = json.dumps({"discussions": [], "count": 0, "start": 0})
    hub.fail("status", "/discussions", times=None, code=200, body=none_open)
    hub.fail("status", "/commit/", code=503)
    second = push(folder, create_pr=True)
    assert second.changed
    assert first.endswith("/discussions/1")
    assert second.endswith("/discussions/2")


@pytest.mark.once
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


@pytest.mark.once
@pytest.mark.failure
def test_a_hub_that_is_gone_after_its_answer_says_what_is_known(push, hub, folder, other):
    push(folder)
    fault = hub.fail("status", f"/{REPO}/revision/[0-9a-f]{{40}}", times=None, code=500)
    with pytest.raises(HubServerError, match=r"has the commit [0-9a-f]{40}"):
        push(other)
    assert fault.hits
    hub.faults.clear()
    assert not push(other).changed


@pytest.mark.once
@pytest.mark.failure
@pytest.mark.parametrize(
    ("path", "how"),
    [
        ("/preupload/", HubTimeoutError),
        ("/upload/", HubTimeoutError),
        ("/validate-yaml", HubTimeoutError),
        ("/upload/", KeyboardInterrupt),
        ("/commit/", KeyboardInterrupt),
    ],
)
def test_nothing_is_sent_after_a_push_that_was_given_up(
    push, hub, folder, api, path, how, interruptible
):
    before = hub.seed(REPO, {"notes.txt": b"mine"})
    hub.fail("stall", path)

    def interrupt():
        while not any(path in record.path for record in hub.log):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    if how is KeyboardInterrupt:
        thread.start()
    with pytest.raises(how):
        push(folder, timeout=1.5 if how is HubTimeoutError else 60)
    hub.faults.clear()
    time.sleep(1.5)
    assert api.model_info(REPO).sha == before


@pytest.mark.once
@pytest.mark.failure
@pytest.mark.parametrize("path", ["/tag/", "/commit/"])
def test_a_login_page_in_the_middle_of_a_push(push, hub, folder, path):
    hub.fail("html", path, times=None)
    with pytest.raises(HubConnectionError, match="is not the Hub"):
        push(folder, tag="v1", branch="b")


@pytest.mark.once
@pytest.mark.failure
def test_a_tag_of_which_nothing_is_known(push, hub, folder):
    push(folder)
    hub.fail("lose_answer", "/tag/")
    hub.fail("status", "/refs", times=None, skip=1, code=500)
    with pytest.raises(HubServerError, match=r"same already.*perhaps without the tag v1"):
        push(folder, tag="v1")


@pytest.mark.once
@pytest.mark.failure
@pytest.mark.parametrize(
    "words",
    [{"private": "yes"}, {"message": 5}, {"tag": "v1", "create_pr": True}]
    + [{"tag": "0" * 40}, {"tag": "main"}, {"branch": "refs/pr/1"}],
)
def test_wrong_arguments_are_refused_without_a_request(push, hub, folder, words):
    with pytest.raises(ArgumentError, match=next(iter(words))):
        push(folder, **words)
    assert not hub.log


@pytest.mark.once
@pytest.mark.failure
def test_wrong_arguments_of_search_and_publish(hub, folder):
    for named, act in (
        ("organisation", lambda: fmae_zoo.publish("dense-ae", org=None)),
        ("no registered name", lambda: fmae_zoo.publish([f"local:{folder}"], org="zoo")),
        ("repo", lambda: fmae_zoo.publish(["dense-ae", "dense-ae.fmnist"], org="zoo/x")),
        ("tag is 5", lambda: fmae_zoo.search(tag=5)),
        ("tag is ''", lambda: fmae_zoo.search(tag="")),
        ("hf://me/other", lambda: fmae_zoo.push("hf://me/other", REPO, token="hf_writer")),
    ):
        with pytest.raises(ArgumentError, match=named):
            act()
    for source in ("nothing", "local:nothing"):
        with pytest.raises(fmae_zoo.UnknownModelError, match="nothing"):
            fmae_zoo.push(source, REPO, token="hf_writer")
    assert not hub.log


# Search and publish


@pytest.mark.once
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
        pin = entry.manifest.hub
        assert (pin.repo, pin.commit) == (f"zoo/{name}", pushed[name].commit)
        for path in entry.folder.glob("*.safetensors"):
            path.unlink()
        model = fmae_zoo.load(name, pretrained=True)
        assert max(golden_differences(entry, model).values()) <= GOLDEN_TOLERANCE
        before = len(hub.log)
        fmae_zoo.load(name, pretrained=True)
        assert len(hub.log) == before
    for path, content in originals.items():
        assert path.read_bytes() == content


@pytest.mark.once
@pytest.mark.failure
def test_publish_keeps_what_went_well(hub, tmp_path):
    table = registry._table()
    for name in ("dense-ae", "dense-vae"):
        copy = shutil.copytree(registry.find_entry(name).folder, tmp_path / name)
        table[f"{name}.fmnist"] = Entry.read(copy)
    flip_a_bit(tmp_path / "dense-vae" / "encoder.safetensors")
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
