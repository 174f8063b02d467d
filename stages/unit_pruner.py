"""Pruning whole units in rounds while training: those that go are masked where they are read, and never come back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from pipeline.surgery.groups import PruningGroup, narrowed
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

    def narrow(self, groups: Sequence[PruningGroup], kept: Mapping[str, Tensor]) -> None:
        """Count in ``groups`` from now on, which hold the units that ``kept``, ``(num_units,)`` bool, leaves of each.

        Asked only of a scorer whose pruner cuts while training. The weights keep their identity, not their width.
        """

    def tensors(self) -> Mapping[str, Tensor]:
        """Return what a resume needs, by name: the tensors themselves, to be copied into."""


WIDTH_MULTIPLE = 8
"""Units that are gone wait, masked, for a later cut where they fill a layer up to a width, in columns, that processors
like; a head is mostly as wide by itself."""


class UnitPruner:
    """A ``Pruner`` of heads or channels: at each round the units of least importance go, on the cubic schedule.

    A masked unit's columns of the consumer are zero, and so are their gradients: nothing it computes is read. As it
    never comes back, no raw weight is kept behind the mask, and with ``cuts`` it may leave the model at once: see
    ``take_cut``. ``repair`` is told at each round what stays of the model as it is, while the units that go in it still
    have their weights.
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
        cuts: bool = False,
    ) -> None:
        self._model = model
        self._repair = repair
        self._cuts = cuts
        self.groups = tuple(group for group in groups if group.num_units > 0)
        self._scorer = scorer
        self._counts = counts
        self._rounds = rounds
        self.alive = {group.name: torch.ones(group.num_units, dtype=torch.bool) for group in self.groups}
        self._in_place = {name: mask.clone() for name, mask in self.alive.items()}
        self._groups_in_place = self.groups
        self._consumers = [consumer_weight(model, group) for group in self.groups]
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
                self._repair(self.finish().after(self.in_place()))
            self._mask()

    def finish(self) -> KeepPlan:
        """Return the units that live; their weights are in place already."""
        return _plan(self.alive)

    def take_cut(self) -> KeepPlan | None:
        """Return which units of the model as it is stay in it, None where all do, and count in those from now on.

        The gone leave, but for as many as bring a layer to a multiple of ``WIDTH_MULTIPLE``. The caller cuts at once.
        """
        if not self._cuts:
            return None
        staying = {
            group.name: _staying(self.alive[group.name], self._in_place[group.name], group.unit_size)
            for group in self.groups
        }
        if all(torch.equal(staying[name], mask) for name, mask in self._in_place.items()):
            return None
        before = self.in_place()
        self._count_in(staying)
        return self.in_place().after(before)

    def in_place(self) -> KeepPlan:
        """Return which units the model still has, of those the pruner was built for; some may be masked."""
        return _plan(self._in_place)

    def logs(self) -> dict[str, float]:
        """Return the share of units gone and the rounds done."""
        alive = torch.cat([mask.float() for mask in self.alive.values()])
        return {"units_removed": 1.0 - float(alive.mean()), "rounds": float(self._done)}

    def state_dict(self) -> dict[str, Tensor]:
        """Return masks, units in place, rounds done, history, and what the scorer has gathered."""
        return {name: tensor.clone() for name, tensor in self._tensors().items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore what ``state_dict`` returned; raises ``ValueError`` when it is another model's or another stage's.

        To a pruner as it was built; the model is to be cut to the units of ``in_place`` by the caller.
        """
        check_names(state, self._tensors().keys())
        if self._cuts:
            in_place = {name: torch.zeros_like(mask) for name, mask in self._in_place.items()}
            for name, mask in in_place.items():
                copy_into(mask, f"in_place.{name}", state[f"in_place.{name}"])
            self._count_in(in_place)
        for name, tensor in self._tensors().items():
            copy_into(tensor, name, state[name])

    def tensors(self) -> dict[str, Tensor]:
        """Return the importances of every round recorded, ``importances.<group>`` ``(rounds, num_units)``."""
        events, values = self.history.filled()
        parts = torch.split(values, [group.num_units for group in self.groups], dim=1)
        named = {f"importances.{group.name}": part.clone() for group, part in zip(self.groups, parts, strict=True)}
        return {"importances.rounds": events, **named}

    def _prune(self, due: int) -> None:
        found = {name: self._of_all(name, values) for name, values in self._scorer.importances().items()}
        self.history.record(due, torch.cat([found[group.name] for group in self.groups]))
        found = {name: values.masked_fill(~self.alive[name], -torch.inf) for name, values in found.items()}
        counts = self._counts(found, self._rounds.progress(due))
        for name, values in found.items():
            self.alive[name][lowest_first(values)[: counts[name]]] = False
        self._scorer.reset()

    def _of_all(self, name: str, values: Tensor) -> Tensor:
        """Return the importances of all units, those no longer in the model having none."""
        spread = torch.zeros(len(self._in_place[name]))
        spread[self._in_place[name]] = values.to("cpu", torch.float32)
        return spread

    def _count_in(self, in_place: Mapping[str, Tensor]) -> None:
        """Expect only the units ``in_place`` in the model from now on."""
        kept = {name: in_place[name][mask] for name, mask in self._in_place.items()}
        self._in_place = dict(in_place)
        self._groups_in_place = tuple(narrowed(group, int(in_place[group.name].sum())) for group in self.groups)
        self._consumers = [consumer_weight(self._model, group) for group in self._groups_in_place]
        self._scorer.narrow(self._groups_in_place, kept)

    def _mask(self) -> None:
        """Zero the weights of the gone, which momentum and decay move though they have no gradient."""
        for weight, gone in self._masked():
            weight.by_unit(weight.weight()).masked_fill_(gone[:, None, None], 0)

    def _masked(self) -> list[tuple[UnitWeight, Tensor]]:
        """Return the consumers that have masked units, with which of those in place, ``(num_units,)`` bool."""
        gone = [~self.alive[group.name][self._in_place[group.name]] for group in self.groups]
        pairs = list(zip(self._consumers, gone, strict=True))
        return [(weight, gone.to(weight.parameter.device)) for weight, gone in pairs if gone.any()]

    def _tensors(self) -> dict[str, Tensor]:
        masks = {f"alive.{name}": mask for name, mask in self.alive.items()}
        history = {"history": self.history.values, "history.rounds": self.history.events}
        if self._cuts:
            masks |= {f"in_place.{name}": mask for name, mask in self._in_place.items()}
        return {"rounds": self._done, **masks, **history, **self._scorer.tensors()}


def _plan(masks: Mapping[str, Tensor]) -> KeepPlan:
    """Return the plan that keeps the units at which ``masks``, ``(num_units,)`` bool, are true."""
    return KeepPlan({name: Kept(len(mask), tuple(mask.nonzero().flatten().tolist())) for name, mask in masks.items()})


def _staying(alive: Tensor, in_place: Tensor, unit_size: int) -> Tensor:
    """Return which of the units ``in_place`` stay: those alive, and so many others that the width is a multiple."""
    staying = alive.clone()
    gone = (in_place & ~alive).nonzero().flatten()
    staying[gone[: -int(alive.sum()) % max(1, WIDTH_MULTIPLE // unit_size)]] = True
    return staying
