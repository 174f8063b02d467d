"""What the pruner of weights takes: of a step between two of its updates, and for an update of 85 million weights."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForSequenceClassification

from pipeline import Sparsifier
from pipeline.reporting.layout import markdown_table

PATTERNS = {"1x1": 0.8, "4x1": 0.8, "2:4": 0.5}
"""What is timed, with the share of zeros that the weights have by then."""
CRITERIA = ("snip_momentum", "magnitude")
BATCH_SIZE, NUM_TOKENS = 32, 128
BERT_BASE = {"num_layers": 12, "width": 768, "inner": 3072}
FAR = 10**6
"""A step that no measurement comes to."""


def cost_parts(folder: Path, *, steps: int) -> list[str]:
    """Return the tables of both measurements."""
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    between = step_costs(model, steps=steps)
    print(between, flush=True)
    return [between, update_costs(bert_sized(**BERT_BASE))]


def step_costs(model: Any, *, steps: int, batch_size: int = BATCH_SIZE, num_tokens: int = NUM_TOKENS) -> str:
    """Return what each pattern's pruner adds to a finetune step of a batch of full length in float32.

    Every pruner has made its first update and waits for its next, far away; it reads gradients, masks them, and masks
    weights. All are hooked into the same steps and each is timed by itself there: what is added is seconds within a
    step over those of that very step without any pruner's.
    """
    schedule = {"kind": "constant", "begin": 1, "end": FAR, "every": FAR}
    pruners = {
        pattern: Sparsifier(model, {"pattern": pattern, "sparsity": share, "schedule": schedule}, num_steps=FAR)
        for pattern, share in PATTERNS.items()
    }
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, weight_decay=0.0, fused=True)
    ids = torch.randint(5, model.config.vocab_size, (batch_size, num_tokens))
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids[:, 0] % 2}
    model.train()
    bare: list[float] = []
    added: dict[str, list[float]] = {pattern: [] for pattern in pruners}
    for step in range(steps + 1):
        seconds = _step_seconds(model, batch, optimizer, pruners, step)
        if step:
            bare.append(seconds.pop(""))
            for pattern, value in seconds.items():
                added[pattern].append(value)
    rows = [("finetune, no pruner", f"{1000 * median(bare):.1f}", "1.000", "")]
    for pattern, values in added.items():
        ratio = 1 + median(own / step for own, step in zip(values, bare, strict=True))
        rows.append((f"sparsify, {pattern}", f"{1000 * median(values):.1f} more", f"{ratio:.3f}", "≤ 1.05"))
    touched = next(iter(pruners.values())).domains[0].num_weights
    title = f"step of {batch_size} × {num_tokens} tokens, {touched / 1e6:.1f}M weights touched"
    return markdown_table([title, "processor ms, median", "over finetune", "asked"], rows)


def _step_seconds(
    model: nn.Module, batch: dict[str, Any], optimizer: Any, pruners: dict[str, Sparsifier], step: int
) -> dict[str, float]:
    """Do a step and return the processor's seconds of each pruner, and under ``""`` those of the rest.

    Not the wall's: a long pass loses more of these to other work than a short one, which flatters what is short.
    """
    begin = time.process_time()
    model(**batch).loss.backward()
    seconds = {"": time.process_time() - begin}
    for pattern, pruner in pruners.items():
        begin = time.process_time()
        pruner.before_optimizer_step(step)
        seconds[pattern] = time.process_time() - begin
    begin = time.process_time()
    optimizer.step()
    seconds[""] += time.process_time() - begin
    for pattern, pruner in pruners.items():
        begin = time.process_time()
        pruner.after_optimizer_step(step, 0.0)
        seconds[pattern] += time.process_time() - begin
    begin = time.process_time()
    optimizer.zero_grad()
    seconds[""] += time.process_time() - begin
    return seconds


def bert_sized(*, num_layers: int, width: int, inner: int) -> nn.Module:
    """Return random matrices of the shapes of a BERT encoder's, each with a gradient."""
    shapes = [(width, width)] * 4 + [(width, inner), (inner, width)]
    linears = [nn.Linear(columns, rows, bias=False) for _ in range(num_layers) for columns, rows in shapes]
    for linear in linears:
        linear.weight.grad = torch.randn_like(linear.weight)
    return nn.ModuleList(linears)


def update_costs(model: nn.Module, *, updates: int = 3) -> str:
    """Return the seconds of a choice of masks and of writing them, by pattern and criterion; asked: below 1.

    The first update is not timed; the share of zeros climbs from one to the next.
    """
    rows = []
    for pattern, share in PATTERNS.items():
        medians = [median(_update_seconds(model, pattern, share, criterion, updates)) for criterion in CRITERIA]
        rows.append((pattern, *(f"{value:.2f}" for value in medians), "< 1"))
    num_weights = sum(parameter.numel() for parameter in model.parameters())
    headers = [f"update of {num_weights / 1e6:.1f}M weights, seconds", *CRITERIA, "asked"]
    return markdown_table(headers, rows)


def _update_seconds(model: nn.Module, pattern: str, share: float, criterion: str, updates: int) -> list[float]:
    with torch.no_grad():
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.02)
    schedule = {"kind": "linear", "begin": 1, "end": updates + 1, "every": 1}
    settings = {"pattern": pattern, "criterion": criterion, "sparsity": share, "initial_sparsity": share / 2}
    pruner = Sparsifier(model, {**settings, "schedule": schedule}, num_steps=updates + 1)
    seconds = []
    for step in range(updates + 1):
        pruner.before_optimizer_step(step)
        begin = time.perf_counter()
        pruner.after_optimizer_step(step, 0.0)
        seconds.append(time.perf_counter() - begin)
    return seconds[1:]
