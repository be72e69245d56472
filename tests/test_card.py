"""A model card says what the manifest says, and keeps what a person wrote."""

import copy
import json
import re
import tomllib
from collections import Counter
from statistics import mean, stdev

import keras
import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

from fmae_zoo import save
from fmae_zoo.autoencoder import Autoencoder
from fmae_zoo.card import BEGIN, END, card_of, check_card
from fmae_zoo.card.body import body_of
from fmae_zoo.datasets import FASHION_MNIST_DIGEST, HUB_DATASET, loading
from fmae_zoo.entry import Entry
from fmae_zoo.errors import ArgumentError, NoWeightsError, SpecError
from fmae_zoo.manifest import MANIFEST_FILE
from fmae_zoo.registry import bundled, find_entry
from fmae_zoo.saving import spec_toml
from fmae_zoo.spec import SPEC_FILE, ModelSpec
from tests.conftest import tiny_spec

pytestmark = pytest.mark.usefixtures("eager")

REPO = "me/mine"
ENTRIES = [entry for entry in bundled() if entry.pretrained]

FEW_LABELS = " ".join(f"accuracy_{count}" for count in (1, 2, 5, 10, 50, 100))
PUBLISHED = tuple(
    (*figure.split(), key)
    for figure, keys in {
        "reconstruction": "mse psnr ssim",
        "linear_probe": "accuracy",
        "knn": "accuracy",
        "heads svm": "accuracy",
        "heads forest": "accuracy",
        "heads boosting": "accuracy",
        "heads mlp": "accuracy",
        "frozen_head latent": "accuracy loss",
        "frozen_head features": "accuracy loss",
        "fine_tuned": "accuracy loss",
        "few_labels inductive": FEW_LABELS,
        "few_labels transductive": FEW_LABELS,
        "few_labels_fine_tuned": FEW_LABELS,
        "clustering kmeans": "accuracy nmi ari",
        "clustering mixture": "accuracy nmi ari",
        "clustering spectral": "accuracy nmi ari",
        "umap_clustering": "accuracy nmi ari",
        "elbo": "elbo reconstruction kl active_values",
        "nll": "nll standard_error",
        "denoising": "mse psnr",
        "inpainting": "mse psnr",
        "code_use": "perplexity active_values codes_used kl",
        "generation": "frechet precision recall class_agreement frechet_prior frechet_gmm"
        " frechet_two-stage frechet_autoregressive frechet_reconstructions",
        "fid": "fid fid_reconstructions",
    }.items()
    for key in keys.split()
)
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


def figure_at(manifest, path):
    found = manifest.results
    for key in path:
        found = found.get(key)
        if found is None:
            return None
    return found


def metadata_of(text):
    return yaml.safe_load(text.split("---")[1])


def block_of(text):
    return text[text.index(BEGIN) : text.index(END)]


def section(text, title):
    return re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", block_of(text), re.M | re.S)[1]


def rows_of(text):
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def results_rows(text):
    titles, _, *rows = rows_of(section(text, "Results"))
    return [dict(zip(titles, row, strict=True)) for row in rows]


def code_blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)


def changed(tmp_path, entry, spec=None, **changes):
    """Return an entry with another spec or manifest, without weights: a card reads none."""
    content = json.loads((entry.folder / MANIFEST_FILE).read_text()) | changes
    content = {key: value for key, value in content.items() if value is not ...}
    (tmp_path / MANIFEST_FILE).write_text(json.dumps(content))
    new = ModelSpec.from_dict(entry.spec.model_dump(mode="json", exclude_none=True) | (spec or {}))
    (tmp_path / SPEC_FILE).write_text(spec_toml(new))
    return Entry.read(tmp_path)


@pytest.fixture(scope="module", params=ENTRIES, ids=lambda entry: entry.spec.name)
def entry(request):
    return request.param


@pytest.fixture(scope="module")
def text(entry):
    return card_of(entry, REPO)


