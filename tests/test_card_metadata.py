"""The metadata of a model card are the manifest's, and what a person wrote in a card stays."""

import re
from collections import Counter

import pytest
import yaml
from huggingface_hub import ModelCard

from fmae_zoo.card import BEGIN, END, card_of, check_card
from fmae_zoo.datasets import FASHION_MNIST_DIGEST, HUB_DATASET
from fmae_zoo.errors import SpecError
from fmae_zoo.evaluation import FIGURES
from fmae_zoo.registry import find_entry
from tests.cards import ENTRIES, HOSTILE, REPO, changed, figures_in, metadata_of

pytestmark = pytest.mark.once

PERSONS_CARD = """---
# what our group knows
language: no  # Norwegian, not false
tags: [ours, keras, on]
license: mit
# about the licence
license_name: old
# about its name
extra:
    - 1.10
    - "two"
---
# My notes

Before | the | block.

{block}

After it: ünïcode, trailing spaces   \n\n"""


@pytest.fixture(scope="module", params=ENTRIES, ids=lambda entry: entry.spec.name)
def entry(request):
    return request.param


@pytest.fixture(scope="module")
def text(entry):
    return card_of(entry, REPO)


@pytest.fixture(scope="module")
def vae():
    return find_entry("dense-vae")


def test_each_figure_in_the_model_index_is_the_manifests(entry, text):
    assert entry.manifest.results.keys() <= FIGURES.keys()
    results = ModelCard(text).data.eval_results
    found = Counter((each.metric_type, repr(each.metric_value)) for each in results)
    figures = figures_in(entry.manifest)
    assert found == Counter((measure.key, repr(value)) for _, measure, value, _ in figures)
    assert len({each.metric_name for each in results}) == len(results) > 5
    assert {each.dataset_split for each in results} == {"test"}
    assert {each.dataset_type for each in results} == {HUB_DATASET}
    assert {each.dataset_args["sha256"] for each in results} == {FASHION_MNIST_DIGEST}


def test_the_settings_of_each_figure_are_in_the_model_index(entry, text):
    results = {each.metric_name: each for each in ModelCard(text).data.eval_results}
    for protocol, measure, value, table in figures_in(entry.manifest):
        numbers = {each.key for each in protocol.results + protocol.baselines}
        wanted = {
            key: each
            for key, each in table.items()
            if key not in numbers and isinstance(each, (bool, int, float, str))
        }
        assert wanted.keys() & {"latent_size", "input_size"}
        wanted["seed"] = entry.manifest.evaluations[protocol.path[0]].seed
        wanted["training_seed"] = entry.manifest.training.seed
        result = results[f"{measure.full_title} ({protocol.name})"]
        assert (result.metric_value, result.metric_args) == (value, wanted)


def test_the_metadata_say_what_the_model_is():
    metadata = metadata_of(card_of(find_entry("conv-ae-bn"), REPO))
    assert (metadata["license"], metadata["library_name"]) == ("apache-2.0", "keras")
    assert metadata["pipeline_tag"] == "image-feature-extraction"
    assert metadata["datasets"] == [HUB_DATASET]
    assert {"autoencoder", "conv", "deterministic", "fmae-zoo"} <= set(metadata["tags"])
    assert metadata["model-index"][0]["name"] == "mine"


@pytest.mark.parametrize(
    ("licence", "identifier", "name"),
    [
        ("MIT", "mit", None),
        ("GPL-3.0-or-later", "gpl-3.0", None),
        ("ODbL-1.0", "odbl", None),
        ("CC-BY-SA-4.0", "cc-by-sa-4.0", None),
        ("LicenseRef-Ours: 1\n---\n", "other", "LicenseRef-Ours: 1 ---"),
    ],
)
def test_the_licence_has_the_hubs_identifier(tmp_path, vae, licence, identifier, name):
    text = card_of(changed(tmp_path, vae, licence=licence), REPO)
    metadata = metadata_of(text.replace("1 ---", "1 ~~~"))
    assert metadata["license"] == identifier
    assert ModelCard(text).data.to_dict().get("license_name") == name


