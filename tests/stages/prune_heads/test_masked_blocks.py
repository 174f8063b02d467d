import pytest
import torch
from torch import nn

from stages.prune_heads.masked_blocks import MaskedBlocks
from stages.unit_weights import UnitWeight


def make_blocks(axis=0):
    torch.manual_seed(0)
    linear = nn.Linear(6, 4)
    weight = UnitWeight("linear", linear.weight, 2, 2 if axis == 0 else 3, axis)
    return linear, MaskedBlocks(weight, (2, 3) if axis == 0 else (3, 2))


def expanded(linear, dead, axis):
    """Return the mask of single weights that belongs to a mask of blocks."""
    full = (~dead).float().repeat_interleave(2 if axis == 0 else 3, 0).repeat_interleave(3 if axis == 0 else 2, 1)
    return full if axis == 0 else full.T


@pytest.mark.parametrize("axis", [0, 1])
def test_masked_blocks_are_zero_and_the_others_untouched(axis):
    linear, blocks = make_blocks(axis)
    raw = linear.weight.detach().clone()
    dead = torch.tensor([[True, False], [False, True]])
    blocks.mask(dead)
    assert torch.equal(linear.weight.detach(), raw * expanded(linear, dead, axis))
    blocks.restore()
    assert torch.equal(linear.weight.detach(), raw)


@pytest.mark.parametrize("axis", [0, 1])
def test_movement_is_the_sum_over_each_block_of_weight_times_gradient(axis):
    linear, blocks = make_blocks(axis)
    linear.weight.grad = torch.randn(4, 6)
    product = (linear.weight.detach() * linear.weight.grad).movedim(axis, 0)
    rows, columns = (2, 3) if axis == 0 else (3, 2)
    expected = torch.stack(
        [torch.stack([part.sum() for part in band.split(columns, 1)]) for band in product.split(rows, 0)]
    )
    torch.testing.assert_close(blocks.movement(), expected)


def test_a_block_comes_back_as_it_went_whatever_momentum_and_decay_did():
    linear, blocks = make_blocks()
    optimizer = torch.optim.AdamW(linear.parameters(), lr=0.1, weight_decay=0.5)
    linear(torch.ones(1, 6)).sum().backward()
    optimizer.step()
    raw = linear.weight.detach().clone()
    blocks.mask(torch.tensor([[True, True], [False, False]]))
    for _ in range(3):
        optimizer.zero_grad()
        linear(torch.ones(1, 6)).sum().backward()
        blocks.restore()
        blocks.freeze()
        assert not linear.weight.grad[:2].any()
        assert linear.weight.grad[2:].all()
        optimizer.step()
        blocks.mask(blocks.dead)
        assert not linear.weight[:2].any()
    blocks.mask(torch.zeros(2, 2, dtype=torch.bool))
    assert torch.equal(linear.weight[:2], raw[:2])
    assert not torch.equal(linear.weight[2:], raw[2:])


def test_changing_the_mask_keeps_the_raw_weights_of_old_and_new_blocks():
    linear, blocks = make_blocks()
    raw = linear.weight.detach().clone()
    blocks.mask(torch.tensor([[True, False], [False, False]]))
    blocks.mask(torch.tensor([[False, False], [True, True]]))
    assert torch.equal(linear.weight[:2], raw[:2])
    assert not linear.weight[2:].any()
    blocks.restore()
    assert torch.equal(linear.weight.detach(), raw)


def test_raw_weights_of_another_mask_are_refused():
    _, blocks = make_blocks()
    with pytest.raises(ValueError, match="the saved mask of linear does not fit"):
        blocks.load(torch.tensor([[True, False], [False, False]]), torch.zeros(2, 2, 3))
