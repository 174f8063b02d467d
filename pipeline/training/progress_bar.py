"""What a person sees of a running stage: a bar on a terminal and in a notebook, now and then a line in a log."""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

from tqdm import tqdm

logger = logging.getLogger(__name__)
LINE_SECONDS = 30.0
NOTEBOOK_SECONDS, NOTEBOOK_COLUMNS = 1.0, 110
"""A notebook keeps every state of a bar it was sent, and does not say how wide it is."""


class ProgressBar:
    """The stage's name, steps, time left, and what was last told of its numbers; silent unless ``shown``."""

    def __init__(self, name: str, *, total: int, done: int, shown: bool) -> None:
        self.name = name
        self.total = total
        self.shown = shown
        self._numbers: dict[str, str] = {}
        self._began = (time.monotonic(), done)
        self._line_at = self._began[0] + LINE_SECONDS
        self._bar = _bar(name, total, done) if shown else None

    def step(self, done: int) -> None:
        """Show that ``done`` steps are done."""
        if self._bar is not None:
            self._bar.update(done - self._bar.n)
        elif self.shown and time.monotonic() >= self._line_at:
            began, before = self._began
            left = (time.monotonic() - began) / max(1, done - before) * (self.total - done)
            logger.info("%s: step %d of %d%s, %.0f s left", self.name, done, self.total, self._told(", "), left)
            self._line_at = time.monotonic() + LINE_SECONDS

    def show(self, **numbers: float) -> None:
        """Show each of ``numbers`` beside the steps from now on, under its name with spaces for underscores."""
        self._numbers |= {name.replace("_", " "): f"{value:.4g}" for name, value in numbers.items()}
        if self._bar is not None:
            self._bar.set_postfix_str(self._told("").strip(), refresh=False)

    def _told(self, before: str) -> str:
        text = ", ".join(f"{name} {value}" for name, value in self._numbers.items())
        return f"{before}{text}" if text else ""

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.close()


def in_notebook() -> bool:
    """Say whether what is written to standard error appears below a notebook's cell."""
    return type(sys.stderr).__module__.startswith("ipykernel")


def _bar(name: str, total: int, done: int) -> tqdm[Any] | None:
    """Return a bar where one can be redrawn; None for a log file, in which every state of it would stay."""
    if in_notebook():
        options: dict[str, Any] = {"ncols": NOTEBOOK_COLUMNS, "mininterval": NOTEBOOK_SECONDS, "file": sys.stderr}
    elif sys.stderr.isatty():
        options = {"dynamic_ncols": True}
    else:
        return None
    bar: tqdm[Any] = tqdm(total=total, initial=done, desc=name, unit="step", **options)
    return bar
