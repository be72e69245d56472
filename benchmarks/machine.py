"""The machine and the versions that a measurement depends on."""

import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.case import Case

FEATURES = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16")
"""What decides how fast a CPU multiplies matrices."""


def facts(case: Case, cores: int, device_name: str = "") -> dict[str, Any]:
    """Return what a row says about the machine.

    Args:
        case: what is measured on it, in this process.
        cores: that the process might use, before `case.threads` limited it.
        device_name: of the GPU, where there is one.
    """
    return host() | {
        "cores": cores,
        "threads": case.threads or cores,
        "gpu": device_name,
        "versions": {name: _version(name) for name in _packages(case)},
    }


def host() -> dict[str, Any]:
    """Return what there is to say about the machine without a framework."""
    cpu = _cpu_info()
    return {
        "cpu": cpu.get("model name", platform.processor() or "unknown"),
        "cores": len(os.sched_getaffinity(0)),
        "cpu_features": sorted(set(FEATURES) & set(cpu.get("flags", "").split())),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def resident_mib() -> dict[str, float]:
    """Return this process's memory now: all of it, and what is not a copy of a file.

    Pages of a file that is mapped into memory count as resident, but the system takes them back
    as it likes.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    sizes = dict(line.split(":", 1) for line in lines)
    return {
        name: round(int(sizes[key].split()[0]) / 1024, 1)
        for name, key in (("resident_mib", "VmRSS"), ("anonymous_mib", "RssAnon"))
    }


def _cpu_info() -> dict[str, str]:
    """Return the facts of the first processor."""
    try:
        first = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _packages(case: Case) -> list[str]:
    own = [case.contestant] if case.contestant == "pythae" else []
    return ["fmae_zoo", "keras", case.backend, "numpy", *own]


def _version(package: str) -> str:
    """Return a package's version, also where it was installed under another name."""
    loaded = getattr(sys.modules.get(package), "__version__", None)
    if loaded:
        return str(loaded)
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"
