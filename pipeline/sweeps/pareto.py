"""Which points of a trade-off are worth having: no other costs as little and scores as high, and one of them better."""

from __future__ import annotations

import math
from collections.abc import Sequence


def pareto(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Return for each ``(cost, score)`` whether it is Pareto-optimal: less cost is better, and more score.

    Points that tie in both are optimal together or not at all. A point with a number that is undefined is not, and
    rules out nobody.
    """
    defined = [point for point in points if _is_defined(point)]
    return [_is_defined(point) and not any(_beats(other, point) for other in defined) for point in points]


def _is_defined(point: tuple[float, float]) -> bool:
    return not any(math.isnan(number) for number in point)


def _beats(other: tuple[float, float], point: tuple[float, float]) -> bool:
    return other[0] <= point[0] and other[1] >= point[1] and other != point