@pytest.mark.parametrize(("key", "value"), [("licence", " \n"), ("sampler", HOSTILE)])
def test_a_manifest_that_breaks_a_rule_gives_no_card(tmp_path, vae, key, value):
    with pytest.raises(SpecError, match=key):
        card_of(changed(tmp_path, vae, **{key: value}), REPO)


def test_other_data_are_not_called_fashion_mnist(tmp_path, vae):
    digest = {"data_digest": "0" * 64}
    source = {"data_source": "/home/alice/private/kmnist"}
    entry = changed(
        tmp_path,
        vae,
        training=vae.manifest.training.model_dump() | digest | source,
        results={"knn": vae.manifest.results["knn"]},
        evaluations={"knn": vae.manifest.evaluations["knn"].model_dump() | digest},
        seeds={},
    )
    before = f"---\ndatasets: [{HUB_DATASET}, me/others]\ntags: [fashion-mnist, ours]\n---\n"
    text = card_of(entry, REPO, existing=before)
    metadata = metadata_of(text)
    assert metadata["datasets"] == ["me/others"]
    assert "fashion-mnist" not in metadata["tags"]
    assert "ours" in metadata["tags"]
    (result,) = ModelCard(text).data.eval_results
    assert (result.dataset_type, result.dataset_name) == ("other", "kmnist")
    assert result.dataset_revision == "0" * 64
    assert "alice" not in text
    assert "Zalando" not in text
    assert "datasets" not in metadata_of(card_of(entry, REPO))


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_card_passes_and_made_from_itself_is_itself(entry, text, newline):
    check_card("\ufeff" + text, entry.manifest)
    text = text.replace("\n", newline)
    assert card_of(entry, REPO, existing=text) == text


# Cards that a person has edited


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("block", [f"{BEGIN}\nOUTDATED\n{END}", f"{BEGIN}{END}", ""])
def test_what_a_person_wrote_stays_byte_for_byte(vae, block, newline):
    block = block.replace("\n", newline)
    existing = PERSONS_CARD.replace("\n", newline).format(block=block)
    text = card_of(vae, REPO, existing=existing)
    body = existing.split("# My notes")[1]
    before, after = body.split(block) if block else (body, newline)
    kept = text.split("# My notes")[1]
    assert kept.startswith(f"{before}{BEGIN}{newline}# dense-vae{newline}")
    assert kept.endswith(f"{END}{after}")
    assert "OUTDATED" not in kept
    assert re.findall(r"\r\n|\r|\n", text).count(newline) == len(re.findall(r"\r\n|\r|\n", text))
    assert card_of(vae, REPO, existing=text) == text


def test_metadata_that_a_person_wrote_stay(vae):
    text = card_of(vae, REPO, existing=PERSONS_CARD.format(block=""))
    header = text.split("\n---\n")[0]
    assert header.startswith("---\n# what our group knows\nlanguage: no  # Norwegian, not false\n")
    assert 'extra:\n    - 1.10\n    - "two"\n' in header
    assert "license: apache-2.0\n# about the licence\n# about its name\nextra:" in header
    assert header.count("license:") == 1
    metadata = yaml.load(header.removeprefix("---\n"), Loader=yaml.BaseLoader)
    assert {"ours", "keras", "on", "gaussian"} <= set(metadata["tags"])
    assert metadata["tags"] == sorted(set(metadata["tags"]))
    assert metadata["datasets"] == [HUB_DATASET]


def test_figures_that_are_no_longer_there_are_taken_away(tmp_path, vae):
    with_figures = card_of(vae, REPO)
    entry = changed(tmp_path, vae, results={}, evaluations={}, seeds={}, licence="MIT")
    text = card_of(entry, REPO, existing=with_figures)
    assert "model-index" not in metadata_of(text)
    assert metadata_of(text)["license"] == "mit"
    assert text == card_of(entry, REPO)


