"""Where a stage stands: all of a half-done stage's state that is numbers and not tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any


@dataclass
class Position:
    """Counts since the stage began, over all its resumes.

    ``step`` counts the optimizer steps done; epoch and batch follow from it. ``evaluated`` is the step after which
    the last evaluation was made. ``seconds`` holds everything, ``step_seconds`` only the steps. ``mixed_precision`` is
    the precision in use, ``timed_ms`` what chose it, if anything did. ``log_position`` is the log's length in bytes.
    """

    step: int = 0
    evaluated: int = 0
    seconds: float = 0.0
    step_seconds: float = 0.0
    rows: int = 0
    tokens: int = 0
    mixed_precision: str = ""
    timed_ms: dict[str, float] = field(default_factory=dict)
    best_step: int | None = None
    best_value: float | None = None
    log_position: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the fields by name."""
        return asdict(self)

    def load(self, document: Mapping[str, Any]) -> None:
        """Take over the fields that ``to_json`` returned; raises ``ValueError`` when one is missing or unknown.

        A best epoch of an undefined score, which earlier versions saved, is none.
        """
        names = {entry.name for entry in fields(self)}
        if names != document.keys():
            raise ValueError(f"the position must hold {sorted(names)}, got {sorted(document)}")
        for name in names:
            setattr(self, name, document[name])
        if self.best_value is not None and math.isnan(self.best_value):
            self.best_step = self.best_value = None
