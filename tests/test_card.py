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
from fmae_zoo.datasets import FASHION_MNIST_DIGEST, HUB_DATASET, loading
from fmae_zoo.entry import Entry
from fmae_zoo.errors import ArgumentError, NoWeightsError, SpecError
from fmae_zoo.evaluation import FIGURES
from fmae_zoo.manifest import MANIFEST_FILE
from fmae_zoo.registry import bundled, find_entry
from fmae_zoo.saving import spec_toml
from fmae_zoo.spec import SPEC_FILE, ModelSpec
from tests.conftest import run_python, tiny_spec

pytestmark = pytest.mark.usefixtures("eager")

REPO = "me/mine"
ENTRIES = [entry for entry in bundled() if entry.pretrained]
each_entry = pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.spec.name)

PUBLISHED = (
    ("reconstruction", "mse"),
    ("reconstruction", "psnr"),
    ("reconstruction", "ssim"),
    ("linear_probe", "accuracy"),
    ("knn", "accuracy"),
    ("frozen_head", "latent", "accuracy"),
    ("frozen_head", "latent", "loss"),
    ("frozen_head", "features", "accuracy"),
    ("frozen_head", "features", "loss"),
    ("fine_tuned", "accuracy"),
    ("fine_tuned", "loss"),
    ("elbo", "elbo"),
    ("elbo", "reconstruction"),
    ("elbo", "kl"),
    ("elbo", "active_values"),
    ("nll", "nll"),
    ("nll", "standard_error"),
    ("denoising", "mse"),
    ("denoising", "psnr"),
    ("inpainting", "mse"),
    ("inpainting", "psnr"),
    ("code_use", "perplexity"),
    ("code_use", "active_values"),
    ("code_use", "codes_used"),
    ("code_use", "kl"),
    ("generation", "frechet"),
    ("generation", "precision"),
    ("generation", "recall"),
    ("generation", "class_agreement"),
    ("generation", "frechet_prior"),
    ("generation", "frechet_gmm"),
    ("generation", "frechet_two-stage"),
    ("generation", "frechet_autoregressive"),
    ("generation", "frechet_reconstructions"),
    ("fid", "fid"),
    ("fid", "fid_reconstructions"),
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


@pytest.fixture
def vae():
    return find_entry("dense-vae")


@pytest.fixture
def unmeasured(tmp_path):
    """A user's own checkpoint: saved, and nothing recorded."""
    save(Autoencoder(tiny_spec()), tmp_path / "mine")
    return Entry.read(tmp_path / "mine")


# What the Hub reads


@each_entry
def test_each_figure_in_the_model_index_is_the_manifests(entry):
    results = ModelCard(card_of(entry, REPO)).data.eval_results
    found = Counter((each.metric_type, repr(each.metric_value)) for each in results)
    values = {path: figure_at(entry.manifest, path) for path in PUBLISHED}
    assert found == Counter(
        (path[-1], repr(value)) for path, value in values.items() if value is not None
    )
    assert len({each.metric_name for each in results}) == len(results)
    assert {each.dataset_split for each in results} == {"test"}
    assert {each.dataset_type for each in results} == {HUB_DATASET}
    assert {each.dataset_args["sha256"] for each in results} == {FASHION_MNIST_DIGEST}


@each_entry
def test_the_settings_of_each_figure_are_in_the_model_index(entry):
    results = ModelCard(card_of(entry, REPO)).data.eval_results
    for path in PUBLISHED:
        value = figure_at(entry.manifest, path)
        if value is None:
            continue
        table = figure_at(entry.manifest, path[:-1])
        own = {each[-1] for each in PUBLISHED if each[:-1] == path[:-1]} | {
            "pca_mse",
            "noisy_mse",
            "mean_mse",
        }
        settings = {
            key: each
            for key, each in table.items()
            if key not in own and isinstance(each, (bool, int, float, str))
        }
        assert settings.keys() & {"latent_size", "input_size"}
        same = [each for each in PUBLISHED if each[:-1] == path[:-1]]
        wanted = settings | {
            "seed": entry.manifest.evaluations[path[0]].seed,
            "training_seed": entry.manifest.training.seed,
        }
        found = [each.metric_args for each in results if each.metric_value == value]
        assert found.count(wanted) == sum(figure_at(entry.manifest, each) == value for each in same)


def test_the_protocols_of_a_figure_are_found_where_evaluate_puts_it():
    for name, figure in FIGURES.items():
        assert {protocol.path[0] for protocol in figure.protocols} == {name}


def test_the_metadata_say_what_the_model_is():
    metadata = metadata_of(card_of(find_entry("conv-ae-bn"), REPO))
    assert metadata["license"] == "apache-2.0"
    assert metadata["library_name"] == "keras"
    assert metadata["pipeline_tag"] == "image-feature-extraction"
    assert metadata["datasets"] == [HUB_DATASET]
    assert metadata["tags"] == [
        "autoencoder", "batch-norm", "clustered_squared_error", "conv", "convolutional",
        "deterministic", "fashion-mnist", "fmae-zoo", "keras",
    ]  # fmt: skip
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


def test_without_a_licence_there_is_no_card(tmp_path, vae):
    with pytest.raises(SpecError, match=r"licence: expected .* SPDX"):
        card_of(changed(tmp_path, vae, licence=" \n"), REPO)


def test_other_data_are_not_called_fashion_mnist(tmp_path, vae):
    training = vae.manifest.training.model_dump() | {
        "data_digest": "0" * 64,
        "data_source": "/home/alice/private/kmnist",
    }
    how = vae.manifest.evaluations["knn"].model_dump() | {"data_digest": "0" * 64}
    results = {"knn": vae.manifest.results["knn"]}
    entry = changed(
        tmp_path, vae, training=training, results=results, evaluations={"knn": how}, seeds={}
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
    assert "On the test images of kmnist." in text
    assert "datasets" not in metadata_of(card_of(entry, REPO))


# What people read


@each_entry
def test_the_protocol_stands_beside_each_figure(entry):
    text = card_of(entry, REPO)
    rows = results_rows(text)
    forms = {"mse": ".5f", "psnr": ".2f", "ssim": ".3f", "elbo": ".2f", "active_values": ","}
    forms |= {"perplexity": ".2f", "frechet": ".2f", "precision": ".3f", "recall": ".3f"}
    forms |= {"class_agreement": ".4f", "nll": ".2f"}
    headlines = [path for path in PUBLISHED if path[-1] in (*forms, "accuracy")]
    headlines.remove(("elbo", "active_values"))
    values = [(path, figure_at(entry.manifest, path)) for path in headlines]
    shown = [
        f"**{each:{forms.get(path[-1], '.4f')}}**" for path, each in values if each is not None
    ]
    assert [row["test"] for row in rows if row["test"].startswith("**")] == shown
    described = re.findall(r"^- \*\*(.+)\*\*: .+ seed 0", section(text, "Results"), re.M)
    for row in rows:
        assert any(row["protocol"].startswith(name) for name in described)
        assert row["values"].replace(",", "").isdigit()


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
    spatial = card_of(find_entry("conv-ae-bn-spatial"), REPO)
    assert "PCA" not in block_of(spatial)


def test_mean_and_deviation_are_over_all_trainings():
    entry = find_entry("dense-ae")
    manifest = entry.manifest
    runs = [manifest.results, *(each.results for each in manifest.seeds.values())]
    for figure, key, digits in (("reconstruction", "mse", 5), ("knn", "accuracy", 4)):
        values = [run[figure][key] for run in runs]
        spread = f"{mean(values):.{digits}f} ± {stdev(values):.{digits}f} (3)"
        test = f"**{values[0]:.{digits}f}**"
        rows = results_rows(card_of(entry, REPO))
        assert [row["mean ± sd"] for row in rows if row["test"] == test] == [spread]
    assert "seeds 0, 1, 2" in card_of(entry, REPO)
    measured = re.search(
        r"^Measured with (.*)\. Those with other seeds were measured with (.*)\.$",
        card_of(entry, REPO),
        re.M,
    )
    assert "backend jax" in measured[1]
    assert "backend torch" in measured[2]
    assert "±" not in card_of(find_entry("conv-ae-bn"), REPO)


def test_the_training_is_described(vae):
    text = section(card_of(vae, REPO), "Training")
    training = vae.manifest.training
    rows = {row[0]: row[1] for row in rows_of(text)}
    assert rows["seed"] == str(training.seed)
    assert rows["epochs"].startswith(f"{training.epochs}; epoch {training.best_epoch},")
    minutes, seconds = divmod(round(training.seconds), 60)
    assert rows["time"] == f"{minutes} min {seconds} s"
    assert training.data_digest in rows["SHA-256 of the data's arrays"]
    backend = training.environment["backend"]
    assert f"{backend} {training.environment[backend]}" in rows["environment"]
    (toml,) = code_blocks(text, "toml")
    spec = vae.spec.model_dump(mode="json")
    content = {"name": "same", "summary": "same", **tomllib.loads(toml)}
    rebuilt = ModelSpec.from_dict(content).model_dump(mode="json")
    for part in ("network", "latent", "objective", "recipe"):
        assert rebuilt[part] == spec[part]


@each_entry
def test_files_stand_with_their_digests(entry):
    rows = {row[0]: row for row in rows_of(section(card_of(entry, REPO), "Files"))}
    for name, record in entry.manifest.files.items():
        assert rows[f"`{name}`"][2:] == [f"{record.size:,}", f"`{record.sha256}`"]


def test_limitations_come_from_the_spec(vae):
    generative = section(card_of(vae, REPO), "Limitations")
    spatial = section(card_of(find_entry("conv-ae-bn-spatial"), REPO), "Limitations")
    assert "no generative model" in spatial
    assert "12,544 values, and an image 784" in spatial
    assert "no generative model" not in generative
    assert "its prior" in generative
    assert "Zalando" in generative


def test_a_checkpoint_without_records_says_so(unmeasured):
    text = card_of(unmeasured, REPO)
    assert "No results: the manifest of this model records no figures." in text
    assert "does not record how these weights were trained" in text
    assert rows_of(section(text, "Results") + section(text, "Training")) == []
    assert metadata_of(text).keys().isdisjoint({"model-index", "datasets"})
    assert "fashion-mnist" not in metadata_of(text)["tags"]
    assert ModelCard(text).data.eval_results is None
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
    ("results", "message"),
    [
        ({"knn": {"accuracy": "0.9"}}, r"results\.knn\.accuracy: expected a finite number.*'0\.9'"),
        ({"knn": {"accuracy": True}}, r"results\.knn\.accuracy: expected a finite number"),
        ({"knn": {"accuracy": float("nan")}}, "NaN is no finite number"),
        ({"knn": {"accuracy": 10**400}}, r"results\.knn\.accuracy: expected a finite number"),
        ({"frozen_head": {"latent": 0.9}}, r"results\.frozen_head\.latent: expected a table"),
    ],
)
def test_a_figure_that_is_no_number_is_refused(tmp_path, vae, results, message):
    with pytest.raises(SpecError, match=message):
        card_of(changed(tmp_path, vae, results=results), REPO)


def test_pictures_are_shown_with_their_meaning(vae):
    text = card_of(vae, REPO, pictures=["reconstructions.png", "curves.png", "my_map.png"])
    head = block_of(text).split("## Use")[0]
    assert "![Images over their reconstructions by dense-vae](reconstructions.png)" in head
    assert "![my map of dense-vae](my_map.png)" in head
    assert "![Loss of dense-vae over the epochs](curves.png)" in section(text, "Training")
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


@each_entry
def test_the_examples_compile_and_name_the_repo(entry):
    blocks = code_blocks(card_of(entry, REPO), "python")
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
    block = code_blocks(card_of(entry, REPO), "python")[0]
    names: dict = {}
    code = block.replace(f"hf://{REPO}", f"local:{entry.folder}")
    exec(compile(code, "README.md", "exec"), names)
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
    asked = []

    def snapshot(repo_id, **options):
        asked.append(repo_id)
        return str(tmp_path / "repo")

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    names: dict = {}
    exec(compile(code_blocks(card_of(entry, REPO), "python")[1], "README.md", "exec"), names)
    assert asked == [REPO]
    assert names["z"].shape == (4, 32)


def test_the_module_imports_neither_keras_nor_the_hubs_client():
    code = "import sys, fmae_zoo.card; print(sys.modules.keys() & {'keras', 'huggingface_hub'})"
    result = run_python(code)
    assert result.stdout.strip() == "set()", result.stderr


# Text of strangers

HOSTILE = (
    f"# x {END} | cell |\n\n# Heading\n{BEGIN} <script>alert(1)</script> ![i](http://x/i.png) "
    "[link](javascript:x) `code` **bold** <!-- fmae_zoo: end --> ``` ~~~ $x$ \u202e\u0007&lt;"
)


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


def test_text_of_strangers_is_shown_and_not_obeyed(hostile):
    text = card_of(hostile, REPO, pictures=["curves.png"])
    assert text.count(BEGIN) == text.count(END) == 1
    assert text.count("<!--") == 2
    assert "\u202e" not in text
    assert "\u0007" not in text
    body = MarkdownIt("commonmark").enable("table").parse(block_of(text) + END)
    kinds = Counter(token.type for token in body)
    inside = Counter(child.type for token in body for child in token.children or ())
    assert kinds["html_block"] == 2
    assert inside["html_inline"] == inside["link_open"] == 0
    assert inside["image"] == 1
    plain = MarkdownIt("commonmark").enable("table").parse(block_of(card_of_plain(hostile)) + END)
    ordinary = Counter(token.type for token in plain)
    for kind in ("heading_open", "fence", "table_open", "hr", "blockquote_open", "code_block"):
        assert kinds[kind] == ordinary[kind]
    shown = [token.content for token in body if token.type == "inline"]
    assert any("Heading" in each and "cell" in each for each in shown)


def card_of_plain(entry):
    """Return the card of the same figures with nothing strange in it."""
    return card_of(find_entry(entry.spec.name), REPO, pictures=["curves.png"])


def test_a_sampler_is_a_name(tmp_path, vae):
    with pytest.raises(SpecError, match="sampler"):
        card_of(changed(tmp_path, vae, sampler=HOSTILE), REPO)


def test_text_of_strangers_leaves_the_metadata_readable(hostile):
    text = card_of(hostile, REPO)
    read = ModelCard(text).data
    assert read.license == "other"
    assert read.license_name.startswith("# x")
    assert all("\n" not in tag and tag for tag in read.tags)
    assert len(read.eval_results) == len(ModelCard(card_of_plain(hostile)).data.eval_results)
    assert card_of(hostile, REPO, existing=text) == text


# Cards that a person has edited


@each_entry
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_card_made_from_itself_is_itself(entry, newline):
    first = card_of(entry, REPO, pictures=["curves.png"])
    assert first == card_of(entry, REPO, pictures=["curves.png"])
    first = first.replace("\n", newline)
    again = card_of(entry, REPO, pictures=["curves.png"], existing=first)
    assert again == first


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
    with pytest.raises(SpecError, match=r"me/mine: README.md: its markers are damaged.*take"):
        card_of(vae, REPO, existing=f"Mine.\n{body}\nMore.\n")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("license: [", "not valid YAML"),
        ("license: mit\nlicense: gpl", "there twice: license"),
        ("- a\n- b", "expected keys and their values"),
        ("just text", "expected keys and their values"),
        ("{license: mit}", "a line of its own"),
        ("{\nlicense: mit}", "a line of its own"),
        ("{}", "a line of its own"),
        ("? license\n: mit", "a line of its own"),
        ("date: 2024-99-99", "not valid YAML"),
        ("a: &x [1]\nb: *x", "refers to another"),
        ("a: \x07", "not valid YAML"),
        ("tags: {a: b}", "tags: expected a list of texts"),
        ("language: en\n...", "not valid YAML"),
    ],
)
def test_metadata_that_cannot_be_kept_are_refused(vae, header, message):
    with pytest.raises(SpecError, match=message):
        card_of(vae, REPO, existing=f"---\n{header}\n---\nMine.\n")


