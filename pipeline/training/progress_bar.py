"""What a person sees of a running stage: a bar on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import logging
import sys
import time

from tqdm import tqdm

logger = logging.getLogger(__name__)
LINE_SECONDS = 30.0


class ProgressBar:
    """The stage's name, steps, loss and time left; silent unless ``shown``."""

    def __init__(self, name: str, *, total: int, done: int, shown: bool) -> None:
        self.name = name
        self.total = total
        self.shown = shown
        self._loss = ""
        self._began = (time.monotonic(), done)
        self._line_at = self._began[0] + LINE_SECONDS
        on_terminal = shown and sys.stderr.isatty()
        self._bar = tqdm(total=total, initial=done, desc=name, unit="step", dynamic_ncols=True) if on_terminal else None

    def step(self, done: int) -> None:
        """Show that ``done`` steps are done."""
        if self._bar is not None:
            self._bar.update(done - self._bar.n)
        elif self.shown and time.monotonic() >= self._line_at:
            began, before = self._began
            left = (time.monotonic() - began) / max(1, done - before) * (self.total - done)
            logger.info("%s: step %d of %d%s, %.0f s left", self.name, done, self.total, self._loss, left)
            self._line_at = time.monotonic() + LINE_SECONDS

    def loss(self, value: float) -> None:
        """Show ``value`` beside the steps from now on."""
        self._loss = f", loss {value:.4g}"
        if self._bar is not None:
            self._bar.set_postfix_str(f"loss {value:.4g}", refresh=False)

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.close()
