"""A pruning decision: which units of which group stay, as plain data that can be composed and written as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Kept:
    """The units of one group that stay: ``units`` are increasing indices out of ``of``."""

    of: int
    units: tuple[int, ...]

    def __post_init__(self) -> None:
        if list(self.units) != sorted(set(self.units)) or any(not 0 <= u < self.of for u in self.units):
            raise ValueError(f"units must be increasing indices in [0, {self.of}), got {list(self.units)}")

    def then(self, later: Kept) -> Kept:
        """Return the units that stay after ``later``, which counts in the units kept here."""
        if later.of != len(self.units):
            raise ValueError(f"the later cut counts {later.of} units, but {len(self.units)} were kept before it")
        return Kept(self.of, tuple(self.units[unit] for unit in later.units))

    def after(self, earlier: Kept) -> Kept:
        """Return the cut that is left to do after ``earlier``, counted in the units kept there: ``then`` undone."""
        if self.of != earlier.of:
            raise ValueError(f"the earlier cut counts {earlier.of} units, this one {self.of}")
        if gone := set(self.units) - set(earlier.units):
            raise ValueError(f"unit {min(gone)} is to stay, but the earlier cut removed it")
        places = {unit: place for place, unit in enumerate(earlier.units)}
        return Kept(len(earlier.units), tuple(places[unit] for unit in self.units))


@dataclass(frozen=True)
class KeepPlan(Mapping[str, Kept]):
    """What stays of each group named; a group it does not name is left whole. Relative to the model it applies to."""

    groups: Mapping[str, Kept]

    def __getitem__(self, name: str) -> Kept:
        return self.groups[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.groups)

    def __len__(self) -> int:
        return len(self.groups)

    def then(self, later: KeepPlan) -> KeepPlan:
        """Return the one plan that does this cut and then ``later``, so that condensing once gives the same model."""
        composed = {name: kept.then(later[name]) if name in later else kept for name, kept in self.items()}
        return KeepPlan({**composed, **{name: kept for name, kept in later.items() if name not in self}})

    def after(self, earlier: KeepPlan) -> KeepPlan:
        """Return the plan left to do in a model cut by ``earlier``: ``earlier.then(plan.after(earlier)) == plan``.

        Raises ``ValueError`` where ``earlier`` removed what this plan keeps, or a group that this plan does not name.
        """
        if unknown := earlier.keys() - self.keys():
            raise ValueError(f"{min(unknown)} was cut before, and this plan says nothing of it")
        return KeepPlan({name: kept.after(earlier[name]) if name in earlier else kept for name, kept in self.items()})

    def _repr_html_(self) -> str:
        from pipeline.reporting.notebook import plan_html

        return plan_html(self)

    def to_json(self) -> dict[str, Any]:
        """Return ``{group: {"of": n, "units": [...]}}``."""
        return {name: {"of": kept.of, "units": list(kept.units)} for name, kept in self.items()}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> KeepPlan:
        """Return the plan that ``to_json`` wrote; raises ``ValueError`` for indices that cannot be."""
        return cls({name: Kept(int(kept["of"]), tuple(kept["units"])) for name, kept in document.items()})
