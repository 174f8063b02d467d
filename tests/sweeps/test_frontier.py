import json
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.artifacts.run import Artifact
from pipeline.errors import CompressionError, RecipeError
from pipeline.sweeps.figure import plot_frontier
from pipeline.sweeps.frontier import Frontier, Limits
from pipeline.sweeps.points import Point, Points

NUMBERS = ("score", "encoder_sparsity", "macs", "latency_ms")


def point(label, run, *numbers, dense=0.97):
    values = dict(zip(NUMBERS, numbers, strict=True))
    return Point(label, Artifact(Path("runs") / run / "02-cut", "cut"), dense_score=dense, parameters=1e6, **values)


def frontier(*points, left_out=None):
    return Frontier(Points("validation/accuracy", points, left_out or {}), batch_size=1, rounds=30, threads=2)


@pytest.fixture
def traded():
    """A dense model, two worth having, one that is slower than one as good, and a tie of two."""
    return frontier(
        point("dense", "a", 0.97, 0.0, 100.0, 10.0),
        point("half", "b", 0.96, 0.5, 60.0, 6.0),
        point("slow", "c", 0.96, 0.5, 60.0, 9.0),
        point("most", "d", 0.90, 0.8, 30.0, 3.0),
        point("worse", "e", 0.80, 0.8, 30.0, 3.5),
    )


def labels(groups):
    return [group.label for group in groups]


def test_ties_are_optimal_together_and_the_dominated_are_not(traded):
    assert labels(traded.optimal("encoder sparsity")) == ["dense", "half", "slow", "most"]
    assert labels(traded.optimal("MACs")) == ["dense", "half", "slow", "most"]
    assert labels(traded.optimal("latency")) == ["dense", "half", "most"]


@pytest.fixture
def sparse():
    """Models of one width that differ in their zeros, the dense one fastest by chance."""
    zeros = {"dense": 0.0, "30%": 0.29, "60%": 0.58, "80%": 0.78}
    scores = (0.97, 0.97, 0.965, 0.95)
    points = [
        point(name, name, score, 0.0, 100.0, 10.0 + share)
        for (name, share), score in zip(zeros.items(), scores, strict=True)
    ]
    return frontier(*(replace(each, zeros=zeros[each.label]) for each in points))


def test_of_models_that_differ_in_zeros_alone_the_zeros_are_what_is_weighed(sparse):
    assert sparse.costs() == ("zeros", "latency")
    assert labels(sparse.optimal("zeros")) == ["30%", "60%", "80%"]
    assert sparse.choose(Limits(max_drop=0.01)).label == "60%"
    assert sparse.choose(Limits(max_latency_ms=10.3)).label == "dense"
    assert "encoder sparsity 0.0%, zeros 58.0%)" in sparse.describe(sparse.choose(Limits(max_drop=0.01)))
    (row,) = (line for line in sparse.table().splitlines() if line.startswith("60%"))
    assert row.split()[1:] == ["96.50%", "0.0%", "1M", "100", "58.0%", "10.58", "zeros"]
    assert set(json.loads(sparse.json())["optimal"]) == {"zeros", "latency"}
    titles = [axes.get_xlabel() for axes in plot_frontier(sparse).axes]
    assert titles == ["zeros of all matrix weights, %", "milliseconds, batch 1"]


def test_where_nothing_is_zero_nothing_is_told_of_zeros(traded):
    assert traded.costs() == ("encoder sparsity", "MACs", "latency")
    assert "zeros" not in traded.table()


def test_zeros_and_widths_that_both_differ_are_both_weighed(traded):
    half, *others = traded.points.points[1:]
    both = frontier(replace(half, zeros=0.5), *others)
    assert both.costs() == ("encoder sparsity", "MACs", "zeros", "latency")
    assert both.choose(Limits(max_drop=0.5)).label == "most"


def test_seeds_come_together_as_mean_deviation_and_best():
    found = frontier(
        point("s", "1", 0.90, 0.5, 60.0, 6.0),
        point("s", "2", 0.94, 0.5, 60.0, 8.0),
        point("t", "3", 0.5, 0.6, 50.0, 5.0),
    )
    group, alone = found.groups()
    assert group.mean("score") == pytest.approx(0.92)
    assert group.mean("latency_ms") == 7.0
    assert group.deviation == pytest.approx(0.0282842712)
    assert group.best.artifact.path.parent.name == "2"
    assert alone.deviation is None
    row = next(line for line in found.table().splitlines() if line.startswith("s "))
    assert row.split()[1:5] == ["2", "92.00%", "2.83%", "94.00%"]


@pytest.mark.parametrize(
    ("limits", "label"),
    [
        (Limits(max_latency_ms=10.0), "dense"),
        (Limits(max_latency_ms=9.5), "half"),
        (Limits(max_latency_ms=6.0), "half"),
        (Limits(max_latency_ms=5.9), "most"),
        (Limits(min_accuracy=0.96), "half"),
        (Limits(min_accuracy=0.85), "most"),
        (Limits(min_accuracy=0.965), "dense"),
        (Limits(max_drop=0.01), "half"),
        (Limits(max_drop=0.0), "dense"),
        (Limits(max_drop=0.07), "most"),
        (Limits(max_latency_ms=9.0, max_drop=0.07), "half"),
        (Limits(max_latency_ms=4.0, min_accuracy=0.7), "most"),
    ],
)
def test_the_model_to_ship_keeps_to_the_limits_and_is_the_best_that_does(traded, limits, label):
    assert traded.choose(limits).label == label


