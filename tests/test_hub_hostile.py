"""A repo or a Hub that means harm gets nothing: no code runs, no file lands elsewhere."""

import io
import json
import pickle
import time
import zipfile

import pytest

import fmae_zoo
from fmae_zoo import datasets, errors
from fmae_zoo.datasets import sources
from fmae_zoo.hub.options import HubOptions
from fmae_zoo.hub.repo import MAX_TEXT_BYTES
from fmae_zoo.weights import save_tensors
from tests.conftest import TINY_CONV, run_python, spec_dict, tiny_spec

pytestmark = pytest.mark.failure

EVIL = "hf://me/evil"


@pytest.fixture
def seeded(hub, repo_files):
    def seed(**files):
        named = {name.replace("__", "."): content for name, content in files.items()}
        return hub.seed("me/evil", {**repo_files, **named})

    return seed


def manifest_with(repo_files, **changes):
    return json.dumps({**json.loads(repo_files["manifest.json"]), **changes}).encode()


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
    seeded(
        fmae_zoo__py=code,
        spec__py=code,
        weights__pkl=harmful,
        encoder__pt=archive.getvalue(),
        config__json=json.dumps(layer).encode(),
    )
    script = (
        "import sys, fmae_zoo\n"
        "for function in (fmae_zoo.load, fmae_zoo.pull, fmae_zoo.verify):\n"
        "    try:\n"
        "        function('hf://me/evil')\n"
        "    except fmae_zoo.DigestError as error:\n"
        "        print(function.__name__, error)\n"
        "    print('done', function.__name__)\n"
    )
    result = run_python(script, HF_HUB_CACHE=str(tmp_path / "cache"))
    assert result.returncode == 0, result.stderr
    assert [f"done {name}" in result.stdout for name in ("load", "pull", "verify")] == [True] * 3
    assert "pull hf://me/evil@main: config.json" in result.stdout
    assert not mark.exists()
    requested = {record.path.rsplit("/", 1)[-1] for record in hub.log}
    assert not requested & {"fmae_zoo.py", "spec.py", "weights.pkl", "encoder.pt"}


@pytest.mark.parametrize(
    "type_key", ["network", "latent", "objective"], ids=["network", "latent", "objective"]
)
def test_a_spec_names_no_class(hub, seeded, repo_files, type_key):
    text = repo_files["spec.toml"].decode()
    start = text.index(f"[{type_key}]")
    head, tail = text[:start], text[start:]
    line = next(line for line in tail.splitlines() if line.startswith("type"))
    seeded(spec__toml=(head + tail.replace(line, 'type = "os.system"', 1)).encode())
    with pytest.raises(errors.SpecError, match=type_key):
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
    import tomli_w

    seeded(spec__toml=tomli_w.dumps(spec_dict(**ABSURD[case])).encode())
    with pytest.raises(errors.SpecError):
        fmae_zoo.load(EVIL)
    assert not [record for record in hub.log if "safetensors" in record.path]


def test_a_spec_that_takes_long_to_read_is_refused_before(hub, seeded):
    """TOML's dotted keys are read in a time that grows with the square of their number."""
    seeded(spec__toml=b"a." * 50_000 + b"b = 1\n")
    began = time.monotonic()
    with pytest.raises(errors.DigestError, match="expected at most"):
        fmae_zoo.load(EVIL)
    assert time.monotonic() - began < 2


def test_a_huge_text_is_refused_before_it_is_downloaded(hub, seeded):
    seeded(manifest__json=b" " * (MAX_TEXT_BYTES + 1))
    with pytest.raises(errors.DigestError, match="expected at most"):
        fmae_zoo.load(EVIL)
    assert not [record for record in hub.log if "/resolve/main/manifest" in record.path]


