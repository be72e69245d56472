"""The tables, the CSV and the plot of results say what the manifests say."""

import csv
import importlib
import io
import json
import math
import re
import sys

import numpy as np
import pytest
from PIL import Image

from fmae_zoo import evaluation, registry
from fmae_zoo.entry import Entry
from fmae_zoo.evaluation.figure import CODING, Figure, Measure, Protocol
from fmae_zoo.manifest import Manifest
from fmae_zoo.saving import spec_toml
from tests.conftest import ROOT, tiny_spec

ENTRIES = {registry.short_name(entry): entry for entry in registry.bundled()}
RESULTS = {
    name: json.loads((entry.folder / "manifest.json").read_text(encoding="utf-8"))["results"]
    for name, entry in ENTRIES.items()
    if entry.pretrained
}
SHOWN = {
    ("Reconstruction", "MSE"): ("reconstruction.mse", 5),
    ("Reconstruction", "SSIM"): ("reconstruction.ssim", 3),
    ("Generation", "Frechet"): ("generation.frechet", 2),
    ("Generation", "Frechet, prior"): ("generation.frechet_prior", 2),
    ("Generation", "Frechet, reconstructions"): ("generation.frechet_reconstructions", 2),
    ("Generation", "recall"): ("generation.recall", 3),
    ("Likelihood", "KL, nats"): ("elbo.kl", 2),
    ("Likelihood", "active values"): ("code_use.active_values", 0),
    ("Features", "linear probe"): ("linear_probe.accuracy", 4),
    ("Features", "kNN"): ("knn.accuracy", 4),
    ("Features", "frozen head, latent"): ("frozen_head.latent.accuracy", 4),
    ("Features", "frozen head, features"): ("frozen_head.features.accuracy", 4),
    ("Features", "fine-tuned"): ("fine_tuned.accuracy", 4),
}


@pytest.fixture
def tool(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    yield importlib.import_module
    for name in [name for name in sys.modules if name.startswith(("result_", "make_readme"))]:
        del sys.modules[name]


def sections(text: str) -> dict[str, list[dict[str, str]]]:
    """Return the rows of each section's table, the name of a model without its link."""
    found = {}
    for part in text.split("\n## ")[1:]:
        title, *lines = part.splitlines()
        table = [line.strip("| ").split(" | ") for line in lines if line.startswith("|")]
        rows = [dict(zip(table[0], cells, strict=True)) for cells in table[2:]]
        for row in rows:
            if "model" in row:
                row["model"] = re.sub(r"\[(.*)\]\(.*\)", r"\1", row["model"])
        found[title] = rows
    return found


def number_at(results: dict, path: str):
    for key in path.split("."):
        results = results.get(key, {}) if isinstance(results, dict) else {}
    return None if results == {} else results


def test_readme_results_and_pictures_are_up_to_date(tool):
    assert tool("make_readme").outdated() == []


def test_each_table_has_an_entry_once(tool):
    text = tool("result_tables").results_text(tool("result_rows").entry_rows())
    tables = sections(text)
    assert [row["model"] for row in tables["Models"]] == list(ENTRIES)
    assert {row["model"] for row in tables["Training"]} == set(RESULTS)
    for title in ("Reconstruction", "Generation", "Likelihood", "Features", "Seeds"):
        names = [row["model"] for row in tables.get(title, []) if row["model"] != "PCA"]
        assert len(names) == len(set(names))
        assert set(names) <= set(RESULTS)
    table = tool("make_readme").table()
    found = re.findall(r"^\| `(.*?)` ", table, re.MULTILINE)
    assert found == list(tool("make_readme").IN_README)


def test_each_number_of_a_table_is_its_manifests(tool):
    tables = sections(tool("result_tables").results_text(tool("result_rows").entry_rows()))
    compared = 0
    for (title, column), (path, digits) in SHOWN.items():
        rows = {row["model"]: row for row in tables.get(title, [])}
        for name, results in RESULTS.items():
            value = number_at(results, path)
            if value is None:
                assert rows.get(name, {}).get(column, "-") == "-"
            else:
                assert rows[name][column] == f"{value:,.{digits}f}"
                compared += 1
    assert compared >= len(RESULTS)


def test_the_best_of_a_task_is_first(tool):
    tables = sections(tool("result_tables").results_text(tool("result_rows").entry_rows()))
    for title, column, sign in (("Reconstruction", "MSE", 1), ("Features", "linear probe", -1)):
        values = [sign * float(row[column]) for row in tables[title] if row[column] != "-"]
        assert values == sorted(values)
        assert all(row[column] == "-" for row in tables[title][len(values) :])


def test_the_csv_has_the_manifests_numbers_unrounded(tool):
    result_rows = tool("result_rows")
    text = result_rows.csv_text(result_rows.entry_rows())
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["model"] for row in rows] == list(ENTRIES)
    protocols = [each for figure in evaluation.FIGURES.values() for each in figure.protocols]
    for row in rows:
        for protocol in protocols:
            for measure in protocol.results + protocol.baselines:
                path = ".".join((*protocol.path, measure.key))
                value = number_at(RESULTS.get(row["model"], {}), path)
                cell = row.get(path, "")
                assert cell == "" if value is None else float(cell) == value


