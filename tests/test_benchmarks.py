import csv
import json
import math
import os
import sys
from dataclasses import asdict

import keras
import numpy as np
import pytest
from click.testing import CliRunner

import fmae_zoo
from benchmarks import __main__ as main, checkouts, embedding, loading, parity, quality, report
from benchmarks.__main__ import cli
from benchmarks.case import Case
from benchmarks.flops import flops_per_image
from benchmarks.groups import grouped
from benchmarks.report import markdown, write_report
from benchmarks.results import compare, merge_rows, read_rows, write_rows
from benchmarks.runner import run
from benchmarks.summary import backend_table
from benchmarks.targets import targets
from fmae_zoo.datasets import load_sample
from fmae_zoo.registry import find_spec
from tests.conftest import ROOT, TINY_CONV, tiny_spec

GAUSSIAN = {"type": "gaussian", "size": 4}
COMMANDS = (
    "train",
    "infer",
    "against",
    "load",
    "parity",
    "embed",
    "quality",
    "report",
    "compare",
    "all",
)

FAKE_WORKER = """
import json, sys
case = json.loads(sys.stdin.readline())
name = case["contestant"]
log = open(sys.argv[1], "a")

def say(line, **answer):
    print(name, line, file=log, flush=True)
    print(json.dumps(answer), flush=True)

speed = {"fmae_zoo": 4.0, "keras": 2.0}.get(name, 1.0)
if name == sys.argv[2]:
    say("failed", error="ValueError: no such thing")
    sys.exit(1)
say("ready", ready=True, parameters=3)
blocks = 0
for line in sys.stdin:
    word, *rest = line.split()
    blocks += 1
    if name == sys.argv[3] and blocks > 2:
        sys.exit("Killed")
    if word == "block":
        say(line.strip(), seconds=int(rest[0]) / 1000, images=int(rest[0]))
    elif word == "probe":
        say(word, matmul_gflops=1.0, convolution_gflops=speed)
    else:
        say(word, peak_memory_mib=10.0, peak_gpu_memory_mib=None)
"""


@pytest.fixture
def run_fake(tmp_path):
    """Run cases with a worker of 1,000 images a second; return the rows and what was asked."""
    script = tmp_path / "fake_worker.py"
    script.write_text(FAKE_WORKER)

    def call(cases, failing="", dying=""):
        log = tmp_path / "log"
        command = [sys.executable, str(script), str(log), failing, dying]
        rows = run(cases, 3, 1.0, command)
        return rows, log.read_text().splitlines()

    return call


def case(contestant="fmae_zoo", backend="torch", task="train", **fields):
    return Case(task, fields.pop("entry", "dense-ae"), contestant, backend, **fields)


def row(median, spread=1.0, **fields):
    """Return what the runner would for a case."""
    return case(**fields).to_dict() | {
        "date": "2026-01-02T03:04:05+00:00",
        "images_per_second": {
            "median": median,
            "lowest": median - 2 * spread,
            "highest": median + 2 * spread,
            "lower_quartile": median - spread,
            "upper_quartile": median + spread,
        },
        "runs": [median - spread, median, median + spread],
        "first_step_seconds": 1.25,
        "imported_memory_mib": 256.0,
        "peak_memory_mib": 512.0,
        "share_of_peak": 0.5,
        "machine": {"cpu": "A CPU", "cpu_features": ["avx2"], "versions": {"numpy": "2.0"}},
    }


def test_contestants_take_turns_after_all_are_ready(run_fake):
    rows, asked = run_fake([case("fmae_zoo"), case("keras"), case("fmae_zoo", task="encode")])
    assert [each["task"] for each in rows] == ["train", "train", "encode"]
    turns = [line.split()[0] for line in asked if line.endswith(" block 1024")]
    assert turns == ["fmae_zoo", "keras"] * 3 + ["fmae_zoo"] * 3
    assert asked.index("keras ready") < asked.index("fmae_zoo block 1024")


def test_a_row_holds_speed_spread_and_share_of_the_fastest_probe(run_fake):
    rows, asked = run_fake([case("keras"), case()])
    assert [line for line in asked if "probe" in line or "end" in line] == [
        *("keras probe", "fmae_zoo probe"),
        *("keras end", "fmae_zoo end"),
    ]
    found = rows[0]
    speed, flops = found["images_per_second"], flops_per_image(find_spec("dense-ae"), "train")
    assert speed["median"] == speed["lowest"] == speed["highest"] == pytest.approx(1000.0)
    assert len(found["runs"]) == 3
    assert found["milliseconds_per_step"] == pytest.approx(128.0)
    assert found["gflops"] == pytest.approx(1000.0 * flops / 1e9)
    assert found["share_of_peak"] == pytest.approx(found["gflops"] / 4.0)


