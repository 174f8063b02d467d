"""The dense model finetuned as long as all stages of the pipeline together: is it the training that wins, or the cut?

    python benchmarks/longer_finetuning.py --data DIR --model DIR [--work mnli] [--rows 5000] [--seeds 42 43 44]
    python benchmarks/longer_finetuning.py … --epochs 3 8 14 [--record]

The recipe's own number of epochs comes first, then the sum over its stages, or what --epochs names; the learning rate
falls to nothing over the whole of each. Runs lie beside those of frontier.py, take over what is the same, and go on
where they were stopped.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from frontier_runs import run_sharing
from frontier_works import WORKS
from machine import machine_facts, record, section
from sst2_work import add_work_arguments

from pipeline import load_recipe
from pipeline.recipe import Recipe
from pipeline.reporting.layout import markdown_table
from stages import STAGES


def finetuned(recipe: Recipe, runs_dir: Path) -> dict[str, float]:
    """Finetune, unless that is done, and return the scores by split, in per cent."""
    run = run_sharing(replace(recipe, stages=recipe.stages[:1]), runs_dir)
    metrics, metric = run[recipe.stages[0].name].metrics, recipe.task.metric[0]
    return {split: 100.0 * metrics[f"{split}/{metric}"] for split in recipe.task.validation}


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what is missing, print the table, and record it if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", choices=WORKS, default="sst2")
    add_work_arguments(parser, holds="; ".join(f"{name}: {', '.join(work.files)}" for name, work in WORKS.items()))
    parser.add_argument("--runs-dir", type=Path, help="default: that of frontier.py")
    parser.add_argument("--rows", type=int, help="only the first rows of the training split")
    parser.add_argument("--epochs", type=float, nargs="+", help="default: the recipe's, and the sum over its stages")
    parser.add_argument("--seeds", type=int, nargs="+", default=(42, 43, 44))
    options = parser.parse_args(arguments)
    work = WORKS[options.work]
    runs_dir = options.runs_dir or work.runs_dir(options.rows)
    document = work.document(options.data, options.model, runs_dir, options.rows)
    shipped = load_recipe(document, stages=STAGES, overrides=options.overrides)
    own = shipped.stages[0].config.epochs
    epochs = options.epochs or (own, sum(stage.config.epochs for stage in shipped.stages))
    rows: list[tuple[str, ...]] = []
    for count in epochs:
        found = []
        for seed in options.seeds:
            named = {**document, "name": f"dense-{count:g}-epochs-s{seed}", "seed": seed}
            changes = [*options.overrides, f"stages.{shipped.stages[0].name}.epochs={count:g}"]
            found.append(finetuned(load_recipe(named, stages=STAGES, overrides=changes), runs_dir))
            print(named["name"], found[-1], flush=True)
        cells = [" ".join(f"{scores[split]:.2f}" for scores in found) for split in work.splits]
        means = [f"{fmean(scores[split] for scores in found):.2f}" for split in work.splits]
        rows.append((f"{count:g}", *cells, *means))
    table = markdown_table(["epochs", *work.splits, *(f"mean of {split}" for split in work.splits)], rows)
    title = f"Longer finetuning, {work.title} with {options.rows or work.num_rows} rows, {options.model.name}"
    facts = machine_facts(seed=options.seeds[0]) | {"seed": ", ".join(map(str, options.seeds))}
    told = f"Settings of all runs: {shlex.join(options.overrides) or 'as shipped'}."
    result = section(title, facts, [told, table])
    print("", result, sep="\n")
    if options.record:
        record(result)


if __name__ == "__main__":
    main()