def test_the_seeds_have_mean_and_sample_deviation(tool):
    for row in tool("result_rows").entry_rows():
        manifest = ENTRIES[row["model"]].manifest if row["model"] in RESULTS else None
        if manifest is None or not manifest.seeds:
            assert "knn.accuracy.sd" not in row
            continue
        runs = [manifest.results, *(record.results for record in manifest.seeds.values())]
        values = [run["knn"]["accuracy"] for run in runs if "knn" in run]
        if len(values) > 1:
            assert math.isclose(row["knn.accuracy.mean"], np.mean(values))
            assert math.isclose(row["knn.accuracy.sd"], np.std(values, ddof=1))


def test_what_an_entry_lacks_is_a_dash(tool):
    row = tool("result_rows").row_of(Entry(tiny_spec()))
    full = {"model": "a", "folder": "a", "values": 9, "linear_probe.accuracy": 0.5, "epochs": 3}
    tables = sections(tool("result_tables").results_text([row, full | {"knn.accuracy": 0.25}]))
    assert [each["parameters"] for each in tables["Models"]] == ["-", "-"]
    assert [each["model"] for each in tables["Features"]] == ["a"]
    tables = sections(tool("result_tables").results_text([full, row | {"knn.accuracy": 0.25}]))
    assert [(each["linear probe"], each["kNN"]) for each in tables["Features"]] == [
        ("0.5000", "-"),
        ("-", "0.2500"),
    ]


def test_a_registry_without_weights_has_tables_too(tool):
    rows = [tool("result_rows").row_of(Entry(tiny_spec()))]
    assert list(sections(tool("result_tables").results_text(rows))) == ["Models", "Training"]


def test_a_new_figure_has_its_columns_by_itself(tool, monkeypatch, tmp_path):
    protocol = Protocol(("edges",), "edges", "how sharp they are", CODING, (Measure("n", "edges"),))
    monkeypatch.setitem(evaluation.FIGURES, "edges", Figure(lambda subject: None, (protocol,)))
    folder = tmp_path / "tiny-ae"
    folder.mkdir()
    (folder / "spec.toml").write_text(spec_toml(tiny_spec()), encoding="utf-8")
    manifest = Manifest(
        name="tiny-ae", tag="fmnist", licence="MIT", results={"edges": {"n": 0.123456}}
    )
    manifest.write(folder)
    row = tool("result_rows").row_of(Entry.read(folder))
    text = tool("result_tables").results_text([row])
    assert sections(text)["Other figures"][0]["edges"] == "0.1235"
    assert "**edges**: how sharp they are." in text
    assert "0.123456" in tool("result_rows").csv_text([row])


def test_a_record_is_chosen_on_validation_among_codes_that_are_small_enough(tool):
    records = tool("result_records")

    def row(name, values, test, validation=None):
        found = {"model": name, "folder": name, "values": values, "knn.accuracy": test}
        return found if validation is None else found | {"knn.validation_accuracy": validation}

    rows = [
        row("best", 40, 0.80, 0.9),
        row("better-on-test", 40, 0.85, 0.8),
        row("too-wide", 41, 0.95, 0.95),
        row("without-validation", 8, 0.99),
    ]
    record = records.Record("kNN", ("knn.accuracy",), most_values=40)
    assert records.best(rows, record) == (rows[0], "knn.accuracy")
    assert records.best(rows[3:], record) is None
    table = records.records_table(rows)
    assert "| kNN, at most 40 values | **0.8000** | [best](best) | 40 | at least 0.9000 |" in table
    assert "- kNN, at most 40 values: every objective" in table
    assert "MSE" not in table