def test_metadata_without_an_end_are_refused(vae):
    with pytest.raises(SpecError, match="has no end"):
        card_of(vae, REPO, existing="---\nlicense: mit\n\nMine.\n")


# check_card


@each_entry
def test_a_generated_card_passes(entry):
    text = card_of(entry, REPO)
    check_card(text)
    check_card("\ufeff" + text, entry.manifest)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("license: apache-2.0\n", "", "license: expected"),
        ("license: apache-2.0\n", "license: ''\n", "license: expected"),
        ("license: apache-2.0\n", "license: other\n", "license_name: expected"),
        ("license: apache-2.0\n", "license: [\n", "not valid YAML"),
        ("value: PROBE\n", "value: 0.909\n", "linear probe.*expected PROBE.*received 0.909"),
        ("value: PROBE\n", "value: 'PROBE'\n", "linear probe.*received 'PROBE'"),
        ("C: ", "C: 7", "settings are not the manifest's"),
        ("type: accuracy\n", "kind: accuracy\n", "metadata cannot be read"),
        ("name: accuracy (linear", "name: best (linear", "no such figure"),
        ("name: accuracy (linear", "name: [1]\n      x: (linear", "no such figure"),
        ("split: test\n", "split: train\n", "settings are not the manifest's"),
        ("model-index:\n", "model-index: nothing\nold:\n", "metadata cannot be read"),
        ("model-index:\n", "old:\n", "figures of the manifest are missing: MSE"),
    ],
)
def test_a_card_that_says_something_else_is_refused(vae, old, new, message):
    text = card_of(vae, REPO)
    probe = str(vae.manifest.results["linear_probe"]["accuracy"])
    old, new, message = (each.replace("PROBE", probe) for each in (old, new, message))
    assert old in text
    with pytest.raises(SpecError, match=f"(?s)here.md: .*{message}"):
        check_card(text.replace(old, new, 1), vae.manifest, "here.md")


@pytest.mark.parametrize("text", ["", "# Hello\n", "---\n\n---\n"])
def test_a_card_without_metadata_is_refused(text):
    with pytest.raises(SpecError, match="no metadata"):
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
