"""Condensing: the units that a plan removes are cut out, and a smaller model of a class that loads anywhere remains."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.errors import UnsupportedArchitecture
from pipeline.surgery.architectures import Family, family_of
from pipeline.surgery.groups import PruningGroup, checked_plan, dissect
from pipeline.surgery.keep_plan import KeepPlan
from pipeline.surgery.masking import kept_features
from pipeline.surgery.wrappers import bare

Cuts = Mapping[str, Mapping[int, Tensor]]
"""By parameter and axis, which indices stay, bool; a parameter that is not named stays whole."""


def condense(model: nn.Module, plan: KeepPlan, *, consume: bool = False) -> Any:
    """Return a new model of the condensed class with only the units that ``plan`` keeps, in their order.

    Rows of the producers, with their biases, and columns of the consumers go; a consumer's bias and everything else
    is copied. The argument is untouched and shares no memory with the result, which has its dtype, device, ties,
    ``requires_grad``, training modes and generation config. With ``consume`` the argument is given up, for want of
    memory for both: what is not cut moves over to the result, and what is cut is freed as soon as its part is copied.
    What ``torch.compile`` or a data parallel wrapper returned is taken as the model it was made of. Raises
    ``ValueError`` for a plan of another model and ``UnsupportedArchitecture`` for a model that its config does not
    describe, untouched then.
    """
    model = bare(model)
    groups = dissect(model)
    complete = checked_plan(groups, plan)
    cuts = cuts_of(model, groups, complete)
    condensed = _empty(model, {name: len(kept.units) for name, kept in complete.items()}, cuts)
    _fill(condensed, model, cuts, consume=consume)
    _adopt_modes(condensed, model)
    return condensed


def check_condensable(model: nn.Module) -> None:
    """Raise ``UnsupportedArchitecture`` where ``condense`` would, whatever the plan; the model stays as it is."""
    model = bare(model)
    _empty(model, {group.name: group.num_units for group in dissect(model)}, {})


def _empty(model: nn.Module, units: dict[str, int], cuts: Cuts) -> Any:
    """Return the condensed model without values, on the meta device, with just the modules that ``model`` has."""
    family = family_of(model)
    condensed_class = family.condensed_class(model)
    with torch.device("meta"):
        condensed = condensed_class(_condensed_config(model, family, units))
    for path, module in list(condensed.named_modules()):
        for name, _ in list(module.named_children()):
            if getattr(_at(model, path), name, module) is None:
                setattr(module, name, None)
    _check_fit(condensed, model, cuts)
    return condensed


def _check_fit(condensed: nn.Module, model: nn.Module, cuts: Cuts) -> None:
    """Refuse a model whose modules and weights are not those that its class makes of its config."""
    own, made = dict(model.named_modules()), dict(condensed.named_modules())
    kind = type(model).__name__
    advice = "condense the model as its class builds it, and change it afterwards"
    for name in (name for name in (*own, *made) if name not in own or name not in made):
        whose = "has a module" if name in own else "lacks the module"
        raise UnsupportedArchitecture(f"{kind} {whose} {name}, unlike what its config describes; {advice}")
    weights, empty = (dict(every.named_parameters(remove_duplicate=False)) for every in (model, condensed))
    for name, weight in weights.items():
        path, _, attribute = name.rpartition(".")
        if name not in empty and getattr(made[path], attribute, weight) is not None:
            raise UnsupportedArchitecture(f"{kind} has a weight {name}, unlike what its config describes; {advice}")
        shape = [_kept_length(cuts.get(name, {}), axis, length) for axis, length in enumerate(weight.shape)]
        if name in empty and shape != list(empty[name].shape):
            described = ", ".join(map(str, empty[name].shape))
            raise UnsupportedArchitecture(
                f"{kind}: {name} would be left with the shape ({', '.join(map(str, shape))}), where its config "
                f"describes ({described}); make the config say what the model is, as num_labels for a head"
            )
    for name in (name for name in empty if name not in weights):
        raise UnsupportedArchitecture(f"{kind} lacks the weight {name}, unlike what its config describes; {advice}")


def _kept_length(axes: Mapping[int, Tensor], axis: int, length: int) -> int:
    return int(axes[axis].sum()) if axis in axes else length


def _at(module: Any, path: str) -> Any:
    for name in path.split(".") if path else ():
        module = getattr(module, name, None)
    return module


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
    for name, source in list(model.named_parameters(remove_duplicate=False)):
        if id(source) not in copies:
            copies[id(source)] = take(source, cuts.get(name, {}))
        _set(condensed, name, copies[id(source)])
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
