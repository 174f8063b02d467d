"""What a training step gains from what the pipeline does for every model, one by one and together.

Memory and compiled kernels that the process keeps (pipeline/training/memory.py), and dropout that draws a quarter of
the random numbers (pipeline/training/cpu_dropout.py).

python benchmarks/cheaper_steps.py --data DIR --model DIR [--steps 150] [--rounds 2] [--record]

A bare loop in bf16 with fused AdamW, its batches sorted by length as the pipeline's are, in a process of its own for
each setting: the dense model, and one cut to 14% of its encoder with other widths in every layer. Settings take turns,
in one order and then the other, lest a drifting machine favours some; the faster round counts.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from statistics import mean

from bare_loop import timed_bare_loop
from machine import machine_facts, record, section
from sst2_work import add_work_arguments, sst2_recipe
from transformers import PreTrainedModel

from pipeline.models import source_model
from pipeline.recipe import load_recipe
from pipeline.reporting.layout import markdown_table
from pipeline.surgery.condense import condense
from pipeline.surgery.groups import dissect
from pipeline.surgery.keep_plan import KeepPlan, Kept
from pipeline.tasks import build_task
from pipeline.training.batches import Batches
from pipeline.training.cpu_dropout import cheap_dropout
from pipeline.training.memory import keep_freed_memory, keep_kernels
from stages import STAGES

WAYS = ("memory", "kernels", "dropout")
SETTINGS = {"none": (), **{way: (way,) for way in WAYS}, "all": WAYS}
KEPT = {"heads": (4, 3, 3, 2, 1, 2), "channels": (460, 262, 141, 37, 42, 16)}
WARMUP = 60


def cut(model: PreTrainedModel) -> PreTrainedModel:
    """Return the model with the first units of every layer, as many as ``KEPT`` says, where there are so many."""
    plan = {g.name: Kept(g.num_units, tuple(range(min(g.num_units, KEPT[g.kind][g.layer])))) for g in dissect(model)}
    return condense(model, KeepPlan(plan))


def milliseconds(options: argparse.Namespace) -> float:
    """Return the mean time of a step in this process, under the settings in ``options.ways``."""
    if "memory" in options.ways:
        keep_freed_memory()
    if "kernels" in options.ways:
        keep_kernels()
    recipe = load_recipe(sst2_recipe(options.data, options.model), stages=STAGES, overrides=options.overrides)
    task = build_task(recipe.task, model=recipe.model, processor_dir=None, seed=recipe.seed)
    model = source_model(recipe.model, task, recipe.seed)
    split, pool = task.train, recipe.training.length_pool
    order = Batches(
        len(split), batch_size=recipe.training.batch_size, seed=recipe.seed, lengths=split.lengths, pool=pool
    )
    batches = [order.rows(*divmod(step, len(order))) for step in range(WARMUP + options.steps + 1)]
    student = cut(model) if options.child == "condensed" else model
    with cheap_dropout(student) if "dropout" in options.ways else nullcontext():
        clock = timed_bare_loop(student, split, batches, fused=True, mixed_precision="bf16")
    return 1000 * mean(clock.step_seconds(WARMUP))


def ask(options: argparse.Namespace, kind: str, setting: str) -> float:
    """Return the milliseconds that a process of its own measures."""
    command = [sys.executable, __file__, "--data", str(options.data), "--model", str(options.model)]
    command += [argument for override in options.overrides for argument in ("--set", override)]
    command += ["--steps", str(options.steps), "--child", kind, "--ways", *SETTINGS[setting]]
    return float(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.split()[-1])


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and record if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_work_arguments(parser)
    parser.add_argument("--steps", type=int, default=150, help="steps timed in each process, after the warm-up")
    parser.add_argument("--rounds", type=int, default=2, help="processes for each setting")
    parser.add_argument("--child", choices=("dense", "condensed"), help=argparse.SUPPRESS)
    parser.add_argument("--ways", nargs="*", default=[], help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        print(milliseconds(options))
        return
    rows = []
    for kind in ("dense", "condensed"):
        orders = ([*SETTINGS], [*SETTINGS][::-1])
        taken = [{name: ask(options, kind, name) for name in orders[turn % 2]} for turn in range(options.rounds)]
        best = {name: min(times[name] for times in taken) for name in SETTINGS}
        rows += [(kind, name, f"{ms:.1f}", f"{ms / best['none']:.2f}") for name, ms in best.items()]
    table = markdown_table(["model", "with", "ms a step", "of none"], rows)
    result = section("What makes a step cheaper", machine_facts(seed=42), [table])
    print(result)
    if options.record:
        record(result)


if __name__ == "__main__":
    main()
