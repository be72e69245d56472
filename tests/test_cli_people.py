"""What people see of the command line: tables, sections, progress, completion and no log lines."""

import io
import json
import os
import re
import subprocess
import sys
import time

import numpy as np
import pytest
from rich.console import Console

import fmae_zoo
from fmae_zoo import registry
from fmae_zoo.cli import COMMANDS
from fmae_zoo.cli.figures import figure_table, nested_in
from fmae_zoo.progress import RichProgress, StepsProgress
from tests.conftest import ROOT, run_python, tiny_spec

pytestmark = pytest.mark.usefixtures("eager")


def in_terminal(monkeypatch, columns):
    """Have commands print as into a terminal of a number of columns."""
    monkeypatch.setattr(Console, "is_terminal", property(lambda self: True))
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("NO_COLOR", "1")


def plain(text):
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def completed(words):
    """Return what bash is told to complete the last word with."""
    result = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; sys.argv[0] = 'fmae'; from fmae_zoo.cli import *; main()",
        ],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split(" ")) - 1),
            "_FMAE_COMPLETE": "bash_complete",
        },
        capture_output=True,
        text=True,
    )
    assert result.stderr == ""
    return [line.removeprefix("plain,") for line in result.stdout.splitlines()]


@pytest.mark.once
@pytest.mark.parametrize("sort", ["name", "parameters", "nll"])
def test_list_fits_into_80_columns(fmae, monkeypatch, sort):
    in_terminal(monkeypatch, 80)
    lines = plain(fmae("list", "--sort", sort)[1]).splitlines()
    assert max(map(len, lines)) <= 80
    # A line for each model, and a title of two lines: nothing is wrapped.
    assert len(lines) == len(registry.list_models()) + 2


@pytest.mark.once
def test_list_has_the_columns_asked_for(fmae):
    out = fmae("list", "pca", "--columns", "parameters, fine_tuned,name,parameters")[1]
    title, row = out.splitlines()
    assert title.split() == ["name", "params", "fine-tuned"]
    assert row.split() == ["pca", "50,992", "-"]
    [row] = json.loads(fmae("list", "pca", "--columns", "mse", "--json")[1])
    assert set(row) == {"name", "mse"}
    [whole] = json.loads(fmae("list", "pca", "--json")[1])
    assert set(whole) >= {"name", "mse", "epochs", "weights", "nll"}
    assert "weights" in fmae("list", "pca", "--columns", "all")[1]
    code, _, err = fmae("list", "--columns", "mse,beauty")
    assert code == 2
    assert "'beauty'" in err
    assert "linear_probe" in err


@pytest.mark.once
@pytest.mark.parametrize("name", ["conv-ae-bn", "conv-ae-bn.fmnist-classifier", "pca"])
def test_info_has_sections_within_the_terminal(fmae, monkeypatch, name):
    in_terminal(monkeypatch, 80)
    out = plain(fmae("info", name)[1])
    lines = out.splitlines()
    sections = [line for line in lines if line and not line.startswith(" ")]
    assert [line.split(",")[0] for line in sections[1:]] == [
        "How good",
        "How it was trained",
        "Files",
    ]
    assert max(len(line) for line in lines if not line.startswith("Files")) <= 80
    assert not set('{}[]"') & set(out)


@pytest.mark.once
def test_info_says_what_the_manifest_says(fmae):
    out = fmae("info", "conv-ae-bn")[1]
    assert re.search(r"MSE, mean over pixels +0.00294\n", out)
    assert re.search(r"weights +971,201: encoder 467,104, decoder 504,097 *\n", out)
    assert re.search(r"encoder.safetensors +1,870,376 bytes  sha256 852d0403b8a05f56", out)
    assert "epochs 10, learning rate 0.003" in out
    assert str(registry.find_entry("conv-ae-bn").folder) in out


@pytest.mark.once
def test_curves_are_left_out_of_the_table_of_figures():
    results = {
        "few_labels": {
            "inductive": {"accuracy_1": 0.5, "curves": {"code": {"1": {"mean": 0.5, "sd": 0.1}}}}
        },
        "knn": {"accuracy": 0.75, "k": 3, "latent_size": 4},
        "mine": {"beauty": 1.5},
    }
    console = Console(file=io.StringIO(), width=80)
    console.print(figure_table(results))
    out = console.file.getvalue()
    assert re.search(r"accuracy, 1 per class +0.5000\n", out)
    assert "curves" not in out
    assert re.search(r"k 3 *\n", out)
    assert re.search(r"beauty +1.5\n", out)
    assert nested_in(results) == ["few_labels"]


def test_evaluate_prints_protocols_and_says_where_the_rest_is(fmae, idx, tmp_path):
    model = fmae_zoo.save(fmae_zoo.Autoencoder(tiny_spec()), tmp_path / "model")
    words = ["evaluate", f"local:{model}", "--data", idx, "--figure", "knn"]
    code, out, err = fmae(*words)
    assert code == 0, err
    assert re.search(r"accuracy +0\.\d{4}\n", out)
    assert "measuring knn" in err
    assert "--json" not in err


