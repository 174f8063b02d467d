"""Cutting a model that is being trained: its parameters shrink and stay the objects that an optimizer knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from pipeline.surgery.condense import cuts_of, kept_part
from pipeline.surgery.equality import check_equal, evaluation_outputs
from pipeline.surgery.groups import PruningGroup, checked_plan, dissect
from pipeline.surgery.keep_plan import KeepPlan


@torch.no_grad()
def cut_in_place(
    model: nn.Module,
    plan: KeepPlan,
    *,
    optimizer: torch.optim.Optimizer | None = None,
    groups: Sequence[PruningGroup] | None = None,
) -> None:
    """Cut out of ``model`` itself the units that ``plan`` removes, and out of the optimizer's moments with them.

    Modules and parameters stay the same objects, hooks and all; gradients are dropped. The class and the config are
    those of before: ``condense`` what is left before saving it. ``groups`` are by default those of ``dissect``.
    Raises ``ValueError`` for a plan of another model.
    """
    own = dissect(model) if groups is None else tuple(groups)
    states = {} if optimizer is None else optimizer.state
    done: set[int] = set()
    for name, axes in cuts_of(model, own, checked_plan(own, plan)).items():
        path, _, attribute = name.rpartition(".")
        module = model.get_submodule(path)
        parameter = getattr(module, attribute)
        if parameter is None or id(parameter) in done:
            continue
        done.add(id(parameter))
        _shrink(parameter, states.get(parameter, {}), axes)
        _tell_widths(module)


def cut_in_place_checked(
    model: nn.Module, plan: KeepPlan, batch: Mapping[str, Tensor], *, optimizer: torch.optim.Optimizer
) -> None:
    """Do ``cut_in_place`` with units that are masked, and see on ``batch`` that the model computes what it did.

    Raises ``CompressionError`` as ``condense_checked`` does; the model is then of no use.
    """
    expected = evaluation_outputs(model, batch)
    cut_in_place(model, plan, optimizer=optimizer)
    check_equal(expected, evaluation_outputs(model, batch))


def _shrink(parameter: nn.Parameter, state: dict[str, object], axes: Mapping[int, Tensor]) -> None:
    """Keep of a parameter, and of everything in its shape that the optimizer has of it, what ``axes`` say."""
    whole = parameter.shape
    for name, value in state.items():
        if isinstance(value, Tensor) and value.shape == whole:
            state[name] = kept_part(value, axes)
    parameter.grad = None
    parameter.data = kept_part(parameter, axes)


def _tell_widths(module: nn.Module) -> None:
    """Bring the widths that a linear module knows of itself in line with its weight."""
    rows, columns = module.get_parameter("weight").shape
    if isinstance(module, nn.Linear):
        module.out_features, module.in_features = rows, columns
    else:
        module.nf, module.nx = columns, rows  # type: ignore[assignment]
