"""A classifier on the Hub: pushed, found, pulled and loaded with the guarantees of an entry."""

import json
import re
import shutil

import numpy as np
import pytest
from huggingface_hub import HfApi, ModelCard

import fmae_zoo
from fmae_zoo.card import card_of
from fmae_zoo.classifier import Classifier
from fmae_zoo.datasets import CLASS_NAMES, loading
from fmae_zoo.entry import Entry
from fmae_zoo.errors import (
    ArgumentError,
    DigestError,
    NotCachedError,
    PushRefusedError,
    SpecError,
    WeightsError,
)
from fmae_zoo.files import sha256_of
from fmae_zoo.head import HEAD_FILE
from fmae_zoo.hub.contents import contents_of, stage
from fmae_zoo.hub.repo import MAX_TEXT_BYTES
from fmae_zoo.layout import KERAS_FILES
from fmae_zoo.manifest import Manifest
from fmae_zoo.saving import golden_of, record_files
from fmae_zoo.weights import read_tensors, save_tensors
from tests.conftest import TINY_CONV, run_python, tiny_spec

pytestmark = pytest.mark.usefixtures("eager")

REPO = "me/classifier"
ADDRESS = f"hf://{REPO}"
WEIGHTS = "classifier.safetensors"
NEEDED = {"spec.toml", "manifest.json", HEAD_FILE, WEIGHTS}


def make(seed=3, **settings):
    encoder = fmae_zoo.Autoencoder(tiny_spec(network=TINY_CONV), seed=seed).encoder
    settings = {"layer": "features", "hidden": 16, "labels": CLASS_NAMES, **settings}
    return Classifier(encoder, 10, trainable=True, **settings)


@pytest.fixture(scope="module")
def classifier(few):
    """A classifier whose encoder was trained too."""
    made = make()
    made.fit(few.train_images, few.train_labels, epochs=1, augment=True)
    return made


@pytest.fixture(scope="module")
def saved(classifier, tmp_path_factory):
    return fmae_zoo.save(classifier, tmp_path_factory.mktemp("saved") / "mine")


@pytest.fixture(scope="module")
def files(saved, tmp_path_factory):
    """The files that `push` writes for it."""
    return contents_of(stage(saved, tmp_path_factory.mktemp("staged")), REPO)


@pytest.fixture
def folder(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "mine")


@pytest.fixture
def push(hub):
    def pushed(source, repo=REPO, token="hf_writer", **options):
        return fmae_zoo.push(source, repo, token=token, **options)

    return pushed


@pytest.fixture
def api(hub):
    return HfApi(endpoint=hub.url, token="hf_writer")


def with_file(files, name, content):
    """The repo with another file, which its manifest agrees with."""
    manifest = json.loads(files["manifest.json"])
    manifest["files"][name] = {"sha256": sha256_of(content), "size": len(content)}
    return {**files, name: content, "manifest.json": json.dumps(manifest).encode()}


def failed_checks(source):
    return [check.name for check in fmae_zoo.verify(source) if check.passed is False]


# There and back


def test_a_classifier_is_pushed_and_comes_back(push, hub, classifier, saved, images):
    planned = push(classifier, dry_run=True, token=None)
    assert not hub.log
    url = push(classifier, private=True, tag="v1")
    assert url.changed
    assert (url.sizes, url.card) == (planned.sizes, planned.card)
    loaded = fmae_zoo.load(f"{ADDRESS}@v1", token="hf_writer")
    np.testing.assert_array_equal(loaded.predict(images), classifier.predict(images))
    assert loaded.labels == CLASS_NAMES
    assert loaded.encoder.trainable
    for source in (saved, f"local:{saved}"):
        again = push(source)
        assert (again.changed, again.commit) == (False, url.commit)
    assert push(make(seed=9)).changed


