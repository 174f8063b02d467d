"""The trade-off of a folder of runs: the table, the Pareto-optimal points, and the model to ship under a limit."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.errors import CompressionError, RecipeError
from pipeline.reporting.layout import (
    format_count,
    format_metric,
    format_number,
    format_share,
    markdown_table,
    plain_table,
)
from pipeline.sweeps.pareto import pareto
from pipeline.sweeps.points import Group, Point, Points

COSTS: dict[str, Callable[[Group], float]] = {
    "encoder sparsity": lambda group: -group.mean("encoder_sparsity"),
    "MACs": lambda group: group.mean("macs"),
    "zeros": lambda group: -group.mean("zeros"),
    "latency": lambda group: group.mean("latency_ms"),
}
"""What a score is weighed against, less being better; sparsity and zeros therefore with their signs turned."""


@dataclass(frozen=True)
class Limits:
    """What the model to ship must keep to; ``max_drop``, in the metric's unit, is below its run's dense model."""

    max_latency_ms: float | None = None
    min_accuracy: float | None = None
    max_drop: float | None = None

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and (not math.isfinite(value) or value < 0):
                raise RecipeError(f"--{name.replace('_', '-')}: must be a number of at least 0, got {value}")

    @property
    def is_set(self) -> bool:
        """Whether there is any limit."""
        return any(value is not None for value in vars(self).values())

    def allow(self, point: Point) -> bool:
        """Say whether ``point`` keeps to every limit; a drop below an unknown dense model does not."""
        if self.max_latency_ms is not None and not point.latency_ms <= self.max_latency_ms:
            return False
        if self.min_accuracy is not None and not point.score >= self.min_accuracy:
            return False
        if self.max_drop is None:
            return True
        # The shares are ratios of row counts: their difference may be off by a rounding.
        return point.drop is not None and point.drop <= self.max_drop + 1e-9

    def __str__(self) -> str:
        return ", ".join(
            f"--{name.replace('_', '-')} {value:.6g}" for name, value in vars(self).items() if value is not None
        )


@dataclass(frozen=True)
class Frontier:
    """The points of a folder, their latency measured together at ``batch_size`` over ``rounds`` rounds."""

    points: Points
    batch_size: int
    rounds: int
    threads: int

    def groups(self) -> list[Group]:
        """Return the points, seeds together, sparsest last."""
        return sorted(self.points.groups(), key=lambda group: group.mean("encoder_sparsity"))

    def costs(self) -> tuple[str, ...]:
        """Return those of ``COSTS`` that tell models apart: where there are zeros, these and what else differs."""
        groups = self.groups()
        if not self._has_zeros():
            return tuple(cost for cost in COSTS if cost != "zeros")
        return tuple(
            cost for cost, of in COSTS.items() if cost == "latency" or len({of(group) for group in groups}) > 1
        )

    def optimal(self, cost: str) -> list[Group]:
        """Return the Pareto-optimal groups by their mean score against a mean cost, one of ``COSTS``."""
        groups = self.groups()
        is_optimal = pareto([(COSTS[cost](group), group.mean("merit")) for group in groups])
        return [group for group, is_kept in zip(groups, is_optimal, strict=True) if is_kept]

    def choose(self, limits: Limits) -> Point:
        """Return the best single model within ``limits``: the best score where latency is limited, else the fastest.

        Of equals the one that is better in the other respect, then the one with fewer MACs. Where models differ in
        their zeros and not in their MACs, so that none is faster, the one with the most zeros is chosen. Raises
        ``CompressionError`` naming the nearest models when none is within them, and ``RecipeError`` for a least
        accuracy where less of the metric is better.
        """
        if limits.min_accuracy is not None and not all(point.greater_is_better for point in self.points.points):
            metric = self.points.metric
            raise RecipeError(f"--min-accuracy: must not be given where less {metric} is better; use --max-drop")
        allowed = [point for point in self.points.points if limits.allow(point)]
        if not allowed:
            raise CompressionError(self._none_within(limits))
        if limits.max_latency_ms is not None:
            return min(allowed, key=lambda point: (-point.merit, point.latency_ms, point.macs))
        if self._has_zeros() and len({point.macs for point in allowed}) == 1:
            return min(allowed, key=lambda point: (-point.zeros, -point.merit))
        return min(allowed, key=lambda point: (point.latency_ms, -point.merit, point.macs))

    def table(self) -> str:
        """Return the table for the terminal, with how it was measured and which runs are not in it."""
        lines = [plain_table(*self._cells()), "", *self._notes()]
        return "\n".join(lines)

    def markdown(self) -> str:
        """Return the same as Markdown."""
        return "\n\n".join([markdown_table(*self._cells()), *self._notes()]) + "\n"

    def describe(self, point: Point) -> str:
        """Return a model and its numbers in one line."""
        score, metric = format_metric(self.points.metric, point.score), self.points.metric
        zeros = f", zeros {format_share(point.zeros)}" if point.zeros > 0 else ""
        return (
            f"{point.artifact.model_dir}  ({point.label}: {metric} {score}, {format_number(point.latency_ms)} ms, "
            f"{format_count(point.macs)} MACs, encoder sparsity {format_share(point.encoder_sparsity)}{zeros})"
        )

    def json(self) -> str:
        """Return every point, and which groups are optimal, as JSON text."""
        document = {
            "metric": self.points.metric,
            "batch_size": self.batch_size,
            "rounds": self.rounds,
            "threads": self.threads,
            "points": [_as_json(point) for point in self.points.points],
            "optimal": {cost: [group.label for group in self.optimal(cost)] for cost in self.costs()},
            "left_out": dict(self.points.left_out),
        }
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        metric = self.points.metric.rpartition("/")[2]
        groups = self.groups()
        has_seeds = any(len(group.points) > 1 for group in groups)
        seeds = ["seeds", f"{metric}\nmean", "standard\ndeviation", "best"] if has_seeds else [metric]
        zeros = ["zeros"] if self._has_zeros() else []
        widths = ["encoder\nsparsity", "parameters", "MACs\nper row"]
        headers = ["run", *seeds, *widths, *zeros, f"ms, batch\n{self.batch_size}"]
        optimal = {cost: self.optimal(cost) for cost in self.costs()}
        rows = [
            [
                group.label,
                *self._scores(group, has_seeds),
                format_share(group.mean("encoder_sparsity")),
                format_count(group.mean("parameters")),
                format_count(group.mean("macs")),
                *(format_share(group.mean("zeros")) for _ in zeros),
                format_number(group.mean("latency_ms")),
                ", ".join(cost for cost, found in optimal.items() if group in found),
            ]
            for group in groups
        ]
        return [*headers, "optimal in"], rows

    def _has_zeros(self) -> bool:
        return self.points.has_zeros

    def _scores(self, group: Group, has_seeds: bool) -> list[str]:
        metric = self.points.metric
        mean = format_metric(metric, group.mean("score"))
        if not has_seeds:
            return [mean]
        deviation = format_metric(metric, group.deviation)
        return [str(len(group.points)), mean, deviation, format_metric(metric, group.best.score)]

    def _notes(self) -> list[str]:
        timing = (
            f"Latency: median of {self.rounds} rounds in which all models took turns, float32, real lengths, batch "
            f"{self.batch_size}, {self.threads} threads. Optimal: no other scores as well at as little."
        )
        return [timing, *(f"{name} is left out: {reason}" for name, reason in self.points.left_out.items())]

    def _none_within(self, limits: Limits) -> str:
        fastest = min(self.points.points, key=lambda point: point.latency_ms)
        best = max(self.points.points, key=lambda point: point.merit)
        return f"no model keeps to {limits}; the fastest is {self._shortly(fastest)}, the best {self._shortly(best)}"

    def _shortly(self, point: Point) -> str:
        metric = self.points.metric
        score = format_metric(metric, point.score)
        return f"{point.name} ({format_number(point.latency_ms)} ms, {metric} {score})"


def _as_json(point: Point) -> Mapping[str, Any]:
    numbers = ("score", "dense_score", "encoder_sparsity", "parameters", "macs", "zeros", "latency_ms")
    found = {name: getattr(point, name) for name in numbers}
    finite = {name: value if value is None or math.isfinite(value) else None for name, value in found.items()}
    return {"label": point.label, "model": str(point.artifact.model_dir), "name": point.name, **finite}
