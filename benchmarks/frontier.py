"""Accuracy against sparsity on the SST-2 work: every point, every seed, every ablation; run again, it goes on.

    python benchmarks/frontier.py --data DIR --model DIR [--points 86 93] [--seeds 42 43 44] [--record]
    python benchmarks/frontier.py --data DIR --model DIR --rows 5000 --points 86 \\
        --ablation "nni-form=stages.prune_ffn.form=nni" --ablation "hot=stages.*.learning_rate=1e-4" \\
        --ablation "kwon=budget.encoder_sparsity=POINT"

Each seed is finetuned once: runs take over by hard links whatever stages another run in --runs-dir has made of the
same recipe. A budget (of POINT: what the point asks for) takes the place of the point's own split between heads and
channels. --rows takes the first rows of the training split, for ablations.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from frontier_points import NNI_RATIO, find_point, folder_sizes, points_table
from frontier_runs import SHIPPED, Ablation, all_jobs, run_job
from frontier_tables import dense_table, progress_line, score_table, seconds_table
from machine import machine_facts, record, section
from sst2_work import add_work_arguments, sst2_recipe

from pipeline.reporting.layout import markdown_table

POINTS = (50, 67, 86, 90, 93, 95)
SEEDS = (42, 43, 44)
SPLITS = ("heldout", "validation")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_work_arguments(parser)
    parser.add_argument("--runs-dir", type=Path, help="default: runs/frontier, with the number of --rows")
    parser.add_argument("--points", type=float, nargs="+", default=POINTS, help="encoder sparsities in per cent")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--rows", type=int, help="only the first rows of the training split")
    parser.add_argument("--ratio", type=float, default=NNI_RATIO, help="share of channels kept over share of heads")
    parser.add_argument("--heads", type=int, help="heads that stay at every point, whatever the ratio")
    parser.add_argument("--ablation", type=Ablation.parse, action="append", default=[], metavar="NAME=OVERRIDES")
    parser.add_argument("--without-shipped", action="store_true", help="run the ablations alone")
    parser.add_argument("--list", action="store_true", help="print the points and the runs, and run nothing")
    options = parser.parse_args(arguments)
    if len({ablation.name for ablation in options.ablation}) < len(options.ablation):
        parser.error("--ablation: each must have a name of its own")
    if options.without_shipped and not options.ablation:
        parser.error("--without-shipped: must come with an --ablation, for else there is nothing to run")
    return options


def work(options: argparse.Namespace) -> dict[str, Any]:
    """Return the work's recipe, on as many rows as were asked for."""
    document = sst2_recipe(options.data, options.model)
    if options.rows is not None:
        document["task"]["train_rows"] = options.rows
    return document


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing, print the tables, and record them if asked."""
    options = parse(arguments)
    sizes = folder_sizes(options.model)
    points = [find_point(sizes, percent, ratio=options.ratio, heads=options.heads) for percent in options.points]
    ablations = options.ablation if options.without_shipped else [Ablation(SHIPPED), *options.ablation]
    jobs = list(all_jobs(ablations, points, options.seeds))
    asked = markdown_table(["asked", "exact", "heads kept", "channels kept"], points_table(points))
    print(asked, "", f"{len(jobs)} runs: {', '.join(job.name for job in jobs)}", sep="\n", flush=True)
    if options.list:
        return
    rows = "20k" if options.rows is None else str(options.rows)
    runs_dir = options.runs_dir or Path("runs") / f"frontier-{rows}"
    document, outcomes = work(options), []
    for job in jobs:
        outcomes.append(run_job(job, document, runs_dir, options.overrides))
        print(progress_line(outcomes[-1]), flush=True)
    facts = machine_facts(seed=options.seeds[0]) | {"seed": ", ".join(map(str, options.seeds))}
    settings = [f"`{each.name}`: {shlex.join(each.overrides)}" for each in options.ablation]
    common = f"Settings of all runs: {shlex.join(options.overrides) or 'as shipped'}."
    tables = [score_table(outcomes, SPLITS), dense_table(outcomes, SPLITS), seconds_table(outcomes)]
    result = section(
        f"Frontier, SST-2 with {rows} rows, {options.model.name}", facts, ["  \n".join([common, *settings]), *tables]
    )
    print("", result, sep="\n")
    if options.record:
        record(result)


if __name__ == "__main__":
    main()
