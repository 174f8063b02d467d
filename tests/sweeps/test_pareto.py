import itertools
import math

import pytest

from pipeline.sweeps.pareto import pareto


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([], []),
        ([(1, 0.9)], [True]),
        ([(1, 0.8), (2, 0.9), (3, 0.95)], [True, True, True]),
        ([(1, 0.9), (2, 0.8), (3, 0.95)], [True, False, True]),
        ([(1, 0.9), (1, 0.9)], [True, True]),
        ([(1, 0.9), (1, 0.8)], [True, False]),
        ([(1, 0.9), (2, 0.9)], [True, False]),
        ([(2, 0.9), (1, 0.9), (1, 0.9), (1, 0.7), (3, 0.9)], [False, True, True, False, False]),
        ([(1, math.nan), (2, 0.5), (math.nan, 0.9)], [False, True, False]),
    ],
)
def test_optimal_is_what_no_other_beats(points, expected):
    assert pareto(points) == expected


def test_the_order_of_the_points_changes_nothing():
    points = [(1, 0.8), (2, 0.8), (2, 0.9), (2, 0.9), (3, 0.7)]
    optimal = {point for point, is_kept in zip(points, pareto(points), strict=True) if is_kept}
    for order in itertools.permutations(points):
        assert {point for point, is_kept in zip(order, pareto(order), strict=True) if is_kept} == optimal
