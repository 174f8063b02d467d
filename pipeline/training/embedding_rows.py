"""AdamW for the rows of an embedding that a step reads: the others wait, and catch up when they are next read."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from pipeline.errors import CompressionError

if TYPE_CHECKING:
    from pipeline.recipe.training import TrainingConfig

NEGLIGIBLE = 1e-9
"""A row coasts on its first moment until the step is this small beside the first one."""
LEAST = torch.finfo(torch.float64).tiny
CHUNK = 4096
"""Rows brought up to date at a time where all are."""


class EmbeddingRows:
    """The word embeddings' part of an optimizer, at the cost of the rows that a step reads and no others.

    AdamW moves a row without a gradient too, by what is left of its moments: after ``s`` updates of moments ``m`` and
    ``v``, the ``t - s`` updates with gradient zero come to

        ``w_t = w_s - m · Σ_{j=s+1..t} a_j / (√v + ε b_j)``

        with ``a_j = lr_j · √(1 - β₂ʲ) / (1 - β₁ʲ) · (β₁ / √β₂)^(j-s)`` and ``b_j = √(1 - β₂ʲ) / β₂^((j-s)/2)``

    (with weight decay each term, and ``w_s``, fades by the ``1 - lr λ`` of the steps after it), its moments to
    ``β₁^(t-s) m`` and ``β₂^(t-s) v`` (Loshchilov and Hutter 2019, arXiv 1711.05101, algorithm 2). To the first order
    in ``ε / √v`` the sum is ``Σ a_j / (√v + ε Σ a_j b_j / Σ a_j)``, whose two sums are the same for all rows and are
    kept for every ``s``; so a row is brought to where AdamW would have it just before it is read, to rounding where
    gradients are large beside ``ε``. Unlike ``torch.optim.SparseAdam``, which leaves such rows where they are, this
    changes time and not results.

    While attached, ``weight`` holds rows of different dates: read it by a forward pass of the embedding, inside
    ``caught_up``, or after ``settle``. A forward pass outside of ``caught_up`` decides at which step a row is brought
    up to date, and so the last bits of it: let none depend on what must not change the result. The moments lie in
    ``optimizer.state`` as AdamW's do, with the dates as ``seen``, ``(num_embeddings,)``, int32.
    """

    def __init__(
        self,
        embedding: nn.Embedding,
        optimizer: torch.optim.Optimizer,
        config: TrainingConfig,
        learning_rate: Callable[[int], float],
    ) -> None:
        """``learning_rate`` returns that of a step from 0 on; after a resume it is asked for those of past steps."""
        self.embedding = embedding
        self.weight = embedding.weight
        self.learning_rate = learning_rate
        self.betas, self.epsilon, self.weight_decay = config.betas, config.epsilon, config.weight_decay
        zeros = torch.zeros_like(self.weight, requires_grad=False)
        self.state = optimizer.state
        self.state[self.weight] = {
            "step": torch.zeros((), dtype=torch.float32),
            "exp_avg": zeros,
            "exp_avg_sq": zeros.clone(),
            "seen": torch.zeros(len(self.weight), dtype=torch.int32, device=self.weight.device),
        }
        self._fading = config.betas[0] / math.sqrt(config.betas[1])
        self._window = math.ceil(math.log(NEGLIGIBLE) / math.log(self._fading)) if self._fading > 0 else 0
        self._coasted = torch.zeros(1, dtype=torch.float64)
        self._floors = torch.zeros(1, dtype=torch.float64)
        self._kept = torch.zeros(1, dtype=torch.float64)
        self._read: tuple[Tensor, nn.Parameter] | None = None
        self._shows_all = False

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Make the embedding give sparse gradients, and bring rows up to date before a forward pass reads them."""
        before = self.embedding.sparse
        handle = self.embedding.register_forward_pre_hook(self._before_forward)
        self.embedding.sparse = True
        try:
            yield
        finally:
            self.embedding.sparse = before
            handle.remove()

    def take_gradient(self) -> list[nn.Parameter]:
        """Return the rows that got a gradient as a parameter ``(rows, embedding_dim)`` that has it; none: no rows.

        Clipping may change that gradient; the embedding's own is dropped.
        """
        gradient, self.weight.grad = self.weight.grad, None
        self._read = None
        if gradient is None:
            return []
        if not gradient.is_sparse:
            raise CompressionError(
                "the word embeddings got a dense gradient, for something reads them whole: set "
                "training.embedding_gradients: dense"
            )
        gradient = gradient.coalesce()
        rows = gradient.indices()[0]
        read = nn.Parameter(self.weight.detach()[rows])
        read.grad = gradient.values()
        self._read = rows, read
        return [read]

    @torch.no_grad()
    def step(self) -> None:
        """Do AdamW's update of the rows that ``take_gradient`` returned; all others coast."""
        state = self.state[self.weight]
        done = int(state["step"])
        if self._read is not None:
            rows, read = self._read
            assert read.grad is not None
            moments = [state[name][rows] for name in ("exp_avg", "exp_avg_sq")]
            beta1, beta2 = self.betas
            adamw(
                [read.data],
                [read.grad],
                [moments[0]],
                [moments[1]],
                [],
                [state["step"].clone()],
                fused=True,
                amsgrad=False,
                beta1=beta1,
                beta2=beta2,
                lr=self.learning_rate(done),
                weight_decay=self.weight_decay,
                eps=self.epsilon,
                maximize=False,
            )
            self.weight.index_copy_(0, rows, read.data)
            state["exp_avg"].index_copy_(0, rows, moments[0])
            state["exp_avg_sq"].index_copy_(0, rows, moments[1])
            state["seen"][rows] = done + 1
            self._read = None
        state["step"] += 1

    @torch.no_grad()
    def settle(self) -> None:
        """Bring all rows up to date for good."""
        for rows in self._chunks():
            self._bring(rows)

    @contextmanager
    def caught_up(self) -> Iterator[None]:
        """Have all rows up to date inside the block; afterwards every bit is as if this had not been asked for."""
        with torch.no_grad():
            before = self.weight.clone()
            for rows in self._chunks():
                self.weight.index_copy_(0, rows, self._coast(rows)[0])
        self._shows_all = True
        try:
            yield
        finally:
            self._shows_all = False
            with torch.no_grad():
                self.weight.copy_(before)

    def _chunks(self) -> Iterator[Tensor]:
        """Yield the indices of all rows, some at a time."""
        for first in range(0, len(self.weight), CHUNK):
            yield torch.arange(first, min(first + CHUNK, len(self.weight)), device=self.weight.device)

    def _before_forward(self, module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        if not self._shows_all:
            with torch.no_grad():
                self._bring(torch.unique(arguments[0]))

    def _bring(self, rows: Tensor) -> None:
        """Bring ``rows``, each named once, up to date."""
        state = self.state[self.weight]
        done = int(state["step"])
        rows = rows[state["seen"][rows] < done]
        if len(rows):
            weight, mean, square = self._coast(rows)
            self.weight.index_copy_(0, rows, weight)
            state["exp_avg"].index_copy_(0, rows, mean)
            state["exp_avg_sq"].index_copy_(0, rows, square)
            state["seen"][rows] = done

    def _coast(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return weight and moments of ``rows`` after the steps done, ``(rows, embedding_dim)`` each."""
        state = self.state[self.weight]
        done = int(state["step"])
        self._follow(done)
        seen = state["seen"][rows].long().cpu()
        steps = (done - seen).double()
        beta1, beta2 = self.betas
        fading = torch.where(steps > self._window, 0.0, beta1**steps)
        distance, shrinking = self._coasted[seen], torch.exp(self._kept[done] - self._kept[seen])
        floor = self.epsilon * torch.where(distance > 0, self._floors[seen] / distance.clamp(min=LEAST), 1.0)
        own = self.weight.detach()
        columns = torch.stack([fading, beta2**steps, distance, shrinking, floor], dim=1).to(own)
        by_mean, by_square, far, shrunk, least = torch.split(columns, 1, dim=1)
        mean, square = state["exp_avg"][rows], state["exp_avg_sq"][rows]
        weight = own[rows] * shrunk - mean / (square.sqrt() + least) * far
        return weight, mean * by_mean, square * by_square

    def _follow(self, done: int) -> None:
        """Know of ``done`` steps how far a row last updated at each of them has gone since, in units of ``m / √v``.

        And the sum of ``ε``'s shares of the way, each term being as in that of the distance.
        """
        beta1, beta2 = self.betas
        known = len(self._coasted) - 1
        if done <= known:
            return
        grown = torch.zeros(done - known, dtype=torch.float64)
        self._coasted, self._floors = torch.cat([self._coasted, grown]), torch.cat([self._floors, grown])
        self._kept = torch.cat([self._kept, grown])
        for step in range(known + 1, done + 1):
            lr = self.learning_rate(step - 1)
            first = max(0, step - self._window)
            ages = torch.arange(step - first, 0, -1, dtype=torch.float64)
            pace = lr * math.sqrt(1 - beta2**step) / (1 - beta1**step)
            keeps = 1 - lr * self.weight_decay
            if keeps != 1:
                self._coasted[:step] *= keeps
                self._floors[:step] *= keeps
            gone = pace * self._fading**ages
            self._coasted[first:step] += gone
            self._floors[first:step] += gone * math.sqrt(1 - beta2**step) * beta2 ** (-ages / 2)
            self._kept[step] = self._kept[step - 1] + math.log(keeps)
