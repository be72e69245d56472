"""A module's measurement in a process of its own, on one backend."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


def measured(module: str, backend: str, *words: str | Path | int) -> Any:
    """Run `python -m MODULE WORDS` on a backend and return what it `answer`s.

    Raises:
        RuntimeError: it failed; the message has the end of what it wrote.
    """
    env = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-m", module, *map(str, words)]
    done = subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode:
        raise RuntimeError(f"{module} on {backend} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def answer(measure: Callable[..., Any]) -> None:
    """Measure with the words of the command line, and print the result for `measured`."""
    print(json.dumps(measure(*sys.argv[1:])))
