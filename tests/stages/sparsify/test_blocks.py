import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from stages.sparsify.blocks import blocks_of
from stages.sparsify.pattern import parse_pattern
from stages.sparsify.weights import matrix_weights


def only_weight(layer):
    (weight,) = matrix_weights(layer)
    return weight


LAYERS = {
    "linear": lambda: nn.Linear(8, 12),
    "transposed": lambda: Conv1D(12, 8),
    "conv1d": lambda: nn.Conv1d(8, 12, 3),
    "conv2d": lambda: nn.Conv2d(8, 12, (2, 3)),
    "grouped": lambda: nn.Conv2d(16, 12, 2, groups=2),
}


def as_matrices(layer, weight):
    """Return the weight as one matrix of outputs by inputs for every place of the kernel."""
    if isinstance(layer, Conv1D):
        return [weight.t()]
    return [weight] if weight.ndim == 2 else list(weight.flatten(2).unbind(2))


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize(("pattern", "rows", "columns"), [("4x1", 4, 1), ("1x4", 1, 4), ("3x2", 3, 2), ("2:4", 1, 4)])
def test_blocks_are_rows_by_columns_of_every_place_of_the_kernel(kind, pattern, rows, columns):
    layer = LAYERS[kind]()
    weight = only_weight(layer)
    blocks = blocks_of(weight, parse_pattern(pattern))
    matrices = as_matrices(layer, weight.parameter.detach())
    expected = sorted(
        float(part.sum()) for matrix in matrices for row in matrix.split(rows) for part in row.split(columns, dim=1)
    )
    found = blocks.summed(weight.parameter.detach())
    assert found.shape == blocks.grid
    assert blocks.size == rows * columns
    assert sorted(found.flatten().tolist()) == pytest.approx(expected)
    assert blocks.loss == (2 if pattern == "2:4" else blocks.size)


@pytest.mark.parametrize("kind", LAYERS)
def test_channels_are_whole_rows_and_whole_columns(kind):
    layer = LAYERS[kind]()
    weight = only_weight(layer)
    parameter = weight.parameter.detach()
    rows = blocks_of(weight, parse_pattern("1xchannel"))
    by_output = parameter.t() if kind == "transposed" else parameter.flatten(1)
    torch.testing.assert_close(rows.summed(parameter), by_output.sum(1))
    columns = blocks_of(weight, parse_pattern("channelx1"))
    expected = torch.cat([matrix.sum(0) for matrix in as_matrices(layer, parameter)])
    assert sorted(columns.summed(parameter).flatten().tolist()) == pytest.approx(sorted(expected.tolist()))
    assert (rows.size, columns.size) == (parameter.numel() // 12, 12)


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("pattern", ["1x1", "4x1", "2x4", "1xchannel", "channelx1", "2:4"])
def test_what_is_spread_over_a_view_lands_on_the_weights_of_its_block(kind, pattern):
    weight = only_weight(LAYERS[kind]())
    blocks = blocks_of(weight, parse_pattern(pattern))
    numbers = torch.arange(blocks.count, dtype=torch.float32).view(blocks.grid)
    target = torch.zeros_like(weight.parameter.detach())
    blocks.view(target).add_(blocks.spread(numbers))
    torch.testing.assert_close(blocks.summed(target), numbers * blocks.size)
    assert target.unique().numel() == blocks.count


@pytest.mark.parametrize(
    ("layer", "pattern"),
    [
        (nn.Linear(8, 10), "4x1"),
        (nn.Linear(10, 8), "1x4"),
        (nn.Linear(10, 8), "2:4"),
        (Conv1D(10, 8), "4x1"),
        (nn.Conv1d(2, 8, 4), "1x4"),
        (nn.Conv2d(3, 8, 4), "2:4"),
    ],
)
def test_a_pattern_that_does_not_divide_a_weight_makes_no_blocks_of_it(layer, pattern):
    assert blocks_of(only_weight(layer), parse_pattern(pattern)) is None


@pytest.mark.parametrize("text", ["4", "0x1", "4x", "x1", "2:2", "4:2", "0:4", "2x:4", "channelx2", "channel", "4X1"])
def test_other_patterns_are_refused(text):
    with pytest.raises(ValueError, match=r"must be NxM such as 4x1, N:M .* got "):
        parse_pattern(text)


def test_the_first_number_of_n_of_m_counts_the_kept():
    assert parse_pattern("1:4").largest_share == 0.75
    assert parse_pattern("2:4").largest_share == 0.5
    assert parse_pattern("4x1").largest_share == 1.0
