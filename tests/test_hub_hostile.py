"""A repo or a Hub that means harm gets nothing: no code runs, no file lands elsewhere."""

import io
import json
import pickle
import zipfile

import numpy as np
import pytest
import tomli_w

import fmae_zoo
from fmae_zoo import datasets, errors
from fmae_zoo.datasets import sources
from fmae_zoo.files import sha256_of
from fmae_zoo.hub.options import HubOptions
from fmae_zoo.hub.repo import MAX_TEXT_BYTES
from fmae_zoo.weights import save_tensors
from tests.conftest import TINY_CONV, run_python, spec_dict, tiny_spec

pytestmark = [pytest.mark.failure, pytest.mark.once]

EVIL = "hf://me/evil"


@pytest.fixture
def seeded(hub, repo_files):
    """Seed the repo with other files; the manifest agrees with those that are `recorded`."""

    def seed(files=None, recorded=None):
        manifest = json.loads(repo_files["manifest.json"])
        for name, content in (recorded or {}).items():
            manifest["files"][name] = {"sha256": sha256_of(content), "size": len(content)}
        changes = {"manifest.json": json.dumps(manifest).encode(), **(recorded or {})}
        return hub.seed("me/evil", repo_files | changes | (files or {}))

    return seed


class Harmful:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_nothing_in_a_repo_is_executed_or_imported(hub, seeded, tmp_path):
    """Not a pickle, not a Lambda of Keras, not a Python file, on loading, pulling, verifying."""
    mark = tmp_path / "harmed"
    harmful = pickle.dumps(Harmful(mark))
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("data.pkl", harmful)
    code = f"open({str(mark)!r}, 'w')\n".encode()
    layer = {"module": "keras.layers", "class_name": "Lambda", "config": {"function": str(code)}}
    extra = {
        "fmae_zoo.py": code,
        "spec.py": code,
        "weights.pkl": harmful,
        "encoder.pt": archive.getvalue(),
    }
    seeded({**extra, "config.json": json.dumps(layer).encode()})
    script = (
        "import fmae_zoo\n"
        "fmae_zoo.load('hf://me/evil')\n"
        "fmae_zoo.verify('hf://me/evil')\n"
        "try:\n"
        "    fmae_zoo.pull('hf://me/evil')\n"
        "except fmae_zoo.DigestError as error:\n"
        "    print(error)\n"
    )
    result = run_python(script, HF_HUB_CACHE=str(tmp_path / "cache"))
    assert result.returncode == 0, result.stderr
    assert "config.json" in result.stdout
    assert not mark.exists()
    assert not {record.path.rsplit("/", 1)[-1] for record in hub.log} & extra.keys()


@pytest.mark.parametrize("part", ["network", "latent", "objective"])
def test_a_spec_names_no_class(seeded, part):
    spec = spec_dict()
    seeded({"spec.toml": tomli_w.dumps(spec | {part: spec[part] | {"type": "os.system"}}).encode()})
    with pytest.raises(errors.SpecError, match=part):
        fmae_zoo.load(EVIL)


ABSURD = {
    "a wide layer": {"network": {"type": "dense", "units": [10**9]}},
    "many weights": {"network": {"type": "dense", "units": [65_536, 65_536]}},
    "a wide code": {"latent": {"type": "deterministic", "size": 10**12}},
    "many layers": {"network": {"type": "dense", "units": [2] * 2_000}},
    "a large map": {
        "network": {**TINY_CONV, "encoder": [{"filters": [65_536]}]},
        "latent": {"type": "deterministic", "size": 4},
    },
    "many epochs": {"recipe": {"epochs": 10**9}},
}


@pytest.mark.parametrize("case", ABSURD)
def test_an_absurd_size_is_refused_before_it_is_allocated(hub, seeded, case):
    seeded({"spec.toml": tomli_w.dumps(spec_dict(**ABSURD[case])).encode()})
    with pytest.raises(errors.SpecError):
        fmae_zoo.load(EVIL)
    assert not [record for record in hub.log if "safetensors" in record.path]


