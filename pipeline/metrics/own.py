"""Our metrics as ``evaluate.Metric`` classes: no network, no cache, and 0 where the formula divides by nothing."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import datasets
import evaluate
import numpy as np


class OfflineMetric(evaluate.Metric):  # type: ignore[misc]
    """A metric of one number that writes nothing to the disk, not even an empty folder."""

    description: ClassVar[str]
    value_type: ClassVar[str] = "int64"

    def _info(self) -> evaluate.MetricInfo:
        value = datasets.Value(self.value_type)
        return evaluate.MetricInfo(
            description=self.description,
            citation="",
            inputs_description="",
            features=datasets.Features({"predictions": value, "references": value}),
        )

    def _build_data_dir(self) -> str:
        # The library makes a folder in the home here, which need not be writable and is not used in memory.
        return ""


class Accuracy(OfflineMetric):
    """The share of rows predicted right."""

    description = "Share of predictions that equal their reference."

    def _compute(
        self, predictions: Sequence[int], references: Sequence[int], num_classes: int | None = None
    ) -> dict[str, float]:
        return {"accuracy": float(np.mean(np.asarray(predictions) == np.asarray(references)))}


class F1(OfflineMetric):
    """F1 of class 1 where there are two classes, else the plain mean over the classes that occur."""

    description = "Harmonic mean of precision and recall: of class 1 for two classes, macro-averaged for more."

    def _compute(
        self, predictions: Sequence[int], references: Sequence[int], num_classes: int | None = None
    ) -> dict[str, float]:
        from sklearn.metrics import f1_score

        occurring = set(predictions) | set(references)
        is_binary = num_classes == 2 if num_classes is not None else occurring <= {0, 1}
        average = "binary" if is_binary else "macro"
        return {"f1": float(f1_score(references, predictions, average=average, zero_division=0))}


class Matthews(OfflineMetric):
    """Matthews' correlation of predicted and true classes; 0 where either is constant."""

    description = "Matthews correlation coefficient, from -1 to 1."

    def _compute(
        self, predictions: Sequence[int], references: Sequence[int], num_classes: int | None = None
    ) -> dict[str, float]:
        from sklearn.metrics import matthews_corrcoef

        if min(len(set(predictions)), len(set(references))) < 2:
            return {"matthews": 0.0}
        return {"matthews": float(matthews_corrcoef(references, predictions))}


class Pearson(OfflineMetric):
    """Pearson's correlation of predicted and true values; 0 where either is constant or not a number."""

    description = "Pearson correlation coefficient, from -1 to 1."
    value_type = "float64"

    def _compute(
        self, predictions: Sequence[float], references: Sequence[float], num_classes: int | None = None
    ) -> dict[str, float]:
        from scipy.stats import pearsonr

        return {"pearson": _correlation(pearsonr, predictions, references)}


class Spearman(OfflineMetric):
    """Spearman's rank correlation of predicted and true values; 0 where either is constant or not a number."""

    description = "Spearman rank correlation coefficient, from -1 to 1."
    value_type = "float64"

    def _compute(
        self, predictions: Sequence[float], references: Sequence[float], num_classes: int | None = None
    ) -> dict[str, float]:
        from scipy.stats import spearmanr

        return {"spearman": _correlation(spearmanr, predictions, references)}


def _correlation(measure: Callable[..., Any], predictions: Sequence[float], references: Sequence[float]) -> float:
    first, second = np.asarray(predictions, dtype=np.float64), np.asarray(references, dtype=np.float64)
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        return 0.0
    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    with warnings.catch_warnings():
        # scipy warns of nearly constant input; the number it returns is still the best there is.
        warnings.simplefilter("ignore")
        value = float(measure(first, second).statistic)
    return value if math.isfinite(value) else 0.0


METRICS: dict[str, type[OfflineMetric]] = {
    "accuracy": Accuracy,
    "f1": F1,
    "matthews": Matthews,
    "pearson": Pearson,
    "spearman": Spearman,
}
