"""What a sweep came to, as a table for the terminal: from the manifests alone, nothing is measured."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from pipeline.reporting.layout import format_metric, format_share, plain_table
from pipeline.sweeps.points import Group, Points
from pipeline.sweeps.running import Outcome, Sweep


def sweep_lines(sweep: Sweep) -> list[str]:
    """Return a line per run with what was linked or what stopped it, then the scores, seeds together."""
    names = max(len(outcome.combination.name) for outcome in sweep.outcomes)
    lines = [str(sweep.folder)]
    lines += [f"  {outcome.combination.name:{names}}  {_state(outcome)}" for outcome in sweep.outcomes]
    if sweep.points is not None:
        lines += ["", _table(sweep.points)]
    if sweep.failed:
        return [
            *lines,
            "",
            f"{len(sweep.failed)} of {len(sweep.outcomes)} runs failed; the same command tries them again",
        ]
    return [*lines, "", f"compare them with: pruneline frontier {shlex.quote(str(sweep.folder))}"]


def _state(outcome: Outcome) -> str:
    if outcome.error is not None:
        return f"failed: {outcome.error}"
    return f"done, with {', '.join(outcome.shared)} of another run" if outcome.shared else "done"


def _table(points: Points) -> str:
    metric = points.metric.rpartition("/")[2]
    groups: Sequence[Group] = points.groups()
    headers = ["run", "seeds", f"{metric}\nmean", "standard\ndeviation", "best", "encoder\nsparsity"]
    zeros = ["zeros"] if points.has_zeros else []
    rows = [
        [
            group.label,
            str(len(group.points)),
            format_metric(points.metric, group.mean("score")),
            format_metric(points.metric, group.deviation),
            format_metric(points.metric, group.best.score),
            format_share(group.mean("encoder_sparsity")),
            *(format_share(group.mean("zeros")) for _ in zeros),
        ]
        for group in groups
    ]
    return plain_table([*headers, *zeros], rows)
