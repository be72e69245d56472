"""The README's examples do what they say."""

import re
import shlex

import numpy as np
import pytest

from fmae_zoo import cli, data
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()
BLOCKS = README.split("```")[1::2]
(PYTHON,) = (block.removeprefix("python") for block in BLOCKS if block.startswith("python"))
COMMAND_LINES = re.findall(r"fmae [a-z]+(?: \S+)*", "\n".join(BLOCKS))


def test_the_python_example_runs(few, monkeypatch, tmp_path):
    monkeypatch.setattr(data, "find_data", lambda: few)
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(PYTHON, "README.md", "exec"), names)
    count = len(few.test_images)
    assert names["z"].shape == (count, 128)
    assert names["x"].shape == (count, 28, 28, 1)
    assert 0.0 <= names["x"].min() <= names["x"].max() <= 1.0
    assert set(names["result"]) == {"reconstruction", "knn"}
    assert np.isfinite(names["result"]["reconstruction"]["mse"])
    assert {path.name for path in (tmp_path / "my-model").iterdir()} >= {"spec.toml"}


def test_there_are_command_lines():
    assert {line.split()[1] for line in COMMAND_LINES} == set(cli.COMMANDS)


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_every_command_line_is_parsed(line):
    _, name, *words = shlex.split(line)
    command = cli.cli.get_command(None, name)
    assert command.make_context(name, words)
