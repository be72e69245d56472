"""A model card says what the manifest says, and shows what strangers wrote."""

import copy
import re
import tomllib
from collections import Counter
from statistics import mean, stdev

import keras
import numpy as np
import pytest
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

from fmae_zoo import save
from fmae_zoo.autoencoder import Autoencoder
from fmae_zoo.card import BEGIN, END, card_of, check_card
from fmae_zoo.datasets import loading
from fmae_zoo.entry import Entry
from fmae_zoo.errors import ArgumentError, NoWeightsError, SpecError
from fmae_zoo.registry import find_entry
from fmae_zoo.spec import ModelSpec
from tests.cards import (
    ENTRIES,
    HOSTILE,
    REPO,
    block_of,
    changed,
    code_blocks,
    figures_in,
    metadata_of,
    results_rows,
    rows_of,
    section,
)
from tests.conftest import tiny_spec


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


FORMATS = [
    ("reconstruction", {"mse": 0.012345, "psnr": 19.876, "ssim": 0.76543}, "0.01235 19.88 0.765"),
    ("linear_probe", {"accuracy": 0.81234}, "0.8123"),
    ("knn", {"accuracy": 0.85}, "0.8500"),
    ("elbo", {"elbo": -240.126, "reconstruction": 230.0, "kl": 10.126}, "-240.13"),
    ("generation", {"frechet": 10.876, "precision": 0.56789, "recall": 0.4}, "10.88 0.568 0.400"),
]


@pytest.mark.once
@pytest.mark.parametrize(("name", "results", "shown"), FORMATS)
def test_numbers_are_shown_in_the_digits_that_matter(tmp_path, vae, name, results, shown):
    card = card_of(changed(tmp_path, vae, results={name: results}, seeds={}), REPO)
    assert [row["test"].strip("*") for row in results_rows(card)] == shown.split()


@pytest.mark.once
def test_the_protocol_stands_beside_each_figure(entry, text):
    rows = results_rows(text)
    headlines = [
        f"**{measure.shown(value)}**"
        for protocol, measure, value, _ in figures_in(entry.manifest)
        if measure in protocol.measures
    ]
    assert [row["test"] for row in rows if row["test"].startswith("**")] == headlines
    described = re.findall(r"^- \*\*(.+)\*\*: .+ seed 0", section(text, "Results"), re.M)
    for row in rows:
        assert any(row["protocol"].startswith(name) for name in described)
        assert row["values"].replace(",", "").isdigit()


@pytest.mark.once
def test_files_stand_with_their_digests(entry, text):
    rows = {row[0]: row for row in rows_of(section(text, "Files"))}
    for name, record in entry.manifest.files.items():
        assert rows[f"`{name}`"][2:] == [f"{record.size:,}", f"`{record.sha256}`"]


@pytest.mark.once
def test_what_was_chosen_stands_beside_the_figure():
    entry = find_entry("conv-ae-bn")
    rows = {row["test"]: row for row in results_rows(card_of(entry, REPO))}
    assert rows["**0.8818**"]["protocol"] == "linear probe on the latent mean, C = 1"
    assert rows["**0.8935**"]["protocol"].endswith(", k = 3")
    assert rows["**0.9313**"]["head"] == "818,186"
    assert rows["**0.9313**"]["values"] == "3,136"
    assert "learning rate 0.003, weight decay 0.25" in card_of(entry, REPO)


@pytest.mark.once
def test_pca_with_as_many_values_has_a_row(vae):
    (row,) = [row for row in results_rows(card_of(vae, REPO)) if "PCA" in row["figure"]]
    assert row["test"] == f"{vae.manifest.results['reconstruction']['pca_mse']:.5f}"
    assert row["values"] == "32"
    assert "PCA" not in block_of(card_of(find_entry("conv-ae-bn-spatial"), REPO))


@pytest.mark.once
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
    assert re.search("^- with .* backend jax, .*: reconstruction, ", text, re.M)
    assert re.search("^- with .* backend torch, .*: heads, other seeds", text, re.M)
    assert "±" not in card_of(find_entry("conv-ae-bn"), REPO)


@pytest.mark.once
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


@pytest.mark.once
def test_limitations_come_from_the_spec(vae):
    generative = section(card_of(vae, REPO), "Limitations")
    spatial = section(card_of(find_entry("conv-ae-bn-spatial"), REPO), "Limitations")
    assert "no generative model" in spatial
    assert "12,544 values" in spatial
    assert "no generative model" not in generative
    assert "its prior" in generative


@pytest.mark.once
def test_a_checkpoint_without_records_says_so(unmeasured):
    text = card_of(unmeasured, REPO)
    assert "No results" in section(text, "Results")
    assert "does not record" in section(text, "Training")
    assert rows_of(section(text, "Results") + section(text, "Training")) == []
    assert metadata_of(text).keys().isdisjoint({"model-index", "datasets"})
    assert "fashion-mnist" not in metadata_of(text)["tags"]
    check_card(text, unmeasured.manifest)


@pytest.mark.once
def test_an_untrained_entry_has_no_card():
    with pytest.raises(NoWeightsError):
        card_of(Entry(tiny_spec()), REPO)


@pytest.mark.once
def test_results_without_a_known_protocol_are_named_and_not_published(tmp_path, vae):
    results = vae.manifest.results | {"clair|voyance": {"accuracy": 0.999}}
    text = card_of(changed(tmp_path, vae, results=results), REPO)
    assert r"their protocol is not known here: clair\|voyance." in text
    assert "0.999" not in text


@pytest.mark.once
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


@pytest.mark.once
def test_pictures_are_shown_with_their_meaning(vae):
    text = card_of(vae, REPO, pictures=["reconstructions.png", "curves.png", "my_map.png"])
    head = block_of(text).split("## Use")[0]
    assert "![images and their reconstructions, of dense-vae](reconstructions.png)" in head
    assert "![my map, of dense-vae](my_map.png)" in head
    assert "](curves.png)" in section(text, "Training")
    assert "![" not in card_of(vae, REPO)


@pytest.mark.once
@pytest.mark.parametrize("name", ["../up.png", "a b.png", "x](y)", "", "-->.png", "é.png"])
def test_a_picture_elsewhere_is_refused(vae, name):
    with pytest.raises(ArgumentError, match="picture"):
        card_of(vae, REPO, pictures=[name])


@pytest.mark.once
@pytest.mark.parametrize("repo", ["mine", "me/mine/else", 'me/a") or x("', "me/<b>"])
def test_a_repo_that_is_none_is_refused(vae, repo):
    with pytest.raises(ArgumentError, match="repo"):
        card_of(vae, repo)


# The examples


@pytest.mark.once
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


@pytest.mark.once
def test_a_prior_that_gives_no_images_is_named(vae, tmp_path):
    words = "It is not for draws of its own prior"
    results = copy.deepcopy(vae.manifest.results)
    best = results["generation"]["frechet_reconstructions"]
    results["generation"]["frechet_prior"] = 3.2 * best
    named = card_of(changed(tmp_path, vae, results=results), REPO)
    assert f"{words}: they are 3.2 times as far" in named
    results["generation"]["frechet_prior"] = 1.9 * best
    assert words not in card_of(changed(tmp_path, vae, results=results), REPO)


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


@pytest.mark.once
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
