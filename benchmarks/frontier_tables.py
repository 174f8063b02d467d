"""What the runs of a frontier came to: means and spreads over seeds, drops against dense, and where the time went."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from math import isnan
from statistics import fmean, stdev

from frontier_chance import Chance
from frontier_points import Point
from frontier_runs import SHIPPED, Outcome

from pipeline.reporting.layout import MISSING, markdown_table

Row = tuple[str, ...]


def score_table(outcomes: Sequence[Outcome], splits: Sequence[str], controls: Collection[str] = ()) -> str:
    """Return a row per ablation and point: scores in per cent, and points lost against the same seed's dense model.

    Where shipped and other settings were run, also the points won over the shipped ones, on the seeds that both have;
    beside ``controls``, ablations that differ from them by chance alone, those won over all such runs, and the error.
    """
    headers = ["settings", "asked", "encoder sparsity", "heads", "channels", "seeds"]
    shipped = {(each.job.point, each.job.seed): each for each in outcomes if each.job.ablation.name == SHIPPED}
    is_compared = 0 < len(shipped) < len(outcomes)
    chance = Chance.of(outcomes, controls)
    gained = ["over chance", "error"] if controls else ["over shipped", "std"]
    for split in splits:
        headers += [f"{split} mean", "std", "drop", "std"] + gained * is_compared
    rows: list[Row] = []
    for group in by_point(outcomes):
        point = group[0].job.point
        cells = [group[0].job.ablation.name, f"{point.percent:g}%"]
        cells += [f"{fmean(each.encoder_sparsity for each in group):.2%}"]
        cells += [f"{fmean(each.units[kind] for each in group):.4g}" for kind in ("heads", "channels")]
        cells.append(str(len(group)))
        for split in splits:
            cells += spread(group, lambda each: 100 * each.scores[split])  # noqa: B023
            cells += spread(group, lambda each: 100 * (each.dense[split] - each.scores[split]))  # noqa: B023
            if is_compared:
                cells += mean_and_error(*chance.won(group, split)) if controls else won(group, shipped, split)
        rows.append(tuple(cells))
    return markdown_table(headers, rows)


def dense_table(outcomes: Sequence[Outcome], splits: Sequence[str]) -> str:
    """Return the dense models' scores, a row per seed and distinct model."""
    rows = {(str(each.job.seed), *(f"{each.dense[split]:.2%}" for split in splits)): None for each in outcomes}
    return markdown_table(["dense, seed", *splits], list(rows))


def seconds_table(outcomes: Sequence[Outcome]) -> str:
    """Return the mean wall seconds of every stage; a stage taken over from another run counts as long as it took."""
    stages = list(dict.fromkeys(name for each in outcomes for name in each.seconds))
    rows: list[Row] = []
    for group in by_point(outcomes):
        means = [fmean(each.seconds.get(name, 0.0) for each in group) for name in stages]
        title = (group[0].job.ablation.name, f"{group[0].job.point.percent:g}%")
        rows.append((*title, *(f"{mean:.0f}" for mean in means), f"{sum(means):.0f}"))
    return markdown_table(["settings", "asked", *(f"{name}, s" for name in stages), "all, s"], rows)


def by_point(outcomes: Sequence[Outcome]) -> list[list[Outcome]]:
    """Return the outcomes in groups that differ in nothing but the seed, in the order of their first."""
    groups: dict[tuple[str, float], list[Outcome]] = {}
    for each in outcomes:
        groups.setdefault((each.job.ablation.name, each.job.point.percent), []).append(each)
    return list(groups.values())


def won(group: Sequence[Outcome], shipped: Mapping[tuple[Point, int], Outcome], split: str) -> list[str]:
    """Return mean and deviation of the points won over the shipped runs of the same point and seeds."""
    pairs = [(each, shipped[key]) for each in group if (key := (each.job.point, each.job.seed)) in shipped]
    gains = [100 * (each.scores[split] - other.scores[split]) for each, other in pairs if each is not other]
    return mean_and_deviation(gains, signed=True)


def spread(group: Sequence[Outcome], value: Callable[[Outcome], float]) -> list[str]:
    """Return mean and deviation of a value over the outcomes."""
    return mean_and_deviation([value(each) for each in group])


def mean_and_deviation(values: Sequence[float], *, signed: bool = False) -> list[str]:
    """Return mean and sample standard deviation, with two decimals; one value has no deviation, none no mean."""
    mean = format(fmean(values), "+.2f" if signed else ".2f") if values else MISSING
    return [mean, f"{stdev(values):.2f}" if len(values) > 1 else MISSING]


def mean_and_error(mean: float, error: float) -> list[str]:
    """Return a difference with its sign, and its standard error, with two decimals; what is not known as such."""
    return [MISSING if isnan(mean) else f"{mean:+.2f}", MISSING if isnan(error) else f"{error:.2f}"]


def progress_line(outcome: Outcome) -> str:
    """Return one run in one line."""
    scores: Mapping[str, float] = outcome.scores
    told = ", ".join(f"{split} {scores[split]:.2%} (dense {outcome.dense[split]:.2%})" for split in scores)
    total = sum(outcome.seconds.values())
    return f"{outcome.job.name}: {told}, {outcome.encoder_sparsity:.2%} encoder sparsity, {total:.0f} s"
