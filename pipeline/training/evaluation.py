"""The one function that scores a model: float32, no dropout, nothing random."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from pipeline import interruption
from pipeline.training.batches import by_length
from pipeline.training.processes import launched

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pipeline.tasks.task import Split, Task


def evaluate(
    model: PreTrainedModel,
    task: Task,
    *,
    splits: Mapping[str, Split] | None = None,
    batch_size: int = 64,
    device: torch.device | str | None = None,
) -> dict[str, float]:
    """Return every metric of every split, ``{"validation/accuracy": 0.91, …}``; the validation splits by default.

    Rows are batched by length, and scored in their own order. The model is moved to ``device`` (by default the one
    accelerate finds), and left where it was and in the mode it was in. Raises ``Interrupted`` between two batches.
    """
    home = next(model.parameters()).device
    target = torch.device(launched().device if device is None else device)
    modes = {module: module.training for module in model.modules()}
    scores: dict[str, float] = {}
    try:
        model.to(target).eval()
        with torch.no_grad(), torch.autocast(target.type, enabled=False):
            for name, split in (task.validation if splits is None else splits).items():
                metrics = task.score(*_predict(model, task, split, batch_size, target))
                scores.update({f"{name}/{metric}": float(value) for metric, value in metrics.items()})
    finally:
        model.to(home)
        for module, training in modes.items():
            module.training = training
    return scores


def _predict(
    model: nn.Module, task: Task, split: Split, batch_size: int, device: torch.device
) -> tuple[list[Any], list[Any]]:
    """Return predictions and references of all rows, in the rows' order."""
    predictions: list[Any] = [None] * len(split)
    references: list[Any] = [None] * len(split)
    for rows in by_length(len(split), split.lengths, batch_size):
        interruption.check()
        batch = {name: tensor.to(device) for name, tensor in split.batch(rows).items()}
        for row, prediction, reference in zip(rows, *task.predictions(model(**batch), batch), strict=True):
            predictions[row] = prediction
            references[row] = reference
    return predictions, references
