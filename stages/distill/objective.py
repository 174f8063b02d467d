"""The distillation loss: the task's own, the teacher's logits, hidden states and relations over real tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.teaching.answers import Taught
from stages.distill.config import DistillWeights
from stages.distill.projections import PARTS
from stages.distill.relations import Relations

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pipeline.tasks.task import Task
    from pipeline.teaching.cache import TeacherCache
    from pipeline.training.processes import Processes


class Distillation:
    """An ``Objective``: ``task_weight · task loss + logits_weight · T² · KL(teacher ‖ student) + hidden_weight · MSE``.

    Where they have a weight, ``relations_weight · KL`` of a layer's attention relations comes to it. The teacher's
    forward pass runs in evaluation mode, without gradients and under the student's autocast; with a cache, ahead of
    the training. Hidden states are the outputs of the transformer layers; they, and the queries, keys and values of
    relations, are asked for only when they have a weight.
    """

    def __init__(
        self,
        teacher: PreTrainedModel,
        weights: DistillWeights,
        task: Task,
        make_cache: Callable[[Callable[[Mapping[str, Tensor]], Taught]], TeacherCache] | None = None,
    ) -> None:
        self._teacher = teacher.requires_grad_(False).eval()
        self._weights = weights
        self._task = task
        self._relations = Relations(teacher, weights) if weights.relations_weight > 0 else None
        self._cache = None if make_cache is None else make_cache(self._ask)

    def prepare(self, mixed_precision: str, step: int, processes: Processes) -> None:
        """Have the teacher's answers written down, where there is a cache and it is worth it."""
        if self._cache is not None:
            self._cache.prepare(mixed_precision, step, processes)

    def __call__(self, model: PreTrainedModel, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss and its unweighted parts."""
        weights, wants_hidden, relations = self._weights, self._weights.hidden_weight > 0, self._relations
        with nullcontext({}) if relations is None else relations.watch_student(model) as projections:
            outputs = model(**batch, output_hidden_states=wants_hidden)
        taught = self._teach(batch)
        loss: Tensor = weights.task_weight * outputs.loss
        parts: dict[str, Tensor] = {"task_loss": outputs.loss.detach()}
        if weights.logits_weight > 0:
            logits = self._logits_loss(outputs, taught)
            loss = loss + weights.logits_weight * logits
            parts["logits_loss"] = logits.detach()
        if wants_hidden:
            mask = self._task.token_mask(batch)
            hidden = hidden_loss(layer_outputs(outputs), taught.hidden, mask, deeper=weights.hidden_map == "min_deeper")
            loss = loss + weights.hidden_weight * hidden
            parts["hidden_loss"] = hidden.detach()
        if relations is not None:
            alike = relations.loss(model, projections, taught.projections, self._task.token_mask(batch))
            loss = loss + weights.relations_weight * alike
            parts["relations_loss"] = alike.detach()
        return loss, parts

    def _teach(self, batch: dict[str, Tensor]) -> Taught:
        return self._ask(batch) if self._cache is None else self._cache.taught(batch)

    def _ask(self, batch: Mapping[str, Tensor]) -> Taught:
        """Return the teacher's answers from its forward pass; it moves to where the batch is."""
        wants_hidden, relations = self._weights.hidden_weight > 0, self._relations
        inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
        device = next(iter(inputs.values())).device
        if self._teacher.device != device:
            self._teacher.to(device)
        with torch.no_grad(), nullcontext({}) if relations is None else relations.watch_teacher(self._teacher) as found:
            outputs = self._teacher(**inputs, output_hidden_states=wants_hidden)
        hidden = layer_outputs(outputs) if wants_hidden else ()
        return Taught(self._task.logits(outputs), hidden, tuple(found[part] for part in PARTS if part in found))

    def _logits_loss(self, outputs: Any, taught: Taught) -> Tensor:
        pairs = list(zip(self._task.logits(outputs), taught.logits, strict=True))
        if self._task.is_regression():
            losses = [F.mse_loss(mine.float(), theirs.float()) for mine, theirs in pairs]
        else:
            losses = [logits_kl(mine, theirs, self._weights.temperature) for mine, theirs in pairs]
        return torch.stack(losses).mean()


def logits_kl(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return ``T² · KL(softmax(teacher / T) ‖ softmax(student / T))``, the mean over rows of ``(..., classes)``."""
    mine = F.log_softmax(student.float().flatten(0, -2) / temperature, dim=-1)
    theirs = F.log_softmax(teacher.float().flatten(0, -2) / temperature, dim=-1)
    return temperature**2 * F.kl_div(mine, theirs, reduction="batchmean", log_target=True)


def layer_outputs(outputs: Any) -> tuple[Tensor, ...]:
    """Return what each transformer layer put out, ``(rows, tokens, width)`` each, without the embeddings."""
    return tuple(outputs.hidden_states[1:])


def hidden_loss(
    student: Sequence[Tensor], teacher: Sequence[Tensor], mask: Tensor | None, *, deeper: bool = False
) -> Tensor:
    """Return the squared error to the teacher's layers, the mean over real tokens and width, summed over layers.

    Student layer ``i`` is compared with teacher layer ``i``, or when ``deeper`` with that of the teacher's layers
    ``j ≥ i`` to which it is nearest on this batch. Unlike NNI, which counts padding, ``mask``, ``(rows, tokens)``,
    says which tokens count; None: all.
    """
    total = torch.zeros((), device=student[0].device)
    for index, mine in enumerate(student):
        theirs = teacher[_nearest(mine, teacher, mask, index)] if deeper else teacher[index]
        total = total + _squared_error(mine, theirs, mask)
    return total


def _nearest(mine: Tensor, teacher: Sequence[Tensor], mask: Tensor | None, first: int) -> int:
    """Return the teacher's layer, from ``first`` on, with the least squared error; no gradient passes the choice."""
    with torch.no_grad():
        errors = torch.stack([_squared_error(mine, theirs, mask) for theirs in teacher[first:]])
    return first + int(errors.argmin())


def _squared_error(mine: Tensor, theirs: Tensor, mask: Tensor | None) -> Tensor:
    error = (mine.float() - theirs.float()).square()
    if mask is None:
        return error.mean()
    return (error.mean(dim=-1) * mask).sum() / mask.sum()


def check_teacher(student: PreTrainedModel, teacher: PreTrainedModel, weights: DistillWeights) -> None:
    """Raise ``ValueError`` when the teacher's labels, width or depth do not fit what ``weights`` compares.

    Relations, which need neither the same width nor the same depth, are checked where they are looked for.
    """
    if weights.logits_weight > 0 and teacher.config.num_labels != student.config.num_labels:
        raise ValueError(
            f"teacher: must have the student's {student.config.num_labels} labels, got {teacher.config.num_labels}"
        )
    if weights.hidden_weight == 0:
        return
    mend = "set hidden_weight: 0, or name another teacher"
    wide, narrow = teacher.config.hidden_size, student.config.hidden_size
    if wide != narrow:
        raise ValueError(f"teacher: must have the student's hidden size of {narrow}, got {wide}; {mend}")
    theirs, mine = teacher.config.num_hidden_layers, student.config.num_hidden_layers
    if weights.hidden_map == "same" and theirs != mine:
        raise ValueError(f"teacher: must have the student's {mine} layers for hidden_map same, got {theirs}; {mend}")
    if theirs < mine:
        raise ValueError(f"teacher: must have at least the student's {mine} layers, got {theirs}; {mend}")


def check_tokens(student: int, teacher: int) -> None:
    """Raise ``ValueError`` unless both see a row as equally many tokens, as image models of one patch size do."""
    if student != teacher:
        raise ValueError(
            f"teacher: must see an image as the student's {student} tokens, got {teacher}; set hidden_weight: 0 and "
            "relations_weight: 0, or name another teacher"
        )
