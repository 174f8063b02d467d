"""The runs behind a frontier: one per ablation, point and seed, each with its own folder and finetuning in common."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frontier_points import Point

from pipeline import load_recipe
from pipeline.artifacts.run import Run
from pipeline.errors import RecipeError
from pipeline.recipe import Recipe
from pipeline.reporting.units import units_kept
from pipeline.runner import build_plan, execute
from pipeline.sweeps.sharing import share_stages
from stages import STAGES

SHIPPED = "shipped"
AT_POINT = "=POINT"


@dataclass(frozen=True)
class Ablation:
    """A named change of settings; ``shipped`` changes none."""

    name: str
    overrides: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Ablation:
        """Return the ablation in ``NAME=PATH=VALUE PATH=VALUE …``."""
        name, _, rest = text.partition("=")
        try:
            return checked_ablation(name, shlex.split(rest))
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None


def checked_ablation(name: str, overrides: Sequence[str]) -> Ablation:
    """Return the ablation; raises ``ValueError`` for a name that cannot be a folder's, or what is no setting."""
    is_name = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name) and name != SHIPPED
    if not is_name or not overrides or any("=" not in override for override in overrides):
        told = f"must be NAME=PATH=VALUE …, NAME of letters and digits and not {SHIPPED}"
        raise ValueError(f"{told}, got {name!r} and {shlex.join(overrides)!r}")
    return Ablation(name, tuple(overrides))


@dataclass(frozen=True)
class Job:
    """One run: settings of the point first, then those of the ablation, so that an ablation may change any."""

    ablation: Ablation
    point: Point
    seed: int
    prefix: str = ""

    @property
    def name(self) -> str:
        """The run's name: the same for the same job, so that a second call goes on where the first one stopped."""
        return f"{self.prefix}{self.ablation.name}-p{self.point.percent:g}-s{self.seed}"

    def recipe(self, document: Mapping[str, Any], overrides: Sequence[str] = ()) -> Recipe:
        """Return the recipe of the run; ``overrides`` hold for all runs.

        Where they or the ablation's set a budget, it takes the place of the point's numbers of heads and channels; in
        ``budget.encoder_sparsity=POINT`` it is that of each point.
        """
        share = f"={self.point.percent / 100:g}"
        changes = [text.replace(AT_POINT, share) for text in (*overrides, *self.ablation.overrides)]
        has_budget = any(re.match(r"budget\b", text) for text in changes)
        own = [*self.point.overrides(with_budget=has_budget), *changes]
        return load_recipe({**document, "name": self.name, "seed": self.seed}, stages=STAGES, overrides=own)


@dataclass(frozen=True)
class Outcome:
    """What one run came to: scores by split in [0, 1], wall seconds by stage, and the units left by kind."""

    job: Job
    dense: Mapping[str, float]
    scores: Mapping[str, float]
    encoder_sparsity: float
    seconds: Mapping[str, float]
    units: Mapping[str, int]

    @classmethod
    def of(cls, job: Job, run: Run, metric: str) -> Outcome:
        """Return the numbers of a finished run, from its manifests; the first stage's model is the dense one."""
        artifacts = [run[name] for name in run.stages]
        first, last = artifacts[0].metrics, artifacts[-1].metrics
        splits = [name.rpartition("/")[0] for name in last if name.endswith(f"/{metric}") and name.count("/") == 1]
        return cls(
            job=job,
            dense={split: first[f"{split}/{metric}"] for split in splits},
            scores={split: last[f"{split}/{metric}"] for split in splits},
            encoder_sparsity=last["encoder_sparsity"],
            seconds={artifact.name: artifact.manifest.seconds for artifact in artifacts},
            units={
                kind: sum(counts)
                for kind, counts in units_kept([each.total_keep_plan for each in artifacts])[-1].items()
            },
        )


def all_jobs(
    ablations: Sequence[Ablation], points: Sequence[Point], seeds: Sequence[int], prefix: str = ""
) -> Iterator[Job]:
    """Yield every job, one seed after the other: a run cut short leaves whole seeds that can be compared."""
    for seed in seeds:
        for ablation in ablations:
            for point in points:
                yield Job(ablation, point, seed, prefix)


def check_jobs(jobs: Sequence[Job], document: Mapping[str, Any], overrides: Sequence[str] = ()) -> None:
    """Leave with the run's name and all its mistakes where its settings are none that a recipe takes."""
    for job in jobs:
        try:
            job.recipe(document, overrides)
        except RecipeError as error:
            raise SystemExit(f"{job.name}: {error}") from None


def is_finished(job: Job, document: Mapping[str, Any], runs_dir: Path, overrides: Sequence[str] = ()) -> bool:
    """Say whether the job's run has come to its end, with these settings and this data."""
    recipe = job.recipe(document, overrides)
    return build_plan(recipe, runs_dir / recipe.name, STAGES).is_fresh


def run_job(job: Job, document: Mapping[str, Any], runs_dir: Path, overrides: Sequence[str] = ()) -> Outcome:
    """Bring the job's run up to date and return its numbers."""
    recipe = job.recipe(document, overrides)
    return Outcome.of(job, run_sharing(recipe, runs_dir), recipe.task.metric[0])


def run_sharing(recipe: Recipe, runs_dir: Path) -> Run:
    """Bring the recipe's run below ``runs_dir``, called by the recipe's name, up to date and return it.

    A leading stage that another run there has made of the same is taken over by hard links, with the seconds it took
    there: so each seed is finetuned once, and heads are pruned once for all ablations of the FFN.
    """
    target = runs_dir / recipe.name
    others = sorted(path for path in runs_dir.glob("*/") if path.name != recipe.name)
    plan = build_plan(recipe, target, STAGES)
    if not plan.is_fresh and share_stages(plan.inspector, others):
        plan = build_plan(recipe, target, STAGES)
    return execute(plan)
