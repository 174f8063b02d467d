import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stages.ranking import global_counts, kept_multiple, local_counts, share_count


def test_global_counts_are_those_of_one_sorted_list():
    importances = {"a": torch.tensor([5.0, 1.0, 4.0]), "b": torch.tensor([2.0, 9.0]), "c": torch.tensor([3.0, 0.5])}
    most = {"a": 3, "b": 2, "c": 2}
    expected = [(0, 0, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1), (1, 1, 2), (2, 1, 2), (3, 1, 2), (3, 2, 2)]
    for num_removed, counts in enumerate(expected):
        assert tuple(global_counts(importances, num_removed, most).values()) == counts


@given(
    st.lists(st.lists(st.sampled_from([0.0, 1.0, 2.0, -torch.inf]), max_size=9), min_size=1, max_size=5),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_global_counts_add_up_exactly_within_the_caps_ties_included(groups, share, cap):
    importances = {str(index): torch.tensor(values) for index, values in enumerate(groups)}
    most = {name: share_count(len(values), cap) for name, values in importances.items()}
    num_removed = round(share * sum(most.values()))
    counts = global_counts(importances, num_removed, most)
    assert sum(counts.values()) == num_removed
    assert all(counts[name] <= most[name] for name in counts)


def test_what_a_capped_group_cannot_lose_falls_on_the_others():
    importances = {"weak": torch.zeros(4), "strong": torch.ones(4)}
    assert global_counts(importances, 4, {"weak": 4, "strong": 4}) == {"weak": 4, "strong": 0}
    assert global_counts(importances, 4, {"weak": 3, "strong": 3}) == {"weak": 3, "strong": 1}
    with pytest.raises(ValueError, match="only 6 units may go"):
        global_counts(importances, 7, {"weak": 3, "strong": 3})


def test_local_counts_reach_each_share_at_the_end():
    assert local_counts({"a": 10, "b": 7}, {"a": 0.5, "b": 1.0}, 1.0) == {"a": 5, "b": 7}
    assert local_counts({"a": 10, "b": 7}, {"a": 0.5, "b": 1.0}, 0.0) == {"a": 0, "b": 0}


@given(st.integers(0, 40), st.integers(0, 40), st.integers(1, 9))
def test_kept_widths_are_multiples_or_whole_and_never_smaller_than_asked(width, count, multiple):
    count = min(count, width)
    lowered = kept_multiple(count, width, multiple)
    kept = width - lowered
    assert 0 <= lowered <= count
    assert kept % multiple == 0 or kept == width
    assert kept - (width - count) < multiple
