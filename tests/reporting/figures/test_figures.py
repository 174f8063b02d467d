"""Every figure by its values: what stands in it is what was decided, logged or measured."""

import numpy as np
import pytest

from pipeline.reporting.decisions import GONE, KEPT, REMOVED, UnitMap, decisions, unit_map
from pipeline.reporting.figures.costs import latencies, what_is_left
from pipeline.reporting.figures.heads_map import PART, WHOLE, heads_map
from pipeline.reporting.figures.importance import importance_ranks
from pipeline.reporting.figures.scores import score_curves
from pipeline.reporting.figures.timeline import timeline
from pipeline.reporting.figures.widths import layer_widths
from pipeline.reporting.report import Report
from pipeline.reporting.stage_logs import stage_logs


def cells(figure, label):
    """Return ``{(x, y): (side, value)}`` of the squares of one collection."""
    (collection,) = (found for found in figure.axes[0].collections if found.get_label() == label)
    boxes = [path.get_extents() for path in collection.get_paths()]
    values = [None] * len(boxes) if collection.get_array() is None else collection.get_array().tolist()
    return {
        (round((box.x0 + box.x1) / 2), round((box.y0 + box.y1) / 2)): (pytest.approx(box.width), value)
        for box, value in zip(boxes, values, strict=True)
    }


def test_every_cell_of_the_map_equals_the_plan_and_has_its_score(made_run):
    plan, units = made_run["prune_heads"].keep_plan, unit_map(made_run, "prune_heads", "heads")
    figure = heads_map(units)
    kept, removed = cells(figure, "kept"), cells(figure, "removed")
    for layer in range(3):
        for head in range(4):
            is_kept = head in plan[f"encoder.{layer}.heads"].units
            assert ((head, layer) in kept, (head, layer) in removed) == (is_kept, not is_kept)
            side, score = (kept if is_kept else removed)[head, layer]
            assert side == (WHOLE if is_kept else PART)
            assert score == units.scores[layer, head]


def test_heads_gone_before_are_crosses_and_not_cells(made_run):
    figure = heads_map(unit_map(made_run, "again", "heads"))
    (crosses,) = (line for line in figure.axes[0].lines if line.get_gid() == "gone")
    assert sorted(map(tuple, crosses.get_xydata().tolist())) == [(0, 1), (1, 1), (2, 0), (3, 1)]
    assert (2, 0) not in cells(figure, "removed")


def test_a_deep_model_lies_on_its_side_and_a_score_nobody_knows_has_no_colour():
    states = np.array([[KEPT, REMOVED], [GONE, KEPT], [REMOVED, REMOVED]], dtype=np.int8)
    figure = heads_map(UnitMap("cut", "heads", ("0", "1", "2"), np.full((3, 2), np.nan), states, "score"))
    assert cells(figure, "kept").keys() == {(0, 0), (1, 1)}
    assert {value for _, value in cells(figure, "kept").values()} == {None}
    assert figure.axes[0].get_xlabel() == "layer"
    assert len(figure.axes) == 1


def test_bars_are_as_high_as_layers_are_wide(made_run):
    heads, channels = layer_widths(Report.from_run(made_run).rows).axes
    found = {bars.get_label(): [bar.get_height() for bar in bars] for bars in heads.containers}
    assert found == {"finetune": [4, 4, 4], "prune_heads": [3, 1, 0], "again": [2, 1, 0]}
    found = {bars.get_label(): [bar.get_height() for bar in bars] for bars in channels.containers}
    assert found == {"finetune": [10, 10, 10], "prune_ffn": [5, 1, 3]}


def test_curves_follow_the_history_of_each_head(made_run):
    artifact = made_run["prune_heads"]
    decided = decisions(artifact)
    upper, lower = score_curves(decided, artifact.history(), span=(10, 30)).axes
    removed, kept = upper.collections
    assert (removed.get_label(), kept.get_label()) == ("removed (8)", "kept (4)")
    expected = [np.column_stack([[20, 40], curve]) for one in decided for curve in one.scores.T[one.kept]]
    np.testing.assert_allclose(kept.get_segments(), expected)
    lines = {line.get_label(): line.get_xydata().tolist() for line in lower.lines}
    assert lines["heads removed"] == [[10, 0.1], [20, 0.2], [30, 0.3], [40, 0.4]]
    assert [line.get_xdata()[0] for line in upper.lines if line.get_gid() == "span"] == [10, 30]


def test_the_cut_stands_between_what_is_kept_and_what_is_removed(made_run):
    decided = decisions(made_run["prune_ffn"])
    for axes, decision in zip(importance_ranks(decided).axes, decided, strict=False):
        lines = {line.get_label(): line.get_xydata() for line in axes.lines}
        num_kept = int(decision.kept.sum())
        assert set(lines["cut"][:, 0]) == {num_kept}
        np.testing.assert_allclose(lines["kept"][:, 1], np.sort(decision.final[decision.kept])[::-1])
        np.testing.assert_allclose(lines["removed"][:, 1], np.sort(decision.final[~decision.kept])[::-1])
        assert lines["kept"][-1, 0] < num_kept <= lines["removed"][0, 0]


def test_the_time_axis_carries_each_stage_s_loss_and_every_committed_score(made_run):
    logs = stage_logs(made_run)
    upper, lower = timeline(logs).axes
    losses = {
        line.get_gid(): line.get_xydata().tolist() for line in upper.lines if (line.get_gid() or "").startswith("loss")
    }
    assert losses == {f"loss {log.stage}": [list(point) for point in log.loss] for log in logs}
    ends = {tuple(line.get_xydata()[0]) for line in lower.lines if line.get_linestyle() == "None"}
    assert {log.scores["validation/accuracy"][-1] for log in logs} <= ends


def test_what_is_left_is_a_share_of_the_first_stage(made_run):
    (axes,) = what_is_left(Report.from_run(made_run).rows).axes
    _, left = axes.containers
    names = [label.get_text() for label in axes.get_yticklabels()]
    shares = dict(zip(names, (bar.get_width() for bar in left), strict=True))
    assert shares == pytest.approx(dict.fromkeys(names[:5], 0.35) | dict.fromkeys(names[5:], 0.4))
    assert names[4:] == ["gzipped", "time, batch 1", "time, batch 8", "time, batch 32"]


def test_latency_is_a_point_with_its_spread_for_each_stage_and_batch_size(made_run):
    rows = Report.from_run(made_run).rows
    figure = latencies(rows)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["batch 1", "batch 8", "batch 32"]
    for axes, size in zip(figure.axes, (1, 8, 32), strict=True):
        medians = [line.get_xdata()[0] for line in axes.lines if (line.get_gid() or "").startswith("median")]
        assert medians == [row.metrics[f"latency_b{size}_ms"] for row in rows]
        whiskers = [list(line.get_xdata()) for line in axes.lines if line.get_gid() is None]
        assert [end for _, end in whiskers] == [row.metrics[f"latency_b{size}_p95_ms"] for row in rows]
