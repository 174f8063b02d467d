"""Movement scores and the optimizer of their own: no clipping, no decay and no schedule of the weights touches them."""

from __future__ import annotations

import torch
from torch import Tensor

BETAS = (0.9, 0.999)
EPSILON = 1e-8


class MovementScores:
    """One score per block, ``(num_blocks,)`` float32, all 0 at first, moved by Adam at a constant rate."""

    def __init__(self, num_blocks: int, lr: float) -> None:
        self._lr = lr
        self.values = torch.zeros(num_blocks)
        self.first_moment = torch.zeros(num_blocks)
        self.second_moment = torch.zeros(num_blocks)
        self.num_updates = torch.zeros((), dtype=torch.int64)

    def update(self, gradient: Tensor) -> None:
        """Take one step of Adam down ``gradient``, ``(num_blocks,)``; none where it overflowed."""
        if not torch.isfinite(gradient).all():
            return
        self.num_updates += 1
        count = int(self.num_updates)
        self.first_moment.lerp_(gradient, 1 - BETAS[0])
        self.second_moment.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
        spread = self.second_moment.div(1 - BETAS[1] ** count).sqrt_().add_(EPSILON)
        self.values.addcdiv_(self.first_moment, spread, value=-self._lr / (1 - BETAS[0] ** count))

    def tensors(self) -> dict[str, Tensor]:
        """Return all that a resume needs, by name; the tensors themselves, not copies."""
        return {
            "scores": self.values,
            "first_moment": self.first_moment,
            "second_moment": self.second_moment,
            "num_updates": self.num_updates,
        }

    def to(self, device: torch.device) -> None:
        """Move the scores and their moments; the count stays where it is read."""
        self.values = self.values.to(device)
        self.first_moment = self.first_moment.to(device)
        self.second_moment = self.second_moment.to(device)


def penalty_gradient(scores: Tensor, share: Tensor, scale: float) -> Tensor:
    """Return the gradient of ``scale · mean over weights of mean over blocks of σ(score)``.

    ``share`` is ``1 / (weights · blocks of its weight)`` for every block. Being analytic, the penalty needs no term
    in the loss.
    """
    sigmoid = torch.sigmoid(scores)
    return scale * share * sigmoid * (1 - sigmoid)
