"""What happened since the last line of the log, summed on the device so that no step waits for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from pipeline.errors import CompressionError

NEVER = torch.iinfo(torch.int64).max


class Window:
    """Sums of losses since the last log line, and the first step whose loss or gradient was not finite."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.count = 0
        self.sums: dict[str, Tensor] = {}
        self.first_bad = torch.full((), NEVER, dtype=torch.int64, device=device)

    @torch.no_grad()
    def add(self, step: int, values: Mapping[str, Tensor], *, share: float = 1.0) -> None:
        """Add the scalar ``values`` of ``step`` (from 0), of which this is ``share``: the rest is added by others."""
        for name, value in values.items():
            scaled = value.detach().to(torch.float64) * share
            self.sums[name] = self.sums[name] + scaled if name in self.sums else scaled
            bad = torch.where(torch.isfinite(scaled), NEVER, step)
            self.first_bad = torch.minimum(self.first_bad, bad)

    def check_finite(self) -> None:
        """Raise ``CompressionError`` naming the first step that was not finite; waits for the device."""
        step = int(self.first_bad.item())
        if step != NEVER:
            raise CompressionError(
                f"the loss or its gradient is not finite at step {step}: lower learning_rate, lengthen warmup, set "
                "max_grad_norm, or set mixed_precision: no; the last saved state of this stage is untouched"
            )

    def means(self) -> dict[str, float]:
        """Return the mean of each value over the steps counted."""
        return {name: total.item() / max(1, self.count) for name, total in self.sums.items()}

    def clear(self) -> None:
        """Begin the next window."""
        self.count, self.sums = 0, {}

    def to_json(self) -> dict[str, Any]:
        """Return the sums, so that a resumed stage logs the same means."""
        return {"count": self.count, "sums": {name: total.item() for name, total in self.sums.items()}}

    def load(self, document: Mapping[str, Any]) -> None:
        """Go on from what ``to_json`` returned."""
        self.count = document["count"]
        self.sums = {
            name: torch.tensor(total, dtype=torch.float64, device=self.device)
            for name, total in document["sums"].items()
        }
