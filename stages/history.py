"""How scores went: a bounded number of snapshots, evenly spaced, that survive a resume."""

from __future__ import annotations

import torch
from torch import Tensor

MOST_SNAPSHOTS = 64


class History:
    """Keeps at most ``MOST_SNAPSHOTS`` of ``num_events`` score vectors ``(width,)``, the last among them."""

    def __init__(self, num_events: int, width: int) -> None:
        self._num_events = num_events
        self._every = max(1, -(-num_events // MOST_SNAPSHOTS))
        rows = -(-num_events // self._every)
        self.values = torch.zeros(rows, width)
        self.events = torch.zeros(rows, dtype=torch.int64)
        """The event that filled each row, counted from 1; 0 where none did yet."""

    def record(self, event: int, scores: Tensor) -> None:
        """Keep ``scores`` of ``event``, counted from 1, if it is one of those kept."""
        if event % self._every == 0 or event == self._num_events:
            row = (event - 1) // self._every
            self.values[row] = scores.detach().to(self.values.device, self.values.dtype)
            self.events[row] = event

    def filled(self) -> tuple[Tensor, Tensor]:
        """Return the events recorded, ``(rows,)``, and their scores, ``(rows, width)``."""
        rows = self.events > 0
        return self.events[rows], self.values[rows]
