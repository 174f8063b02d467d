"""The share of zeros over the steps, a pure function of the step."""

from __future__ import annotations

import math
from dataclasses import dataclass

from stages.schedules import resolve_span
from stages.sparsify.config import Kind, SparsitySchedule


@dataclass(frozen=True)
class Course:
    """From ``initial`` at step ``begin`` to ``final`` at ``end``; masks are chosen anew each ``every`` steps between.

    ``step`` counts the optimizer steps done. Where a schedule begins with the first step, what is due then comes after
    it, for without a step there is no gradient to judge by.
    """

    kind: Kind
    power: float
    begin: int
    end: int
    every: int
    initial: float
    final: float

    def share(self, step: int) -> float:
        """Return the share that is to be zero after ``step`` steps: 0 before ``begin``, ``final`` from ``end`` on."""
        if step < self.begin:
            return 0.0
        if step >= self.end or self.kind in ("one_shot", "constant"):
            return self.final
        done, first, last = (step - self.begin) / (self.end - self.begin), self.initial, self.final
        if self.kind == "exp":
            return float(1.0 - (1.0 - first) * ((1.0 - last) / (1.0 - first)) ** done)
        return first + (last - first) * self._climbed(done)

    def is_due(self, step: int) -> bool:
        """Say whether masks are chosen anew after ``step`` steps; at ``end`` always, whatever ``every`` is."""
        first, last = max(1, self.begin), self.last
        if not first <= step <= last:
            return False
        return step in (first, last) or (step - self.begin) % self.every == 0

    @property
    def last(self) -> int:
        """The step after which no mask changes any more."""
        return max(1, self.begin if self.kind == "one_shot" else self.end)

    def _climbed(self, done: float) -> float:
        if self.kind == "polynomial":
            return float(1.0 - (1.0 - done) ** self.power)
        if self.kind == "cos":
            return 1.0 - math.cos(math.pi * done / 2.0)
        return done**3 if self.kind == "cube" else done


def resolve_course(schedule: SparsitySchedule, initial: float, final: float, num_steps: int | None) -> Course:
    """Return the course of a training of ``num_steps``, None where nobody knows their number.

    Raises ``ValueError`` when the schedule does not fit into them, or has shares of a number that is not known.
    """
    begin = schedule.begin
    end = begin if schedule.kind == "one_shot" else schedule.end
    if num_steps is None:
        if not (isinstance(begin, int) and isinstance(end, int)):
            raise ValueError("num_steps: must be given where schedule.begin or schedule.end is a share; or count steps")
        num_steps = end
    span = resolve_span(begin, end, num_steps, names=("schedule.begin", "schedule.end"))
    return Course(schedule.kind, schedule.power, span.begin, span.end, schedule.every, initial, final)
