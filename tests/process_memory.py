"""Memory of the test process: what is freed goes back to the system."""

from __future__ import annotations

import ctypes
import gc
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's ``mallopt``."""


def return_large_blocks() -> None:
    """Make the allocator return blocks of a megabyte as soon as they are freed.

    By default glibc raises this bound up to 32 MB, and keeps the weights of models.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.mallopt(_MMAP_THRESHOLD, 1 << 20)
        libc.mallopt(_TRIM_THRESHOLD, 64 << 20)


def free_memory() -> None:
    """Collect garbage, and return what the allocator keeps of freed memory to the system."""
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)
