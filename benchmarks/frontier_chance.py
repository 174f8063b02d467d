"""How far runs of equal settings differ, and so what a difference between two settings is worth."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import nan, sqrt
from statistics import fmean

from frontier_runs import SHIPPED, Outcome


@dataclass(frozen=True)
class Chance:
    """Runs that nothing but chance tells apart: the shipped ones, and those of ablations that change no more."""

    runs: tuple[Outcome, ...]

    @classmethod
    def of(cls, outcomes: Sequence[Outcome], controls: Collection[str]) -> Chance:
        """Return the shipped runs among ``outcomes``, with those of the ablations called as ``controls`` say."""
        names = {SHIPPED, *controls}
        return cls(tuple(each for each in outcomes if each.job.ablation.name in names))

    def won(self, group: Sequence[Outcome], split: str) -> tuple[float, float]:
        """Return the points won over the mean run of the same point and seed, the mean over seeds, and its error.

        ``group`` differs in the seed alone; where it is one of chance, it is set against the others. One standard
        error, from the variance of the runs within their seeds, of as many degrees of freedom as there are runs
        without the seeds. Both are ``nan`` without a seed in common, the error also where no seed has two runs.
        """
        pairs = [(each, others) for each in group if (others := self._beside(each))]
        if not pairs:
            return nan, nan
        gains = [100 * (each.scores[split] - fmean(other.scores[split] for other in others)) for each, others in pairs]
        variances = [1 + 1 / len(others) for _, others in pairs]
        return fmean(gains), self._deviation(group[0], split) * sqrt(sum(variances)) / len(pairs)

    def _beside(self, outcome: Outcome) -> list[Outcome]:
        job = outcome.job
        return [
            each
            for each in self.runs
            if (each.job.point, each.job.seed) == (job.point, job.seed) and each.job.ablation != job.ablation
        ]

    def _deviation(self, outcome: Outcome, split: str) -> float:
        """Return the standard deviation of a run's score, in points, at the point of ``outcome``."""
        by_seed: dict[int, list[float]] = {}
        for each in self.runs:
            if each.job.point == outcome.job.point:
                by_seed.setdefault(each.job.seed, []).append(100 * each.scores[split])
        squares = sum((score - fmean(scores)) ** 2 for scores in by_seed.values() for score in scores)
        freedom = sum(len(scores) - 1 for scores in by_seed.values())
        return sqrt(squares / freedom) if freedom else nan
