"""Measure what each stage costs: time against a bare step, where that time goes, and memory.

    python benchmarks/cost.py --data DIR --model DIR [--steps 30] [--mixed-precision no] [--record]
    python benchmarks/cost.py --data DIR --model DIR --only steps shares

steps: each stage's step over that of a bare finetune loop, same batches, same precision, taking turns. shares: where
a step's time goes. cuts: a pruning stage whose units leave the model at each round over one that masks them to its
end, taking turns, without a teacher. memory: the peak of each stage. growth: one stage on more and more rows. models:
condensing BERT-base-sized weights, and loading the result. Stages start from the dense model, with the dense model as
teacher, asked in every step: in a run the later ones are faster, being cut already, and where the teacher's answers
were written down. In the few steps of a turn there are as few rounds of pruning, as many a step as in the recipe.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from bare_loop import timed_bare_loop
from cost_isolated import (
    Source,
    StageCost,
    condensing_cost,
    loading_cost,
    misfit,
    save_condensed,
    spread,
    stage_cost,
    stage_settings,
)
from machine import facts_line, machine_facts, record, section
from peak_memory import isolated
from section_clock import SECTIONS, section_clock
from speed import WARMUP, Work
from sst2_work import add_work_arguments
from step_clock import StepClock, median_ratio, ratio_of_totals

from pipeline.reporting.layout import markdown_table

PARTS = ("steps", "shares", "cuts", "memory", "growth", "models")
PRUNING = ("prune_heads", "prune_ffn")
STAGES_TIMED = ("finetune", "prune_heads", "recover_heads", "prune_ffn")
"""``recover_ffn`` is ``recover_heads`` again."""
GROWTH_ROWS = (2500, 5000, 10_000, 20_000)
MEBI = 2**20
MEMORY = ("resident", "in use in a step", "in use between steps", "tensors between steps")
KEPT = (
    "Resident is more than in use, and grows up to a bound as a stage goes on, for freed memory and compiled kernels "
    "are kept on purpose (pipeline/training/memory.py): of the latter at most 16,384 or a sixteenth of the memory."
)


def step_ratios(work: Work, *, steps: int, rounds: int) -> str:
    """Return each stage's time per step over a bare loop's, by totals and by the median step."""
    bare = "bare finetune loop, fused AdamW"
    times: dict[str, list[float]] = {name: [] for name in (bare, *STAGES_TIMED)}
    for turn in range(rounds):
        for name in reversed(times) if turn % 2 else times:
            clock = _bare_clock(work, steps) if name == bare else _stage_clock(work, name, steps)
            times[name] += clock.step_seconds(WARMUP)
    rows = [
        (
            name,
            f"{1000 * sum(own) / len(own):.1f}",
            _ratio(own, times[bare]),
            f"{median_ratio(own, times[bare]):.3f}",
        )
        for name, own in times.items()
    ]
    return markdown_table(["step of", "ms", "over bare, totals", "median"], rows)


def _bare_clock(work: Work, steps: int) -> StepClock:
    batches = work.batches(steps)
    model = copy.deepcopy(work.dense)
    return timed_bare_loop(model, work.task.train, batches, fused=True, mixed_precision=work.mixed_precision)


def _stage_clock(work: Work, name: str, steps: int, **changes: object) -> StepClock:
    uses, settings = stage_settings(work, name, steps)
    with tempfile.TemporaryDirectory() as folder:
        return work.run_stage(uses, Path(folder), **settings | changes, steps=steps)[1]


def cut_ratios(work: Work, *, steps: int, rounds: int) -> str:
    """Return the time per step of each pruning stage with cuts at its rounds, and over that with masks to its end."""
    times: dict[tuple[str, bool], list[float]] = {(name, cuts): [] for name in PRUNING for cuts in (False, True)}
    for turn in range(rounds):
        for name, cuts in reversed(times) if turn % 2 else times:
            clock = _stage_clock(work, name, steps, cut_at_rounds=cuts, distill=None)
            times[name, cuts] += clock.step_seconds(WARMUP)
    rows = []
    for name in PRUNING:
        masked, cut = times[name, False], times[name, True]
        rows.append((name, *(f"{1000 * sum(own) / len(own):.1f}" for own in (masked, cut)), _ratio(cut, masked)))
    return markdown_table(["step of", "masked, ms", "cut at each round, ms", "cut over masked, totals"], rows)


def _ratio(own: Sequence[float], others: Sequence[float]) -> str:
    return f"{ratio_of_totals(own, others):.3f}"


def time_shares(work: Work, *, steps: int) -> str:
    """Return the share of the step's time that each section takes, by stage; the pruner is to take at most 5%."""
    shares: dict[str, dict[str, float]] = {}
    for name in STAGES_TIMED:
        with section_clock(WARMUP) as clock:
            _stage_clock(work, name, steps)
        shares[name] = clock.shares()
    parts = (*SECTIONS, "rest")
    table = markdown_table(
        ["share of the step", *parts],
        [(name, *(f"{own[part]:.1%}" for part in parts)) for name, own in shares.items()],
    )
    most = max(shares, key=lambda name: shares[name]["pruner"])
    return f"{table}\n\nPruner: at most {shares[most]['pruner']:.1%} ({most}), asked at most 5%."


