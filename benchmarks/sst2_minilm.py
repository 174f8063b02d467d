"""Run the SST-2-20k work through the pipeline and print its table per stage; run again, it goes on where it stopped.

python benchmarks/sst2_minilm.py --data DIR --model DIR [--recipe NAME] [--runs-dir runs] [--set PATH=VALUE] [--record]
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

from machine import machine_facts, record, section
from sst2_work import RECIPES, add_work_arguments, sst2_recipe

from pipeline import load_recipe, run
from pipeline.reporting.report import Report
from stages import STAGES


def main(arguments: Sequence[str] | None = None) -> None:
    """Run, report, and record if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_work_arguments(parser)
    parser.add_argument("--recipe", choices=RECIPES, default=RECIPES[0], help="the shipped recipe to run")
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"))
    options = parser.parse_args(arguments)
    document = sst2_recipe(options.data, options.model, extends=options.recipe)
    recipe = load_recipe(document, stages=STAGES, overrides=options.overrides)
    finished = run(recipe, runs_dir=options.runs_dir)
    report = Report.from_run(finished)
    changes = f"Settings: {shlex.join(options.overrides)}." if options.overrides else "Settings: as shipped."
    total = f"All stages: {sum(row.seconds for row in report.rows):.0f} s."
    parts = [changes, total]
    for title, text in report.sections():
        parts += [f"### {title}", text] if title else [text]
    result = section(f"SST-2-20k work, {options.recipe}, {options.model.name}", machine_facts(seed=recipe.seed), parts)
    print(report.table(), "", result, sep="\n")
    if options.record:
        record(result)


if __name__ == "__main__":
    main()
