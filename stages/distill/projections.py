"""A layer's queries, keys and values: where they are computed, how they are read off, and which heads count."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from pipeline.errors import UnsupportedArchitecture
from pipeline.surgery.groups import PruningGroup, consumer_columns, dissect, narrowed
from stages.unit_weights import consumer_weight, producer_weights

PARTS = "qkv"
"""The producers of a group of heads, in their order: queries, keys, values."""


def attention_layers(model: nn.Module) -> tuple[PruningGroup, ...]:
    """Return the heads of every encoder layer, in order.

    Raises ``ValueError`` where the table of architectures does not tell a query, key and value of each head.
    """
    try:
        groups = dissect(model)
    except UnsupportedArchitecture as error:
        raise ValueError(f"relations_weight: must be 0 where no queries, keys and values are known: {error}") from None
    heads = tuple(group for group in groups if group.kind == "heads" and group.stack == "encoder")
    if not heads or not all(_has_own_parts(group) for group in heads):
        raise ValueError(
            f"relations_weight: must be 0 for {type(model).__name__}, which has no encoder layers whose heads have a "
            "query, a key and a value of their own"
        )
    return heads


def _has_own_parts(group: PruningGroup) -> bool:
    """Say whether each head has features of its own in three producers, as wide as what it hands on."""
    return [producer.rows_per_unit for producer in group.producers] == [group.unit_size] * len(PARTS)


def as_it_is(model: nn.Module, group: PruningGroup) -> PruningGroup:
    """Return ``group`` with the units that the model has of it now: it may have been cut since it was dissected."""
    width = consumer_columns(model, group).shape[group.consumer_axis]
    return narrowed(group, width // group.unit_size)


def living_heads(model: nn.Module, group: PruningGroup) -> Tensor:
    """Return which heads of ``group`` are not masked, ``(num_units,)`` bool, on the model's device.

    It is read from the zeros of the weights by the rule of the cut (``prune_heads.rule``): a channel lives in the
    outputs of q, k and v and in the input of o, a head by any of its channels.
    """
    weights = (*producer_weights(model, group), consumer_weight(model, group))
    channels = [weight.by_unit(weight.weight()).any(dim=-1) for weight in weights]
    return torch.stack(channels).all(dim=0).any(dim=-1)


@contextmanager
def watching(model: nn.Module, group: PruningGroup, parts: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Collect what the model's next forward pass computes as the ``parts`` of ``group``, of those in ``PARTS``.

    Each is ``(rows, tokens, num_units * unit_size)``, in the type it was computed in, with its gradient.
    """
    found: dict[str, Tensor] = {}
    width = group.num_units * group.unit_size

    def keep(module: nn.Module, arguments: Any, output: Tensor, *, part: str, offset: int) -> None:
        found[part] = output.narrow(-1, offset, width)

    with ExitStack() as stack:
        for part, producer in zip(PARTS, group.producers, strict=True):
            if part in parts:
                hook = partial(keep, part=part, offset=producer.offset)
                stack.enter_context(model.get_submodule(producer.path).register_forward_hook(hook))
        yield found


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the model inside what averages its gradients over many processes."""
    return model.module if isinstance(model, DistributedDataParallel) else model
