"""What the runs of a frontier came to: means and spreads over seeds, drops against dense, and where the time went."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, stdev

from frontier_runs import Outcome

from pipeline.reporting.layout import MISSING, markdown_table

Row = tuple[str, ...]


def score_table(outcomes: Sequence[Outcome], splits: Sequence[str]) -> str:
    """Return a row per ablation and point: scores in per cent, and points lost against the same seed's dense model."""
    headers = ["settings", "asked", "encoder sparsity", "heads", "channels", "seeds"]
    for split in splits:
        headers += [f"{split} mean", "std", "drop", "std"]
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


def spread(group: Sequence[Outcome], value: Callable[[Outcome], float]) -> list[str]:
    """Return mean and sample standard deviation, with two decimals; one seed has no deviation."""
    values = [value(each) for each in group]
    return [f"{fmean(values):.2f}", f"{stdev(values):.2f}" if len(values) > 1 else MISSING]


def progress_line(outcome: Outcome) -> str:
    """Return one run in one line."""
    scores: Mapping[str, float] = outcome.scores
    told = ", ".join(f"{split} {scores[split]:.2%} (dense {outcome.dense[split]:.2%})" for split in scores)
    total = sum(outcome.seconds.values())
    return f"{outcome.job.name}: {told}, {outcome.encoder_sparsity:.2%} encoder sparsity, {total:.0f} s"
