"""What the documents show is so."""

import re
import shutil
import subprocess

import pytest

from fmae_zoo.verification import GOLDEN_TOLERANCE
from tests.conftest import ROOT, run_python

pytestmark = pytest.mark.once

USE = """
import sys
sys.path[:0] = [sys.argv[1], f"{sys.argv[1]}/tests"]
import fmae_zoo
history = fmae_zoo.train("dense-log-cosh-ae", epochs=2, data=fmae_zoo.load_data(sys.argv[2]))
assert fmae_zoo.__file__.startswith(sys.argv[1])
assert history.rows[1]["reconstruction"] < history.rows[0]["reconstruction"]
from test_log_cosh import test_it_is_the_logarithm_of_the_hyperbolic_cosine as test
test()
"""


@pytest.mark.skipif(shutil.which("git") is None, reason="a diff is applied by git")
def test_the_variant_that_is_shown_is_found_and_trained(idx, tmp_path):
    [diff] = re.findall(
        r"^```diff\n(.*?)^```", (ROOT / "docs" / "VARIANT.md").read_text(), re.M | re.S
    )
    project = tmp_path / "project"
    shutil.copytree(ROOT / "fmae_zoo", project / "fmae_zoo")
    (project / "registry").mkdir()
    (project / "tests").mkdir()
    shutil.copy(ROOT / "tests" / "test_nothing_lost.py", project / "tests")
    subprocess.run(["git", "apply", "-"], input=diff, text=True, cwd=project, check=True)
    done = run_python(USE, str(project), str(idx))
    assert done.returncode == 0, done.stderr


def test_the_tolerance_of_goldens_is_the_one_that_is_named():
    assert (
        f"a difference of {GOLDEN_TOLERANCE:.0e}".replace("e-04", "e-4")
        in (ROOT / "docs" / "PINS.md").read_text()
    )