@pytest.fixture(scope="module")
def vae():
    return find_entry("dense-vae")


@pytest.fixture
def unmeasured(tmp_path):
    """A user's own checkpoint: saved, and nothing recorded."""
    save(Autoencoder(tiny_spec()), tmp_path / "mine")
    return Entry.read(tmp_path / "mine")


HOSTILE = (
    f"# x {END} | cell |\n\n# Heading\n{BEGIN} <script>alert(1)</script> ![i](http://x/i.png) "
    "[link](javascript:x) `code` **bold** <!-- fmae_zoo: end --> ``` ~~~ $x$ \u202e\u0007&lt;"
)


# What the Hub reads


def test_each_figure_in_the_model_index_is_the_manifests(entry, text):
    results = ModelCard(text).data.eval_results
    found = Counter((each.metric_type, repr(each.metric_value)) for each in results)
    values = {path: figure_at(entry.manifest, path) for path in PUBLISHED}
    assert found == Counter(
        (path[-1], repr(value)) for path, value in values.items() if value is not None
    )
    assert len({each.metric_name for each in results}) == len(results)
    assert {each.dataset_split for each in results} == {"test"}
    assert {each.dataset_type for each in results} == {HUB_DATASET}
    assert {each.dataset_args["sha256"] for each in results} == {FASHION_MNIST_DIGEST}


def test_the_settings_of_each_figure_are_in_the_model_index(entry, text):
    results = ModelCard(text).data.eval_results
    for path in PUBLISHED:
        value = figure_at(entry.manifest, path)
        if value is None:
            continue
        table = figure_at(entry.manifest, path[:-1])
        same = [each for each in PUBLISHED if each[:-1] == path[:-1]]
        figures = {each[-1] for each in same} | {"pca_mse", "noisy_mse", "mean_mse"}
        wanted = {
            key: each
            for key, each in table.items()
            if key not in figures and isinstance(each, (bool, int, float, str))
        }
        assert wanted.keys() & {"latent_size", "input_size"}
        wanted["seed"] = entry.manifest.evaluations[path[0]].seed
        wanted["training_seed"] = entry.manifest.training.seed
        found = [each.metric_args for each in results if each.metric_value == value]
        assert found.count(wanted) == sum(figure_at(entry.manifest, each) == value for each in same)


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


# What people read


def test_the_protocol_stands_beside_each_figure(entry, text):
    rows = results_rows(text)
    forms = dict.fromkeys(("mse",), ".5f") | dict.fromkeys(("ssim", "precision", "recall"), ".3f")
    forms |= dict.fromkeys(("psnr", "elbo", "perplexity", "frechet", "nll"), ".2f")
    forms |= {"active_values": ",", "class_agreement": ".4f", "accuracy": ".4f"}
    forms |= dict.fromkeys(["nmi", "ari", *FEW_LABELS.split()], ".4f")
    headlines = [path for path in PUBLISHED if path[-1] in forms]
    headlines.remove(("elbo", "active_values"))
    values = [(forms[path[-1]], figure_at(entry.manifest, path)) for path in headlines]
    shown = [f"**{value:{form}}**" for form, value in values if value is not None]
    assert [row["test"] for row in rows if row["test"].startswith("**")] == shown
    described = re.findall(r"^- \*\*(.+)\*\*: .+ seed 0", section(text, "Results"), re.M)
    for row in rows:
        assert any(row["protocol"].startswith(name) for name in described)
        assert row["values"].replace(",", "").isdigit()


def test_files_stand_with_their_digests(entry, text):
    rows = {row[0]: row for row in rows_of(section(text, "Files"))}
    for name, record in entry.manifest.files.items():
        assert rows[f"`{name}`"][2:] == [f"{record.size:,}", f"`{record.sha256}`"]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_card_passes_and_made_from_itself_is_itself(entry, text, newline):
    check_card("\ufeff" + text, entry.manifest)
    text = text.replace("\n", newline)
    assert card_of(entry, REPO, existing=text) == text


