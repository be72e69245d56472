"""Measurements that run in a separate process, on one backend."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


def measured(module: str, backend: str, *words: str | Path | int) -> Any:
    """Run `python -m MODULE WORDS` on a backend and return the result that it prints by `answer`.

    Raises:
        RuntimeError: The process failed; the message holds the end of its stderr.
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
    """Call `measure` with the command-line arguments and print its result for `measured`."""
    print(json.dumps(measure(*sys.argv[1:])))
