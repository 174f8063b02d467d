"""Real tokens through a model, and what its consumers read and put out on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.training.batches import by_length

if TYPE_CHECKING:
    from pipeline.tasks.task import Task

Seen = Callable[[str, Tensor, Tensor], None]
"""Takes a module's path, its inputs ``(rows, tokens, width)`` and its outputs in the same form."""


@dataclass(frozen=True)
class Calibration:
    """``rows`` of the task's training split, chosen by ``seed`` and batched by length; all of them if there are fewer.

    Nothing is drawn from a global generator, so that a resumed stage sees the same tokens.
    """

    task: Task
    rows: int
    seed: int
    batch_size: int

    def batches(self) -> Iterator[tuple[dict[str, Tensor], Tensor | None]]:
        """Yield the inputs of each batch, and which tokens are real, ``(rows, tokens)`` bool; None: all."""
        train = self.task.train
        chosen = np.random.default_rng(self.seed).permutation(len(train))[: self.rows]
        lengths = None if train.lengths is None else train.lengths[chosen]
        for batch in by_length(len(chosen), lengths, self.batch_size):
            inputs = train.batch(chosen[batch].tolist())
            mask = self.task.token_mask(inputs)
            yield {name: tensor for name, tensor in inputs.items() if name != "labels"}, mask


def real_tokens(tensor: Tensor, mask: Tensor | None) -> Tensor:
    """Return the real tokens of ``(rows, tokens, width)`` as ``(real tokens, width)``, in float32."""
    flat = tensor.detach().flatten(0, -2) if mask is None else tensor.detach()[mask.to(tensor.device)]
    return flat.float()


class _AllSeen(Exception):  # noqa: N818 - no error: it leaves a pass through the model
    """Every module that was asked for has run."""


@torch.no_grad()
def observe(model: nn.Module, inputs: Mapping[str, Tensor], paths: Iterable[str], seen: Seen) -> None:
    """Run the model in float32 as far as the last of the modules at ``paths``, and call ``seen`` as each has run.

    Its modes are left to the caller; afterwards no hook is left.
    """
    device = next(model.parameters()).device
    left = set(paths)

    def tell(path: str, module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:
        seen(path, arguments[0], output)
        left.discard(path)
        if not left:
            raise _AllSeen

    handles = [model.get_submodule(path).register_forward_hook(partial(tell, path)) for path in sorted(left)]
    try:
        with suppress(_AllSeen), torch.autocast(device.type, enabled=False):
            model(**{name: tensor.to(device) for name, tensor in inputs.items()})
    finally:
        for handle in handles:
            handle.remove()
