import numpy as np
import pytest

from pipeline.reporting.decisions import ABSENT, GONE, KEPT, REMOVED, Decision, cutting_stages, decisions, unit_map

K, R, G = KEPT, REMOVED, GONE


def test_a_head_has_the_score_of_the_block_with_which_it_dies(made_run):
    """Of its slices the best, of a slice's four weights the worst, of a weight's blocks the best."""
    found = decisions(made_run["prune_heads"])
    assert [decision.group for decision in found] == [f"encoder.{layer}.heads" for layer in range(3)]
    assert [decision.measure for decision in found] == ["score"] * 3
    finals = [[0.5, 0.6, -1.2, 0.8], [-1.0, -1.1, 0.7, -1.3], [-1.0, -1.1, -1.2, -1.3]]
    np.testing.assert_allclose([decision.final for decision in found], finals, rtol=1e-6)
    np.testing.assert_allclose(found[0].scores[0], np.array(finals[0]) / 2, rtol=1e-6)
    assert found[0].moments.tolist() == [20, 40]
    assert found[0].kept.tolist() == [True, True, False, True]


def test_the_score_of_a_head_agrees_with_the_rule_that_removes_it():
    torch = pytest.importorskip("torch")
    from pipeline.reporting.decisions import _of_heads
    from stages.prune_heads.rule import live_heads

    bands = [torch.randn(6, 2, 3, generator=torch.Generator().manual_seed(seed)) for seed in range(4)]
    scores = _of_heads([band.numpy() for band in bands])
    for threshold in np.linspace(-1.5, 1.5, 13):
        assert (scores > threshold).tolist() == live_heads([band > threshold for band in bands]).tolist()


def test_an_importance_is_that_of_the_round_in_which_a_unit_went(made_run):
    first, second, _ = decisions(made_run["prune_ffn"])
    expected = [3 * (1 + unit / 9) if unit <= 4 else 1 + unit / 9 for unit in range(10)]
    np.testing.assert_allclose(first.final, expected, rtol=1e-6)
    assert second.final[9] == pytest.approx(0.6)
    assert first.measure == "importance"


def test_a_unit_that_stays_has_its_last_importance_though_it_be_nothing():
    scores = np.array([[4.0, 3.0, 2.0], [5.0, 0.0, 0.0]])
    decision = Decision("encoder.0.channels", np.array([True, True, False]), np.array([1, 2]), scores, "importance")
    assert decision.final.tolist() == [5.0, 0.0, 2.0]


def test_a_stage_that_cut_nothing_decided_nothing(made_run):
    assert decisions(made_run["finetune"]) == ()
    assert decisions(made_run["recover"]) == ()
    assert decisions(made_run["prune_heads"], "channels") == ()


def test_stages_are_found_by_what_they_cut(made_run):
    assert cutting_stages(made_run, "heads") == ["prune_heads", "again"]
    assert cutting_stages(made_run, "channels") == ["prune_ffn"]


def test_a_map_counts_in_the_units_of_the_first_model(made_run):
    first, second = (unit_map(made_run, stage, "heads") for stage in ("prune_heads", "again"))
    assert first.states.tolist() == [[K, K, R, K], [R, R, K, R], [R, R, R, R]]
    assert second.layers == ("0", "1")
    assert second.states.tolist() == [[K, R, G, K], [G, G, K, G]]
    np.testing.assert_array_equal(second.scores, [[3.0, 1.0, np.nan, 2.0], [np.nan, np.nan, 4.0, np.nan]])


def test_layers_of_unequal_width_leave_cells_without_a_unit(own_run, tmp_path):
    path = own_run["again"].path / "keep_plan.json"
    path.write_text('{"encoder.10.heads": {"of": 1, "units": [0]}, "encoder.9.heads": {"of": 3, "units": [2]}}')
    units = unit_map(own_run, "again", "heads")
    assert units.layers == ("9", "10")
    assert units.states.tolist() == [[R, R, K], [K, ABSENT, ABSENT]]
    assert np.isnan(units.scores).all()
