"""Whether writing a teacher's answers down is worth it; from what recipe and machine say, so that equal runs agree."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

LARGEST_SHARE_OF_MEMORY = 0.25
"""More would push other files out of the page cache, and then every read waits for the disk."""
LARGEST_SHARE_OF_DISK = 0.1


@dataclass(frozen=True)
class Choice:
    """Whether answers are written down, and why."""

    is_cached: bool
    why: str


def choose(
    *, size_bytes: int, passes: float, has_hidden: bool, on_cpu: bool, memory_bytes: int, free_bytes: int
) -> Choice:
    """Return what "auto" means: answers are written where they are read more than once, and fit.

    ``passes`` counts how often all stages that share the teacher go over the training split. Off the CPU hidden
    states are not written: a forward pass there takes less time than bringing them from the computer's memory.
    """
    size, memory, free = (in_gigabytes(number) for number in (size_bytes, memory_bytes, free_bytes))
    if passes <= 1:
        return Choice(False, f"the teacher is asked for {passes:.2g} passes over the rows, and writing takes one")
    if has_hidden and not on_cpu:
        return Choice(False, "off the CPU a forward pass is quicker than fetching hidden states")
    if size_bytes > LARGEST_SHARE_OF_MEMORY * memory_bytes:
        return Choice(False, f"its answers take {size}, more than {LARGEST_SHARE_OF_MEMORY:.0%} of {memory} of memory")
    if size_bytes > LARGEST_SHARE_OF_DISK * free_bytes:
        return Choice(False, f"its answers take {size}, more than {LARGEST_SHARE_OF_DISK:.0%} of {free} of free disk")
    return Choice(True, f"{size} of answers serve {passes:.3g} passes over the rows")


def free_bytes(folder: Path) -> int:
    """Return the free bytes of the disk that ``folder`` is on, or will be."""
    there = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    return shutil.disk_usage(there).free


def in_gigabytes(size_bytes: int) -> str:
    """Return a size for people."""
    return f"{size_bytes / 1e9:.2f} GB" if size_bytes >= 1e7 else f"{size_bytes / 1e6:.2f} MB"
