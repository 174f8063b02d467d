"""Movement pruning of attention heads (Sanh et al. 2020; Lagunas et al. 2021; NNI), without touching the forward pass.

A score falls while its block of the weight shrinks towards zero under training: ``dL/dS_B = Σ_B W_raw ⊙ dL/dW'``, the
straight-through gradient of a mask on the block, read off the weight and its gradient after backward.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipeline.surgery.groups import PruningGroup
from pipeline.surgery.keep_plan import KeepPlan, Kept
from stages.history import History
from stages.prune_heads.budget import below_threshold, lowest_blocks
from stages.prune_heads.layout import Granularity, build_layout, keep_by_group
from stages.prune_heads.rule import live_heads
from stages.prune_heads.scores import MovementScores, penalty_gradient
from stages.ranking import share_count
from stages.schedules import Span
from stages.state import check_names, copy_into


@dataclass(frozen=True)
class MovementSettings:
    """How scores move and masks follow; with ``sparsity`` an exact budget of heads, else the soft threshold.

    The penalty of ``regular_scale`` acts beside both. Adam divides each score's gradient by its size, which leaves how
    steadily a block shrinks, and not by how much; a push that is the same for all blocks of one score brings that back:
    where gradients are small it wins, where they are large it does not.
    """

    granularity: Granularity = "block"
    block_size: int | None = None
    sparsity: float | None = None
    threshold: float = 0.1
    regular_scale: float = 10.0
    score_learning_rate: float = 1e-2
    min_heads_per_layer: int = 0


class MovementPruner:
    """A ``Pruner`` that learns which blocks of the attention weights to do without, and from them which heads go.

    Blocks are masked while training and may come back; a head goes by NNI's rule (``rule.live_heads``), and a head
    that stays gets its masked blocks' raw weights back in ``finish``.
    """

    def __init__(
        self,
        model: nn.Module,
        groups: Sequence[PruningGroup],
        settings: MovementSettings,
        *,
        span: Span,
        num_steps: int,
    ) -> None:
        self._settings = settings
        self._span = span
        self.layout = build_layout(model, groups, granularity=settings.granularity, block_size=settings.block_size)
        self.num_removed = share_count(self.layout.num_heads, settings.sparsity or 0.0)
        self.scores = MovementScores(self.layout.num_blocks, settings.score_learning_rate)
        self.history = History(num_steps, self.layout.num_blocks)
        sizes = torch.tensor([own.stop - own.start for own in self.layout.slices])
        self._share = (1.0 / (sizes * len(sizes))).repeat_interleave(sizes)
        self._dead = torch.zeros(self.layout.num_blocks, dtype=torch.bool)
        self._num_changed = 0

    def before_optimizer_step(self, step: int) -> None:
        """Put raw weights back, move the scores by the gradients of ``step``, and freeze what is masked."""
        self._follow_device()
        gradient = torch.zeros_like(self.scores.values)
        for weight, own in zip(self.layout.weights, self.layout.slices, strict=True):
            weight.restore()
            movement = weight.movement()
            if movement is not None:
                gradient[own] = movement.flatten()
            weight.freeze()
        scale = self._settings.regular_scale * self._span.progress(step)
        gradient += penalty_gradient(self.scores.values, self._share, scale)
        self.scores.update(gradient)

    def after_optimizer_step(self, step: int, lr: float) -> None:
        """Mask for ``step + 1`` what the scores and the schedule say."""
        dead = self._choose(self._span.progress(step + 1))
        self._num_changed = int((dead != self._dead).sum())
        self._dead = dead
        for weight, own in zip(self.layout.weights, self.layout.slices, strict=True):
            weight.mask(dead[own].view(weight.shape))
        self.history.record(step + 1, self.scores.values)

    def finish(self) -> KeepPlan:
        """Restore every raw weight and return the heads that live; a masked block of a kept head is whole again."""
        for weight in self.layout.weights:
            weight.restore()
        kept = keep_by_group(self.layout, self.live())
        return KeepPlan(
            {part.group.name: Kept(part.group.num_units, tuple(kept[part.group.name])) for part in self.layout.groups}
        )

    def live(self) -> Tensor:
        """Return which heads live under the masks of now, ``(num_heads,)`` bool."""
        return live_heads(self.layout.of_heads(~self._dead))

    def logs(self) -> dict[str, float]:
        """Return the shares of heads gone and of blocks masked, and how many blocks changed in this step."""
        return {
            "heads_removed": 1.0 - float(self.live().float().mean()),
            "blocks_masked": float(self._dead.float().mean()),
            "blocks_changed": float(self._num_changed),
        }

    def state_dict(self) -> dict[str, Tensor]:
        """Return scores, their moments, the masks with the raw weights under them, and the history."""
        fixed = {name: tensor.clone() for name, tensor in self._fixed().items()}
        return {**fixed, **{f"raw.{weight.weight.path}": weight.raw.clone() for weight in self.layout.weights}}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore what ``state_dict`` returned; raises ``ValueError`` when it is another model's or another stage's."""
        fixed = self._fixed()
        check_names(state, {*fixed, *(f"raw.{weight.weight.path}" for weight in self.layout.weights)})
        for name, tensor in fixed.items():
            copy_into(tensor, name, state[name])
        for weight, own in zip(self.layout.weights, self.layout.slices, strict=True):
            weight.load(self._dead[own].view(weight.shape), state[f"raw.{weight.weight.path}"])

    def tensors(self) -> dict[str, Tensor]:
        """Return the final scores, their history and the last masks, each shaped like the blocks of its weight."""
        events, values = self.history.filled()
        named = {"scores": self.scores.values, "history": values, "masked": self._dead}
        parts = (
            (kind, path, part) for kind, flat in named.items() for path, part in self.layout.by_weight(flat).items()
        )
        return {"history.steps": events, **{f"{kind}.{path}": part.clone() for kind, path, part in parts}}

    def _choose(self, progress: float) -> Tensor:
        settings, scores = self._settings, self.scores.values
        if settings.sparsity is not None:
            num_heads = round(self.num_removed * progress)
            return lowest_blocks(scores, self.layout, num_heads=num_heads, min_heads=settings.min_heads_per_layer)
        threshold = settings.threshold * progress
        return below_threshold(scores, self.layout, threshold=threshold, min_heads=settings.min_heads_per_layer)

    def _fixed(self) -> dict[str, Tensor]:
        """Return the state's tensors of fixed shape; the tensors themselves, to copy into."""
        history = {"history": self.history.values, "history.steps": self.history.events}
        return {**self.scores.tensors(), "masked": self._dead, **history}

    def _follow_device(self) -> None:
        if self.layout.weights and self.scores.values.device != self.layout.weights[0].weight.parameter.device:
            device = self.layout.weights[0].weight.parameter.device
            self.scores.to(device)
            self._share, self._dead = self._share.to(device), self._dead.to(device)
            for weight in self.layout.weights:
                weight.to_parameter_device()