@pytest.mark.parametrize(
    ("how", "reason"), [("failing", "no such thing"), ("dying", "exit code 1: Killed")]
)
def test_a_worker_that_fails_becomes_a_row_and_stops_no_other(run_fake, how, reason):
    rows, _ = run_fake([case("keras"), case("fmae_zoo")], **{how: "keras"})
    assert reason in rows[0]["error"]
    assert rows[1]["images_per_second"]["median"] == pytest.approx(1000.0)


def test_two_checkouts_take_turns_and_their_ratio_is_written(tmp_path, monkeypatch):
    script, log = tmp_path / "fake_worker.py", tmp_path / "log"
    script.write_text(FAKE_WORKER.replace("name = case", "name = os.getcwd() or case", 1))
    script.write_text("import os\n" + script.read_text())
    monkeypatch.setattr(checkouts, "COMMAND", [sys.executable, str(script), str(log), "", ""])
    monkeypatch.setattr(checkouts, "FILE", tmp_path / "against.json")
    checkouts.run(tmp_path, [case()], 3, 1.0, report=lambda message: None)
    turns = [line.split()[0] for line in log.read_text().splitlines() if "block 1024" in line]
    assert (
        sorted(turns[:2])
        == sorted(turns[2:4])
        == sorted(turns[4:])
        == sorted([str(ROOT), str(tmp_path)])
    )
    [found] = json.loads((tmp_path / "against.json").read_text())["rows"]
    assert found["ratio"] == pytest.approx(1.0)
    assert (
        "| train dense-ae | torch | float32 | 1,000 | 1,000 |"
        in (tmp_path / "against.md").read_text()
    )


def test_a_real_worker():
    one = case("fmae_zoo", os.environ["KERAS_BACKEND"], "encode", batch_size=16)
    [found] = run([one], rounds=1, seconds_per_block=0.01)
    assert "error" not in found, found["error"]
    assert found["images_per_second"]["median"] > 0
    trained = fmae_zoo.load("dense-ae").trainable_variables
    assert found["parameters"] == sum(math.prod(each.shape) for each in trained)
    assert min(found["probe"].values()) > 0
    assert 50 < found["imported_memory_mib"] <= found["peak_memory_mib"]
    assert found["machine"]["versions"]["keras"] == keras.__version__


def test_flops_of_the_dense_entry_by_hand():
    encoder = [784 * 400, 400 * 200, 200 * 100]
    encode = sum(encoder) + 100 * 32
    both = 2 * encode
    spec = find_spec("dense-ae")
    assert flops_per_image(spec, "encode") == 2 * encode
    assert flops_per_image(spec, "reconstruct") == 2 * both
    assert flops_per_image(spec, "train") == 2 * (3 * both - encoder[0])


@pytest.mark.parametrize(
    "changes",
    [
        {"network": {"type": "dense", "units": [32, 16]}, "latent": GAUSSIAN},
        {"network": TINY_CONV},
        {"network": TINY_CONV, "latent": {"type": "spatial", "size": 7 * 7 * 4}},
    ],
)
def test_flops_are_those_of_the_built_layers(changes):
    model = fmae_zoo.Autoencoder(tiny_spec(**changes))

    def counted(part):
        linear = [each for each in part.layers if hasattr(each, "kernel")]
        return sum(2 * math.prod((*x.kernel.shape, *x.output.shape[1:-1])) for x in linear)

    encode, decode = counted(model.encoder), counted(model.decoder)
    assert flops_per_image(model.spec, "encode") == encode
    assert flops_per_image(model.spec, "reconstruct") == encode + decode


def test_comparison_says_faster_slower_or_within_noise():
    old = [row(100.0, backend=name) for name in ("tensorflow", "torch", "jax")]
    new = [row(150.0, backend="tensorflow"), row(50.0, backend="torch"), row(101.5, backend="jax")]
    found = compare([*old, row(1.0, task="encode")], new)
    assert [each["verdict"] for each in found] == ["faster", "slower", "within noise"]
    assert found[0]["ratio"] == pytest.approx(1.5)


