"""What losing a head or a channel would do to the loss, of both kinds on one scale: the Fisher information of gates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.surgery.equality import evaluation_mode
from pipeline.surgery.groups import PruningGroup
from pipeline.training.batches import by_length

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pipeline.tasks.task import Task


def gate_importances(
    model: PreTrainedModel, groups: Sequence[PruningGroup], task: Task, *, rows: int, seed: int, batch_size: int
) -> dict[str, Tensor]:
    """Return by group the importance of every unit, ``(num_units,)`` float64 on the CPU (Kwon et al. 2022, eq. 5).

    A gate of 1 on a unit's columns of the consumer has on one row the gradient ``Σ_tokens x · dL/dx``, ``x`` being what
    the consumer reads there and ``L`` the task's loss on that row. Importance is its square, the mean over ``rows`` of
    the training split that ``seed`` chooses: the diagonal of the empirical Fisher information, and to second order the
    loss that removing the unit adds. One loss and one formula serve heads and channels, so they compare.

    In float32 and evaluation mode, on the device the model is on; neither gradients nor random generators change.
    """
    alive = [group for group in groups if group.num_units > 0]
    sums = {group.name: torch.zeros(group.num_units, dtype=torch.float64) for group in groups}
    num_rows = 0
    with evaluation_mode(model), torch.autocast(model.device.type, enabled=False):
        for batch in _batches(task, rows, seed, batch_size):
            num_rows += len(batch["labels"])
            for group, gradient in zip(alive, _gate_gradients(model, alive, batch), strict=True):
                sums[group.name] += gradient.double().square().sum(dim=0).cpu()
    return {name: total / num_rows for name, total in sums.items()}


def _gate_gradients(
    model: PreTrainedModel, groups: Sequence[PruningGroup], batch: dict[str, Tensor]
) -> Iterator[Tensor]:
    """Yield for each group the gradients of its gates, a row's loss at a time, ``(rows, num_units)``."""
    read: dict[str, Tensor] = {}
    modules = {group.consumer: model.get_submodule(group.consumer) for group in groups}
    handles = [module.register_forward_pre_hook(partial(_keep, read, path)) for path, module in modules.items()]
    try:
        loss = model(**{name: value.to(model.device) for name, value in batch.items()}).loss
    finally:
        for handle in handles:
            handle.remove()
    inputs = [read[path] for path in modules]
    num_rows = len(batch["labels"])  # the loss is their mean: times their number, each row has its own gradient
    for group, values, gradient in zip(groups, inputs, torch.autograd.grad(loss * num_rows, inputs), strict=True):
        effects = (values.detach() * gradient).flatten(1, -2).sum(dim=1)
        yield effects.view(len(effects), group.num_units, group.unit_size).sum(dim=2)


def _keep(read: dict[str, Tensor], path: str, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    read[path] = inputs[0]


def _batches(task: Task, rows: int, seed: int, batch_size: int) -> Iterator[dict[str, Tensor]]:
    """Yield ``rows`` of the training split, or all if there are fewer, chosen by ``seed`` and batched by length."""
    train = task.train
    chosen = np.random.default_rng(seed).permutation(len(train))[:rows]
    lengths = None if train.lengths is None else train.lengths[chosen]
    for batch in by_length(len(chosen), lengths, batch_size):
        yield train.batch(chosen[batch].tolist())