@pytest.mark.parametrize(
    ("existing", "end"),
    [
        ("", "\n---\n\n"),
        ("\ufeff", "\n---\n\n"),
        ("# Hello", "\n---\n\n# Hello\n\n"),
        ("# Hello\n", "\n---\n\n# Hello\n\n"),
        ("# Hello\n\n\n", "\n---\n\n# Hello\n\n\n"),
        ("\ufeff---\nlanguage: en\n---\n# Hello", "\n---\n# Hello\n\n"),
        ("---\nlicense: mit\n---", "\n---\n\n"),
        ("---\n\n---\n", "\n---\n\n"),
        ("---\n# only a comment\n---\nHello\n", "\n---\nHello\n\n"),
    ],
)
def test_a_card_without_markers_gets_the_block_at_its_end(vae, existing, end):
    text = card_of(vae, REPO, existing=existing)
    assert text.split(BEGIN)[0].endswith(end)
    assert text.endswith(f"{END}\n")
    assert text.startswith("---\n")
    assert len(ModelCard(text).data.eval_results) > 5
    assert card_of(vae, REPO, existing=text) == text


def test_markers_are_known_however_they_are_spaced(vae):
    text = card_of(vae, REPO)
    spaced = text.replace(BEGIN, "<!--fmae_zoo:begin-->").replace(END, "<!--  fmae_zoo: end  -->")
    assert card_of(vae, REPO, existing=spaced) == text


@pytest.mark.parametrize(
    "body",
    [BEGIN, END, f"{END} {BEGIN}", f"{BEGIN}{END}{BEGIN}{END}", f"{BEGIN}{BEGIN}{END}"],
    ids=["no end", "no begin", "wrong order", "twice", "two begins"],
)
def test_damaged_markers_are_refused(vae, body):
    with pytest.raises(SpecError, match=r"me/mine: README\.md.*markers"):
        card_of(vae, REPO, existing=f"Mine.\n{body}\nMore.\n")


@pytest.mark.parametrize(
    "header",
    [
        "license: [\n---",
        "license: mit\nlicense: gpl\n---",
        "- a\n- b\n---",
        "just text\n---",
        "{license: mit}\n---",
        "{}\n---",
        "? license\n: mit\n---",
        "date: 2024-99-99\n---",
        "a: &x [1]\nb: *x\n---",
        "a: \x07\n---",
        "tags: {a: b}\n---",
        "language: en\n...\n---",
        "license: mit\n",
    ],
)
def test_metadata_that_cannot_be_kept_are_refused(vae, header):
    with pytest.raises(SpecError, match=r"me/mine: README\.md"):
        card_of(vae, REPO, existing=f"---\n{header}\nMine.\n")


# check_card


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("license: apache-2.0\n", "", "license"),
        ("license: apache-2.0\n", "license: ''\n", "license"),
        ("license: apache-2.0\n", "license: other\n", "license_name"),
        ("license: apache-2.0\n", "license: [\n", "YAML"),
        ("license: apache-2.0\n", "license: mit\nlicense: apache-2.0\n", "'license'.*once"),
        ("value: PROBE\n", "value: 0.909\n", "linear probe.*PROBE.*0.909"),
        ("value: PROBE\n", "value: 'PROBE'\n", "linear probe.*'PROBE'"),
        ("C: ", "C: 7", "linear probe.*'C': 7"),
        ("type: accuracy\n", "kind: accuracy\n", "metadata"),
        ("name: accuracy (linear", "name: best (linear", "accuracy .linear.*received 0"),
        ("name: accuracy (linear", "name: [1]\n      x: (linear", "linear.*received 0"),
        ("split: test\n", "split: train\n", "'test'.*'train'"),
        ("model-index:\n", "model-index: nothing\nold:\n", "metadata"),
        ("model-index:\n", "old:\n", "expected.*received 0"),
    ],
)
def test_a_card_that_says_something_else_is_refused(vae, old, new, named):
    text = card_of(vae, REPO)
    probe = str(vae.manifest.results["linear_probe"]["accuracy"])
    old, new, named = (each.replace("PROBE", probe) for each in (old, new, named))
    assert old in text
    with pytest.raises(SpecError, match=f"(?s)here.md: .*{named}"):
        check_card(text.replace(old, new, 1), vae.manifest, "here.md")


@pytest.mark.parametrize("text", ["", "# Hello\n", "---\n\n---\n"])
def test_a_card_without_metadata_is_refused(text):
    with pytest.raises(SpecError, match="metadata"):
        check_card(text)
