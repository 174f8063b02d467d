"""Weights rewound after a cut, against weights that go on from it, on the runs that a frontier has finished.

    python benchmarks/rewinding.py RUN [RUN …] [--record]

Each RUN is a folder of frontier.py's, of the stages finetune, prune_heads, recover_heads, prune_ffn and recover_ffn.
Rewound (Renda et al. 2020, "Comparing Rewinding and Fine-tuning in Neural Network Pruning"): the units that a stage
kept, with the weights that they had in an earlier model, are what the later stages begin with. These are run anew with
their settings, seed and teacher, in REWINDING-RUN folders beside the run; run again, it goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from machine import machine_facts, record, section
from ruamel.yaml import YAML

from pipeline import load_recipe
from pipeline.artifacts.run import Run
from pipeline.models import load_model, register_models, save_model
from pipeline.recipe import Recipe
from pipeline.reporting.layout import markdown_table
from pipeline.runner import build_plan, execute
from pipeline.surgery.condense import condense
from pipeline.surgery.keep_plan import KeepPlan
from pipeline.tasks import build_task
from stages import STAGES


@dataclass(frozen=True)
class Rewinding:
    """After stage ``cut`` its units take the weights of stage ``weights``, and the stages after it are run anew."""

    name: str
    cut: str
    weights: str

    def plan(self, run: Run) -> KeepPlan:
        """Return what of the model whose weights are taken is left after the cut."""
        of_cut, of_weights = run[self.cut].total_keep_plan, run[self.weights].total_keep_plan
        assert of_cut is not None, f"{self.cut} cuts"
        return of_cut if of_weights is None else of_cut.after(of_weights)


REWINDINGS = (
    Rewinding("heads-to-finetune", "prune_heads", "finetune"),
    Rewinding("ffn-to-recover-heads", "prune_ffn", "recover_heads"),
    Rewinding("ffn-to-finetune", "prune_ffn", "finetune"),
)


def rewound_model(run: Run, rewinding: Rewinding, folder: Path) -> Path:
    """Write the model that the later stages begin with, and what it needs to be read, into ``folder``."""
    if not folder.exists():
        recipe = recipe_of(run)
        task = build_task(recipe.task, model=recipe.model, processor_dir=None, seed=recipe.seed)
        dense = load_model(run[rewinding.weights].path / "model", task.auto_model)
        unfinished = folder.with_suffix(".unfinished")
        save_model(condense(dense, rewinding.plan(run), consume=True), unfinished)
        task.save_processor(unfinished)
        unfinished.rename(folder)
    return folder


def recipe_of(run: Run) -> Recipe:
    """Return the recipe that the run was made of."""
    return load_recipe(run.path / "recipe.yaml", stages=STAGES)


def rewound_recipe(run: Run, rewinding: Rewinding, model: Path) -> Recipe:
    """Return the stages after the cut as a recipe of their own, which begins with ``model``."""
    document: dict[str, Any] = YAML(typ="safe").load(run.path / "recipe.yaml")
    names = [stage["name"] for stage in document["stages"]]
    stages = document["stages"][names.index(rewinding.cut) + 1 :]
    teacher = str(run[names[0]].path / "model")
    return load_recipe(
        document
        | {
            "name": f"{rewinding.name}-{run.path.name}",
            "model": {"pretrained": str(model)},
            "stages": [{**stage, "teacher": stage["teacher"] or teacher} for stage in stages],
        },
        stages=STAGES,
    )


def scores(run: Run, splits: Sequence[str]) -> dict[str, float]:
    """Return the last stage's scores by split, in per cent."""
    metrics, metric = run[run.stages[-1]].metrics, recipe_of(run).task.metric[0]
    return {split: 100.0 * metrics[f"{split}/{metric}"] for split in splits}


def compare(runs: Sequence[Run]) -> str:
    """Run what is missing and return the table: every rewinding beside the runs as they went on."""
    splits = list(recipe_of(runs[0]).task.validation)
    found: dict[str, list[Mapping[str, float]]] = {"not rewound": [scores(run, splits) for run in runs]}
    for rewinding in REWINDINGS:
        for run in runs:
            model = rewound_model(run, rewinding, run.path.parent / f".{rewinding.name}-{run.path.name}")
            recipe = rewound_recipe(run, rewinding, model)
            ended = execute(build_plan(recipe, run.path.parent / recipe.name, STAGES))
            found.setdefault(rewinding.name, []).append(scores(ended, splits))
            print(recipe.name, found[rewinding.name][-1], flush=True)
    rows = []
    for name, each in found.items():
        cells = [" ".join(f"{score[split]:.2f}" for score in each) for split in splits]
        means = [mean(score[split] for score in each) for split in splits]
        against = [mean(score[split] for score in found["not rewound"]) for split in splits]
        changes = [f"{ours - theirs:+.2f}" for ours, theirs in zip(means, against, strict=True)]
        rows.append((name, *cells, *[f"{value:.2f} ({change})" for value, change in zip(means, changes, strict=True)]))
    return markdown_table(["weights", *splits, *(f"mean of {split}" for split in splits)], rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, and record it if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    parser.add_argument("--record", action="store_true", help="put the tables into RESULTS.md")
    options = parser.parse_args(arguments)
    register_models()
    runs = [Run.open(path) for path in options.runs]
    recipes = [recipe_of(run) for run in runs]
    table = compare(runs)
    facts = machine_facts(seed=recipes[0].seed) | {"seed": ", ".join(str(recipe.seed) for recipe in recipes)}
    told = f"Stages: {', '.join(runs[0].stages)}. Runs: {', '.join(run.path.name for run in runs)}."
    result = section(f"Rewinding, {recipes[0].name.rpartition('-s')[0]}", facts, [told, table])
    print("", result, sep="\n")
    if options.record:
        record(result)


if __name__ == "__main__":
    main()
