"""Facts about the machine and the package versions of a measurement."""

import os
import platform
import resource
from pathlib import Path
from typing import Any

from benchmarks.case import Case
from fmae_zoo.manifest import version_of
from fmae_zoo.precision import cpu_features

FEATURES = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16")
"""CPU features that decide the speed of matrix products."""


def facts(case: Case, cores: int, device_name: str = "") -> dict[str, Any]:
    """Return the facts about the machine and the package versions for a row.

    Args:
        case: Case measured in this process.
        cores: Number of cores available before `case.threads` limited them.
        device_name: Name of the GPU; empty on a CPU.
    """
    return host() | {
        "cores": cores,
        "threads": case.threads or cores,
        "gpu": device_name,
        "versions": {name: version_of(name) for name in _packages(case)},
    }


def host() -> dict[str, Any]:
    """Return the facts about the machine that do not depend on a framework."""
    return {
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
        "cpu_features": sorted(set(FEATURES) & cpu_features()),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def resident_mib() -> dict[str, float]:
    """Return this process's resident and anonymous memory now, in MiB.

    Resident memory includes pages of mapped files, which the system can reclaim at any time.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    sizes = dict(line.split(":", 1) for line in lines)
    return {
        name: round(int(sizes[key].split()[0]) / 1024, 1)
        for name, key in (("resident_mib", "VmRSS"), ("anonymous_mib", "RssAnon"))
    }


def peak_mib() -> float:
    """Return the peak resident memory of this process in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or "unknown")


def _packages(case: Case) -> list[str]:
    own = [case.contestant] if case.contestant == "pythae" else []
    return ["fmae_zoo", "keras", case.backend, "numpy", *own]