def test_of_a_goal_that_is_reached_nothing_more_is_said(tool):
    records = tool("result_records")
    record = records.Record("", (), goal=0.5)
    assert record.reached(0.5, less_is_better=True)
    assert not record.reached(0.51, less_is_better=True)
    assert record.reached(0.51, less_is_better=False)
    assert not record.reached(0.49, less_is_better=False)
    assert records.Record("", ()).reached(9.0, less_is_better=True)
    assert all(bool(each.tried) == (each.goal is not None) for each in records.RECORDS)


def test_the_record_of_an_error_is_the_least_and_needs_its_setting(tool):
    records = tool("result_records")
    rows = [
        {"model": "a", "values": 4, "nll.nll": 230.0, "elbo.likelihood": "bernoulli"},
        {"model": "b", "values": 4, "nll.nll": 229.0, "elbo.likelihood": "bernoulli"},
        {"model": "c", "values": 4, "nll.nll": -100.0, "elbo.likelihood": "gaussian"},
    ]
    record = next(each for each in records.RECORDS if each.paths == ("nll.nll",))
    assert records.best(rows, record) == (rows[1], "nll.nll")


def test_the_plot_keeps_what_it_shows(tool, tmp_path):
    pictures = tool("result_pictures")
    rows = [
        {
            "name": f"model-{number}",
            "latent": 2**number,
            "mse": 0.02 / (number + 1),
            "frechet": 2.0 + number if number % 3 else None,
            "linear_probe": 0.8 + number / 300,
            "frozen_head": None,
        }
        for number in range(30)
    ]
    path = tmp_path / "results.png"
    pictures.plot_results(rows, path)
    assert pictures.description_of(path) == pictures.described(rows)
    with Image.open(path) as image:
        assert image.height < 1200
        assert image.width < 1400
    rows[3]["mse"] = 0.5
    assert pictures.description_of(path) != pictures.described(rows)
    assert pictures.description_of(tmp_path / "none.png") == ""


def test_of_each_kind_of_latent_the_least_error_is_drawn(tool):
    drawn = tool("result_pictures").drawn()
    kinds = [entry.spec.latent.type for entry in drawn]
    assert len(kinds) == len(set(kinds))
    best = {
        entry.spec.latent.type: RESULTS[registry.short_name(entry)]["reconstruction"]["mse"]
        for entry in drawn
    }
    for name, results in RESULTS.items():
        if "reconstruction" in results:
            kind = ENTRIES[name].spec.latent.type
            assert best[kind] <= results["reconstruction"]["mse"]


def test_anomalies_are_shown_when_all_classes_are_measured(tool, tmp_path):
    anomalies, path = tool("result_anomalies"), tmp_path / "anomalies.json"
    assert anomalies.anomalies_section(path) == []
    scores = {"reconstruction": 0.9, "density": 0.8, "both": 0.91}
    row = {"classes": {str(label): {} for label in range(9)}, "mean": scores}
    novelty = {"pca": {"auroc": {"digits": scores, "inverted": scores | {"both": 0.99}}}}
    path.write_text(json.dumps({"one_class": {"pca": row}, "novelty": novelty}))
    text = "\n\n".join(anomalies.anomalies_section(path))
    assert "| pca | 0.9100 | 0.9900 | 0.9500 |" in text
    assert "One class" not in text
    row["classes"]["9"] = {}
    path.write_text(json.dumps({"one_class": {"pca": row}, "novelty": novelty}))
    assert "| pca | 0.9000 | 0.8000 | 0.9100 |" in "\n\n".join(anomalies.anomalies_section(path))


def test_exported_encoders_are_shown_in_both_kinds_of_numbers(tool, tmp_path):
    exports, path = tool("result_exports"), tmp_path / "exports.json"
    assert exports.exports_section(path) == []
    row = {"bytes": 1000, "images_per_second": 20_000, "accuracy": 0.88}
    path.write_text(
        json.dumps({"pca": {"cores": 2, "float32": row, "int8": row | {"accuracy": 0.87}}})
    )
    text = "\n\n".join(exports.exports_section(path))
    assert "| pca | float32 | 1,000 | 20,000 | 2 | 0.8800 |" in text
    assert "| pca | int8 | 1,000 | 20,000 | 2 | 0.8700 |" in text