@pytest.mark.parametrize(
    ("name", "content"),
    [("manifest.json", b" " * (MAX_TEXT_BYTES + 1)), ("spec.toml", b"a." * 50_000 + b"b = 1\n")],
    ids=["huge", "slow"],
)
def test_a_text_that_takes_long_to_read_is_refused_before_it_is_downloaded(
    hub, seeded, name, content
):
    """TOML's dotted keys are read in a time that grows with the square of their number."""
    seeded({name: content})
    with pytest.raises(errors.DigestError, match=f"{name}.*at most"):
        fmae_zoo.load(EVIL)
    assert not [record for record in hub.log if f"/{name}" in record.path]


@pytest.mark.parametrize(("shape", "words"), [((2_000, 1_000), "at most"), ((3, 3), "do not fit")])
def test_weights_that_are_not_the_models_are_refused(seeded, tmp_path, shape, words):
    path = tmp_path / "other.safetensors"
    save_tensors({"dense1.kernel": np.zeros(shape, "float32")}, path)
    seeded(recorded={"encoder.safetensors": path.read_bytes()})
    with pytest.raises(errors.WeightsError, match=words):
        fmae_zoo.load(EVIL)


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/passwd", "a/b", "..", "C:\\x", ".bashrc", "sub/../../x", "a\\..\\b"]
)
def test_a_file_name_cannot_leave_the_folder(seeded, repo_files, name, tmp_path):
    manifest = json.loads(repo_files["manifest.json"])
    manifest["files"][name] = manifest["files"]["encoder.safetensors"]
    seeded({"manifest.json": json.dumps(manifest).encode()})
    with pytest.raises(errors.SpecError, match="files"):
        fmae_zoo.pull(EVIL, tmp_path / "in" / "mine")
    assert not (tmp_path / "in").exists()


NOT_DIGESTS = ["/../../../evil", '"../../../../evil"', 'W/"/tmp/evil"', "evil", "a" * 39, "A" * 64]


def outside_of(folder):
    return [path for path in folder.rglob("*") if "cache" not in path.relative_to(folder).parts]


@pytest.mark.parametrize("etag", NOT_DIGESTS)
@pytest.mark.parametrize("header", ["ETag", "X-Linked-ETag"])
def test_an_etag_names_no_file_outside_the_cache(hub, seeded, tmp_path, header, etag):
    seeded()
    hub.fail("headers", "/resolve/", times=None, headers={header: etag})
    with pytest.raises(errors.HubError, match="ETag"):
        fmae_zoo.load(EVIL)
    assert not outside_of(tmp_path)
    assert not list((tmp_path / "cache").rglob("blobs/*"))


@pytest.mark.parametrize(("kind", "settings"), [("headers", {}), ("status", {"code": 404})])
def test_a_commit_names_no_folder_outside_the_cache(hub, seeded, tmp_path, kind, settings):
    seeded()
    headers = {"X-Repo-Commit": f"../../{tmp_path / 'evil'}", "X-Error-Code": "EntryNotFound"}
    hub.fail(kind, "/resolve/", times=None, headers=headers, **settings)
    with pytest.raises(errors.HubError, match="X-Repo-Commit"):
        fmae_zoo.load(EVIL)
    assert not outside_of(tmp_path)


def test_the_data_set_of_a_hub_lands_nowhere_else(hub, tmp_path):
    headers = {"ETag": '"../../../evil"', "X-Repo-Commit": "c" * 40}
    listed = [{"rfilename": "fashion_mnist/train.parquet"}]
    info = {"id": datasets.HUB_DATASET, "tags": [], "sha": "c" * 40, "siblings": listed}
    body = json.dumps(info)
    hub.fail("status", times=None, code=200, headers=headers, body=body)
    with pytest.raises(errors.AbsentDataError, match="ETag"):
        sources.download_from_hub(datasets.TABLE[datasets.DEFAULT], tmp_path)
    assert not outside_of(tmp_path)


def test_pull_writes_known_names_only(seeded, tmp_path):
    seeded(recorded={"sitecustomize.py": b"print()"})
    folder = fmae_zoo.pull(EVIL, tmp_path / "mine")
    assert not (folder / "sitecustomize.py").exists()