@pytest.mark.once
def test_similar_and_a_classifier_in_the_words_of_the_command_line(fmae, tmp_path, images):
    np.save(tmp_path / "images.npy", images)
    name = "conv-ae-bn.fmnist-classifier"
    code, _, err = fmae("similar", name, tmp_path / "images.npy", tmp_path / "images.npy")
    assert code == 1
    assert "expected an autoencoder" in " ".join(err.split())
    assert "`" not in err


@pytest.mark.once
def test_steps_are_shown_with_the_time_left():
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    with StepsProgress(console) as bar:
        bar.begin("first")
        bar(1, 4)
        bar(3, 4)
        deadline = time.monotonic() + 10
        while "3/4" not in console.file.getvalue() and time.monotonic() < deadline:
            time.sleep(0.05)
        console.print("a note")
        bar.begin("second")
        bar(2_000, None)
    out = plain(console.file.getvalue())
    assert re.search(r"first .*3/4 .* left", out)
    assert "a note\n" in out
    # At the end both tasks are finished.
    assert out[out.rindex("first") :].count("left 0:00:00") == 2


@pytest.mark.once
def test_steps_are_lines_where_there_is_no_terminal():
    console = Console(file=io.StringIO(), width=100)
    with StepsProgress(console) as bar:
        bar.begin("first")
        bar(1, 2)
        bar.begin("second")
    assert console.file.getvalue() == "first\nsecond\n"


@pytest.mark.once
def test_a_training_shows_that_it_prepares(monkeypatch, capsys):
    in_terminal(monkeypatch, 120)
    with RichProgress("mine") as bar:
        assert bar is not None
    assert "preparing" in capsys.readouterr().err
    with RichProgress("mine") as bar:
        bar(0, 2, 5, 10, 1.5)
    assert re.search(r"epoch 1/2 .*5/20 loss 1.5", plain(capsys.readouterr().err))


def test_fitting_samplers_reports_what_it_does(few):
    model = fmae_zoo.Autoencoder(tiny_spec())
    said, steps = [], []
    report = {"progress": said.append, "advance": lambda *done: steps.append(done)}
    fmae_zoo.fit_samplers(model, few, names=["gmm", "two-stage"], **report)
    assert said == ["encoding the training images", "fitting gmm", "fitting two-stage"]
    assert steps == [(done + 1, 50) for done in range(50)]


def test_figures_that_train_report_their_steps(few):
    model = fmae_zoo.Autoencoder(tiny_spec())
    steps: list = []
    fmae_zoo.evaluate(model, "linear_probe", data=few, advance=lambda *done: steps.append(done))
    assert steps == [(done, 6) for done in range(6)]


@pytest.mark.once
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(fmae, shell):
    code, out, _ = fmae("completion", shell)
    assert code == 0
    assert f"_FMAE_COMPLETE={shell}_complete" in out
    assert json.loads(fmae("completion", shell, "--json")[1])["script"] + "\n" == out
    assert fmae("completion", "tcsh")[0] == 2


@pytest.mark.once
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("fmae ev", ["evaluate"]),
        ("fmae info conv-vae", ["conv-vae-bn", "conv-vae-iaf-bn", "conv-vaegan-bn"]),
        ("fmae publish pca dense-d", ["dense-dae"]),
        ("fmae evaluate pca --figure kn", ["knn"]),
        ("fmae list --columns mse,kn", ["mse,knn"]),
    ],
)
def test_the_shell_completes_commands_models_figures_and_columns(words, expected):
    assert completed(words) == expected


@pytest.mark.once
def test_help_imports_no_command_and_is_not_cut():
    code = (
        "import sys; sys.argv = ['fmae', '--help']\n"
        "from fmae_zoo.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'pydantic', 'fmae_zoo.registry', 'fmae_zoo.cli.models'}\n"
        "print(heavy & set(sys.modules), file=sys.stderr)\n"
    )
    result = run_python(code, COLUMNS="80")
    assert result.stderr == "set()\n"
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert not [line for line in lines if line.endswith("...") and "COMMAND" not in line]
    assert all(f"\n  {name} " in result.stdout for name in COMMANDS)


@pytest.mark.once
def test_listing_and_information_import_no_data_sets():
    code = (
        "import sys; sys.argv = ['fmae', 'info', 'conv-ae-bn']\n"
        "from fmae_zoo.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'keras', 'sklearn', 'scipy', 'PIL', 'http.client', 'fmae_zoo.datasets'}\n"
        "print(heavy & set(sys.modules), file=sys.stderr)\n"
    )
    assert run_python(code).stderr == "set()\n"


def test_no_log_line_of_a_framework_is_on_stderr(tmp_path):
    fmae_zoo.save(fmae_zoo.Autoencoder(tiny_spec()), tmp_path / "model")
    environment = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    code = "from fmae_zoo.cli import main; main()"
    words = ["verify", f"local:{tmp_path / 'model'}"]
    result = subprocess.run(
        [sys.executable, "-c", code, *words],
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0
    assert result.stderr == f"verifying {words[1]}\n"


@pytest.mark.once
def test_what_a_failed_import_wrote_is_shown():
    code = (
        "import os\n"
        "from fmae_zoo.cli.quiet import _without_stderr\n"
        "with _without_stderr(): os.write(2, b'a log line\\n')\n"
        "with _without_stderr(): os.write(2, b'the reason\\n'); raise ImportError('no')\n"
    )
    err = run_python(code).stderr
    assert err.startswith("the reason\n")
    assert "a log line" not in err
