"""What zeros in the weights cost and bring: accuracy, gzipped size and time, a section for each kind of work.

    python benchmarks/sparsify.py --work sst2 --data DIR --model DIR [--settings 4x1-80 2of4-50] [--seeds 42 43 44]
    python benchmarks/sparsify.py --work digits-cnn
    python benchmarks/sparsify.py --work lstm --data DIR [--rows 5000]
    python benchmarks/sparsify.py --work cost --model DIR

sst2: the shipped recipe on all-MiniLM-L6-v2, one factor changed at a time. Run again, it goes on where it stopped, and
each seed is finetuned once: runs take over by hard links what another run in --runs-dir has made of the same recipe.
digits-cnn, lstm: a small network in a plain PyTorch loop around ``Sparsifier``, in minutes. cost: what the pruner adds
to a step between its updates, and how long an update takes. --record appends the section to RESULTS.md.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

from frontier_runs import run_sharing
from machine import machine_facts, record, section
from sparsify_cost import cost_parts
from sparsify_loops import Trial, digits_work, loop_tables, lstm_work
from sparsify_runs import (
    DEFAULT,
    RECIPE,
    SETTINGS,
    Outcome,
    all_jobs,
    dense_table,
    progress_line,
    score_table,
    size_table,
)
from sst2_work import add_work_arguments, sst2_recipe

SEEDS = (42, 43, 44)
LSTM_ROWS = 5000
DIGITS_TRIALS = tuple(Trial("1x1", sparsity) for sparsity in (0.5, 0.75, 0.875))
LSTM_TRIALS = (
    Trial("1x4", 0.8, "magnitude"),
    Trial("1x4", 0.9, "magnitude"),
    Trial("1x1", 0.8, "magnitude"),
    Trial("1x4", 0.8, "snip_momentum"),
)
"""Zeros beside each other in memory pack better than scattered ones. By magnitude, for a rare word's row has no
gradient in most steps, and snip_momentum forgets in ten of them what it was worth."""
NEEDS = {"sst2": ("data", "model"), "digits-cnn": (), "lstm": ("data",), "cost": ("model",)}
"""Which folders each kind of work reads."""

Section = tuple[str, list[str]]


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", choices=NEEDS, required=True)
    add_work_arguments(parser, required=False)
    parser.add_argument("--runs-dir", type=Path, help="sst2: default: runs/sparsify, with the number of --rows")
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=DEFAULT, help="sst2: which to run")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--rows", type=int, help="sst2, lstm: only the first rows of the training split")
    parser.add_argument("--epochs", type=int, help="digits-cnn, lstm: epochs dense, and again as many while sparsified")
    parser.add_argument("--steps", type=int, default=6, help="cost: steps timed, after one that is not")
    options = parser.parse_args(arguments)
    for name in NEEDS[options.work]:
        if getattr(options, name) is None:
            parser.error(f"--{name}: must be given with --work {options.work}")
    if options.overrides and options.work != "sst2":
        parser.error(f"--set: changes recipes, and --work {options.work} has none")
    return options


def sst2(options: argparse.Namespace) -> Section:
    """Run what is missing of the SST-2 work and return its tables."""
    jobs = list(all_jobs(options.settings, options.seeds))
    print(f"{len(jobs)} runs: {', '.join(job.name for job in jobs)}", flush=True)
    rows = "20k" if options.rows is None else str(options.rows)
    runs_dir = options.runs_dir or Path("runs") / f"sparsify-{rows}"
    document = sst2_recipe(options.data, options.model, extends=RECIPE)
    if options.rows is not None:
        document["task"]["train_rows"] = options.rows
    outcomes = []
    for job in jobs:
        recipe = job.recipe(document, options.overrides)
        outcomes.append(Outcome.of(job, run_sharing(recipe, runs_dir), recipe.task.metric[0]))
        print(progress_line(outcomes[-1]), flush=True)
    told = [f"`{name}`: {' '.join(SETTINGS[name]) or 'as shipped'}" for name in options.settings]
    settings = "  \n".join([f"Settings of all runs: {shlex.join(options.overrides) or RECIPE}.", *told])
    tables = [score_table(outcomes), size_table(outcomes), dense_table(outcomes)]
    return f"Sparsify, SST-2 with {rows} rows, {options.model.name}", [settings, *tables]


def digits_cnn(options: argparse.Namespace) -> Section:
    """Train and sparsify the network on digits and return its tables."""
    work = digits_work(options.epochs)
    return "Sparsify, a small CNN on scikit-learn's digits", loop_tables(work, DIGITS_TRIALS, options.seeds)


def lstm(options: argparse.Namespace) -> Section:
    """Train and sparsify the LSTM on SST-2's rows and return its tables."""
    rows = LSTM_ROWS if options.rows is None else options.rows
    work = lstm_work(options.data, rows, options.epochs)
    return f"Sparsify, an LSTM on {rows} rows of SST-2", loop_tables(work, LSTM_TRIALS, options.seeds)


def cost(options: argparse.Namespace) -> Section:
    """Time the pruner and return its tables."""
    return "Sparsify, cost", cost_parts(options.model, steps=options.steps)


WORKS = {"sst2": sst2, "digits-cnn": digits_cnn, "lstm": lstm, "cost": cost}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and record if asked."""
    options = parse(arguments)
    title, parts = WORKS[options.work](options)
    facts = machine_facts(seed=options.seeds[0]) | {"seed": ", ".join(map(str, options.seeds))}
    result = section(title, facts, parts)
    print("", result, sep="\n")
    if options.record:
        record(result)


if __name__ == "__main__":
    main()
