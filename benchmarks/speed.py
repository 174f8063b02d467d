"""Measure what the pipeline adds to bare training, as ratios of things that take turns in one process.

    python benchmarks/speed.py --data DIR --model DIR [--steps 40] [--rounds 3] [--mixed-precision no] [--record]

Padding, throughput against a bare loop on the same batches, each stage's step over the dense finetune step, the share
of time that saves take, and the speed-up of condensed models over their saving in multiply-accumulates.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from bare_loop import timed_bare_loop
from machine import machine_facts, record, section
from sst2_work import add_work_arguments, sst2_recipe
from step_clock import StepClock, median_ratio, ratio_of_totals
from transformers import PreTrainedModel

from pipeline.models import source_model
from pipeline.recipe import Recipe, load_recipe, load_stage
from pipeline.reporting.latency import measure_latency, real_batches
from pipeline.reporting.layout import markdown_table
from pipeline.reporting.profile import MACS_ROWS, macs
from pipeline.stage import StageContext, StageResult
from pipeline.surgery.architectures import encoder_parameters
from pipeline.surgery.condense import condense
from pipeline.surgery.groups import dissect
from pipeline.surgery.keep_plan import KeepPlan, Kept
from pipeline.tasks import build_task
from pipeline.tasks.task import Task
from pipeline.training.batches import Batches, padding_share
from pipeline.training.half_done import HalfDone
from pipeline.training.metrics_log import MetricsLog
from stages import STAGES

SHARES = (0.5, 0.67, 0.8)
WARMUP = 5
BOUNDS = {"prune_heads": "≤ 1.10", "distill": "≤ 1.40"}

Row = tuple[str, str, str]


@dataclass(frozen=True)
class Work:
    """The work, its task, and the dense model that every measurement begins with."""

    recipe: Recipe
    task: Task
    dense: PreTrainedModel
    mixed_precision: str

    def run_stage(self, uses: str, folder: Path, **settings: Any) -> tuple[StageResult, StepClock]:
        """Run a stage from the dense model with the dense model as its teacher; return its result and its clock."""
        stage = load_stage(STAGES[uses])
        student, teacher = copy.deepcopy(self.dense), copy.deepcopy(self.dense).eval().requires_grad_(False)
        inherited = self.recipe.training.model_dump() | {"epochs": None, "mixed_precision": self.mixed_precision}
        quiet = {"evaluate_every": None, "progress": False}
        clock = StepClock(student)
        context = StageContext(
            name=uses,
            config=stage.Config.model_validate(inherited | quiet | settings),
            task=self.task,
            work_dir=folder,
            seed=self.recipe.seed,
            log=MetricsLog(folder / "metrics.jsonl"),
            load_model=lambda: student,
            load_teacher=lambda: teacher,
        )
        try:
            return stage.run(context), clock
        finally:
            clock.close()

    def batches(self, steps: int) -> list[list[int]]:
        """Return the rows of the first ``steps`` batches that every stage run here sees."""
        training, split = self.recipe.training, self.task.train
        order = Batches(
            len(split),
            batch_size=training.batch_size,
            seed=self.recipe.seed,
            lengths=split.lengths,
            pool=training.length_pool,
        )
        return [order.rows(*divmod(step, len(order))) for step in range(steps)]


def padding(work: Work) -> list[Row]:
    """Return the share of padding tokens in an epoch, with and without sorting by length."""
    split, training = work.task.train, work.recipe.training
    assert split.lengths is not None
    rows = []
    for label, pool in ((f"pool of {training.length_pool}", training.length_pool), ("random batches", 1)):
        order = Batches(len(split), batch_size=training.batch_size, seed=0, lengths=split.lengths, pool=pool)
        share = padding_share(order.epoch(0), split.lengths)
        rows.append((f"padding, {label}", f"{share:.1%}", "< 10%" if pool > 1 else ""))
    return rows


def steps(work: Work, *, count: int, rounds: int) -> list[Row]:
    """Return the time of a bare loop's step and of each pruning or distilling step over the dense finetune step."""
    variants: dict[str, Callable[[Path], StepClock]] = {
        "finetune": lambda folder: work.run_stage("finetune", folder, steps=count)[1],
        "bare loop": lambda folder: timed_bare_loop(
            copy.deepcopy(work.dense),
            work.task.train,
            work.batches(count),
            fused=True,
            mixed_precision=work.mixed_precision,
        ),
        "prune_heads": lambda folder: work.run_stage("prune_heads", folder, steps=count, prune_begin=0.0)[1],
        "distill": lambda folder: work.run_stage("distill", folder, steps=count)[1],
        "prune_ffn": lambda folder: work.run_stage("prune_ffn", folder, steps=count, sparsity=0.5, distill=None)[1],
    }
    times: dict[str, list[float]] = {name: [] for name in variants}
    for turn in range(rounds):
        for name in reversed(variants) if turn % 2 else variants:
            with tempfile.TemporaryDirectory() as folder:
                times[name] += variants[name](Path(folder)).step_seconds(WARMUP)
    finetune = times["finetune"]
    bare = times["bare loop"]
    throughput = f"{ratio_of_totals(bare, finetune):.3f} (median step {median_ratio(bare, finetune):.3f})"
    rows = [("throughput over a bare loop, same batches, fused AdamW", throughput, "≥ 0.95")]
    for name in ("prune_heads", "distill", "prune_ffn"):
        told = f"{ratio_of_totals(times[name], finetune):.3f} (median {median_ratio(times[name], finetune):.3f})"
        rows.append((f"{name} step over dense finetune step", told, BOUNDS.get(name, "")))
    return rows