@pytest.mark.once
def test_the_repo_holds_what_it_must(files, saved, tmp_path):
    recorded = {HEAD_FILE, WEIGHTS, "golden.safetensors", *KERAS_FILES}
    assert files.keys() == recorded | {"spec.toml", "manifest.json", "README.md"}
    assert json.loads(files["manifest.json"])["files"].keys() == recorded
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "import fmae_zoo\n"
        "from fmae_zoo.hub.contents import stage\n"
        "fmae_zoo.load(sys.argv[1]).unfreeze()\n"
        "stage(sys.argv[1], Path(sys.argv[2]))\n"
    )
    result = run_python(code, str(saved), str(tmp_path))
    assert result.returncode == 0, result.stderr
    for name in KERAS_FILES:
        assert (tmp_path / name).read_bytes() == files[name]


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_keras_alone_gives_the_probabilities(push, images, tmp_path, precision):
    """In a process that cannot import fmae_zoo."""
    made = make(precision=precision)
    push(made)
    np.save(tmp_path / "images.npy", images[..., None].astype("float32") / 255.0)
    code = (
        "import sys\n"
        "sys.modules['fmae_zoo'] = None\n"
        "import keras, numpy as np\n"
        f"model = keras.saving.load_model('{ADDRESS}')\n"
        "assert not model.compiled\n"
        "p = model.predict(np.load(sys.argv[1] + '/images.npy'), verbose=0)\n"
        "np.save(sys.argv[1] + '/p.npy', p)\n"
    )
    result = run_python(code, str(tmp_path), HF_HUB_CACHE=str(tmp_path / "keras-cache"))
    assert result.returncode == 0, result.stderr
    expected = made.in_float32().predict(images)
    np.testing.assert_allclose(np.load(tmp_path / "p.npy"), expected, atol=1e-5)


def test_what_is_needed_is_loaded_and_the_cache_serves_offline(hub, files, classifier, images):
    commit = hub.seed(REPO, files)
    with pytest.raises(NotCachedError, match=f"fmae pull {ADDRESS}"):
        fmae_zoo.load(ADDRESS, local_files_only=True)
    fmae_zoo.load(ADDRESS)
    assert {name for name in files if any(f"/{name}" in r.path for r in hub.log)} == NEEDED
    asked = len(hub.log)
    for address, options in ((f"{ADDRESS}@{commit}", {}), (ADDRESS, {"local_files_only": True})):
        loaded = fmae_zoo.load(address, **options)
        np.testing.assert_array_equal(loaded.predict(images), classifier.predict(images))
    assert len(hub.log) == asked


def test_a_copy_is_pulled_verified_and_pushed_again(hub, push, files, tmp_path):
    hub.seed(REPO, files)
    assert not failed_checks(ADDRESS)
    copy = fmae_zoo.pull(ADDRESS, tmp_path / "copy")
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == files
    names = {check.name for check in fmae_zoo.verify(copy)}
    assert names >= {HEAD_FILE, WEIGHTS, "golden probabilities", "README.md"}
    assert not failed_checks(copy)
    assert not push(copy).changed


@pytest.mark.once
def test_a_search_tells_it_from_an_autoencoder(push, saved, classifier):
    push(saved)
    push(fmae_zoo.Autoencoder(classifier.spec), "me/ae")
    assert [found.source for found in fmae_zoo.search(tag="classifier")] == [ADDRESS]
    assert [found.source for found in fmae_zoo.search(tag="autoencoder")] == ["hf://me/ae"]


# What is kept apart


@pytest.mark.once
@pytest.mark.failure
@pytest.mark.parametrize("first", ["classifier", "autoencoder"])
def test_one_kind_is_not_pushed_over_the_other(push, api, classifier, first):
    model = fmae_zoo.Autoencoder(classifier.spec)
    there, other = (classifier, model) if first == "classifier" else (model, classifier)
    push(there)
    before = api.model_info(REPO).sha
    with pytest.raises(PushRefusedError, match="a classifier on tiny-ae"):
        push(other)
    assert api.model_info(REPO).sha == before


@pytest.mark.once
@pytest.mark.failure
def test_a_pull_does_not_write_over_another_model(hub, files, classifier, tmp_path):
    hub.seed(REPO, files)
    for number, model in enumerate((fmae_zoo.Autoencoder(classifier.spec), make(seed=9))):
        mine = fmae_zoo.save(model, tmp_path / str(number))
        before = {path.name: path.read_bytes() for path in mine.iterdir()}
        with pytest.raises(ArgumentError, match=str(mine)):
            fmae_zoo.pull(ADDRESS, mine)
        assert {path.name: path.read_bytes() for path in mine.iterdir()} == before


@pytest.mark.once
@pytest.mark.failure
def test_an_encoder_of_ones_own_is_not_pushed(push, hub, classifier):
    encoder = classifier.encoder
    own = type(encoder)(encoder.input, encoder.output, name="encoder")
    with pytest.raises(ArgumentError, match=r"spec.*classifier\.save"):
        push(Classifier(own, 10))
    assert not hub.log


