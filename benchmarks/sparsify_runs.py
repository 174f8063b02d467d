"""The SST-2 work with zeros: its named settings, a run for each of them and each seed, and what these came to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from pipeline import load_recipe
from pipeline.artifacts.run import Run
from pipeline.recipe import Recipe
from pipeline.reporting.layout import format_number, markdown_table
from stages import STAGES

RECIPE = "minilm-sst2-sparse"
STAGE = "sparsify"
SPLITS = ("heldout", "validation")
SETTINGS: Mapping[str, tuple[str, ...]] = {
    "4x1-80": (),
    "4x1-90": ("sparsity=0.9",),
    "2of4-50": ('pattern="2:4"', "sparsity=0.5"),
    "1x1-90": ("pattern=1x1", "sparsity=0.9"),
    "4x1-80-magnitude": ("criterion=magnitude",),
    "4x1-80-snip": ("criterion=snip",),
    "4x1-80-no-distill": ("distill=null",),
    "dense-as-long": ("enabled=false",),
}
"""What each changes in the stage of the shipped recipe."""
DEFAULT = tuple(name for name in SETTINGS if name != "dense-as-long")


@dataclass(frozen=True)
class Job:
    """One run: named settings and a seed."""

    settings: str
    seed: int

    @property
    def name(self) -> str:
        """The run's name: the same for the same job, so that a second call goes on where the first one stopped."""
        return f"sparse-{self.settings}-s{self.seed}"

    def recipe(self, document: Mapping[str, Any], overrides: Sequence[str] = ()) -> Recipe:
        """Return the recipe of the run; ``overrides`` hold for all runs, and the job's own settings win over them."""
        own = [f"stages.{STAGE}.{change}" for change in SETTINGS[self.settings]]
        named = {**document, "name": self.name, "seed": self.seed}
        return load_recipe(named, stages=STAGES, overrides=[*overrides, *own])


@dataclass(frozen=True)
class Outcome:
    """What one run came to: scores by split in [0, 1], wall seconds by stage, shares of zeros, and the gzip ratio."""

    job: Job
    dense: Mapping[str, float]
    scores: Mapping[str, float]
    zeros: float
    zeros_everywhere: float
    gzip_ratio: float
    seconds: Mapping[str, float]

    @classmethod
    def of(cls, job: Job, run: Run, metric: str) -> Outcome:
        """Return the numbers of a finished run, from its manifests; the first stage's model is the dense one."""
        artifacts = [run[name] for name in run.stages]
        first, last = artifacts[0].metrics, run[STAGE].metrics
        return cls(
            job=job,
            dense={split: first[f"{split}/{metric}"] for split in SPLITS},
            scores={split: last[f"{split}/{metric}"] for split in SPLITS},
            zeros=last["weight_sparsity"],
            zeros_everywhere=last["matmul_sparsity"],
            gzip_ratio=last["gzip_ratio"],
            seconds={artifact.name: artifact.manifest.seconds for artifact in artifacts},
        )


def all_jobs(settings: Sequence[str], seeds: Sequence[int]) -> Iterator[Job]:
    """Yield every job, one seed after the other: a run cut short leaves whole seeds that can be compared."""
    for seed in seeds:
        yield from (Job(name, seed) for name in settings)


def score_cells(own: Sequence[float], dense: Sequence[float]) -> list[str]:
    """Return mean and best over seeds in per cent, then what each loses of the dense models' mean and best.

    ``own`` and ``dense`` are scores in [0, 1], a seed at the same place; a loss is a share of the dense score.
    """
    pairs = [(fmean(own), fmean(dense)), (max(own), max(dense))]
    scores = [f"{100 * score:.2f}" for score, _ in pairs]
    return [*scores, *(f"{(reference - score) / reference:.2%}" for score, reference in pairs)]


def score_headers(splits: Sequence[str]) -> list[str]:
    """Return the headers above ``score_cells`` of each split."""
    return [f"{split}: {what}" for split in splits for what in ("mean", "best", "mean loses", "best loses")]


def score_table(outcomes: Sequence[Outcome]) -> str:
    """Return a row for each setting: scores against those of the dense models of the same seeds."""
    rows = []
    for group in by_settings(outcomes):
        cells = [group[0].job.settings, str(len(group))]
        for split in SPLITS:
            cells += score_cells([each.scores[split] for each in group], [each.dense[split] for each in group])
        rows.append(cells)
    return markdown_table(["settings", "seeds", *score_headers(SPLITS)], rows)


def size_table(outcomes: Sequence[Outcome]) -> str:
    """Return a row for each setting, means over seeds: zeros, gzip ratio, and where the wall seconds went."""
    stages = list(dict.fromkeys(name for each in outcomes for name in each.seconds))
    headers = ["settings", "zeros of weights touched", "of all matmul weights", "gzip ratio"]
    rows = []
    for group in by_settings(outcomes):
        seconds = [fmean(each.seconds[name] for each in group) for name in stages]
        rows.append(
            [
                group[0].job.settings,
                f"{fmean(each.zeros for each in group):.2%}",
                f"{fmean(each.zeros_everywhere for each in group):.2%}",
                format_number(fmean(each.gzip_ratio for each in group)),
                *(f"{value:.0f}" for value in seconds),
            ]
        )
    return markdown_table([*headers, *(f"{name}, s" for name in stages)], rows)


def dense_table(outcomes: Sequence[Outcome]) -> str:
    """Return the dense models' scores, a row for each seed."""
    rows = {(str(each.job.seed), *(f"{each.dense[split]:.2%}" for split in SPLITS)): None for each in outcomes}
    return markdown_table(["dense, seed", *SPLITS], list(rows))


def by_settings(outcomes: Sequence[Outcome]) -> list[list[Outcome]]:
    """Return the outcomes in groups that differ in nothing but the seed, in the order of their first."""
    groups: dict[str, list[Outcome]] = {}
    for each in outcomes:
        groups.setdefault(each.job.settings, []).append(each)
    return list(groups.values())


def progress_line(outcome: Outcome) -> str:
    """Return one run in one line."""
    told = ", ".join(f"{split} {outcome.scores[split]:.2%} (dense {outcome.dense[split]:.2%})" for split in SPLITS)
    total = sum(outcome.seconds.values())
    return f"{outcome.job.name}: {told}, {outcome.zeros:.2%} zeros, gzip {outcome.gzip_ratio:.2f}, {total:.0f} s"
