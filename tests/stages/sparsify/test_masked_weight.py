import itertools

import pytest
import torch
from torch import nn

from stages.sparsify.blocks import blocks_of
from stages.sparsify.masked_weight import MaskedWeight
from stages.sparsify.pattern import parse_pattern
from stages.sparsify.weights import matrix_weights


def make(values, pattern="1x1", criterion="magnitude", *, gradient=None, is_locked=False):
    layer = nn.Linear(len(values[0]), len(values), bias=False)
    layer.weight.data = torch.tensor(values, dtype=torch.float32)
    if gradient is not None:
        layer.weight.grad = torch.tensor(gradient, dtype=torch.float32)
    (weight,) = matrix_weights(layer)
    return layer, MaskedWeight(blocks_of(weight, parse_pattern(pattern)), criterion, is_locked=is_locked)


def choose(weight, count, reduce="mean"):
    with torch.no_grad():
        weight.remove(count, weight.ranking(reduce))
        weight.write()
    return weight.keep_mask().int().tolist()


WEIGHT = [[4.0, -1.0, 3.0, -2.0]]
FIRST, SECOND = [[0.1, 2.0, 0.5, 0.5]], [[1.0, 0.0, 0.5, 2.0]]


@pytest.mark.parametrize(
    ("criterion", "kept"),
    [
        ("magnitude", [[1, 0, 1, 0]]),
        ("snip", [[1, 0, 0, 1]]),  # |W g| of the second gradient: 4, 0, 1.5, 4
        ("snip_momentum", [[1, 0, 0, 1]]),  # 0.9 of 0.4, 2, 1.5, 1 on top: 4.36, 1.8, 2.85, 4.9
    ],
)
def test_criteria_by_hand(criterion, kept):
    layer, weight = make(WEIGHT, criterion=criterion, gradient=FIRST)
    if criterion != "magnitude":
        weight.observe()
        layer.weight.grad = torch.tensor(SECOND)
        weight.observe()
    assert choose(weight, 2) == kept


def test_momentum_is_nine_tenths_of_the_past_and_all_of_the_present():
    layer, weight = make(WEIGHT, criterion="snip_momentum", gradient=FIRST)
    weight.observe()
    torch.testing.assert_close(weight.scores, torch.tensor([[0.4, 2.0, 1.5, 1.0]]))
    layer.weight.grad = torch.tensor(SECOND)
    weight.observe()
    torch.testing.assert_close(weight.scores, torch.tensor([[4.36, 1.8, 2.85, 4.9]]))
    layer.weight.grad = None
    weight.observe()
    torch.testing.assert_close(weight.scores, 0.9 * torch.tensor([[4.36, 1.8, 2.85, 4.9]]))


def test_three_criteria_choose_three_masks():
    gradients = ([[0.0, 9.0, 0.1, 1.0]], [[1.0, 0.1, 1.0, 0.2]])
    masks = []
    for criterion in ("magnitude", "snip", "snip_momentum"):
        layer, weight = make([[4.0, -1.0, 3.0, -5.0]], criterion=criterion)
        for gradient in gradients:
            layer.weight.grad = torch.tensor(gradient)
            if criterion != "magnitude":
                weight.observe()
        masks.append(choose(weight, 2))
    # |W|: 4 1 3 5. |W g| now: 4 .1 3 1. With 0.9 of 0 9 .3 5: 4 8.2 3.27 5.5.
    assert masks == [[[1, 0, 0, 1]], [[1, 0, 1, 0]], [[0, 1, 0, 1]]]


def test_a_gradient_that_overflowed_counts_nothing():
    _, weight = make(WEIGHT, criterion="snip_momentum", gradient=[[float("inf"), float("nan"), 1.0, 1.0]])
    weight.observe()
    assert weight.scores.tolist() == [[0.0, 0.0, 3.0, 2.0]]


@pytest.mark.parametrize("pattern", ["1x1", "1x2", "1:2"])
def test_where_gradients_vanish_what_has_fallen_stays_fallen(pattern):
    _, weight = make([[4.0, -1.0, 3.0, -2.0]], pattern, "snip", gradient=[[0.0, 0.0, 0.0, 0.0]])
    fallen = {"1x1": [[1, 0, 1, 0]], "1x2": [[1, 1, 0, 0]], "1:2": [[1, 0, 1, 0]]}[pattern]
    weight.kept = torch.tensor([[True, False]]) if pattern == "1x2" else torch.tensor(fallen).bool()
    weight.observe()
    assert choose(weight, 1 if pattern == "1x2" else 2) == fallen


