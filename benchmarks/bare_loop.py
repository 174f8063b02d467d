"""A bare PyTorch training loop, the yardstick: rows per second in float32 with PyTorch's plain AdamW.

python benchmarks/bare_loop.py --data DIR --model DIR [--steps 200] [--pool 1] [--fused] [--mixed-precision no]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from contextlib import nullcontext

import torch
from machine import facts_line, machine_facts, record, section
from sst2_work import add_work_arguments, sst2_recipe
from step_clock import StepClock
from torch import nn

from pipeline.models import source_model
from pipeline.recipe import load_recipe
from pipeline.tasks import build_task
from pipeline.tasks.task import Split
from pipeline.training.batches import Batches
from stages import STAGES


def bare_loop(
    model: nn.Module,
    split: Split,
    batches: Iterable[Sequence[int]],
    *,
    learning_rate: float = 3e-5,
    fused: bool = False,
    mixed_precision: str = "no",
) -> None:
    """Train ``model`` on ``batches``: forward, backward, clip, step, and nothing else."""
    device = next(model.parameters()).device
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.0, fused=fused or None)
    model.train()
    for rows in batches:
        inputs = {name: value.to(device) for name, value in split.batch(rows).items()}
        with torch.autocast(device.type, torch.bfloat16) if mixed_precision == "bf16" else nullcontext():
            loss = model(**inputs).loss
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()


def timed_bare_loop(model: nn.Module, split: Split, batches: Sequence[Sequence[int]], **settings: object) -> StepClock:
    """Run the loop and return the clock of its steps; the model is trained."""
    clock = StepClock(model)
    try:
        bare_loop(model, split, batches, **settings)  # type: ignore[arg-type]
    finally:
        clock.close()
    return clock


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and record if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_work_arguments(parser)
    parser.add_argument("--steps", type=int, default=200, help="steps timed, after the warm-up")
    parser.add_argument("--warmup", type=int, default=10, help="steps before the clock counts")
    parser.add_argument("--pool", type=int, default=1, help="batches sorted by length together; 1: random batches")
    parser.add_argument("--fused", action="store_true", help="the fused AdamW instead of the plain one")
    parser.add_argument("--mixed-precision", choices=("no", "bf16"), default="no")
    options = parser.parse_args(arguments)
    recipe = load_recipe(sst2_recipe(options.data, options.model), stages=STAGES, overrides=options.overrides)
    task = build_task(recipe.task, model=recipe.model, processor_dir=None, seed=recipe.seed)
    model = source_model(recipe.model, task, recipe.seed)
    split, batch_size = task.train, recipe.training.batch_size
    order = Batches(len(split), batch_size=batch_size, seed=recipe.seed, lengths=split.lengths, pool=options.pool)
    count = options.warmup + options.steps + 1
    batches = [order.rows(*divmod(step, len(order))) for step in range(count)]
    clock = timed_bare_loop(model, split, batches, fused=options.fused, mixed_precision=options.mixed_precision)
    seconds = clock.step_seconds(options.warmup)
    rows = sum(len(batch) for batch in batches[options.warmup : -1])
    facts = machine_facts(seed=recipe.seed)
    measured = {
        "rows_per_second": round(rows / sum(seconds), 1),
        "steps": len(seconds),
        "batch_size": batch_size,
        "pool": options.pool,
        "optimizer": "AdamW, fused" if options.fused else "AdamW",
        "mixed_precision": options.mixed_precision,
    }
    print(json.dumps(measured), facts_line(facts), sep="\n")
    if options.record:
        record(section("Bare PyTorch loop", facts, [f"`{json.dumps(measured)}`"]))


if __name__ == "__main__":
    main()
