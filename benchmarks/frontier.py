"""Accuracy against sparsity on SST-2 or MNLI: every point, every seed, every ablation; run again, it goes on.

    python benchmarks/frontier.py --data DIR --model DIR [--points 86 93] [--seeds 42 43 44] [--record]
    python benchmarks/frontier.py --work mnli --data DIR --model DIR [--rows 10000] [--record]
    python benchmarks/frontier.py --data DIR --model DIR --rows 5000 --points 86 \\
        --ablation "nni-form=stages.prune_ffn.form=nni" --ablation "hot=stages.*.learning_rate=1e-4" \\
        --ablation "kwon=budget.encoder_sparsity=POINT"
    python benchmarks/frontier.py --data DIR --model DIR --rows 5000 --points 86 \\
        --ablations benchmarks/ablations.yaml [--pick NAME …] [--controls ffn-other-batches heads-other-batches]

Each seed is finetuned once: runs take over by hard links whatever stages another run in --runs-dir has made of the
same recipe. A budget (of POINT: what the point asks for) takes the place of the point's own split between heads and
channels. --rows takes the first rows of the training split. The settings of all runs are checked before the first one;
a run that fails stops no other. --finished shows those that are at their end, so that ablations may differ in seeds.
Beside --controls every ablation is set against the shipped runs and theirs together, with one standard error.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from frontier_ablations import read_ablations
from frontier_points import NNI_RATIO, find_point, folder_sizes, points_table
from frontier_runs import SHIPPED, Ablation, Job, Outcome, all_jobs, check_jobs, is_finished, run_job
from frontier_tables import dense_table, progress_line, score_table, seconds_table
from frontier_works import WORKS
from machine import machine_facts, record, section
from sst2_work import add_work_arguments

from pipeline.errors import CompressionError
from pipeline.reporting.layout import markdown_table

POINTS = (50, 67, 86, 90, 93, 95)
SEEDS = (42, 43, 44)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", choices=WORKS, default="sst2")
    add_work_arguments(parser, holds="; ".join(f"{name}: {', '.join(work.files)}" for name, work in WORKS.items()))
    parser.add_argument("--runs-dir", type=Path, help="default: runs/frontier, with the work and the number of --rows")
    parser.add_argument("--points", type=float, nargs="+", default=POINTS, help="encoder sparsities in per cent")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--rows", type=int, help="only the first rows of the training split")
    parser.add_argument("--ratio", type=float, default=NNI_RATIO, help="share of channels kept over share of heads")
    parser.add_argument("--heads", type=int, help="heads that stay at every point, whatever the ratio")
    parser.add_argument("--ablation", type=Ablation.parse, action="append", default=[], metavar="NAME=OVERRIDES")
    parser.add_argument("--ablations", type=Path, metavar="FILE", help="ablations in YAML, NAME: [PATH=VALUE, …]")
    parser.add_argument("--pick", nargs="+", metavar="NAME", help="only these of --ablations")
    parser.add_argument(
        "--controls", nargs="+", default=(), metavar="NAME", help="ablations that differ from shipped by chance alone"
    )
    parser.add_argument("--without-shipped", action="store_true", help="run the ablations alone")
    parser.add_argument("--finished", action="store_true", help="tables of the runs at their end; begin no other")
    parser.add_argument("--list", action="store_true", help="check and print the points and the runs, and run nothing")
    options = parser.parse_args(arguments)
    if options.pick and options.ablations is None:
        parser.error("--pick: must come with the --ablations that it picks from")
    if options.ablations is not None:
        try:
            options.ablation = [*options.ablation, *read_ablations(options.ablations, options.pick)]
        except ValueError as error:
            parser.error(f"--ablations: {error}")
    if len({ablation.name for ablation in options.ablation}) < len(options.ablation):
        parser.error("--ablation: each must have a name of its own")
    if unknown := sorted(set(options.controls) - {ablation.name for ablation in options.ablation}):
        parser.error(f"--controls: must be names of ablations, got {unknown[0]!r}")
    if options.without_shipped and not options.ablation:
        parser.error("--without-shipped: must come with an --ablation, for else there is nothing to run")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing, print the tables, and record them if asked."""
    options = parse(arguments)
    work = WORKS[options.work]
    runs_dir = options.runs_dir or work.runs_dir(options.rows)
    sizes = folder_sizes(options.model)
    points = [find_point(sizes, percent, ratio=options.ratio, heads=options.heads) for percent in options.points]
    ablations = options.ablation if options.without_shipped else [Ablation(SHIPPED), *options.ablation]
    jobs = list(all_jobs(ablations, points, options.seeds, work.prefix))
    asked = markdown_table(["asked", "exact", "heads kept", "channels kept"], points_table(points))
    print(asked, "", f"{len(jobs)} runs: {', '.join(job.name for job in jobs)}", sep="\n", flush=True)
    document = work.document(options.data, options.model, runs_dir, options.rows)
    check_jobs(jobs, document, options.overrides)
    if options.list:
        return
    if options.finished:
        jobs = [job for job in jobs if is_finished(job, document, runs_dir, options.overrides)]
    outcomes, failures = run_all(jobs, document, runs_dir, options.overrides)
    if not outcomes:
        raise SystemExit("no run came to its end")
    seeds = [str(seed) for seed in options.seeds if any(outcome.job.seed == seed for outcome in outcomes)]
    facts = machine_facts(seed=options.seeds[0]) | {"seed": ", ".join(seeds)}
    shown = [each for each in ablations if not options.finished or any(job.ablation == each for job in jobs)]
    settings = [f"`{each.name}`: {shlex.join(each.overrides)}" for each in shown if each.overrides]
    common = f"Settings of all runs: {shlex.join(options.overrides) or 'as shipped'}."
    tables = [
        score_table(outcomes, work.splits, options.controls),
        dense_table(outcomes, work.splits),
        seconds_table(outcomes),
    ]
    tables += [] if work.beside is None else [work.beside(outcomes)]
    title = f"Frontier, {work.title} with {options.rows or work.num_rows} rows, {options.model.name}"
    result = section(title, facts, ["  \n".join([common, *settings, *failures]), *tables])
    print("", result, sep="\n")
    if options.record:
        record(result)
    if failures:
        raise SystemExit(f"{len(failures)} of {len(jobs)} runs failed")


def run_all(
    jobs: Sequence[Job], document: Mapping[str, Any], runs_dir: Path, overrides: Sequence[str]
) -> tuple[list[Outcome], list[str]]:
    """Bring every run up to date and return what they came to, and why those failed that did."""
    outcomes: list[Outcome] = []
    failures: list[str] = []
    for job in jobs:
        try:
            outcomes.append(run_job(job, document, runs_dir, overrides))
            print(progress_line(outcomes[-1]), flush=True)
        except CompressionError as error:
            failures.append(f"{job.name} failed: {error}")
            print(failures[-1], flush=True)
    return outcomes, failures


if __name__ == "__main__":
    main()
