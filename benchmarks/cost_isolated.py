"""The parts of the cost that need a process of their own: whole stages, condensing, and loading."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from memory_in_use import InUse, bytes_in_use, watched
from peak_memory import Measured, measured
from speed import Work
from sst2_work import sst2_recipe
from transformers import AutoModelForSequenceClassification, BertConfig, BertForSequenceClassification

from pipeline.models import load_model, register_models, save_model, source_model
from pipeline.recipe import load_recipe
from pipeline.surgery.condense import condense
from pipeline.surgery.groups import dissect
from pipeline.surgery.keep_plan import KeepPlan, Kept
from pipeline.tasks import build_task
from pipeline.training.job import num_steps
from stages import STAGES

TRAINING_ONLY = ("epochs", "steps", "teacher", "mixed_precision", "evaluate_every", "progress")


@dataclass(frozen=True)
class Source:
    """What to measure on: the data, the model, and what else a recipe says."""

    data: Path
    model: Path
    overrides: tuple[str, ...] = ()
    mixed_precision: str = "no"

    def work(self, rows: int | None = None) -> Work:
        """Return the work with a short validation split, on the first ``rows`` rows of the training split."""
        shorter = ["task.validation=[validation]", "task.validation_rows=64"]
        shorter += [] if rows is None else [f"task.train_rows={rows}"]
        document = sst2_recipe(self.data, self.model)
        recipe = load_recipe(document, stages=STAGES, overrides=[*shorter, *self.overrides])
        task = build_task(recipe.task, model=recipe.model, processor_dir=None, seed=recipe.seed)
        return Work(recipe, task, source_model(recipe.model, task, recipe.seed), self.mixed_precision)


def stage_settings(work: Work, name: str, steps: int | None = None) -> tuple[str, dict[str, Any]]:
    """Return the algorithm that the recipe's stage uses, and its settings without those of how long it trains.

    In as few as ``steps`` there are as few rounds of pruning: as many a step as in the recipe's whole stage.
    """
    stage = work.recipe.stage(name)
    settings = stage.config.model_dump(exclude=set(TRAINING_ONLY))
    if steps is not None and "rounds" in settings:
        settings["rounds"] = max(1, round(settings["rounds"] * steps / num_steps(stage.config, work.task)))
    return stage.uses, settings


@dataclass(frozen=True)
class StageCost:
    """What a stage took in time and resident memory, and what of that was not free."""

    measured: Measured
    in_use: InUse


def stage_cost(source: Source, name: str, length: Mapping[str, float], rows: int | None = None) -> StageCost:
    """Return what one stage takes from reading the data to its result; ``length`` is its ``steps`` or ``epochs``."""
    seen: list[InUse] = []

    def run() -> object:
        before = bytes_in_use()
        work = source.work(rows)
        uses, settings = stage_settings(work, name)
        with tempfile.TemporaryDirectory() as folder, watched() as found:
            result = work.run_stage(uses, Path(folder), **settings, **length)
        seen.append(InUse(found.in_a_step - before, found.between_steps - before, found.of_tensors))
        return result

    return StageCost(measured(run), seen[0])


@dataclass(frozen=True)
class Sized:
    """What a piece of work took, beside the bytes of the model it was done to."""

    measured: Measured
    model_bytes: int

    @property
    def ratio(self) -> float:
        """The peak over the model's bytes."""
        return self.measured.peak_bytes / self.model_bytes


def bert(fields: Mapping[str, Any]) -> BertForSequenceClassification:
    """Return a BERT of random weights: BERT-base, but for ``fields``."""
    return BertForSequenceClassification(BertConfig(**fields)).eval()


def half_plan(model: torch.nn.Module) -> KeepPlan:
    """Return the plan that keeps every other unit, so that no cut is a slice."""
    return KeepPlan(
        {group.name: Kept(group.num_units, tuple(range(0, group.num_units, 2))) for group in dissect(model)}
    )


def condensing_cost(fields: Mapping[str, Any], consume: bool) -> Sized:
    """Return what condensing a BERT to half of its units takes; the peak counts the model itself.

    ``consume`` gives it up, as the stages do.
    """
    seconds: list[float] = []
    sizes: list[int] = []

    def run() -> object:
        model = bert(fields)
        sizes.append(model_bytes(model))
        plan, began = half_plan(model), time.perf_counter()
        condensed = condense(model, plan, consume=consume)
        seconds.append(time.perf_counter() - began)
        return condensed

    whole = measured(run)
    return Sized(Measured(seconds[0], whole.peak_bytes), sizes[0])


def save_condensed(fields: Mapping[str, Any], folder: Path) -> int:
    """Write a BERT condensed to half of its units into ``folder``, and return its bytes."""
    model = bert(fields)
    condensed = condense(model, half_plan(model))
    save_model(condensed, folder)
    return model_bytes(condensed)


def loading_cost(folder: Path, size: int, through_auto_class: bool) -> Sized:
    """Return what loading the model in ``folder`` takes: as users do, or as the pipeline's own stages do."""
    register_models()
    if through_auto_class:
        return Sized(measured(lambda: AutoModelForSequenceClassification.from_pretrained(str(folder))), size)
    return Sized(measured(lambda: load_model(folder)), size)


def model_bytes(model: torch.nn.Module) -> int:
    """Return the bytes of all parameters, each shared one counted once."""
    return sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())


def spread(values: Sequence[float]) -> float:
    """Return by which share of the least the greatest is more; not a number where nothing was measured."""
    return max(values) / min(values) - 1 if min(values) > 0 else math.nan


def misfit(rows: Sequence[int], seconds: Sequence[float]) -> float:
    """Return by which share of itself a time is farthest from the straight line through all of them."""
    fitted = np.polyval(np.polyfit(rows, seconds, 1), rows)
    return float(np.abs(fitted / np.asarray(seconds) - 1).max())