def test_what_was_chosen_stands_beside_the_figure():
    entry = find_entry("conv-ae-bn")
    rows = {row["test"]: row for row in results_rows(card_of(entry, REPO))}
    assert rows["**0.8818**"]["protocol"] == "linear probe on the latent mean, C = 1"
    assert rows["**0.8935**"]["protocol"].endswith(", k = 3")
    assert rows["**0.9313**"]["head"] == "818,186"
    assert rows["**0.9313**"]["values"] == "3,136"
    assert "learning rate 0.003, weight decay 0.25" in card_of(entry, REPO)


def test_pca_with_as_many_values_has_a_row(vae):
    (row,) = [row for row in results_rows(card_of(vae, REPO)) if "PCA" in row["figure"]]
    assert row["test"] == f"{vae.manifest.results['reconstruction']['pca_mse']:.5f}"
    assert row["values"] == "32"
    assert "PCA" not in block_of(card_of(find_entry("conv-ae-bn-spatial"), REPO))


def test_mean_and_deviation_are_over_all_trainings():
    entry = find_entry("dense-ae")
    runs = [entry.manifest.results, *(each.results for each in entry.manifest.seeds.values())]
    text = card_of(entry, REPO)
    for figure, key, digits in (("reconstruction", "mse", 5), ("knn", "accuracy", 4)):
        values = [run[figure][key] for run in runs]
        spread = f"{mean(values):.{digits}f} ± {stdev(values):.{digits}f} (3)"
        test = f"**{values[0]:.{digits}f}**"
        assert [r["mean ± sd"] for r in results_rows(text) if r["test"] == test] == [spread]
    assert "seeds 0, 1, 2" in text
    assert re.search(
        "^Measured: .* with .* backend jax, .*; heads with .* backend torch,", text, re.M
    )
    results = {key: each for key, each in entry.manifest.results.items() if key != "heads"}
    text = body_of(entry.spec, entry.manifest.model_copy(update={"results": results}), REPO)
    first, others = re.search(r"^Measured with (.*)\. Those .* with (.*)\.$", text, re.M).groups()
    assert "backend jax" in first
    assert "backend torch" in others
    assert "±" not in card_of(find_entry("conv-ae-bn"), REPO)


def test_the_training_is_described(vae):
    text = section(card_of(vae, REPO), "Training")
    training = vae.manifest.training
    rows = {row[0]: row[1] for row in rows_of(text)}
    assert rows["seed"] == str(training.seed)
    assert rows["epochs"].startswith(f"{training.epochs}; epoch {training.best_epoch},")
    assert training.data_digest in rows["SHA-256 of the data's arrays"]
    backend = training.environment["backend"]
    assert f"{backend} {training.environment[backend]}" in rows["environment"]
    (toml,) = code_blocks(text, "toml")
    rebuilt = ModelSpec.from_dict({"name": "same", "summary": "same", **tomllib.loads(toml)})
    for part in ("network", "latent", "objective", "recipe"):
        assert getattr(rebuilt, part) == getattr(vae.spec, part)


def test_limitations_come_from_the_spec(vae):
    generative = section(card_of(vae, REPO), "Limitations")
    spatial = section(card_of(find_entry("conv-ae-bn-spatial"), REPO), "Limitations")
    assert "no generative model" in spatial
    assert "12,544 values" in spatial
    assert "no generative model" not in generative
    assert "its prior" in generative


def test_a_checkpoint_without_records_says_so(unmeasured):
    text = card_of(unmeasured, REPO)
    assert "No results" in section(text, "Results")
    assert "does not record" in section(text, "Training")
    assert rows_of(section(text, "Results") + section(text, "Training")) == []
    assert metadata_of(text).keys().isdisjoint({"model-index", "datasets"})
    assert "fashion-mnist" not in metadata_of(text)["tags"]
    check_card(text, unmeasured.manifest)