def test_scores_of_blocks_are_sums_of_their_weights():
    values = torch.randn(8, 12)
    gradient = torch.randn(8, 12)
    _, blocks = make(values.tolist(), "4x2", "snip_momentum", gradient=gradient.tolist())
    _, single = make(values.tolist(), "1x1", "snip_momentum", gradient=gradient.tolist())
    for weight in (blocks, single, blocks, single):
        weight.observe()
    torch.testing.assert_close(blocks.scores, blocks.blocks.summed(single.scores))


@pytest.mark.parametrize("pattern", ["4x1", "1x4", "2x3", "channelx1", "1xchannel"])
@pytest.mark.parametrize("reduce", ["mean", "sum"])
def test_the_lowest_blocks_go_as_brute_force_says(pattern, reduce):
    values = torch.randn(8, 12, generator=torch.Generator().manual_seed(4))
    shape = parse_pattern(pattern)
    rows, columns = shape.rows or 8, shape.columns or 12
    corners = list(itertools.product(range(0, 8, rows), range(0, 12, columns)))
    scores = {(r, c): float(values[r : r + rows, c : c + columns].abs().mean()) for r, c in corners}
    expected = torch.ones(8, 12, dtype=torch.int32)
    for row, column in sorted(corners, key=scores.__getitem__)[: len(corners) // 2]:
        expected[row : row + rows, column : column + columns] = 0
    layer, weight = make(values.tolist(), pattern)
    assert choose(weight, len(corners) // 2, reduce) == expected.tolist()
    torch.testing.assert_close(layer.weight.detach(), values * expected)
    assert weight.num_removed == int((expected == 0).sum())


@pytest.mark.parametrize(("kept", "of"), [(2, 4), (1, 4), (3, 4), (1, 2), (4, 8), (6, 12)])
@pytest.mark.parametrize("groups", [0, 3, 8])
def test_exactly_n_of_every_m_stay_in_the_groups_that_lose_least(kept, of, groups):
    values = torch.randn(4, 2 * of, generator=torch.Generator().manual_seed(5))
    rows = values.view(-1, of)
    cost = rows.abs().sort(dim=1).values[:, : of - kept].sum(1)
    expected = torch.ones(8, of, dtype=torch.int32)
    for group in cost.argsort()[:groups].tolist():
        expected[group, rows[group].abs().argsort()[: of - kept]] = 0
    _, weight = make(values.tolist(), f"{kept}:{of}")
    assert choose(weight, groups) == expected.view(4, -1).tolist()
    assert weight.num_removed == groups * (of - kept)


def test_the_proximal_step_shrinks_every_block_by_its_norm():
    layer, weight = make([[3.0, 0.3], [4.0, 0.4], [0.0, 5.0], [0.0, 12.0]], "2x1")
    with torch.no_grad():
        weight.shrink(1.0)
    # Norms 5, 0.5, 0 and 13: times 1 - 1/5, 0, 0 and 1 - 1/13.
    torch.testing.assert_close(
        layer.weight.detach(), torch.tensor([[2.4, 0.0], [3.2, 0.0], [0.0, 60 / 13], [0.0, 144 / 13]])
    )


def test_what_is_masked_stays_zero_and_its_gradient_too():
    layer, weight = make([[4.0, -1.0], [0.5, -2.0]], gradient=[[1.0, 1.0], [1.0, 1.0]])
    assert choose(weight, 2) == [[1, 0], [0, 1]]
    with torch.no_grad():
        layer.weight -= 0.5
        weight.mask_gradient()
        weight.write()
    assert layer.weight.tolist() == [[3.5, 0.0], [0.0, -2.5]]
    assert layer.weight.grad.tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_final_zeros_have_no_sign():
    layer, weight = make([[4.0, -1.0]])
    choose(weight, 1)
    with torch.no_grad():
        layer.weight[0, 1] = -0.25
        weight.write()
        assert torch.signbit(layer.weight[0, 1])
        weight.write_zeros()
    assert not torch.signbit(layer.weight[0, 1])


def test_a_lock_keeps_the_zeros_there_are_one_by_one():
    layer, weight = make([[0.0, 1.0], [2.0, 0.0], [0.0, 0.0], [3.0, 4.0]], "4x1", "snip_momentum", is_locked=True)
    with torch.no_grad():
        layer.weight += 1.0
        weight.write()
    assert layer.weight.tolist() == [[0.0, 2.0], [3.0, 0.0], [0.0, 0.0], [4.0, 5.0]]
    assert (weight.num_removed, weight.num_blocks_removed, weight.num_blocks) == (4, 4, 8)
    assert weight.scores is None
