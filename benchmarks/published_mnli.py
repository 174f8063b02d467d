"""What others have published for BERT-base on MNLI, beside what a frontier came to: drop against drop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from frontier_runs import Outcome
from frontier_tables import by_point

from pipeline.reporting.layout import MISSING, markdown_table

SPLIT = "validation_matched"
DENSE = (84.73, 84.63)
"""BERT-base, matched and mismatched, in per cent."""


@dataclass(frozen=True)
class Published:
    """A published series: ``(encoder sparsity, matched, mismatched)`` in per cent, None where it is not told."""

    source: str
    points: tuple[tuple[float, float, float | None], ...]


SERIES = (
    Published(
        "NNI, tutorial on pruning BERT for GLUE, first table",
        ((51.39, 84.25, 84.96), (66.67, 83.98, 83.75), (77.78, 83.02, 83.06), (89.81, 81.24, 80.99)),
    ),
    Published(
        "NNI 2.9, the same tutorial",
        (
            (36.4, 85.38, 85.41),
            (56.4, 84.73, 85.12),
            (71.7, 84.14, 84.78),
            (83.2, 83.26, 82.96),
            (88.4, 82.22, 82.19),
            (89.7, 81.64, 82.39),
        ),
    ),
    Published(
        "nn_pruning (Lagunas et al. 2021)",
        ((65.0, 83.71, None), (74.0, 83.05, None), (81.0, 82.69, None), (87.0, 81.03, None)),
    ),
    Published("CoFi (Xia et al. 2022)", ((60.2, 85.3, None), (94.3, 80.6, None))),
)
NOTE = (
    "Published: BERT-base on all 392,702 pairs of MNLI, each drop from the dense model of NNI's table, "
    f"{DENSE[0]} / {DENSE[1]}. Ours: another model on fewer pairs, so that drops compare and accuracies do not."
)


def published_table(outcomes: Sequence[Outcome]) -> str:
    """Return our points and the published ones by sparsity: dense, sparse, and the points lost."""
    headers = ["encoder sparsity", "of", "dense, matched", "sparse", "drop", "dense, mismatched", "sparse", "drop"]
    rows = sorted([*_own(outcomes), *_published()], key=lambda row: row[0])
    table = markdown_table(headers, [(f"{sparsity:.2f}%", *cells) for sparsity, cells in rows])
    return f"### Beside what is published\n\n{NOTE}\n\n{table}"


def _own(outcomes: Sequence[Outcome]) -> list[tuple[float, tuple[str, ...]]]:
    """Return a row for each ablation and point, the mean over its seeds."""
    rows = []
    for group in by_point(outcomes):
        dense, sparse = (fmean(100 * scores[SPLIT] for scores in of) for of in _scores(group))
        name = f"**ours, {group[0].job.ablation.name}, seeds: {len(group)}**"
        sparsity = fmean(100 * each.encoder_sparsity for each in group)
        rows.append((sparsity, (name, *_drop(dense, sparse), *_drop(dense))))
    return rows


def _scores(group: Sequence[Outcome]) -> tuple[list[Mapping[str, float]], list[Mapping[str, float]]]:
    return [each.dense for each in group], [each.scores for each in group]


def _published() -> list[tuple[float, tuple[str, ...]]]:
    return [
        (sparsity, (series.source, *_drop(DENSE[0], matched), *_drop(DENSE[1], mismatched)))
        for series in SERIES
        for sparsity, matched, mismatched in series.points
    ]


def _drop(dense: float, sparse: float | None = None) -> tuple[str, str, str]:
    if sparse is None:
        return MISSING, MISSING, MISSING
    return f"{dense:.2f}", f"{sparse:.2f}", f"{dense - sparse:.2f}"
