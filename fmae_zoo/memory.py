"""What the C library does with memory that was freed."""

import ctypes
import functools
import os
from typing import Any


@functools.cache
def keep_freed_memory() -> None:
    """Let the C library keep up to a GiB of what activations free, for those of the next batch.

    glibc gives blocks of megabytes back to the system at once, and gets them anew page by page,
    which takes up to a third of a step. The setting is the process's, and stays; one that the
    environment makes is left as it is.
    """
    m_trim_threshold, m_mmap_threshold = -1, -3
    mallopt = _function("mallopt")
    names = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")
    if mallopt is not None and not any(name in os.environ for name in names):
        mallopt(m_mmap_threshold, 32 << 20)
        mallopt(m_trim_threshold, 1 << 30)


def _function(name: str) -> Any:
    """Return a function of the C library, or None where it has none."""
    return getattr(ctypes.CDLL(None), name, None) if os.name == "posix" else None
