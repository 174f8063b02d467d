"""What a pruning stage went by: the score of every unit over time, and which units stayed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.reporting.units import GROUP_NAME

if TYPE_CHECKING:
    from pipeline.artifacts.run import Artifact, Run
    from pipeline.surgery.keep_plan import Kept

Values = NDArray[np.float64]
KEPT, REMOVED, GONE, ABSENT = 1, 0, -1, -2
"""The states of a unit after a stage: kept, removed by it, gone before it, and no such unit in this layer."""


@dataclass(frozen=True)
class Decision:
    """What a stage decided about one group, in the units the group had when the stage began."""

    group: str
    kept: NDArray[np.bool_]
    """``(num_units,)``"""
    moments: NDArray[np.int64]
    """The optimizer steps (of a score) or rounds (of an importance) at which it was noted, ``(moments,)``."""
    scores: Values
    """``(moments, num_units)``"""
    measure: Literal["score", "importance"]

    @property
    def final(self) -> Values:
        """The score that decided, ``(num_units,)``: the last one, or the last before a unit went for good."""
        if self.measure == "score":
            return np.asarray(self.scores[-1])
        seen = self.scores != 0
        last = seen.shape[0] - 1 - np.argmax(seen[::-1], axis=0)
        return np.asarray(np.where(self.kept, self.scores[-1], self.scores[last, np.arange(self.scores.shape[1])]))


@dataclass(frozen=True)
class UnitMap:
    """All units of one kind that the first model had, a row for each layer, and what a stage made of them.

    ``scores`` and ``states`` are ``(layers, most units of a layer)``; a score that nobody knows is nan.
    """

    stage: str
    kind: str
    layers: tuple[str, ...]
    scores: Values
    states: NDArray[np.int8]
    measure: str


def decisions(artifact: Artifact, kind: str | None = None) -> tuple[Decision, ...]:
    """Return what the stage decided, layer by layer; empty for a stage that cuts nothing, or keeps no scores."""
    plan = artifact.keep_plan
    tensors = artifact.tensors() if plan else {}
    arrays = {name: tensor.double().numpy() for name, tensor in tensors.items()}
    found = [_decision(name, kept.of, kept.units, arrays) for name, kept in _of_kind(plan or {}, kind)]
    return tuple(decision for decision in found if decision is not None)


def unit_map(run: Run, stage: str, kind: str) -> UnitMap:
    """Return the map of the units of ``kind`` before and after ``stage``, counted as in the first model."""
    artifact = run[stage]
    parent = (artifact.manifest.inputs.get("parent") or {}).get("stage")
    before: Mapping[str, Kept] = (run[parent].total_keep_plan if parent is not None and parent in run else None) or {}
    groups = _of_kind(artifact.keep_plan or {}, kind)
    first = {name: before[name].of if name in before else kept.of for name, kept in groups}
    shape = (len(groups), max(first.values(), default=0))
    scores, states = np.full(shape, np.nan), np.full(shape, ABSENT, dtype=np.int8)
    known = {decision.group: decision for decision in decisions(artifact, kind)}
    for row, (name, kept) in enumerate(groups):
        places = np.array(before[name].units if name in before else range(kept.of), dtype=int)
        states[row, : first[name]] = GONE
        states[row, places] = REMOVED
        states[row, places[list(kept.units)]] = KEPT
        if name in known:
            scores[row, places] = known[name].final
    measures = {decision.measure for decision in known.values()} or {"score"}
    return UnitMap(stage, kind, tuple(layer_name(name) for name, _ in groups), scores, states, measures.pop())


def cutting_stages(run: Run, kind: str) -> list[str]:
    """Return the stages of ``run`` that decided about units of ``kind``, in order."""
    return [name for name in run.stages if _of_kind(run[name].keep_plan or {}, kind)]


def layer_name(group: str) -> str:
    """Return a group's layer as figures name it: its number, with its stack where that is not the encoder."""
    stack, layer, _ = group.split(".", 2)
    return layer if stack == "encoder" else f"{stack} {layer}"


def _of_kind(plan: Mapping[str, Kept], kind: str | None) -> list[tuple[str, Kept]]:
    named = [(match, kept) for name, kept in plan.items() if (match := GROUP_NAME.fullmatch(name))]
    ordered = sorted(named, key=lambda item: (item[0]["stack"], int(item[0]["layer"])))
    return [(match.string, kept) for match, kept in ordered if kind in (None, match["kind"])]


def _decision(group: str, of: int, units: tuple[int, ...], arrays: Mapping[str, Values]) -> Decision | None:
    kept = np.zeros(of, dtype=bool)
    kept[list(units)] = True
    if f"importances.{group}" in arrays:
        rounds = arrays["importances.rounds"].astype(np.int64)
        return Decision(group, kept, rounds, arrays[f"importances.{group}"], "importance")
    bands = [
        array.reshape(len(array), of, -1, array.shape[-1])
        for path, array in arrays.items()
        if path.startswith("history.") and path != "history.steps" and _is_of_layer(path, group) and of
    ]
    if not bands:
        return None
    return Decision(group, kept, arrays["history.steps"].astype(np.int64), _of_heads(bands), "score")


def _of_heads(bands: list[Values]) -> Values:
    """Return each head's score from those of its blocks, ``(moments, heads, slices, blocks)`` for each of q, k, v, o.

    It is the score of the block with which the head dies: a slice lives while each of its bands has a live block, a
    head while a slice does.
    """
    return np.asarray(np.stack([band.max(axis=-1) for band in bands]).min(axis=0).max(axis=-1))


def _is_of_layer(path: str, group: str) -> bool:
    """Say whether a weight lies in the group's layer: the first number in a path counts layers."""
    parts = path.split(".")
    stack, layer, _ = group.split(".", 2)
    stacks = {"encoder", "decoder"} & set(parts)
    return next((part for part in parts if part.isdecimal()), "") == layer and (not stacks or stack in stacks)
