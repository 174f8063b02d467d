import pytest
import torch

from stages.sparsify import n_of_m
from stages.sparsify.n_of_m import lowest_of_each


@pytest.mark.parametrize("members", [4, 5, 8, 9])
def test_of_equal_weights_in_a_group_the_masked_go_and_then_the_first(members):
    kept = torch.ones(3, members, dtype=torch.bool)
    kept[:, 3] = False
    found = lowest_of_each(torch.ones(3, members), kept, 2)
    assert found.lowest.int().tolist() == [[1, 0, 0, 1] + [0] * (members - 4)] * 3


def test_groups_are_judged_alike_in_pieces(monkeypatch):
    entries = torch.rand(100, 4, generator=torch.Generator().manual_seed(0))
    kept = torch.ones(100, 4, dtype=torch.bool)
    whole = lowest_of_each(entries, kept, 2)
    monkeypatch.setattr(n_of_m, "GROUPS", 7)
    in_pieces = lowest_of_each(entries, kept, 2)
    assert all(torch.equal(part, getattr(whole, name)) for name, part in vars(in_pieces).items())
    assert torch.equal(whole.lowest, entries.argsort(dim=1).argsort(dim=1) < 2)
    torch.testing.assert_close(whole.worth, entries.sort(dim=1).values[:, :2].sum(1))


def test_a_group_is_whole_while_none_of_it_is_masked_and_a_single_one_is_left_as_it_was():
    kept = torch.ones(2, 4, dtype=torch.bool)
    kept[1, 2] = False
    assert lowest_of_each(torch.ones(2, 4), kept, 2).is_whole.tolist() == [True, False]
    entries = torch.tensor([[4.0, 1.0, 3.0, 2.0]])
    assert lowest_of_each(entries, kept[:1], 2).worth.tolist() == [3.0]
    assert entries.tolist() == [[4.0, 1.0, 3.0, 2.0]]