def test_pull_does_not_follow_a_link_out_of_the_folder(hub, seeded, tmp_path):
    seeded()
    outside = tmp_path / "outside"
    outside.write_text("mine")
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "manifest.json").symlink_to(outside)
    fmae_zoo.pull(EVIL, folder)
    assert outside.read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("manifest.json", b"[" * 100_000),
        ("manifest.json", b"{" * 100_000),
        ("manifest.json", b"\xff\xfe"),
        ("manifest.json", b"null"),
        ("manifest.json", b'{"format": 2}'),
        ("manifest.json", b""),
        ("spec.toml", b"a = [" * 3_000),
        ("spec.toml", b"\xff"),
        ("spec.toml", b"a.b.c = 1"),
    ],
    ids=lambda each: str(each[:9]),
)
def test_a_manifest_or_spec_that_is_none(seeded, name, content):
    seeded({name: content})
    with pytest.raises(errors.SpecError, match=name):
        fmae_zoo.load(EVIL)


# Tokens


def authorised(hub, listener):
    return [r for r in hub.log if r.listener == listener and "authorization" in r.headers]


def push(repo="me/tiny", seed=0, **options):
    model = fmae_zoo.Autoencoder(tiny_spec(), seed=seed)
    return fmae_zoo.push(model, repo, token="hf_writer", **options)


def test_a_token_does_not_reach_another_host(hub):
    push("me/secret", private=True)
    assert fmae_zoo.load("hf://me/secret", token="hf_reader")
    assert {r.method for r in hub.log if r.listener == "cdn"} == {"PUT", "GET"}
    assert authorised(hub, "hub")
    assert not authorised(hub, "cdn")


@pytest.mark.parametrize(
    "words",
    [{"message": "by hf_writer"}, {"tag": "hf_writer"}, {"branch": "x/hf_writer"}]
    + [{"message": "hf_" + "A" * 34}],
)
def test_a_token_is_in_no_commit(hub, words):
    with pytest.raises(errors.PushRefusedError, match="token"):
        push(**words)
    assert not [record for record in hub.log if record.method == "POST"]


def test_a_terminal_obeys_nothing_in_a_repo(seeded, repo_files, fmae):
    spec = repo_files["spec.toml"].replace(b"A model", b"\\u001b]0;owned\\u0007A model")
    manifest = json.loads(repo_files["manifest.json"]) | {"spec_sha256": ""}
    seeded({"spec.toml": spec, "manifest.json": json.dumps(manifest).encode()})
    code, out, _ = fmae("info", EVIL)
    assert (code, "owned" in out, "\x1b" in out, "\x07" in out) == (0, True, False, False)


@pytest.mark.parametrize("path", ["/api/models/", "/resolve/"])
@pytest.mark.parametrize("code", [302, 308])
def test_a_token_is_not_sent_along_a_redirect(hub, repo_files, path, code):
    hub.seed("me/tiny", repo_files)
    hub.fail("redirect", path, times=None, to=f"{hub.cdn_url}/steal", code=code)
    with pytest.raises(errors.HubError):
        fmae_zoo.load("hf://me/tiny", token="hf_reader", timeout=20)
    assert not authorised(hub, "cdn")


def test_a_token_is_in_no_file_and_no_message(hub, caplog, capfd):
    with caplog.at_level("INFO"), caplog.at_level("DEBUG", "fmae_zoo"):
        pushed = push()
        hub.fail("echo_token", "/commit/", times=None)
        with pytest.raises(errors.HubServerError) as caught:
            push(seed=2)
    folder = fmae_zoo.pull(f"hf://me/tiny@{pushed.commit}")
    texts = [caplog.text, *capfd.readouterr(), str(caught.value), pushed.card]
    texts += [path.read_bytes().decode("latin-1") for path in folder.iterdir()]
    texts.append(repr(HubOptions(token="hf_writer")))
    assert not [text for text in texts if "hf_writer" in text]


def test_a_token_of_false_sends_none(hub, repo_files, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_reader")
    hub.seed("me/tiny", repo_files)
    fmae_zoo.load("hf://me/tiny", token=False)
    assert hub.log
    assert not authorised(hub, "hub")
    fmae_zoo.load("hf://me/tiny")
    assert authorised(hub, "hub")
