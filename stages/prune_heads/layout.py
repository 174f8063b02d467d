"""Which blocks of which weights carry a score, and which of them make up a head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from pipeline.surgery.groups import PruningGroup
from stages.prune_heads.masked_blocks import MaskedBlocks
from stages.unit_weights import UnitWeight, consumer_weight, producer_weights

Granularity = Literal["block", "head"]


@dataclass(frozen=True)
class HeadGroup:
    """The heads of one layer, and where they stand in the vector of all heads."""

    group: PruningGroup
    heads: slice


@dataclass(frozen=True)
class Layout:
    """All scored blocks in one vector.

    ``weights[i]`` owns the entries ``slices[i]``, row by row. ``bands`` holds, for every weight that a head needs in
    order to live (q, k, v and o; or o alone), the entries of each head's blocks: ``(all heads, slices, blocks)``.
    """

    weights: tuple[MaskedBlocks, ...]
    slices: tuple[slice, ...]
    bands: tuple[Tensor, ...]
    groups: tuple[HeadGroup, ...]

    @property
    def num_blocks(self) -> int:
        """How many blocks have a score."""
        return self.slices[-1].stop if self.slices else 0

    @property
    def num_heads(self) -> int:
        """How many heads there are in all layers."""
        return self.groups[-1].heads.stop if self.groups else 0

    def of_heads(self, per_block: Tensor) -> tuple[Tensor, ...]:
        """Return ``per_block``, ``(num_blocks,)``, as the bands of all heads, ``(num_heads, slices, blocks)`` each."""
        return tuple(per_block[band.to(per_block.device)] for band in self.bands)

    def gather(self, heads: Tensor) -> Tensor:
        """Return which blocks belong to ``heads``, ``(num_heads,)`` bool, as ``(num_blocks,)`` bool."""
        blocks = torch.zeros(self.num_blocks, dtype=torch.bool, device=heads.device)
        for band in self.bands:
            blocks[band.to(heads.device)[heads].flatten()] = True
        return blocks

    def by_weight(self, per_block: Tensor) -> dict[str, Tensor]:
        """Return the last axis of ``per_block``, ``(..., num_blocks)``, cut up by weight and shaped like its blocks."""
        return {
            weight.weight.path: per_block[..., own].reshape(*per_block.shape[:-1], *weight.shape)
            for weight, own in zip(self.weights, self.slices, strict=True)
        }


def build_layout(
    model: nn.Module, groups: Sequence[PruningGroup], *, granularity: Granularity, block_size: int | None = None
) -> Layout:
    """Return the layout over the head groups that still have heads.

    With granularity "block" every weight of q, k, v and o is cut into squares of ``block_size`` (default: the head's
    width); with "head" the one block of a head is its whole column band of o. Raises ``ValueError`` when blocks do
    not fit the weights.
    """
    groups = [group for group in groups if group.kind == "heads" and group.num_units > 0]
    weights: list[MaskedBlocks] = []
    slices: list[slice] = []
    bands: list[list[Tensor]] = []
    heads: list[HeadGroup] = []
    for group in groups:
        members: list[Tensor] = []
        for weight, block in _scored(model, group, granularity, block_size):
            blocks = MaskedBlocks(weight, block)
            begin = slices[-1].stop if slices else 0
            own = slice(begin, begin + blocks.shape[0] * blocks.shape[1])
            members.append(torch.arange(own.start, own.stop).reshape(group.num_units, -1, blocks.shape[1]))
            weights.append(blocks)
            slices.append(own)
        bands = [[*band, member] for band, member in zip(bands or [[]] * len(members), members, strict=True)]
        begin = heads[-1].heads.stop if heads else 0
        heads.append(HeadGroup(group, slice(begin, begin + group.num_units)))
    return Layout(tuple(weights), tuple(slices), tuple(torch.cat(band) for band in bands), tuple(heads))


def _scored(
    model: nn.Module, group: PruningGroup, granularity: Granularity, block_size: int | None
) -> list[tuple[UnitWeight, tuple[int, int]]]:
    consumer = consumer_weight(model, group)
    if granularity == "head":
        return [(consumer, (group.unit_size, consumer.weight().shape[1]))]
    side = block_size or group.unit_size
    scored = [*producer_weights(model, group), consumer]
    for weight in scored:
        if weight.unit_rows != group.unit_size:
            raise ValueError(
                f"granularity: must be head for {group.name}, whose heads share rows of {weight.path}; got block"
            )
        others = weight.weight().shape[1]
        if group.unit_size % side or others % side:
            raise ValueError(
                f"block_size: must divide the head's width ({group.unit_size}) and the other side of "
                f"{weight.path} ({others}), got {side}; or say granularity: head"
            )
    return [(weight, (side, side)) for weight in scored]


def keep_by_group(layout: Layout, live: Tensor) -> Mapping[str, list[int]]:
    """Return the kept heads of every group, given which of all heads live, ``(num_heads,)`` bool."""
    return {part.group.name: live[part.heads].nonzero().flatten().tolist() for part in layout.groups}
