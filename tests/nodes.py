"""Processes of the local Ray nodes of the tests."""

import re
import time
from pathlib import Path


def programs(*words):
    """Return the processes of trainings that have these words in a row among their options."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        starts = range(len(line) - len(words) + 1)
        is_such = any(tuple(line[start : start + len(words)]) == words for start in starts)
        if "fmae_zoo.cluster.program" in line and is_such:
            found.add(path.parent.name)
    return found


def ancestors(process):
    found = []
    while process not in ("0", "1"):
        process = re.search(r"PPid:\s+(\d+)", Path("/proc", process, "status").read_text())[1]
        found.append(process)
    return found


def raylet(node):
    return node.all_processes["raylet"][0].process.pid


def wait_for(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)
