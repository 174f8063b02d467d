"""The figures of a run, each with what it shows: drawn from its artifacts, for the page and for notebooks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.errors import ArtifactError
from pipeline.reporting.cost_tables import has_cut
from pipeline.reporting.decisions import Decision, cutting_stages, decisions, unit_map
from pipeline.reporting.figures.costs import latencies, what_is_left
from pipeline.reporting.figures.heads_map import heads_map
from pipeline.reporting.figures.importance import importance_ranks
from pipeline.reporting.figures.scores import score_curves, share_curve
from pipeline.reporting.figures.timeline import timeline
from pipeline.reporting.figures.widths import layer_widths
from pipeline.reporting.figures.zeros import zeros_map
from pipeline.reporting.figures.zeros_grid import zeros_grid
from pipeline.reporting.report import Report
from pipeline.reporting.sparse_layers import EDGE, close_ups, layer_grid, sparse_stages
from pipeline.reporting.stage_logs import stage_logs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pipeline.artifacts.run import Artifact, Run

MOST_CURVES = 512
"""Units that curves can show apart; more of them are ranked instead."""


@dataclass(frozen=True)
class Picture:
    """A figure, the section of the page it belongs to, its title, and what a reader is to see in it."""

    section: str
    title: str
    caption: str
    figure: Figure


def plot_heads(run: Run, stage: str | None = None) -> Figure:
    """Return the map of heads around ``stage``, by default the last one that cut heads."""
    stages = cutting_stages(run, "heads")
    if not stages or (stage is not None and stage not in stages):
        known = ", ".join(stages) or "none"
        raise ArtifactError(f"{run.path}: {stage or 'every stage'} cut no heads; those that did: {known}")
    return heads_map(unit_map(run, stage or stages[-1], "heads"))


def plot_widths(run: Run) -> Figure:
    """Return heads and channels left in each layer."""
    rows = Report.from_run(run).rows
    if not any(row.kept for row in rows):
        raise ArtifactError(f"{run.path}: no stage has cut anything yet, so there are no widths to show")
    return layer_widths(rows)


def plot_scores(run: Run, stage: str) -> Figure:
    """Return what ``stage`` went by: curves over its steps, or ranks where its units are too many for curves."""
    artifact = run[stage]
    decided = decisions(artifact)
    if not decided:
        known = [name for name in run.stages if decisions(run[name])]
        raise ArtifactError(f"{run.path}: {stage} keeps no scores; those that do: {', '.join(known) or 'none'}")
    return _scores(artifact, decided)


def plot_sparsity(run: Run, stage: str | None = None) -> Figure:
    """Return the share of zeros over the steps of ``stage``, by default the last one that touched single weights."""
    artifact = _sparse(run, stage)
    asked = [(int(step), float(share)) for step, share in artifact.manifest.details.get("schedule", ())]
    return share_curve(artifact.history(), asked=asked, span=_span(artifact))


def plot_zeros(run: Run, stage: str | None = None) -> Figure:
    """Return the share of zeros in each layer after ``stage``, by default the last one that touched single weights."""
    return zeros_grid(layer_grid(_sparse(run, stage)))


def plot_weights(run: Run, stage: str | None = None) -> Figure:
    """Return corners of weights close up after ``stage``, by default the last one that touched single weights."""
    artifact = _sparse(run, stage)
    corners = close_ups(artifact)
    if not corners:
        raise ArtifactError(f"{artifact.model_dir}: its files have none of the names of the weights that were touched")
    return zeros_map(corners, across=3)


def pictures(run: Run, report: Report) -> Iterator[Picture]:
    """Return every figure of the run's page, in order; what a run has not gone through is left out."""
    yield from _cuts(run, report)
    yield from _reasons(run)
    yield from _zeros(run)
    logs = stage_logs(run)
    yield Picture(
        "How it trained",
        "Loss and metric of all stages",
        "Steps are spread evenly over each stage's training time. Losses of different kinds of stages do not compare; "
        "a filled point is the committed model.",
        timeline(logs),
    )
    if len(report.rows) > 1:
        is_whole = not has_cut(report.rows[0].metrics)
        times = " Times follow from the measured speed-up, both models taking turns." if is_whole else ""
        yield Picture(
            "What it costs to run",
            f"What is left after {report.rows[-1].stage}",
            f"Against {report.rows[0].stage}.{times}",
            what_is_left(report.rows),
        )
    if any(name.startswith("latency_") for row in report.rows for name in row.metrics):
        yield Picture(
            "What it costs to run",
            "Latency",
            "Median, and a whisker up to the 95th percentile, in float32 on real rows.",
            latencies(report.rows),
        )


def _cuts(run: Run, report: Report) -> Iterator[Picture]:
    for stage in cutting_stages(run, "heads"):
        yield Picture(
            "What was cut",
            f"Heads after {stage}",
            "A cell for each head of the first model: kept ones fill it, removed ones are small. The colour is the "
            "score they were chosen by.",
            plot_heads(run, stage),
        )
    if any(row.kept for row in report.rows):
        yield Picture(
            "What was cut",
            "Width of each layer",
            "Pale: before any cut. In front: what each stage left.",
            layer_widths(report.rows),
        )


def _reasons(run: Run) -> Iterator[Picture]:
    for stage in run.stages:
        decided = decisions(run[stage])
        if not decided:
            continue
        is_curve = _is_curve(decided)
        yield Picture(
            "Why those",
            f"{'Scores' if is_curve else 'Importance'} in {stage}",
            "A line for each unit. Heads that ended low were removed."
            if is_curve
            else "Units of each layer by the importance that decided: left of the cut those kept, right of it those "
            "removed, each with what it had in the round that removed it.",
            _scores(run[stage], decided),
        )


def _zeros(run: Run) -> Iterator[Picture]:
    section = "What became zero"
    for stage in sparse_stages(run):
        if any("weights_removed" in line for line in run[stage].history()):
            yield Picture(
                section,
                f"Share of zeros in {stage}",
                "Of the weights touched. Steps are what the log noted; the line is what the schedule asks for.",
                plot_sparsity(run, stage),
            )
        yield Picture(
            section,
            f"Zeros per layer after {stage}",
            "A cell for each layer touched: the share of its weights that is zero.",
            plot_zeros(run, stage),
        )
        if close_ups(run[stage]):
            yield Picture(
                section,
                f"Weights after {stage}",
                f"At most {EDGE} outputs (rows) by {EDGE} inputs of one layer of each kind, and the zeros among them.",
                plot_weights(run, stage),
            )


def _sparse(run: Run, stage: str | None) -> Artifact:
    stages = sparse_stages(run)
    if not stages or (stage is not None and stage not in stages):
        known = ", ".join(stages) or "none"
        raise ArtifactError(f"{run.path}: {stage or 'every stage'} touched no single weights; those that did: {known}")
    return run[stage or stages[-1]]


def _span(artifact: Artifact) -> tuple[int, int] | None:
    """Return the steps at which pruning began and ended, where the stage tells them."""
    details = artifact.manifest.details
    begin, end = (details.get(f"prune_{edge}_step") for edge in ("begin", "end"))
    return None if begin is None or end is None else (int(begin), int(end))


def _scores(artifact: Artifact, decided: tuple[Decision, ...]) -> Figure:
    if not _is_curve(decided):
        return importance_ranks(decided)
    return score_curves(decided, artifact.history(), span=_span(artifact))


def _is_curve(decided: tuple[Decision, ...]) -> bool:
    return sum(len(decision.kept) for decision in decided) <= MOST_CURVES and (
        decided[0].measure == "score" or ".heads" in decided[0].group
    )