def peaks(source: Source, *, steps: int) -> str:
    """Return the peak memory of each stage, beyond Python and its libraries."""
    rows = []
    for name in STAGES_TIMED:
        cost = isolated(stage_cost, source, name, {"steps": steps})
        rows.append((name, *memory_cells(cost), mebibytes(cost.measured.device_peak_bytes)))
    return f"{markdown_table(['peak memory, MiB', *MEMORY, 'on the device'], rows)}\n\n{KEPT}"


def growth(source: Source, *, stage: str, rows: Sequence[int], epochs: float) -> str:
    """Return how time and memory of one stage grow with the rows: in proportion, and not at all.

    Every size has two turns, on the way up and on the way down, and the shorter one counts, lest a machine whose speed
    drifts bends the line.
    """
    turns = [
        {count: isolated(stage_cost, source, stage, {"epochs": epochs}, count) for count in way}
        for way in (rows, rows[::-1])
    ]
    costs = [min((turn[count] for turn in turns), key=lambda cost: cost.measured.seconds) for count in rows]
    seconds = [cost.measured.seconds for cost in costs]
    cells = []
    for count, cost in zip(rows, costs, strict=True):
        per_row = 1000 * cost.measured.seconds / count
        cells.append((str(count), f"{cost.measured.seconds:.1f}", f"{per_row:.2f}", *memory_cells(cost)))
    headers = [f"rows, {stage}, {epochs:g} epochs", "seconds", "ms a row", *(f"{name}, MiB" for name in MEMORY)]
    tensors, used = (
        spread(sizes)
        for sizes in zip(*((cost.in_use.of_tensors, cost.in_use.between_steps) for cost in costs), strict=True)
    )
    told = [
        f"Farthest from a straight line: {misfit(rows, seconds):.1%}, asked at most 5%.",
        f"Most over least: tensors between steps {tensors:.1%} more, asked flat; in use between steps {used:.1%} more, "
        "the rows and compiled kernels being in it. In a step it is what the longest batch takes.",
        KEPT,
    ]
    return "\n\n".join([markdown_table(headers, cells), *told])


def memory_cells(cost: StageCost) -> tuple[str, ...]:
    """Return the cells below ``MEMORY``."""
    used = cost.in_use
    return tuple(map(mebibytes, (cost.measured.peak_bytes, used.in_a_step, used.between_steps, used.of_tensors)))


def mebibytes(size: int) -> str:
    """Return bytes in MiB, without decimals."""
    return f"{size / MEBI:.0f}"


def models(fields: dict[str, int]) -> str:
    """Return what condensing and loading take; ``fields`` change BERT-base."""
    rows: list[tuple[str, ...]] = []
    for label, consume in (("condensing to half, as the stages do", True), ("beside the dense model", False)):
        cut = isolated(condensing_cost, fields, consume)
        asked = "< 2 s, ≤ 1.5" if consume else "< 2 s"
        rows.append((label, f"{cut.measured.seconds:.2f}", f"{cut.ratio:.2f}", asked))
    with tempfile.TemporaryDirectory() as folder:
        size = isolated(save_condensed, fields, Path(folder))
        for label, is_auto in (("AutoModel…from_pretrained", True), ("the pipeline's own loading", False)):
            loaded = isolated(loading_cost, Path(folder), size, is_auto)
            rows.append((label, f"{loaded.measured.seconds:.2f}", f"{loaded.ratio:.2f}", "≤ 1.3" if is_auto else ""))
    return markdown_table(["BERT-base-sized", "seconds", "peak over the model's bytes", "asked"], rows)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_work_arguments(parser)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="the parts to measure")
    parser.add_argument("--steps", type=int, default=30, help=f"steps of each turn, the first {WARMUP} not timed")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each kind of step")
    parser.add_argument("--growth-rows", type=int, nargs="+", default=GROWTH_ROWS)
    parser.add_argument("--growth-epochs", type=float, default=0.5)
    parser.add_argument("--growth-stage", choices=STAGES_TIMED, default="prune_heads")
    parser.add_argument("--mixed-precision", choices=("no", "bf16"), default="no")
    options = parser.parse_args(arguments)
    if options.steps < WARMUP + 2:
        parser.error(f"--steps must be at least {WARMUP + 2}, got {options.steps}")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and record if asked."""
    options = parse(arguments)
    source = Source(options.data, options.model, tuple(options.overrides), options.mixed_precision)
    work = source.work() if {"steps", "shares", "cuts"} & set(options.only) else None
    rows, epochs = options.growth_rows, options.growth_epochs
    measures: dict[str, Callable[[], str]] = {
        "steps": lambda: step_ratios(_there(work), steps=options.steps, rounds=options.rounds),
        "shares": lambda: time_shares(_there(work), steps=options.steps),
        "cuts": lambda: cut_ratios(_there(work), steps=options.steps, rounds=options.rounds),
        "memory": lambda: peaks(source, steps=options.steps),
        "growth": lambda: growth(source, stage=options.growth_stage, rows=rows, epochs=epochs),
        "models": lambda: models({}),
    }
    facts, tables = machine_facts(seed=42), []
    print(facts_line(facts), "", sep="\n", flush=True)
    for name in options.only:
        tables.append(measures[name]())
        print(tables[-1], "", sep="\n", flush=True)
    result = section(f"Cost, mixed_precision: {options.mixed_precision}", facts, tables)
    if options.record:
        record(result)


def _there(work: Work | None) -> Work:
    assert work is not None, "made where a part needs it"
    return work


if __name__ == "__main__":
    main()
