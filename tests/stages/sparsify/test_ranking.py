import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.sparsify import ranking
from stages.sparsify.ranking import Ranking, float_order


def of(values, kept=False):
    order = float_order(values) + kept
    return Ranking(len(values), values.device, lambda begin, end: order[begin:end])


def lowest_by_sorting(values, count):
    kept = torch.ones(len(values), dtype=torch.bool)
    kept[values.argsort(stable=True)[:count]] = False
    return kept


def test_the_bits_of_floats_that_are_not_negative_are_in_their_order():
    values = torch.tensor([0.0, 1e-45, 1e-38, 1e-3, 1.0, 1.0000001, 3e38, float("inf")])
    assert float_order(values).tolist() == sorted(float_order(values).tolist())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([0.0, 1e-30, 0.5, 0.5000001, 1.0, 2.0, 7.5]), min_size=1, max_size=30), st.data())
def test_the_lowest_go_and_of_equal_scores_the_first_just_as_sorting_would_have_it(values, data):
    scores = torch.tensor(values)
    count = data.draw(st.integers(0, len(values)))
    assert torch.equal(of(scores).keep(count), lowest_by_sorting(scores, count))


@pytest.mark.parametrize("count", [1, 4_999, 5_000, 9_999])
def test_selection_is_the_same_in_pieces(monkeypatch, count):
    scores = torch.randn(10_000, generator=torch.Generator().manual_seed(0)).abs()
    scores[::3] = 0.5  # a third are equal, so that ties run over the pieces' edges
    monkeypatch.setattr(ranking, "PIECE", 64)
    assert torch.equal(of(scores).keep(count), lowest_by_sorting(scores, count))


def test_ties_do_not_overshoot():
    kept = of(torch.full((1000,), 0.25)).keep(137)
    assert kept.tolist() == [False] * 137 + [True] * 863


def test_of_equal_scores_those_already_masked_go_first():
    scores = torch.tensor([0.0, 0.0, 3.0, 0.0, 0.0])
    kept = torch.tensor([True, False, True, True, False])
    assert of(scores, kept).keep(2).tolist() == kept.tolist()
    assert of(scores, kept).keep(3).tolist() == [False, False, True, True, False]
