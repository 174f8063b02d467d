"""What both forms of Intel Neural Compressor's pruning files say in the same words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.convert.domain import Domain, Length
from pipeline.convert.layer_names import checked, narrowed
from pipeline.convert.section import Section
from pipeline.recipe.document import dotted
from pipeline.recipe.mistakes import Mistake

CRITERIA = {
    "magnitude": "magnitude",
    "basic_magnitude": "magnitude",
    "snip": "snip",
    "snip_momentum": "snip_momentum",
    "pattern_lock": "pattern_lock",
}
NOT_HERE = {
    "gradient": "say snip, which weighs the gradient by the weight",
    "gradient_progressive": "say snip, which weighs the gradient by the weight",
    "magnitude_progressive": "say magnitude: blocks go whole here, not weight by weight",
    "snip_progressive": "say snip: blocks go whole here, not weight by weight",
    "snip_momentum_progressive": "say snip_momentum: blocks go whole here, not weight by weight",
    "gradient_sensitivity": "attention heads are removed by the stage prune_heads",
    "pattern_lock_progressive": "say pattern_lock",
    "retrain_free": "there is no pruning without training here; use a stage of few steps",
    "sparse_gpt": "there is no pruning without training here; use a stage of few steps",
    "block_mask": "there is no pruning without training here; use a stage of few steps",
}
DECAYS = {"exp": "exp", "cos": "cos", "cube": "cube", "linear": "linear"}
SCOPES = {"global": "global", "local": "local"}
REDUCES = {"mean": "mean", "sum": "sum"}
TYPES = {"linear": ("Linear",), "conv1d": ("Conv1d",), "conv2d": ("Conv2d",), "conv": ("Conv1d", "Conv2d", "Conv1D")}
PATTERN = re.compile(r"(?:[a-z_]*_)?(?:(?P<block>[1-9]\d*x[1-9]\d*|channelx1|1xchannel)|(?P<n>\d+):(?P<m>\d+))")


def settings(section: Section, key: str, default: str, others: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings with the criterion under ``key``; ``pattern_lock`` chooses nothing and needs no others."""
    chosen = section.choice(key, CRITERIA, default, NOT_HERE)
    return {"pattern_lock": True} if chosen == "pattern_lock" else {"criterion": chosen, **others}


def how_long(length: Length, domains: Sequence[Domain], section: Section) -> Length:
    """Return the length, or where the file gives none the last step at which a pruner ends; a note tells of it."""
    if length.is_given:
        return length
    ends = [domain.settings["schedule"]["end"] for domain in domains if domain.settings.get("schedule")]
    told = "the file does not say how long to train; the longer after the end of pruning, the more the model recovers"
    section.ledger.note(f"{section.origin.short()}: {told}")
    last = max((end for end in ends if isinstance(end, int)), default=0)
    return Length(steps=last) if last else length


def pattern(section: Section, default: str) -> str:
    """Return the pattern; Intel's N:M counts the weights pruned of M, ours those kept."""

    def reads(value: Any) -> str | None:
        found = PATTERN.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            return None
        if found["block"]:
            return found["block"]
        pruned, of = int(found["n"]), int(found["m"])
        return f"{of - pruned}:{of}" if 0 < pruned < of else None

    hint = "NxM, N:M (N pruned of M), channelx1 or 1xchannel"
    item = section.take("pattern")
    if item is not None and item.value == "mha":
        section.mistake("pattern", f"must be {hint}, got 'mha'; attention heads are removed by the stage prune_heads")
        return default
    return section.read("pattern", reads, hint, default)


def target(section: Section, default: float, pattern: str) -> float:
    """Return the target of a domain; one above what its pattern can remove is refused, as Intel's tool does, too."""
    share = section.number("target_sparsity", default, high=1.0)
    kept, colon, of = pattern.partition(":")
    if colon and share > (most := (int(of) - int(kept)) / int(of)):
        by_default = "" if "target_sparsity" in section else ", the default"
        section.mistake(
            "target_sparsity", f"must be at most {most:g}, all that the pattern removes, got {share}{by_default}"
        )
    return share


def layer_types(section: Section, key: str, default: Sequence[str]) -> list[str]:
    """Return the layer types; Intel looks for each word in the class's name, so that Conv is three of them."""
    words = section.texts(key) or list(default)
    found: list[str] = []
    for word in words:
        if word.lower() not in TYPES:
            section.mistake(key, f"must be of Linear, Conv, Conv1d, Conv2d, got {word!r}")
        found += [kind for kind in TYPES.get(word.lower(), ()) if kind not in found]
    return found


def layers(
    section: Section, key: str, types: Sequence[str], included: list[str], excluded: list[str]
) -> dict[str, Any]:
    """Return which layers a pruner takes; Intel's excluded names win over its included ones, ours lose to them."""
    try:
        if included:
            return {"types": list(types), "include": narrowed(included, excluded), "exclude": []}
        return {"types": list(types), "include": [], "exclude": [checked(name) for name in excluded]}
    except ValueError as error:
        section.mistake(key, str(error))
        return {}


def schedule(section: Section, begin: float, end: float, decay: str, every: int | None = None) -> dict[str, Any]:
    """Return the schedule from ``begin`` to ``end``, steps or shares.

    Where they are one all goes at once, as in Intel's tool, and ``pruner.update(start_step=…, end_step=…)`` finds the
    decay and the frequency that it will need.
    """
    if end < begin:
        section.ledger.mistakes.append(
            Mistake(section.origin, dotted(section.path), f"must not end before it begins ({begin:g}), got {end:g}")
        )
        end = begin
    return {"kind": decay, "begin": begin, "end": end, **({} if every is None else {"every": every})}
