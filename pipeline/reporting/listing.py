"""Lays plans, states, resolved values and measurements out as lines for the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pipeline.recipe.mistakes import shown
from pipeline.reporting.layout import format_count, format_metric, format_number, format_share, format_speedup

if TYPE_CHECKING:
    from pipeline.recipe import Recipe
    from pipeline.reporting.measurement import Measurement
    from pipeline.runner import Plan, RunStatus, StagePlan

WIDTH = 118
NO_BREAK = "\N{NO-BREAK SPACE}"
NO_TEACHERS: Mapping[str, str] = MappingProxyType({})


def value_lines(recipe: Recipe) -> list[str]:
    """Return every resolved value, a block for the run and one for each stage.

    In a block a line for each place values came from, with the number of the line before the values written on it.
    """
    blocks: dict[str, dict[str, dict[str, list[str]]]] = {}
    for path, value, origin in recipe.values():
        block, field = _block(path)
        if block != "training":
            source, line = _source_and_line(origin)
            lines_of = blocks.setdefault(block, {}).setdefault(source, {})
            lines_of.setdefault(line, []).append(f"{field}={_value(value)}")
    uses = {stage.name: stage.uses for stage in recipe.stages}
    lines: list[str] = []
    for block, sources in blocks.items():
        lines.append(block if uses.get(block, block) == block else f"{block} ({uses[block]})")
        width = max(map(len, sources))
        for source in sorted(sources, key=_by_distance):
            by_line = sorted(sources[source].items(), key=lambda item: int(item[0] or 0))
            texts = [f"{line}:{NO_BREAK}{', '.join(values)}" if line else ", ".join(values) for line, values in by_line]
            lines += _wrapped(f"  {source:{width}}  ", "; ".join(texts))
    return lines


def plan_lines(plan: Plan) -> list[str]:
    """Return a line per stage with its state and its teacher, the reasons below it, and at the end what would run."""
    lines = [f"{plan.run_dir}", *stage_lines(plan.stages, _teachers(plan))]
    if plan.is_fresh:
        return [*lines, "nothing to run: every stage is fresh"]
    return [*lines, f"to run: {', '.join(stage.name for stage in plan.to_run)}"]


def stage_lines(stages: Sequence[StagePlan], teachers: Mapping[str, str] = NO_TEACHERS) -> list[str]:
    """Return a line per stage with its state, and its teacher where one is known, and below it a line per reason."""
    names = max((len(stage.name) for stage in stages), default=0)
    lines: list[str] = []
    for number, stage in enumerate(stages, start=1):
        teacher = f", teacher: {teachers[stage.name]}" if stage.name in teachers else ""
        lines.append(f"  {number:2}  {stage.name:{names}}  {stage.state}{teacher}")
        lines += [f"      {reason}" for reason in stage.reasons]
    return lines


def _teachers(plan: Plan) -> dict[str, str]:
    """Return who teaches each stage that learns from a teacher: what ``teacher: null`` resolves to, too."""
    teachers: dict[str, str] = {}
    for index, stage in enumerate(plan.stages):
        teacher = plan.inspector.teacher(index)
        if teacher is not None and teacher.stage is not None:
            teachers[stage.name] = teacher.stage
        elif teacher is not None:
            teachers[stage.name] = str(plan.recipe.stages[index].config.teacher)
    return teachers


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


def _source_and_line(origin: str) -> tuple[str, str]:
    """Return ``training (recipe.yaml:14)`` as ``training (recipe.yaml)`` and ``14``."""
    source, _, line = origin.rstrip(")").rpartition(":")
    if not line.isdecimal():
        return origin, ""
    return (f"{source})" if origin.endswith(")") else source), line


def _by_distance(source: str) -> tuple[int, str]:
    """Sort what was said for just this stage first, then what it inherits, then defaults."""
    return 2 if source == "default" else int(source.startswith("training")), source


def _wrapped(head: str, text: str) -> list[str]:
    lines = textwrap.wrap(
        text,
        width=WIDTH,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace(NO_BREAK, " ") for line in lines]


def _value(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return shown(value).replace("'", "")