def saves(work: Work, *, count: int) -> list[Row]:
    """Return the share of a finetune's time spent saving, when it saves as often as it may."""
    spent: list[float] = []
    whole = HalfDone.save

    def timed(self: HalfDone) -> None:
        begin = time.perf_counter()
        whole(self)
        spent.append(time.perf_counter() - begin)

    with tempfile.TemporaryDirectory() as folder, patch.object(HalfDone, "save", timed):
        result, _ = work.run_stage("finetune", Path(folder), steps=count, save_seconds=0)
    taken = result.details["seconds"]
    return [(f"share of time in {len(spent)} saves, as often as allowed", f"{sum(spent) / taken:.2%}", "≤ 3%")]


def latencies(work: Work, *, rounds: int) -> list[Row]:
    """Return the speed-up of evenly cut models at batch 32 over the ratio of their multiply-accumulates."""
    split = next(iter(work.task.validation.values()))
    batch = split.batch(range(min(MACS_ROWS, len(split))))
    rows = []
    for share in SHARES:
        plan = KeepPlan(
            {
                group.name: Kept(group.num_units, tuple(range(max(1, round(group.num_units * (1 - share))))))
                for group in dissect(work.dense)
            }
        )
        cut = condense(work.dense, plan)
        sparsity = 1 - encoder_parameters(cut) / encoder_parameters(work.dense)
        saved = macs(work.dense, batch) / macs(cut, batch)
        timed = measure_latency({"dense": work.dense, "cut": cut}, real_batches(split, 32, count=5), rounds=rounds)
        faster = timed["cut"].speedup_over(timed["dense"])
        told = f"{faster / saved:.2f} (speed-up {faster:.2f}, MACs {saved:.2f})"
        rows.append((f"speed-up over MAC ratio, batch 32, {sparsity:.0%} encoder sparsity", told, "≥ 0.8"))
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and record if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_work_arguments(parser)
    parser.add_argument("--steps", type=int, default=40, help=f"steps of each turn, the first {WARMUP} not timed")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each kind of step")
    parser.add_argument("--save-steps", type=int, default=300, help="steps over which saves are timed")
    parser.add_argument("--latency-rounds", type=int, default=30)
    parser.add_argument("--mixed-precision", choices=("no", "bf16"), default="no")
    options = parser.parse_args(arguments)
    if options.steps < WARMUP + 2:
        parser.error(f"--steps must be at least {WARMUP + 2}, got {options.steps}")
    shorter = ["task.validation=[validation]", "task.validation_rows=64", *options.overrides]
    recipe = load_recipe(sst2_recipe(options.data, options.model), stages=STAGES, overrides=shorter)
    task = build_task(recipe.task, model=recipe.model, processor_dir=None, seed=recipe.seed)
    work = Work(recipe, task, source_model(recipe.model, task, recipe.seed), options.mixed_precision)
    rows = [
        *padding(work),
        *steps(work, count=options.steps, rounds=options.rounds),
        *saves(work, count=options.save_steps),
        *latencies(work, rounds=options.latency_rounds),
    ]
    result = section(
        f"Speed, mixed_precision: {options.mixed_precision}",
        machine_facts(seed=recipe.seed),
        [markdown_table(["measured", "value", "asked"], rows)],
    )
    print(result)
    if options.record:
        record(result)


if __name__ == "__main__":
    main()
