"""Memory that a process keeps for itself between two steps, instead of giving it back and asking for it again."""

from __future__ import annotations

import ctypes
import functools
import os

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""The parameters of glibc's ``mallopt(3)``."""
MOST_KEPT_BYTES = 2**31 - 1
CHOSEN_BY_USER = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


@functools.cache
def keep_freed_memory() -> bool:
    """Have the C library keep freed memory for the next step; return whether it does. Only glibc is asked.

    By itself it maps every block above 32 MiB anew and unmaps it when freed, so that each step pays for clearing
    the pages of the same tensors again: the gradient of a vocabulary's embeddings alone took a third of the time of
    a step of a small BERT. Whoever has set one of ``CHOSEN_BY_USER`` in the environment is left alone.
    """
    if any(name in os.environ for name in CHOSEN_BY_USER):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):
        return False
    return bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, MOST_KEPT_BYTES))
