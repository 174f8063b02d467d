"""Lays one recipe over another: mappings merge, everything else is replaced, and what contradicts gives way."""

from __future__ import annotations

from pipeline.recipe.document import Located, Path_, dotted
from pipeline.recipe.mistakes import Mistake, did_you_mean, refuse

RIVALS: dict[str, tuple[str, ...]] = {"epochs": ("steps",), "steps": ("epochs",)}
DATASET_RIVALS: dict[str, tuple[str, ...]] = {
    "path": ("builtin", "rows", "seed", "name", "revision", "data_files", "trust_remote_code"),
    "builtin": ("path", "name", "revision", "data_files", "rows", "seed", "trust_remote_code"),
}
MODEL_RIVALS: dict[str, tuple[str, ...]] = {
    "pretrained": ("config", "revision", "trust_remote_code"),
    "config": ("pretrained", "revision", "trust_remote_code"),
}
BUDGET_RIVALS: dict[str, tuple[str, ...]] = {"macs": ("encoder_sparsity",), "encoder_sparsity": ("macs",)}


def displaced(mapping: Located, path: Path_, key: str, item: Located) -> tuple[str, ...]:
    """Return the keys of the mapping at ``path`` that contradict, or belong to another value than, a new ``key``."""
    if item.value is None or (key in mapping.value and mapping.value[key].plain() == item.plain()):
        return ()
    if key == "config" and key in mapping.value:
        return ()
    return rivals(path, key)


def rivals(path: Path_, key: str) -> tuple[str, ...]:
    """Return the keys that ``key`` puts out of force when it is given in the mapping at ``path``."""
    if path == ("model",):
        return MODEL_RIVALS.get(key, ())
    if path == ("budget",):
        return BUDGET_RIVALS.get(key, ())
    if path == ("task", "dataset"):
        return DATASET_RIVALS.get(key, ())
    if path == ("training",) or path[:1] == ("stages",):
        return RIVALS.get(key, ())
    return ()


def normalized(document: Located) -> Located:
    """Return the document with ``model: x`` and ``task.dataset: x`` written as mappings, so that they merge."""
    document = _spelled_out(document, "model", "pretrained")
    task = document.find(("task",))
    if document.has(("task", "dataset")):
        document = document.with_items(task=_spelled_out(task, "dataset", "path"))
    return document


def _spelled_out(mapping: Located, key: str, field: str) -> Located:
    if isinstance(mapping.value, dict) and key in mapping.value and isinstance(mapping.value[key].value, str):
        text = mapping.value[key]
        return mapping.with_items(**{key: Located({field: text}, text.origin)})
    return mapping


def merge(base: Located, over: Located, path: Path_ = ()) -> Located:
    """Return ``base`` with ``over`` laid on it; ``stages`` given by name change the stages of ``base``."""
    if path == ("stages",) and isinstance(base.value, list) and isinstance(over.value, dict):
        return _merge_stages(base, over)
    if not (isinstance(base.value, dict) and isinstance(over.value, dict)):
        return over
    merged = dict(base.value)
    for key, item in over.value.items():
        for rival in displaced(base, path, key, item):
            if rival not in over.value:
                merged.pop(rival, None)
        merged[key] = merge(base.value[key], item, (*path, key)) if key in merged else item
    return Located(merged, over.origin)


def stage_name(stage: Located) -> str | None:
    """Return the name of a stage as written: ``name``, or else what it ``uses``; None when it has neither."""
    if not isinstance(stage.value, dict):
        return None
    for key in ("name", "uses"):
        if key in stage.value and isinstance(stage.value[key].value, str):
            return str(stage.value[key].value)
    return None


def _merge_stages(base: Located, over: Located) -> Located:
    stages = list(base.value)
    names = [stage_name(stage) for stage in stages]
    known = [name for name in names if name is not None]
    mistakes = []
    for name, fields in over.value.items():
        if name not in names:
            message = f"no such stage in the recipe extended{did_you_mean(name, known)}; it has: {', '.join(known)}"
            mistakes.append(Mistake(fields.origin, dotted(("stages", name)), message))
        elif not isinstance(fields.value, dict):
            message = f"must be a mapping of the fields to change, got {fields.plain()!r}"
            mistakes.append(Mistake(fields.origin, dotted(("stages", name)), message))
        else:
            index = names.index(name)
            stages[index] = merge(stages[index], fields, ("stages", index))
    refuse(mistakes)
    return Located(stages, over.origin)