def test_a_weights_file_larger_than_its_model_is_not_read(hub, seeded, repo_files, tmp_path):
    import numpy as np

    from fmae_zoo.files import sha256_of

    path = tmp_path / "large.safetensors"
    save_tensors({"w": np.zeros((2_000, 1_000), "float32")}, path)
    content = path.read_bytes()
    files = json.loads(repo_files["manifest.json"])["files"]
    files["encoder.safetensors"] = {"sha256": sha256_of(content), "size": len(content)}
    seeded(
        manifest__json=manifest_with(repo_files, files=files),
        encoder__safetensors=content,
    )
    with pytest.raises(errors.WeightsError, match="needs at most"):
        fmae_zoo.load(EVIL)


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/passwd", "a/b", "..", "C:\\x", ".bashrc", "sub/../../x", "a\\..\\b"]
)
def test_a_file_name_cannot_leave_the_folder(hub, seeded, repo_files, name, tmp_path):
    files = json.loads(repo_files["manifest.json"])["files"]
    files[name] = files["encoder.safetensors"]
    seeded(manifest__json=manifest_with(repo_files, files=files))
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
    with pytest.raises(errors.HubError, match=r"ETag is .*expected the file's SHA-1 or SHA-256"):
        fmae_zoo.load(EVIL)
    assert not outside_of(tmp_path)
    assert not list((tmp_path / "cache").rglob("blobs/*"))


@pytest.mark.parametrize("code", [200, 404])
def test_a_commit_names_no_folder_outside_the_cache(hub, seeded, tmp_path, code):
    seeded()
    headers = {"X-Repo-Commit": f"../../{tmp_path / 'evil'}", "X-Error-Code": "EntryNotFound"}
    kind = {"code": code} if code == 404 else {}
    hub.fail("status" if kind else "headers", "/resolve/", times=None, headers=headers, **kind)
    with pytest.raises(errors.HubError, match=r"X-Repo-Commit is .*expected a commit"):
        fmae_zoo.load(EVIL)
    assert not outside_of(tmp_path)


def test_the_data_set_of_a_hub_lands_nowhere_else(hub, tmp_path):
    headers = {"ETag": '"../../../evil"', "X-Repo-Commit": "c" * 40}
    body = json.dumps({"id": datasets.HUB_DATASET, "tags": []})
    hub.fail("status", times=None, code=200, headers=headers, body=body)
    with pytest.raises(errors.AbsentDataError, match="ETag"):
        sources.download_from_hub(datasets.TABLE[datasets.DEFAULT], tmp_path)
    assert not outside_of(tmp_path)


def test_pull_writes_known_names_only(hub, seeded, repo_files, tmp_path):
    files = json.loads(repo_files["manifest.json"])["files"]
    from fmae_zoo.files import sha256_of

    files["sitecustomize.py"] = {"sha256": sha256_of(b"print()"), "size": 7}
    seeded(manifest__json=manifest_with(repo_files, files=files), sitecustomize__py=b"print()")
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
    "content",
    [b"[" * 100_000, b"{" * 100_000, b"\xff\xfe", b"null", b'{"format": 2}', b"[1, 2]", b""],
    ids=["brackets", "braces", "bytes", "null", "format", "list", "empty"],
)
def test_a_manifest_that_is_none(hub, seeded, content):
    seeded(manifest__json=content)
    with pytest.raises(errors.SpecError, match=r"manifest\.json"):
        fmae_zoo.load(EVIL)


def test_a_spec_that_is_none(hub, seeded):
    for content in (b"a = [" * 3_000, b"\xff", b"a.b.c = 1", b"name = 1" * 3):
        seeded(spec__toml=content)
        with pytest.raises(errors.SpecError, match=r"spec\.toml"):
            fmae_zoo.load(EVIL)


def test_weights_of_other_shapes_are_refused(hub, seeded, repo_files, tmp_path):
    import numpy as np

    from fmae_zoo.files import sha256_of

    path = tmp_path / "other.safetensors"
    save_tensors({"dense1.kernel": np.zeros((3, 3), "float32")}, path)
    content = path.read_bytes()
    files = json.loads(repo_files["manifest.json"])["files"]
    files["encoder.safetensors"] = {"sha256": sha256_of(content), "size": len(content)}
    seeded(manifest__json=manifest_with(repo_files, files=files), encoder__safetensors=content)
    with pytest.raises(errors.WeightsError, match="do not fit"):
        fmae_zoo.load(EVIL)


# Tokens


def authorised(hub, listener):
    return [r for r in hub.log if r.listener == listener and "authorization" in r.headers]


