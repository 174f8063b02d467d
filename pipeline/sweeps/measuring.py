"""Times the models of a frontier against each other: all in one process, taking turns on the same rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.artifacts.run import Run
from pipeline.recipe import Recipe
from pipeline.sweeps.frontier import Frontier
from pipeline.sweeps.points import Point, collect_points

if TYPE_CHECKING:
    from pipeline.tasks.task import Task

BATCHES = 10


def measure_frontier(folder: Path, stages: Mapping[str, Any], *, batch_size: int, rounds: int) -> Frontier:
    """Return the frontier of the runs below ``folder``, every model's latency measured anew, now and together."""
    import torch

    from pipeline.reporting.latency import measure_latency, real_batches
    from pipeline.training.processes import launched

    found, recipe = collect_points(folder, stages)
    for point in found.points:
        point.artifact.verify()
    task = _task(found.points[0], recipe, stages)
    models = {point.name: point.artifact.load_model().float().to(launched().device) for point in found.points}
    batches = real_batches(next(iter(task.validation.values())), batch_size, count=BATCHES)
    latencies = measure_latency(models, batches, rounds=rounds)
    timed = tuple(replace(point, latency_ms=latencies[point.name].median_ms) for point in found.points)
    done = min(len(latency.rounds_ms) for latency in latencies.values())
    return Frontier(replace(found, points=timed), batch_size, done, torch.get_num_threads())


def _task(point: Point, recipe: Recipe, stages: Mapping[str, Any]) -> Task:
    """Return the task as that point's run had it, with the processor beside its model."""
    from pipeline.runner.inspection import Inspector
    from pipeline.runner.workbench import Workbench

    run = Run.open(point.artifact.path.parent)
    return Workbench(Inspector(recipe, run, stages), point.artifact.model_dir).task
