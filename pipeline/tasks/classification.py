"""What text and image classification share: a head over labels, its logits, and their score."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pipeline.errors import DataError, RecipeError
from pipeline.metrics import OWN_METRICS, check_metrics, flatten_result, load_metric
from pipeline.tasks.labels import Labels
from pipeline.tasks.processor_files import write_files
from pipeline.tasks.task import Split

if TYPE_CHECKING:
    from evaluate import EvaluationModule

    from pipeline.recipe.sources import ModelSource, TaskSource


class Classification:
    """One class, or one regressed value, per row."""

    auto_model: str

    def __init__(
        self,
        source: TaskSource,
        *,
        labels: Labels,
        train: Split,
        select: Split | None,
        validation: Mapping[str, Split],
        processor_files: Mapping[str, bytes],
    ) -> None:
        check_metrics(source.metric, trust_remote_code=source.trust_remote_code, regression=labels.is_regression)
        self.name: str = source.type
        self.labels = labels
        self.train = train
        self.select = select
        self.validation = validation
        self._source = source
        self._processor_files = dict(processor_files)
        if not set(source.metric) <= set(OWN_METRICS):
            self._try_metrics()

    def config_fields(self) -> dict[str, Any]:
        """Return what the model's config must say: the number of labels and their names."""
        return self.labels.config_fields()

    def check_model(self, model: Any) -> None:
        """Raise ``DataError`` when the model's config does not fit the data, or it fails on two rows of it."""
        self.check_config(model.config)
        split = next(iter(self.validation.values()))
        batch = split.batch(range(min(2, len(split))))
        try:
            with torch.no_grad():
                model(**batch)
        except Exception as error:  # whatever sizes that contradict each other provoke
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise DataError(f"model: fails on two rows of the data ({reason}); mend the sizes in its config") from error

    def check_teacher(self, model: Any, source: ModelSource) -> None:
        """Raise ``DataError`` when the teacher cannot take this data."""
        self.check_model(model)

    def check_config(self, config: Any) -> None:
        """Raise ``DataError`` when the model's head has other outputs than the data has classes."""
        expected = self.config_fields()["num_labels"]
        if config.num_labels != expected:
            raise DataError(
                f"task.label: the data has {expected} classes, but the model's head has {config.num_labels} "
                "outputs; use data with the model's classes, or start from a model whose head is made new"
            )
        self.check_classes(config.id2label, config.name_or_path or "the model")

    def check_classes(self, classes: Mapping[Any, Any], whose: str, *, is_trained_further: bool = False) -> None:
        """Raise ``DataError`` when a head tells other classes, or in another order, than the data has."""
        if not self.is_regression():
            self.labels.check_classes(classes, whose, is_trained_further=is_trained_further)

    def save_processor(self, folder: Path) -> None:
        """Write the tokenizer's or image processor's files."""
        write_files(self._processor_files, folder)

    def logits(self, outputs: Any) -> tuple[Tensor, ...]:
        """Return the one tensor of logits, ``(rows, classes)``, or ``(rows, 1)`` of regressed values."""
        return (outputs.logits,)

    def is_regression(self) -> bool:
        """Say whether the logits are regressed values."""
        return self.labels.is_regression

    def predictions(self, outputs: Any, batch: Mapping[str, Tensor]) -> tuple[list[Any], list[Any]]:
        """Return the most likely class, or the value, of each row, and the labels."""
        logits = outputs.logits
        predicted = logits.squeeze(-1).to(torch.float32) if self.is_regression() else logits.argmax(dim=-1)
        return predicted.tolist(), batch["labels"].tolist()

    def score(self, predictions: list[Any], references: list[Any]) -> dict[str, float]:
        """Return every metric of the task."""
        scores: dict[str, float] = {}
        for name, metric in self._metrics.items():
            own = {"num_classes": len(self.labels.names)} if _is_own(metric) and not self.is_regression() else {}
            result = metric.compute(predictions=predictions, references=references, **own)
            scores.update(flatten_result(name, result))
        return scores

    def main_metric(self) -> str:
        """Return the recipe's first metric."""
        return str(self._source.metric[0])

    def greater_is_better(self) -> bool:
        """Say whether more of the first metric is better; it is where the recipe says nothing."""
        return self._source.greater_is_better is not False

    def _try_metrics(self) -> None:
        """Raise ``RecipeError`` now, not after a stage, where a metric cannot be had or cannot score this task."""
        two_rows: list[Any] = [0.0, 1.0] if self.is_regression() else [0, 1]
        names = ", ".join(name for name in self._metrics if name not in OWN_METRICS)
        try:
            self.score(two_rows, two_rows)
        except RecipeError:
            raise
        except Exception as error:  # a metric of others fails in its own ways
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise RecipeError(
                f"task.metric: {names} cannot score two rows of this task ({reason}); ours are {', '.join(OWN_METRICS)}"
            ) from error

    @cached_property
    def _metrics(self) -> dict[str, EvaluationModule]:
        return {name: load_metric(name, self._source.trust_remote_code) for name in self._source.metric}


def _is_own(metric: EvaluationModule) -> bool:
    from pipeline.metrics.own import OfflineMetric

    return isinstance(metric, OfflineMetric)
