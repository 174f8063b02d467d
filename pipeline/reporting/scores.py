"""Which numbers of a model are scores, and of which split and metric; both may have a slash in their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.artifacts.run import Artifact

BEFORE_CUT = "before_cut/"


def split_scores(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the metrics that are scores of validation splits, ``{"validation/accuracy": …}``."""
    return {name: value for name, value in metrics.items() if "/" in name and not name.startswith(BEFORE_CUT)}


def split_and_metric(name: str, splits: Sequence[str]) -> tuple[str, str]:
    """Return the split and the metric that a score is named by, ``splits`` being those of the task.

    Of splits that it may be of, the longest; of a split that is not known, what stands before the first slash.
    """
    before = max((split for split in splits if name.startswith(f"{split}/")), key=len, default=name.partition("/")[0])
    return before, name[len(before) + 1 :]


def splits_of(artifact: Artifact) -> Sequence[str]:
    """Return the validation splits of the task that the artifact was made for."""
    splits: Sequence[str] = artifact.manifest.document.get("task", {}).get("validation", ())
    return splits


def spoken(name: str, splits: Sequence[str]) -> str:
    """Return a score's name as people say it: ``validation accuracy``."""
    return " ".join(split_and_metric(name, splits))