def test_a_token_does_not_reach_another_host(hub, repo_files):
    hub.seed("me/secret", repo_files, private=True)
    assert fmae_zoo.load("hf://me/secret", token="hf_reader")
    assert [record for record in hub.log if record.listener == "cdn"]
    assert authorised(hub, "hub")
    assert not authorised(hub, "cdn")


def test_a_token_is_in_no_commit(hub):
    folder = fmae_zoo.Autoencoder(tiny_spec())
    for words in ({"message": "by hf_writer"}, {"tag": "hf_writer"}, {"branch": "x/hf_writer"}):
        with pytest.raises(errors.PushRefusedError, match="the token in use"):
            fmae_zoo.push(folder, "me/tiny", token="hf_writer", **words)
    with pytest.raises(errors.PushRefusedError, match="a Hugging Face token"):
        fmae_zoo.push(folder, "me/tiny", token="hf_writer", message="hf_" + "A" * 34)
    assert not [record for record in hub.log if record.method == "POST"]


def test_a_password_in_the_address_of_the_hub_is_not_shown():
    code = (
        "import fmae_zoo\n"
        "try:\n"
        "    fmae_zoo.pull('hf://me/tiny', timeout=2)\n"
        "except fmae_zoo.HubError as error:\n"
        "    print(error)\n"
    )
    result = run_python(code, HF_ENDPOINT="http://user:s3cret@127.0.0.1:9")
    assert "127.0.0.1:9" in result.stdout, result.stderr
    assert "s3cret" not in result.stdout + result.stderr


def test_a_terminal_obeys_nothing_in_a_repo(hub, seeded, repo_files, fmae):
    spec = repo_files["spec.toml"].replace(b"A model", b"\\u001b]0;owned\\u0007A model")
    seeded(spec__toml=spec, manifest__json=manifest_with(repo_files, spec_sha256=""))
    code, out, _ = fmae("info", EVIL)
    assert code == 0
    assert "owned" in out
    assert "\x1b" not in out
    assert "\x07" not in out


@pytest.mark.parametrize("path", ["/api/models/", "/resolve/"])
@pytest.mark.parametrize("code", [302, 307, 308])
def test_a_token_is_not_sent_along_a_redirect(hub, repo_files, path, code):
    hub.seed("me/tiny", repo_files)
    hub.fail("redirect", path, times=None, to=f"{hub.cdn_url}/steal", code=code)
    with pytest.raises(errors.HubError):
        fmae_zoo.load("hf://me/tiny", token="hf_reader", timeout=20)
    assert not authorised(hub, "cdn")


def test_a_token_is_not_sent_with_an_upload_to_another_host(hub):
    fmae_zoo.push(fmae_zoo.Autoencoder(tiny_spec()), "me/tiny", token="hf_writer")
    assert [r for r in hub.log if r.listener == "cdn" and r.method == "PUT"]
    assert not authorised(hub, "cdn")


def test_a_token_is_in_no_file_and_no_message(hub, caplog, capfd):
    with caplog.at_level("INFO"), caplog.at_level("DEBUG", "fmae_zoo"):
        pushed = fmae_zoo.push(fmae_zoo.Autoencoder(tiny_spec()), "me/tiny", token="hf_writer")
        hub.fail("echo_token", "/commit/", times=None)
        with pytest.raises(errors.HubServerError) as caught:
            fmae_zoo.push(fmae_zoo.Autoencoder(tiny_spec(), seed=2), "me/tiny", token="hf_writer")
    captured = capfd.readouterr()
    folder = fmae_zoo.pull(f"hf://me/tiny@{pushed.commit}")
    texts = [caplog.text, captured.out, captured.err, str(caught.value), pushed.card]
    texts += [path.read_bytes().decode("latin-1") for path in folder.iterdir()]
    assert not [text for text in texts if "hf_writer" in text]
    assert "hf_writer" not in repr(HubOptions(token="hf_writer"))


def test_a_token_of_false_sends_none(hub, repo_files, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_reader")
    hub.seed("me/tiny", repo_files)
    fmae_zoo.load("hf://me/tiny", token=False)
    assert hub.log
    assert not authorised(hub, "hub")
    fmae_zoo.load("hf://me/tiny")
    assert authorised(hub, "hub")