# What is refused before anything is sent


def spoil_weights(folder):
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-1])


def spoil_head(folder):
    path = folder / HEAD_FILE
    path.write_text(path.read_text().replace("Sandal", "Sandwich"))


def spoil_golden(folder):
    save_tensors(golden_of(make(seed=9)), folder / "golden.safetensors")
    record_files(folder, Manifest.read(folder)).write(folder)


def spoil_tensors(folder):
    tensors = read_tensors(folder / WEIGHTS)
    del tensors["head.hidden.bias"]
    save_tensors(tensors, folder / WEIGHTS)
    record_files(folder, Manifest.read(folder)).write(folder)


def add_secret(folder):
    labels = ("hf_" + "a1B2" * 9, *CLASS_NAMES[1:])
    head = Entry.read(folder).head
    head.model_copy(update={"labels": labels}).write(folder)
    record_files(folder, Manifest.read(folder)).write(folder)


REFUSED = {
    "wrong weights": (spoil_weights, WEIGHTS),
    "wrong head": (spoil_head, r"head\.json"),
    "wrong goldens": (spoil_golden, "golden probabilities"),
    "a missing tensor": (spoil_tensors, r"head\.hidden\.bias"),
    "a token": (add_secret, "holds a Hugging Face token"),
}


@pytest.mark.once
@pytest.mark.failure
@pytest.mark.parametrize("case", REFUSED)
def test_a_folder_that_is_not_fit_is_refused_before_anything_is_sent(push, hub, folder, case):
    spoil, words = REFUSED[case]
    spoil(folder)
    with pytest.raises(PushRefusedError, match=words) as caught:
        push(folder)
    assert "a1B2" not in str(caught.value)
    assert not hub.log


# A repo that means harm


@pytest.mark.once
@pytest.mark.failure
@pytest.mark.parametrize(
    "change",
    [{"class_name": "os.system"}, {"hidden": 10**12}, {"labels": ["\x1b[2J", *"abcdefghi"]}],
)
def test_a_description_that_breaks_a_rule_is_refused(hub, files, change):
    head = json.dumps(json.loads(files[HEAD_FILE]) | change).encode()
    hub.seed(REPO, with_file(files, HEAD_FILE, head))
    with pytest.raises(SpecError, match=r"head\.json"):
        fmae_zoo.load(ADDRESS)


@pytest.mark.once
@pytest.mark.failure
@pytest.mark.parametrize(
    ("name", "change"),
    [
        (HEAD_FILE, lambda content: content.replace(b"Sandal", b"Sadnal")),
        (HEAD_FILE, lambda content: b" " * (MAX_TEXT_BYTES + 1)),
        (WEIGHTS, lambda content: content[:-4]),
    ],
    ids=["altered", "huge", "cut"],
)
def test_a_file_that_is_not_the_manifests_is_refused(hub, files, name, change, tmp_path):
    hub.seed(REPO, {**files, name: change(files[name])})
    for act in (fmae_zoo.load, lambda source: fmae_zoo.pull(source, tmp_path / "copy")):
        with pytest.raises(DigestError, match=name):
            act(ADDRESS)
    assert not (tmp_path / "copy").exists()
    assert failed_checks(ADDRESS) == [name]


@pytest.mark.once
@pytest.mark.failure
@pytest.mark.parametrize("size", [4_000_000, 3])
def test_weights_that_are_not_the_heads_are_refused(hub, files, tmp_path, size):
    save_tensors({"w": np.zeros(size, "float32")}, tmp_path / "other")
    hub.seed(REPO, with_file(files, WEIGHTS, (tmp_path / "other").read_bytes()))
    with pytest.raises(WeightsError, match=WEIGHTS):
        fmae_zoo.load(ADDRESS)


# The card


def section(text, title):
    return re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", text, re.M | re.S).group(1)


@pytest.mark.once
def test_the_card_says_what_it_is(files):
    text = files["README.md"].decode()
    card = ModelCard(text).data
    assert (card.pipeline_tag, card.license) == ("image-classification", "apache-2.0")
    assert {"classifier", "fmae-zoo", "conv"} <= set(card.tags)
    assert "autoencoder" not in card.tags
    assert card.eval_results is None
    assert all(f"| {i} | {name} |" in text for i, name in enumerate(CLASS_NAMES))
    head = section(text, "Encoder and head")
    assert all(words in head for words in ("`features`", "16 ReLU", "0.3", 'type = "conv"'))
    for words in ("reconstruct", "ae.encode", "objective", "decoder.safetensors"):
        assert words not in text
    for name, record in json.loads(files["manifest.json"])["files"].items():
        assert f"| `{name}` | " in section(text, "Files")
        assert record["sha256"] in section(text, "Files")