def test_an_untrained_entry_has_no_card():
    with pytest.raises(NoWeightsError):
        card_of(Entry(tiny_spec()), REPO)


def test_results_without_a_known_protocol_are_named_and_not_published(tmp_path, vae):
    results = vae.manifest.results | {"clair|voyance": {"accuracy": 0.999}}
    text = card_of(changed(tmp_path, vae, results=results), REPO)
    assert r"their protocol is not known here: clair\|voyance." in text
    assert "0.999" not in text


@pytest.mark.parametrize(
    ("results", "place"),
    [
        ({"knn": {"accuracy": "0.9"}}, r"results\.knn\.accuracy"),
        ({"knn": {"accuracy": True}}, r"results\.knn\.accuracy"),
        ({"knn": {"accuracy": float("nan")}}, "NaN"),
        ({"knn": {"accuracy": 10**400}}, r"results\.knn\.accuracy"),
        ({"frozen_head": {"latent": 0.9}}, r"results\.frozen_head\.latent"),
    ],
)
def test_a_figure_that_is_no_number_is_refused(tmp_path, vae, results, place):
    with pytest.raises(SpecError, match=place):
        card_of(changed(tmp_path, vae, results=results), REPO)


def test_pictures_are_shown_with_their_meaning(vae):
    text = card_of(vae, REPO, pictures=["reconstructions.png", "curves.png", "my_map.png"])
    head = block_of(text).split("## Use")[0]
    assert re.search(r"!\[.*reconstructions by dense-vae\]\(reconstructions\.png\)", head)
    assert "![my map of dense-vae](my_map.png)" in head
    assert "](curves.png)" in section(text, "Training")
    assert "![" not in card_of(vae, REPO)


@pytest.mark.parametrize("name", ["../up.png", "a b.png", "x](y)", "", "-->.png", "é.png"])
def test_a_picture_elsewhere_is_refused(vae, name):
    with pytest.raises(ArgumentError, match="picture"):
        card_of(vae, REPO, pictures=[name])


@pytest.mark.parametrize("repo", ["mine", "me/mine/else", 'me/a") or x("', "me/<b>"])
def test_a_repo_that_is_none_is_refused(vae, repo):
    with pytest.raises(ArgumentError, match="repo"):
        card_of(vae, repo)


# The examples


def test_the_examples_compile_and_name_the_repo(entry, text):
    blocks = code_blocks(text, "python")
    assert len(blocks) == 2
    for block in blocks:
        compile(block, "README.md", "exec")
        assert f"hf://{REPO}" in block
        assert f", {entry.spec.latent.size})" in block
    samples = entry.spec.latent.has_prior or bool(entry.manifest.sampler)
    assert ("ae.generate" in blocks[0]) == samples


@pytest.mark.parametrize("name", ["dense-ae", "dense-vae"])
def test_the_example_runs(few, monkeypatch, name):
    monkeypatch.setattr(loading, "find_data", lambda: few)
    entry = find_entry(name)
    code = code_blocks(card_of(entry, REPO), "python")[0]
    names: dict = {}
    exec(code.replace(f"hf://{REPO}", f"local:{entry.folder}"), names)
    count = len(few.test_images)
    assert names["z"].shape == (count, entry.spec.latent.size)
    assert names["x"].shape == (count, 28, 28, 1)
    codes = names["encoder"].predict(few.test_images[..., None] / 255.0, verbose=0)
    np.testing.assert_allclose(codes, names["z"], atol=1e-4)
    assert names["new"].shape == (16, 28, 28, 1)