def test_of_two_as_good_and_as_fast_the_smaller_is_shipped():
    found = frontier(point("a", "a", 0.9, 0.1, 50.0, 5.0), point("b", "b", 0.9, 0.2, 40.0, 5.0))
    assert found.choose(Limits(max_latency_ms=5.0)).label == "b"
    assert found.choose(Limits(min_accuracy=0.9)).label == "b"


@pytest.fixture
def errors():
    """A dense model and two smaller ones by their error, and one that is as wrong as the smallest and larger."""
    found = (
        point("dense", "a", 0.10, 0.0, 100.0, 10.0, dense=0.1),
        point("half", "b", 0.20, 0.5, 60.0, 6.0, dense=0.1),
        point("worse", "c", 0.90, 0.5, 60.0, 6.0, dense=0.1),
        point("most", "d", 0.50, 0.8, 30.0, 3.0, dense=0.1),
    )
    return frontier(*(replace(each, greater_is_better=False) for each in found))


def test_where_less_is_better_the_least_score_is_optimal_and_a_drop_is_what_it_rises_by(errors):
    assert labels(errors.optimal("MACs")) == ["dense", "half", "most"]
    assert errors.choose(Limits(max_drop=0.1)).label == "half"
    assert errors.choose(Limits(max_latency_ms=6.0)).label == "half"
    assert errors.groups()[0].best.score == 0.10
    with pytest.raises(CompressionError, match=r"the best a/cut \(10.00 ms, validation/accuracy 10"):
        errors.choose(Limits(max_latency_ms=1.0))


def test_a_least_accuracy_is_refused_where_less_is_better(errors):
    with pytest.raises(RecipeError, match="--min-accuracy: must not be given where less validation/accuracy is better"):
        errors.choose(Limits(min_accuracy=0.5))


def test_where_no_model_keeps_to_the_limits_the_nearest_are_named(traded):
    with pytest.raises(CompressionError, match=r"no model keeps to --max-latency-ms 1; the fastest is d/cut \(3.00 ms"):
        traded.choose(Limits(max_latency_ms=1.0))
    with pytest.raises(
        CompressionError, match=r"--min-accuracy 0.99; .* the best a/cut \(10.00 ms, validation/accuracy 97"
    ):
        traded.choose(Limits(min_accuracy=0.99))


def test_a_drop_below_an_unknown_dense_model_is_not_allowed():
    found = frontier(point("a", "a", 0.9, 0.1, 50.0, 5.0, dense=None))
    with pytest.raises(CompressionError, match="no model keeps to --max-drop"):
        found.choose(Limits(max_drop=0.5))


def test_a_limit_below_nothing_is_refused():
    with pytest.raises(RecipeError, match="--max-latency-ms: must be a number of at least 0, got -1"):
        Limits(max_latency_ms=-1)
    with pytest.raises(RecipeError, match="--max-drop: must be a number of at least 0, got nan"):
        Limits(max_drop=float("nan"))


def test_the_table_names_where_each_is_optimal_and_what_is_left_out(traded):
    rows = {line.split("  ")[0]: line for line in traded.table().splitlines()}
    assert rows["half"].endswith("encoder sparsity, MACs, latency")
    assert rows["slow"].endswith("encoder sparsity, MACs")
    assert rows["worse"].rstrip().endswith("3.50")
    text = frontier(*traded.points.points, left_out={"x": "cut is still to be run"}).table()
    assert text.endswith("x is left out: cut is still to be run")


def test_the_json_holds_every_point(traded):
    document = json.loads(traded.json())
    assert [entry["name"] for entry in document["points"]] == ["a/cut", "b/cut", "c/cut", "d/cut", "e/cut"]
    assert document["optimal"]["latency"] == ["dense", "half", "most"]
    assert document["points"][3]["latency_ms"] == 3.0


def test_the_figure_joins_the_optimal_points_of_each_cost(traded):
    figure = plot_frontier(traded, chosen=traded.points.points[3])
    sparsity, macs, latency = figure.axes
    joined = [axes.lines[0].get_xydata().round(6).tolist() for axes in (sparsity, macs, latency)]
    assert joined[0] == [[0.0, 97.0], [50.0, 96.0], [50.0, 96.0], [80.0, 90.0]]
    assert joined[1] == [[0.00003, 90.0], [0.00006, 96.0], [0.00006, 96.0], [0.0001, 97.0]]
    assert joined[2] == [[3.0, 90.0], [6.0, 96.0], [10.0, 97.0]]
    ring = next(line for line in latency.lines if line.get_label() == "chosen")
    assert ring.get_xydata().tolist() == [[3.0, 90.0]]
    assert {text.get_text() for text in latency.texts} == {"dense", "half", "slow", "most", "worse"}
