"""Settings of the C library for freed memory."""

import ctypes
import functools
import os


@functools.cache
def keep_freed_memory() -> None:
    """Let the C library keep up to 1 GiB of freed memory for the activations of the next batch.

    By default glibc returns large blocks to the system at once and gets them again page by page,
    which takes up to a third of a training step. The setting holds for the whole process and stays.
    Settings in environment variables are not overridden.
    """
    m_trim_threshold, m_mmap_threshold = -1, -3
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    names = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")
    if mallopt is not None and not any(name in os.environ for name in names):
        mallopt(m_mmap_threshold, 32 << 20)
        mallopt(m_trim_threshold, 1 << 30)