@pytest.mark.once
@pytest.mark.parametrize("name", ["frozen_head", "fine_tuned"])
def test_the_card_has_the_figures_that_were_measured(folder, name):
    figure = {"accuracy": 0.8765, "loss": 0.4, "epochs": 3}
    results = {name: {"features": figure} if name == "frozen_head" else figure}
    Manifest.read(folder).model_copy(update={"results": results}).write(folder)
    text = card_of(Entry.read(folder), REPO)
    found = {each.metric_type: each.metric_value for each in ModelCard(text).data.eval_results}
    assert found == {"accuracy": 0.8765, "loss": 0.4}
    assert "**0.8765**" in section(text, "Results")
    assert "epochs 3" in section(text, "Results")


@pytest.mark.parametrize(("trainable", "labels"), [(True, None), (False, CLASS_NAMES)])
def test_the_examples_of_the_card_run(few, monkeypatch, tmp_path, trainable, labels):
    monkeypatch.setattr(loading, "find_data", lambda: few)
    made = make(labels=labels)
    made.encoder.trainable = trainable
    folder = fmae_zoo.save(made, tmp_path / "mine")
    text = card_of(Entry.read(folder), REPO)
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
    names: dict = {}
    exec(compile(blocks[0].replace(ADDRESS, f"local:{folder}"), "README.md", "exec"), names)
    np.testing.assert_array_equal(names["p"], made.predict(few.test_images))
    assert ("names" in names) == (labels is not None)
    assert names["tuned"].encoder.trainable
    assert ADDRESS in blocks[1]
    assert ("is frozen" in text) == (not trainable)


@pytest.mark.once
def test_labels_are_only_shown(tmp_path):
    labels = ["<!-- fmae_zoo: end -->", "a|b", "**bold**", "![x](http://evil)"]
    encoder = fmae_zoo.Autoencoder(tiny_spec()).encoder
    labels += [f"class {number}" for number in range(4, 150)]
    folder = fmae_zoo.save(Classifier(encoder, 150, hidden=4, labels=labels), tmp_path)
    text = card_of(Entry.read(folder), REPO)
    assert text.count("fmae_zoo: end -->") == 1
    assert r"!\[x\](" in text
    assert r"\*\*bold\*\*" in text
    assert "| 99 | class 99 |" in text
    assert "class 100" not in text
    assert card_of(Entry.read(folder), REPO, existing=text) == text


# The command line


@pytest.mark.once
def test_the_commands_take_it(fmae, hub, folder, tmp_path):
    token = tmp_path / "token"
    token.write_text("hf_writer")
    assert fmae("push", f"local:{folder}", REPO, "--token-file", token)[0] == 0
    for name in (f"local:{folder}", ADDRESS):
        assert fmae("verify", name)[0] == 0
        assert "Sandal" in fmae("info", name)[1]
        assert json.loads(fmae("info", name, "--json")[1])["head"]["labels"] == list(CLASS_NAMES)


@pytest.mark.once
@pytest.mark.failure
@pytest.mark.parametrize(
    "words",
    [
        ("reconstruct", "NAME", "FILE", "-o", "x.png"),
        ("generate", "NAME", "-o", "x.png"),
        ("generate", "NAME", "--sampler", "prior", "-o", "x.png"),
        ("embed", "NAME", "FILE", "-o", "x.npz"),
        ("classify", "NAME", "-o", "x"),
        ("evaluate", "NAME"),
    ],
)
def test_a_command_for_autoencoders_says_so(fmae, saved, images, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    np.save(tmp_path / "images.npy", images)
    given = {"NAME": f"local:{saved}", "FILE": tmp_path / "images.npy"}
    code, out, err = fmae(*[given.get(word, word) for word in words])
    assert (code, out) == (1, "")
    assert re.search(r"has\s+no\s+decoder|loaded\s+whole|Expected\s+an\s+Autoencoder", err)
    assert [path.name for path in tmp_path.iterdir()] == ["images.npy"]
