"""Lays plans, states, resolved values and measurements out as lines for the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.recipe.mistakes import shown
from pipeline.reporting.layout import format_count, format_metric, format_number, format_share, format_speedup

if TYPE_CHECKING:
    from pipeline.recipe import Recipe
    from pipeline.reporting.measurement import Measurement
    from pipeline.runner import Plan, RunStatus, StagePlan

WIDTH = 118
INDENT = "    "


def value_lines(recipe: Recipe) -> list[str]:
    """Return every resolved value, a block for the run and one for each stage, grouped by where values came from."""
    blocks: dict[str, dict[str, list[str]]] = {}
    for path, value, origin in recipe.values():
        block, field = _block(path)
        if block != "training":
            blocks.setdefault(block, {}).setdefault(origin, []).append(f"{field}={_value(value)}")
    uses = {stage.name: stage.uses for stage in recipe.stages}
    lines: list[str] = []
    for block, origins in blocks.items():
        title = block if uses.get(block, block) == block else f"{block} ({uses[block]})"
        lines.append(title)
        width = max(map(len, origins))
        for origin in sorted(origins, key=_by_distance):
            lines += _wrapped(f"  {origin:{width}}  ", origins[origin])
    return lines


def plan_lines(plan: Plan) -> list[str]:
    """Return a line per stage with its state, the reasons below it, and at the end what a run would do."""
    lines = [f"{plan.run_dir}", *stage_lines(plan.stages)]
    if plan.is_fresh:
        return [*lines, "nothing to run: every stage is fresh"]
    return [*lines, f"to run: {', '.join(stage.name for stage in plan.to_run)}"]


def stage_lines(stages: Sequence[StagePlan]) -> list[str]:
    """Return a line per stage with its state, and below it a line per reason."""
    names = max((len(stage.name) for stage in stages), default=0)
    lines: list[str] = []
    for number, stage in enumerate(stages, start=1):
        lines.append(f"  {number:2}  {stage.name:{names}}  {stage.state}")
        lines += [f"      {reason}" for reason in stage.reasons]
    return lines


def status_lines(found: Sequence[RunStatus]) -> list[str]:
    """Return each run with who works on it, what is wrong with it, and its stages."""
    lines: list[str] = []
    for run in found:
        busy = f"  (in use by {run.holder})" if run.holder is not None else ""
        lines += [f"{run.path}{busy}"]
        lines += [f"  {line}" for line in (run.problem or "").splitlines()]
        lines += stage_lines(run.stages)
    return lines


def measurement_lines(measured: Measurement) -> list[str]:
    """Return a model's label and a line per number."""
    names = max(map(len, measured.metrics))
    return [
        measured.label,
        *(f"  {name:{names}}  {_number(name, value, measured.metrics)}" for name, value in measured.metrics.items()),
    ]


def _number(name: str, value: float, metrics: Mapping[str, float]) -> str:
    if "/" in name:
        return format_metric(name, value)
    if name.startswith("speedup"):
        return format_speedup(value)
    if name.endswith("_ms"):
        return format_number(value)
    if name == "encoder_sparsity":
        return format_share(value)
    exact = f"{value:,.0f}"
    return exact if value < 1000 else f"{exact} ({format_count(value)})"


def _block(path: str) -> tuple[str, str]:
    head, _, rest = path.partition(".")
    if head == "stages":
        name, _, field = rest.partition(".")
        return name, field
    return ("training", rest) if head == "training" else ("run", path)


def _by_distance(origin: str) -> tuple[int, str, int]:
    """Sort what was said for just this stage first, then what it inherits, then defaults."""
    rank = 2 if origin == "default" else int(origin.startswith("training"))
    source, _, line = origin.rstrip(")").rpartition(":")
    return rank, source, int(line) if line.isdecimal() else 0


def _wrapped(head: str, values: list[str]) -> list[str]:
    return textwrap.wrap(
        ", ".join(value.replace(" ", "\0") for value in values),
        width=WIDTH,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _value(value: Any) -> str:
    return shown(value).replace("'", "")
