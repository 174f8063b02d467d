"""Schedules as pure functions of the optimizer step, so that a resume needs only the step."""

import math


def warmup_steps(warmup: int | float, total: int) -> int:
    """Return the steps of warm-up: ``warmup`` itself if it is an integer, that share of ``total`` if it is a float."""
    return warmup if isinstance(warmup, int) else round(warmup * total)


def learning_rate(step: int, *, schedule: str, warmup: int | float, total: int) -> float:
    """Return the factor on the learning rate at ``step``, counted from 0.

    It climbs linearly to 1 over the warm-up, reached at its last step, so that no step is lost to a rate of zero.
    Then "linear" and "cosine" fall to 0 at ``total``, "constant" stays, and "inverse_sqrt" falls as
    ``sqrt(warm-up / (step + 1))``, with a warm-up of 0 counted as 1. Raises ``ValueError`` for any other name.
    """
    steps = warmup_steps(warmup, total)
    if step < steps:
        return (step + 1) / steps
    progress = min(1.0, (step - steps) / max(1, total - steps))
    if schedule == "linear":
        return 1.0 - progress
    if schedule == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * progress))
    if schedule == "constant":
        return 1.0
    if schedule == "inverse_sqrt":
        return math.sqrt(max(1, steps) / (step + 1))
    raise ValueError(f"schedule must be linear, cosine, constant or inverse_sqrt, got {schedule!r}")


def cubic_sparsity(step: int, *, start: int, end: int, final: float) -> float:
    """Return the share of units removed at ``step``: 0 until ``start``, ``final`` from ``end`` on, cubic between."""
    if step >= end:
        return final
    if step <= start:
        return 0.0
    remaining = (end - step) / (end - start)
    return final * (1.0 - remaining**3)
