"""How many heads and channels each layer has left, read from keep plans."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.surgery.keep_plan import KeepPlan, Kept

GROUP_NAME = re.compile(r"(?P<stack>\w+)\.(?P<layer>\d+)\.(?P<kind>heads|channels)")
KINDS = ("heads", "channels")


def units_per_layer(plan: Mapping[str, Kept]) -> dict[tuple[str, int], dict[str, tuple[int, int]]]:
    """Return for each layer, in order, how many units of each kind stay out of how many: ``{"heads": (3, 12)}``."""
    layers: dict[tuple[str, int], dict[str, tuple[int, int]]] = {}
    for name, kept in plan.items():
        if named := GROUP_NAME.fullmatch(name):
            layer = (named["stack"], int(named["layer"]))
            layers.setdefault(layer, {})[named["kind"]] = (len(kept.units), kept.of)
    return dict(sorted(layers.items()))


def units_kept(plans: Sequence[KeepPlan | None]) -> list[dict[str, tuple[int, ...]]]:
    """Return for each total keep plan of a run the units left per layer, ``{"heads": (3, 12), …}``.

    A group that some plan of the run names is whole wherever another does not name it; a kind that none names is left
    out.
    """
    known = [units_per_layer(plan or {}) for plan in plans]
    whole = {
        (layer, kind): of for layers in known for layer, kinds in layers.items() for kind, (_, of) in kinds.items()
    }
    return [
        {
            kind: tuple(layers.get(layer, {}).get(kind, (whole[layer, kind],))[0] for layer in named)
            for kind in KINDS
            if (named := sorted(layer for layer, of_kind in whole if of_kind == kind))
        }
        for layers in known
    ]
