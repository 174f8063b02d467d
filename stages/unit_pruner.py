"""Pruning whole units in rounds while training: those that go are masked where they are read, and never come back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from pipeline.surgery.groups import PruningGroup
from pipeline.surgery.keep_plan import KeepPlan, Kept
from stages.history import History
from stages.schedules import Rounds
from stages.state import check_names, copy_into
from stages.unit_weights import UnitWeight, consumer_weight, lowest_first

Importances = Mapping[str, Tensor]
"""By group name, how much each unit matters: ``(num_units,)``."""

Counts = Callable[[Importances, float], Mapping[str, int]]
"""From importances and the share of the whole removal that is due, in [0, 1], to how many units of each group go.

Units already gone have an importance of minus infinity.
"""


class Scorer(Protocol):
    """Where importances come from; built for the same groups as its pruner."""

    def observe(self) -> None:
        """Read weights and gradients of one step."""

    def importances(self) -> Importances:
        """Return the importance of every unit, from what was observed since the last ``reset``."""

    def reset(self) -> None:
        """Begin a new interval."""

    def tensors(self) -> Mapping[str, Tensor]:
        """Return what a resume needs, by name: the tensors themselves, to be copied into."""


class UnitPruner:
    """A ``Pruner`` of heads or channels: at each round the units of least importance go, on the cubic schedule.

    A masked unit's columns of the consumer are zero, and so are their gradients: nothing it computes is read. As it
    never comes back, no raw weight is kept behind the mask. ``repair`` is told at each round what stays of the
    groups, while the units that go in it still have their weights.
    """

    def __init__(
        self,
        model: nn.Module,
        groups: Sequence[PruningGroup],
        *,
        scorer: Scorer,
        counts: Counts,
        rounds: Rounds,
        repair: Callable[[KeepPlan], None] | None = None,
    ) -> None:
        self._repair = repair
        self.groups = tuple(group for group in groups if group.num_units > 0)
        self._consumers = [consumer_weight(model, group) for group in self.groups]
        self._scorer = scorer
        self._counts = counts
        self._rounds = rounds
        self.alive = {group.name: torch.ones(group.num_units, dtype=torch.bool) for group in self.groups}
        self.history = History(rounds.count, sum(group.num_units for group in self.groups))
        self._done = torch.zeros((), dtype=torch.int64)

    def before_optimizer_step(self, step: int) -> None:
        """Let the scorer read the gradients of ``step``, while rounds are still to come, and zero those of the gone."""
        if step >= self._rounds.observed_from and int(self._done) < self._rounds.count:
            self._scorer.observe()
        for weight, gone in self._masked():
            gradient = weight.gradient()
            if gradient is not None:
                weight.by_unit(gradient).masked_fill_(gone[:, None, None], 0)

    def after_optimizer_step(self, step: int, lr: float) -> None:
        """Do the round that is due before ``step + 1``, if one is, and write the masks."""
        self._mask()
        due = self._rounds.done(step + 1)
        if due > int(self._done):
            self._prune(due)
            self._done.fill_(due)
            if self._repair is not None:
                self._repair(self.finish())
            self._mask()

    def finish(self) -> KeepPlan:
        """Return the units that live; their weights are in place already."""
        alive = {group.name: self.alive[group.name].nonzero().flatten().tolist() for group in self.groups}
        return KeepPlan({group.name: Kept(group.num_units, tuple(alive[group.name])) for group in self.groups})

    def logs(self) -> dict[str, float]:
        """Return the share of units gone and the rounds done."""
        alive = torch.cat([mask.float() for mask in self.alive.values()])
        return {"units_removed": 1.0 - float(alive.mean()), "rounds": float(self._done)}

    def state_dict(self) -> dict[str, Tensor]:
        """Return masks, rounds done, history, and what the scorer has gathered."""
        return {name: tensor.clone() for name, tensor in self._tensors().items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore what ``state_dict`` returned; raises ``ValueError`` when it is another model's or another stage's."""
        own = self._tensors()
        check_names(state, own.keys())
        for name, tensor in own.items():
            copy_into(tensor, name, state[name])

    def tensors(self) -> dict[str, Tensor]:
        """Return the importances of every round recorded, ``importances.<group>`` ``(rounds, num_units)``."""
        events, values = self.history.filled()
        parts = torch.split(values, [group.num_units for group in self.groups], dim=1)
        named = {f"importances.{group.name}": part.clone() for group, part in zip(self.groups, parts, strict=True)}
        return {"importances.rounds": events, **named}

    def _prune(self, due: int) -> None:
        found = {name: values.to("cpu", torch.float32) for name, values in self._scorer.importances().items()}
        self.history.record(due, torch.cat([found[group.name] for group in self.groups]))
        found = {name: values.masked_fill(~self.alive[name], -torch.inf) for name, values in found.items()}
        counts = self._counts(found, self._rounds.progress(due))
        for name, values in found.items():
            self.alive[name][lowest_first(values)[: counts[name]]] = False
        self._scorer.reset()

    def _mask(self) -> None:
        """Zero the weights of the gone, which momentum and decay move though they have no gradient."""
        for weight, gone in self._masked():
            weight.by_unit(weight.weight()).masked_fill_(gone[:, None, None], 0)

    def _masked(self) -> list[tuple[UnitWeight, Tensor]]:
        """Return the consumers that have lost units, with which, ``(num_units,)`` bool."""
        pairs = [(weight, ~self.alive[group.name]) for group, weight in zip(self.groups, self._consumers, strict=True)]
        return [(weight, gone.to(weight.parameter.device)) for weight, gone in pairs if gone.any()]

    def _tensors(self) -> dict[str, Tensor]:
        masks = {f"alive.{name}": mask for name, mask in self.alive.items()}
        history = {"history": self.history.values, "history.rounds": self.history.events}
        return {"rounds": self._done, **masks, **history, **self._scorer.tensors()}