def test_the_report_is_made_from_the_rows_alone(tmp_path):
    entry = "conv-ae-bn"
    failed = case("pythae", entry=entry).to_dict() | {"date": "2026-01-02", "error": "no pythae"}
    rows = [row(2000.0, entry=entry), row(1600.0, contestant="handwritten", entry=entry), failed]
    write_rows(rows, tmp_path / "speed.json")
    csv_file, markdown, picture = write_report(tmp_path)
    with csv_file.open() as file:
        assert next(csv.DictReader(file))["images_per_second.median"] == "2000.0"
    text = markdown.read_text()
    assert "| torch | fmae_zoo | 2,000 ± 1 | 1.25 | 256 to 512 | 50% | 1.25 |" in text
    assert "failed: no pythae" in text
    assert picture.read_bytes().startswith(b"\x89PNG")
    before = text, csv_file.read_bytes()
    write_report(tmp_path)
    assert before == (markdown.read_text(), csv_file.read_bytes())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command):
    result = CliRunner().invoke(cli, [command, "--help"])
    assert result.exit_code == 0
    assert f"Example: python -m benchmarks {command}" in result.output


@pytest.mark.parametrize("command", ["train", "infer", "load", "parity", "embed"])
def test_a_wrong_entry_is_refused_before_anything_is_measured(command):
    result = CliRunner().invoke(cli, [command, "--entry", "conv-ae-bm"])
    assert result.exit_code == 2
    assert "Did you mean conv-ae-bn" in " ".join(result.output.split())


def test_all_measures_everything_and_reports_though_one_fails(monkeypatch):
    done = []

    def fail(*args):
        done.append("parity")
        raise RuntimeError("jax failed")

    monkeypatch.setattr(main, "measure", lambda tasks, **_: done.extend(tasks))
    monkeypatch.setattr(loading, "run", lambda *_: done.append("load"))
    monkeypatch.setattr(parity, "run", fail)
    monkeypatch.setattr(embedding, "run", lambda *_: done.append("embed"))
    monkeypatch.setattr(quality, "run", lambda *_: done.append("quality"))
    monkeypatch.setattr(report, "write_report", lambda _: done.append("report") or [])
    result = CliRunner().invoke(cli, ["all"])
    assert done == [
        "train",
        "encode",
        "reconstruct",
        "load",
        "parity",
        "embed",
        "quality",
        "report",
    ]
    assert result.exit_code == 1
    assert "parity: jax failed" in result.output


def test_comparing_what_is_no_results_file_says_so(tmp_path):
    path = tmp_path / "other.json"
    path.write_text(json.dumps([1, 2]))
    result = CliRunner().invoke(cli, ["compare", str(path), str(path)])
    assert "expected a file that `python -m benchmarks` wrote" in str(result.exception)


def test_what_is_measured_again_replaces_all_that_it_competed_with(tmp_path):
    path = tmp_path / "speed.json"
    write_rows([row(1.0), row(2.0, contestant="keras"), row(3.0, task="encode")], path)
    merged = merge_rows([row(4.0)], path)
    assert [each["images_per_second"]["median"] for each in merged] == [3.0, 4.0]
    assert read_rows(path) == merged


def test_rows_of_another_cpu_are_not_mixed_with_those_of_this_one(tmp_path):
    path = tmp_path / "speed.json"
    write_rows([row(1.0)], path)
    result = CliRunner().invoke(cli, ["train", "--output", str(path)])
    assert result.exit_code == 1
    assert "was measured on A CPU" in result.output
    assert "another --output" in result.output


def test_the_readmes_table_and_the_aims_are_those_of_the_usual_setting():
    usual = {"entry": "conv-ae-bn", "contestant": "fmae_zoo"}
    rows = [row(100.0, **usual), row(900.0, **usual, threads=1), row(800.0, **usual, batch_size=8)]
    rows += [row(50.0, **usual | {"contestant": "keras"}), row(9000.0, **usual, device="gpu")]
    assert "| PyTorch | float32 | 100 | - | - |" in backend_table(rows)
    assert not targets(grouped(rows), {})
    rows.append(row(80.0, **usual | {"contestant": "handwritten"}))
    dense = usual | {"entry": "dense-ae"}
    rows += [row(60.0, **dense, device="gpu"), row(20.0, **dense)]
    rows += [row(20.0, **dense | {"contestant": "keras"}, device="gpu")]
    rows += [row(10.0, **dense | {"contestant": "keras"})]
    assert {each.figure: each.obtained for each in targets(grouped(rows), {})} == {
        "train conv-ae-bn, torch, float32, to handwritten": pytest.approx(1.25),
        "peak memory beside imports, train conv-ae-bn, torch, float32, to handwritten": 1.0,
        "train dense-ae, torch, float32, to stock Keras": pytest.approx(2.0),
        "train dense-ae, torch, float32, device gpu, to stock Keras": pytest.approx(3.0),
    }


