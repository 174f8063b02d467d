"""What a process keeps in memory between two steps, instead of asking for it or making it again."""

from __future__ import annotations

import ctypes
import functools
import os
from pathlib import Path

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""The parameters of glibc's ``mallopt(3)``."""
MOST_KEPT_BYTES = 2**31 - 1
KERNELS = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
KERNEL_BYTES = 400_000
SHARE_FOR_KERNELS = 1 / 16
FEWEST_KERNELS, MOST_KERNELS = 1024, 16384
"""oneDNN keeps 1024 of itself."""
CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
CHOSEN_BY_USER = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


@functools.cache
def keep_freed_memory() -> bool:
    """Have the C library keep freed memory for the next step; return whether it does. Only glibc is asked.

    By itself it maps every block above 32 MiB anew and unmaps it when freed, so that each step pays for clearing
    the pages of the same tensors again, the gradient of a vocabulary's embeddings first of all
    (``benchmarks/cheaper_steps.py``). Whoever has set one of ``CHOSEN_BY_USER`` in the environment is left alone.
    """
    if any(name in os.environ for name in CHOSEN_BY_USER):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):
        return False
    return bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, MOST_KEPT_BYTES))


def keep_kernels() -> int:
    """Have oneDNN keep the kernels it compiles, as many as a sixteenth of the memory holds; return how many.

    It compiles one for each shape. A dense model's layers share a few shapes, a condensed model has other widths in
    every layer, and with batches of fifty lengths more shapes than the 1024 that are kept by default: then every step
    compiles most of its kernels (``benchmarks/cheaper_steps.py``). Only the first call before any kernel is compiled
    counts; what the user has set in the environment stays.
    """
    wanted = int(memory_bytes() * SHARE_FOR_KERNELS) // KERNEL_BYTES
    os.environ.setdefault(KERNELS, str(max(FEWEST_KERNELS, min(wanted, MOST_KERNELS))))
    return int(os.environ[KERNELS])


def memory_bytes() -> int:
    """Return the memory that this process may use: the machine's, or what its control group is limited to."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = CGROUP_LIMIT.read_text("ascii").strip() if CGROUP_LIMIT.exists() else ""
    return min(total, int(limit)) if limit.isdigit() else total