def test_the_example_of_plain_keras_runs(monkeypatch, tmp_path):
    entry = find_entry("dense-ae")
    encoder = entry.build(pretrained=True, part="encoder")
    keras.saving.save_model(encoder, tmp_path / "repo", zipped=False)
    monkeypatch.setattr(
        "huggingface_hub.snapshot_download", lambda *_, **__: str(tmp_path / "repo")
    )
    names: dict = {}
    exec(code_blocks(card_of(entry, REPO), "python")[1], names)
    assert names["z"].shape == (4, 32)


# Text of strangers


@pytest.fixture
def hostile(tmp_path, vae):
    strange = HOSTILE[:290]
    training = vae.manifest.training.model_dump()
    training["environment"] = {HOSTILE: HOSTILE, "python": "3 | 4"}
    results = vae.manifest.results | {HOSTILE: {"x": 1.0}}
    results["knn"] = results["knn"] | {HOSTILE: HOSTILE, "weights": HOSTILE}
    how = vae.manifest.evaluations["knn"].model_dump() | {"environment": {HOSTILE: HOSTILE}}
    return changed(
        tmp_path,
        vae,
        {"summary": strange, "keywords": [HOSTILE, "  "], "references": [HOSTILE, "- a\n- b"]},
        licence=HOSTILE,
        parameters={HOSTILE: 3},
        training=training,
        results=results,
        evaluations=vae.manifest.model_dump()["evaluations"] | {"knn": how},
    )


def test_text_of_strangers_is_shown_and_not_obeyed(hostile, vae):
    plain = card_of(vae, REPO, pictures=["curves.png"])
    text = card_of(hostile, REPO, pictures=["curves.png"])
    assert text.count(BEGIN) == text.count(END) == 1
    assert text.count("<!--") == 2
    assert not {"\u202e", "\u0007"} & set(text)
    body, ordinary = (
        MarkdownIt("commonmark").enable("table").parse(block_of(each) + END)
        for each in (text, plain)
    )
    inside = Counter(child.type for token in body for child in token.children or ())
    assert inside["html_inline"] == inside["link_open"] == 0
    assert inside["image"] == 1
    kinds, usual = (Counter(token.type for token in tokens) for tokens in (body, ordinary))
    structure = ("html_block", "heading_open", "fence", "table_open", "hr", "blockquote_open")
    for kind in (*structure, "code_block"):
        assert kinds[kind] == usual[kind]
    assert any("Heading" in token.content for token in body if token.type == "inline")
    read = ModelCard(text).data
    assert read.license == "other"
    assert read.license_name.startswith("# x")
    assert all("\n" not in tag and tag for tag in read.tags)
    assert len(read.eval_results) == len(ModelCard(plain).data.eval_results)
    assert card_of(hostile, REPO, pictures=["curves.png"], existing=text) == text


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
        ("value: PROBE\n", "value: 0.909\n", "linear probe.*PROBE.*0.909"),
        ("value: PROBE\n", "value: 'PROBE'\n", "linear probe.*'PROBE'"),
        ("C: ", "C: 7", "settings"),
        ("type: accuracy\n", "kind: accuracy\n", "metadata"),
        ("name: accuracy (linear", "name: best (linear", "no such figure"),
        ("name: accuracy (linear", "name: [1]\n      x: (linear", "no such figure"),
        ("split: test\n", "split: train\n", "settings"),
        ("model-index:\n", "model-index: nothing\nold:\n", "metadata"),
        ("model-index:\n", "old:\n", "missing: MSE"),
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


def test_a_prior_that_gives_no_images_is_named(vae, tmp_path):
    words = "It is not for draws of its own prior"
    results = copy.deepcopy(vae.manifest.results)
    best = results["generation"]["frechet_reconstructions"]
    results["generation"]["frechet_prior"] = 3.2 * best
    named = card_of(changed(tmp_path, vae, results=results), REPO)
    assert f"{words}: they are 3.2 times as far" in named
    results["generation"]["frechet_prior"] = 1.9 * best
    assert words not in card_of(changed(tmp_path, vae, results=results), REPO)
