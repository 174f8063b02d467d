"""When a stage prunes: its span in steps, and the rounds within it, as pure functions of the step."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.training.schedules import cubic_sparsity

ONE_SHOT_STEPS = 100
"""How many steps before a one-shot cut it judges by, where there are so many."""


NAMES = ("prune_begin", "prune_end")
"""What the ends of a span are called in most stages' settings."""

AT_ONCE = dict(zip(NAMES, (0, 1), strict=True))
"""The span in which all that goes is gone after the first step."""


def check_span(begin: int | float, end: int | float, *, names: tuple[str, str] = NAMES) -> None:
    """Raise ``ValueError`` when ``end`` comes before ``begin``, where that shows without the step count."""
    if isinstance(begin, int) == isinstance(end, int) and end < begin:
        raise ValueError(f"{names[1]}: must not come before {names[0]} ({begin}), got {end}")


@dataclass(frozen=True)
class Span:
    """The steps between which a stage prunes: nothing is masked up to ``begin``, all that goes is gone at ``end``."""

    begin: int
    end: int

    def progress(self, step: int) -> float:
        """Return the cubic schedule at ``step``: 0 up to ``begin``, 1 from ``end`` on, ``1 - (1 - p)³`` between."""
        return cubic_sparsity(step, start=self.begin, end=self.end, final=1.0)


def resolve_span(begin: int | float, end: int | float, num_steps: int, *, names: tuple[str, str] = NAMES) -> Span:
    """Return the span in steps of a stage of ``num_steps``; an integer counts steps, a float is a share of them.

    Raises ``ValueError`` when it does not end within the stage, or ends before it begins.
    """
    first, last = (edge if isinstance(edge, int) else round(edge * num_steps) for edge in (begin, end))
    if last > num_steps:
        raise ValueError(f"{names[1]}: must be within the stage's {num_steps} steps, got {end}; train for longer")
    if last < first:
        raise ValueError(f"{names[1]}: must not come before {names[0]} (step {first} of {num_steps}), got step {last}")
    return Span(first, last)


@dataclass(frozen=True)
class Rounds:
    """``count`` prunings at even distances over a span, the last at its end, on the cubic schedule."""

    span: Span
    count: int

    @property
    def observed_from(self) -> int:
        """The first step that is judged by: where the span begins, or ``ONE_SHOT_STEPS`` before if it has no length."""
        return self.span.begin if self.span.begin < self.span.end else max(0, self.span.end - ONE_SHOT_STEPS)

    def done(self, step: int) -> int:
        """Return how many rounds are done when ``step`` begins; never less than at an earlier step."""
        if step >= self.span.end:
            return self.count
        if step <= self.span.begin:
            return 0
        return (step - self.span.begin) * self.count // (self.span.end - self.span.begin)

    def progress(self, done: int) -> float:
        """Return the share of the whole removal that is due after ``done`` rounds, ``1 - (1 - done/count)³``."""
        return 1.0 - (1.0 - done / self.count) ** 3

    def mean_progress(self, num_steps: int) -> float:
        """Return the share of the whole removal that is done before a step, as a mean over ``num_steps`` of them."""
        return sum(self.progress(self.done(step)) for step in range(num_steps)) / num_steps
