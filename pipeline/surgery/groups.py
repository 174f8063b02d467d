"""Pruning groups: units of a consumer's input columns and the producers' output rows that feed them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from pipeline.surgery.architectures import family_of
from pipeline.surgery.keep_plan import KeepPlan, Kept

if TYPE_CHECKING:
    from torch import nn

    from pipeline.surgery.condensed.narrow import Coupling, Stack

Kind = Literal["heads", "channels"]


@dataclass(frozen=True)
class Producer:
    """Output features of one ``Linear`` that make a group's units.

    Unit ``u`` is the features ``offset + u * rows_per_unit`` up to ``offset + (u + 1) * rows_per_unit`` along ``axis``
    of the weight (0 for ``Linear``, 1 for a transposed ``Conv1D``), and the same entries of the bias.
    """

    path: str
    rows_per_unit: int
    offset: int = 0
    axis: int = 0


@dataclass(frozen=True)
class PruningGroup:
    """Attention heads or FFN channels of one layer: what can be removed together without changing anything else.

    ``consumer`` is the path of the ``Linear`` whose input columns ``u * unit_size`` up to ``(u + 1) * unit_size`` are
    unit ``u``; ``consumer_axis`` is the axis of its weight that holds them (1 for ``Linear``).
    """

    name: str
    kind: Kind
    stack: Literal["encoder", "decoder"]
    layer: int
    producers: tuple[Producer, ...]
    consumer: str
    unit_size: int
    num_units: int
    consumer_axis: int = 1


def dissect(model: nn.Module) -> tuple[PruningGroup, ...]:
    """Return every pruning group of the model, layer by layer, its widths read from the weights.

    Raises ``UnsupportedArchitecture`` for a family that has no row in the table.
    """
    from pipeline.surgery.condensed.narrow import layers_of

    return tuple(
        _group(stack, index, path, layer, coupling)
        for stack in family_of(model).stacks
        for index, (path, layer) in enumerate(layers_of(model, stack))
        for coupling in stack.couplings
    )


def _group(stack: Stack, index: int, path: str, layer: nn.Module, coupling: Coupling) -> PruningGroup:
    unit_size = coupling.unit_size(layer)
    width = layer.get_submodule(coupling.consumer).get_parameter("weight").shape[coupling.consumer_axis]
    return PruningGroup(
        name=f"{stack.name}.{index}.{coupling.name}",
        kind=coupling.kind,
        stack=stack.name,
        layer=index,
        producers=tuple(
            Producer(f"{path}.{rows.path}", unit_size, offset=rows.part * width, axis=rows.axis)
            for rows in coupling.producers
        ),
        consumer=f"{path}.{coupling.consumer}",
        unit_size=unit_size,
        num_units=width // unit_size,
        consumer_axis=coupling.consumer_axis,
    )


def narrowed(group: PruningGroup, num_units: int) -> PruningGroup:
    """Return ``group`` as it is where only ``num_units`` of its units are left."""
    width = group.num_units * group.unit_size
    producers = tuple(
        replace(producer, offset=producer.offset // max(1, width) * num_units * group.unit_size)
        for producer in group.producers
    )
    return replace(group, producers=producers, num_units=num_units)


def full_plan(model: nn.Module) -> KeepPlan:
    """Return the plan that keeps every unit of every group."""
    return KeepPlan({group.name: Kept(group.num_units, tuple(range(group.num_units))) for group in dissect(model)})


def checked_plan(groups: tuple[PruningGroup, ...], plan: KeepPlan) -> KeepPlan:
    """Return ``plan`` with the groups it leaves whole spelled out; raises ``ValueError`` if it is for another model."""
    sizes = {group.name: group.num_units for group in groups}
    for name, kept in plan.items():
        if name not in sizes:
            raise ValueError(f"the keep plan names {name!r}, which the model lacks; its groups are {', '.join(sizes)}")
        if kept.of != sizes[name]:
            raise ValueError(f"the keep plan counts {kept.of} units in {name}, the model has {sizes[name]}")
    return KeepPlan({name: plan.get(name, Kept(size, tuple(range(size)))) for name, size in sizes.items()})


def get_weight(model: nn.Module, path: str) -> nn.Parameter:
    """Return the weight of the module at ``path``."""
    return model.get_parameter(f"{path}.weight")


def consumer_columns(model: nn.Module, group: PruningGroup) -> nn.Parameter:
    """Return the weight whose columns are the group's units: unit ``u`` is ``u * unit_size`` up to the next one's."""
    return get_weight(model, group.consumer)


def producer_rows(model: nn.Module, group: PruningGroup) -> tuple[nn.Parameter, ...]:
    """Return the producers' weights, in the order of ``group.producers``."""
    return tuple(get_weight(model, producer.path) for producer in group.producers)
