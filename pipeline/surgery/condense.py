"""Condensing: the units that a plan removes are cut out, and a smaller model of a class that loads anywhere remains."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.surgery.architectures import Family, family_of
from pipeline.surgery.groups import PruningGroup, checked_plan, dissect
from pipeline.surgery.keep_plan import KeepPlan
from pipeline.surgery.masking import kept_features

Cuts = Mapping[str, Mapping[int, Tensor]]
"""By parameter and axis, which indices stay, bool; a parameter that is not named stays whole."""


def condense(model: nn.Module, plan: KeepPlan, *, consume: bool = False) -> Any:
    """Return a new model of the condensed class with only the units that ``plan`` keeps, in their order.

    Rows of the producers, with their biases, and columns of the consumers go; a consumer's bias and everything else
    is copied. The argument is untouched and shares no memory with the result, which has its dtype, device, ties,
    ``requires_grad``, training modes and generation config. With ``consume`` the argument is given up, for want of
    memory for both: what is not cut moves over to the result, and what is cut is freed as soon as its part is copied.
    Raises ``ValueError`` for a plan of another model, which is then untouched.
    """
    family = family_of(model)
    groups = dissect(model)
    complete = checked_plan(groups, plan)
    condensed_class = family.condensed_class(model)
    config = _condensed_config(model, family, {name: len(kept.units) for name, kept in complete.items()})
    with torch.device("meta"):
        condensed = condensed_class(config)
    _fill(condensed, model, cuts_of(model, groups, complete), consume=consume)
    _adopt_modes(condensed, model)
    return condensed


def _condensed_config(model: Any, family: Family, units: dict[str, int]) -> Any:
    """Return the model's config in the family's condensed class, naming the units of every group."""
    fields = {name: value for name, value in model.config.to_dict().items() if name not in ("model_type", "auto_map")}
    config = family.auto_classes["AutoConfig"].from_dict(
        {**copy.deepcopy(fields), "condensed": units}, attn_implementation=model.config._attn_implementation
    )
    config.name_or_path = model.config.name_or_path
    return config


def cuts_of(model: nn.Module, groups: tuple[PruningGroup, ...], plan: KeepPlan) -> Cuts:
    """Return what stays of every parameter that is cut, by its name and axis; a module may lack a bias named here."""
    found: defaultdict[str, dict[int, Tensor]] = defaultdict(dict)
    for group in groups:
        kept = kept_features(plan[group.name], group)
        if kept.all():
            continue
        found[f"{group.consumer}.weight"][group.consumer_axis] = kept
        for producer in group.producers:
            name, axis = f"{producer.path}.weight", producer.axis
            whole = torch.ones(model.get_parameter(name).shape[axis], dtype=torch.bool)
            features = found[name].setdefault(axis, whole)
            features[producer.offset : producer.offset + len(kept)] = kept
            found[f"{producer.path}.bias"][0] = features
    return found


@torch.no_grad()
def _fill(condensed: nn.Module, model: nn.Module, cuts: Cuts, *, consume: bool) -> None:
    """Give ``condensed``, built on the meta device, what stays of the model's parameters, and its buffers."""
    take = _moved if consume else _copied
    copies: dict[int, nn.Parameter] = {}
    sources = dict(model.named_parameters(remove_duplicate=False))
    for name, empty in list(condensed.named_parameters(remove_duplicate=False)):
        source = sources.pop(name)
        if id(source) not in copies:
            copies[id(source)] = take(source, cuts.get(name, {}))
        if copies[id(source)].shape != empty.shape:
            raise AssertionError(f"{name}: cut to {tuple(copies[id(source)].shape)}, built as {tuple(empty.shape)}")
        _set(condensed, name, copies[id(source)])
    if sources:
        raise AssertionError(f"{type(condensed).__name__} lacks {sorted(sources)}")
    for name, buffer in list(model.named_buffers(remove_duplicate=False)):
        _set(condensed, name, buffer if consume else buffer.detach().clone())


def _copied(source: nn.Parameter, axes: Mapping[int, Tensor]) -> nn.Parameter:
    return nn.Parameter(kept_part(source, axes), requires_grad=source.requires_grad)


def _moved(source: nn.Parameter, axes: Mapping[int, Tensor]) -> nn.Parameter:
    """Return the parameter itself where nothing of it is cut, or else what stays of it, and free the rest.

    A view into something larger, as of a file that is mapped, is copied like one that is cut: it would hold all of it.
    """
    source.grad = None
    owns_memory = source.is_contiguous() and source.untyped_storage().nbytes() == source.nbytes
    if owns_memory and not axes:
        return source
    kept = _copied(source, axes)
    source.data = source.new_empty(0)
    return kept


def kept_part(source: Tensor, axes: Mapping[int, Tensor]) -> Tensor:
    """Return what stays of a tensor along each of ``axes``, contiguous and in fresh memory."""
    if not axes:
        return source.detach().clone(memory_format=torch.contiguous_format)
    kept = source.detach()
    for axis, features in axes.items():
        kept = kept.index_select(axis, features.nonzero()[:, 0].to(kept.device))
    return kept


def _set(model: nn.Module, name: str, value: Tensor) -> None:
    path, _, attribute = name.rpartition(".")
    setattr(model.get_submodule(path), attribute, value)


def _adopt_modes(condensed: Any, model: Any) -> None:
    """Carry over what a model holds beside its tensors."""
    for name, module in model.named_modules():
        condensed.get_submodule(name).training = module.training
    if getattr(model, "generation_config", None) is not None:
        condensed.generation_config = copy.deepcopy(model.generation_config)
    if any(getattr(module, "gradient_checkpointing", False) for module in model.modules()):
        # Transformers renamed this, and warns of the old name.
        enable = getattr(condensed, "activation_checkpointing_enable", None) or condensed.gradient_checkpointing_enable
        enable()