def test_the_other_files_have_aims_too():
    memory = {share: {"anonymous_mib": 100.0} for share in ("before", "10%", "100%")}
    embedded = {"entry": "dense-ae", "environment": {"backend": "jax"}, "ratio": 0.95}
    reached = {"goal": "linear probe", "backend": "torch", "seconds": 61.7}
    others = {
        "embedding": {"images": 1000, "rows": [embedded | {"memory": memory}]},
        "quality": {"rows": [reached | {"wanted": 0.88, "accuracy": 0.8799}]},
    }
    found = targets([], others)
    assert [each.cells() for each in found] == [
        ["embed 1,000 images, dense-ae, jax, to encode on an array", "at least 0.9", "0.95"],
        ["memory, embed 1,000 images, dense-ae, jax, all to a tenth", "at most 1.1", "1.00"],
        ["test accuracy, linear probe, torch, 62 s", "at least 0.88", "0.8799"],
    ]
    assert [each.reached for each in found] == [True, True, False]
    text = markdown([], others)
    assert "2 of 3 are reached." in text
    missed, reached = text.index("### Missed"), text.index("### Reached")
    assert missed < text.index("linear probe") < reached < text.index("embed 1,000 images")


def test_images_from_disk_are_told_with_their_memory_and_other_rows_are_kept(monkeypatch, tmp_path):
    def measured(module, backend, entry, source):
        assert module == "benchmarks.embedding"
        memory = {name: {"resident_mib": 9.0, "anonymous_mib": 8.0} for name in ("before", "100%")}
        return {
            "entry": entry,
            "environment": {"backend": backend},
            "images": len(np.load(source, mmap_mode="r")),
            "images_per_second": speed,
            "in_memory_images_per_second": 1000.0,
            "ratio": speed / 1000.0,
            "memory": memory,
            "peak_memory_mib": 10.0,
        }

    monkeypatch.setattr(embedding, "measured", measured)
    monkeypatch.setattr(embedding, "load_data", load_sample)
    speed = 900.0
    embedding.run(["dense-ae"], ["torch", "jax"], 5000, tmp_path)
    speed = 950.0
    embedding.run(["dense-ae"], ["jax"], 5000, tmp_path)
    text = (tmp_path / "embedding.md").read_text()
    assert "# 5,000 images from disk" in text
    assert "| `dense-ae` | torch | 900 | 1,000 | 0.90 | 9, 8 | 9, 8 | 10 |" in text
    assert "| `dense-ae` | jax | 950 | 1,000 | 0.95 | 9, 8 | 9, 8 | 10 |" in text
    found = json.loads((tmp_path / "embedding.json").read_text())
    assert [row["images"] for row in found["rows"]] == [5000, 5000]


def test_time_to_quality_says_what_was_wanted_and_what_was_reached(monkeypatch, tmp_path):
    def measured(module, backend, goal):
        assert module == "benchmarks.quality"
        return {
            **asdict(quality.GOALS[goal]),
            "precision": "float32",
            "training_seconds": 80.0,
            "seconds": seconds,
            "accuracy": 0.9,
            "wanted": quality.GOALS[goal].accuracy,
            "reached": quality.GOALS[goal].accuracy <= 0.9,
        }

    monkeypatch.setattr(quality, "measured", measured)
    seconds = 100.0
    quality.run(tuple(quality.GOALS), ("jax", "torch"), tmp_path)
    text = (tmp_path / "quality.md").read_text()
    head = "| head on features | jax | float32 | 2 | 8 | 80 | 100 | 0.9000 | 0.919 | no | 293 |"
    probe = "| linear probe | jax | float32 | 4 | - | 80 | 100 | 0.9000 | 0.88 | yes | 293 |"
    assert head in text
    assert probe in text
    assert len(json.loads((tmp_path / "quality.json").read_text())["rows"]) == 6

    seconds = 50.0
    quality.run(["linear probe"], ["jax"], tmp_path)
    rows = json.loads((tmp_path / "quality.json").read_text())["rows"]
    again = {(row["goal"], row["backend"]) for row in rows if row["seconds"] == 50.0}
    assert (len(rows), again) == (6, {("linear probe", "jax")})
