"""What one head or one channel costs: parameters, and multiply-accumulates on a row."""

from __future__ import annotations

from torch import nn

from pipeline.surgery.groups import PruningGroup, consumer_columns


def unit_parameters(model: nn.Module, group: PruningGroup) -> int:
    """Return how many parameters go with one unit: its rows of the producers with their biases, and its columns."""
    total = group.unit_size * _outputs(model, group)
    for producer in group.producers:
        weight = model.get_parameter(f"{producer.path}.weight")
        has_bias = model.get_submodule(producer.path).bias is not None
        total += producer.rows_per_unit * (weight.shape[1 - producer.axis] + has_bias)
    return total


def unit_macs(model: nn.Module, group: PruningGroup, num_tokens: int) -> int:
    """Return the multiply-accumulates of one unit on a row of ``num_tokens`` tokens, as the report counts them."""
    hidden_size = _outputs(model, group)
    if group.kind == "heads":
        return head_macs(num_tokens=num_tokens, hidden_size=hidden_size, head_dim=group.unit_size)
    num_matrices = len(group.producers) + 1
    return channel_macs(num_tokens=num_tokens, hidden_size=hidden_size, num_matrices=num_matrices)


def head_macs(*, num_tokens: int, hidden_size: int, head_dim: int) -> int:
    """Return the multiply-accumulates of one head on one row: its parts of q, k, v, o, its scores and its sums."""
    return 4 * num_tokens * hidden_size * head_dim + 2 * num_tokens**2 * head_dim


def channel_macs(*, num_tokens: int, hidden_size: int, num_matrices: int = 2) -> int:
    """Return the multiply-accumulates of one FFN channel on one row; a gated FFN has three matrices."""
    return num_matrices * num_tokens * hidden_size


def _outputs(model: nn.Module, group: PruningGroup) -> int:
    """Return how many outputs the group's consumer has, which is known where no unit is left too."""
    return consumer_columns(model, group).shape[1 - group.consumer_axis]
