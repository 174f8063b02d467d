"""The most memory a piece of work needs, in a process of its own: nothing left over from other work hides it."""

from __future__ import annotations

import gc
import multiprocessing
import os
import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

Result = TypeVar("Result")
CLEAR = Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Measured:
    """Seconds, and bytes: the most that was resident beyond what was before, on the processor and on the device."""

    seconds: float
    peak_bytes: int
    device_peak_bytes: int = 0


def isolated(work: Callable[..., Result], *arguments: object) -> Result:
    """Return ``work(*arguments)``, called in a fresh process; both must be importable from there."""
    with ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def measured(work: Callable[[], object]) -> Measured:
    """Return what one call of ``work`` takes: call it through ``isolated``, as memory that earlier work has freed may
    still be resident, and is then taken again unseen.
    """
    import torch

    gc.collect()
    on_device = torch.cuda.is_available()
    if on_device:
        torch.cuda.reset_peak_memory_stats()
    forget_peak()
    before, began = resident_bytes(), time.perf_counter()
    kept = work()
    seconds = time.perf_counter() - began
    peak = max(0, peak_bytes() - before)
    del kept
    return Measured(seconds, peak, torch.cuda.max_memory_allocated() if on_device else 0)


def forget_peak() -> None:
    """Let ``peak_bytes`` begin anew, where the system allows it."""
    if os.access(CLEAR, os.W_OK):
        CLEAR.write_text("5")


def peak_bytes() -> int:
    """Return the most bytes that were resident in this process since it began, or since ``forget_peak``."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def resident_bytes() -> int:
    """Return the bytes that are resident now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
