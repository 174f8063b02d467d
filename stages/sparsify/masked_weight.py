"""One weight with its mask and its scores: what of it goes, and how that is written into the parameter."""

from __future__ import annotations

import torch
from torch import Tensor

from stages.sparsify.blocks import Blocks, single_weights
from stages.sparsify.config import Criterion, Reduce
from stages.sparsify.n_of_m import lowest_of_each
from stages.sparsify.ranking import Ranking, float_order

MOMENTUM = 0.9


class MaskedWeight:
    """A parameter, which of its blocks are ``kept``, and where the criterion has a memory its ``scores``.

    Both have an entry per block; where N of M stay, and where a checkpoint's zeros are locked, one per weight.
    """

    def __init__(self, blocks: Blocks, criterion: Criterion, *, is_locked: bool) -> None:
        self.blocks = blocks
        self._criterion = criterion
        self._is_locked = is_locked
        self.grain = single_weights(blocks.weight) if blocks.is_partial or is_locked else blocks
        self._parameter = blocks.weight.parameter
        device = self._parameter.device
        self.kept = torch.ones(self.grain.grid, dtype=torch.bool, device=device)
        self.has_memory = criterion == "snip_momentum" and not is_locked
        self.scores = torch.zeros(self.grain.grid, device=device) if self.has_memory else None
        self._lowest: Tensor | None = None
        self.num_removed = 0
        """Weights that are masked."""
        if is_locked:
            self.kept.copy_(self._parameter.detach() != 0)
            self.recount()

    def observe(self) -> None:
        """Read ``|W · gradient|`` of this step into the scores: added to 0.9 of the past, or for snip in its place."""
        if self.scores is not None and self._criterion == "snip_momentum":
            self.scores.mul_(MOMENTUM)
        gradient = self._parameter.grad
        if gradient is None:
            effect = torch.zeros(self.grain.grid, device=self._parameter.device)
        else:
            gradient = gradient.to_dense() if gradient.is_sparse else gradient
            effect = self.grain.summed((self._parameter.detach().float() * gradient.float()).abs_())
            effect.nan_to_num_(nan=0.0, posinf=0.0)  # an overflow in fp16, whose step is skipped
        self.scores = effect if self._criterion == "snip" or self.scores is None else self.scores.add_(effect)

    def ranking(self, reduce: Reduce) -> Ranking:
        """Return the blocks' scores, ``blocks.count`` of them: what goes with a block, as a mean or a sum."""
        if self.blocks.is_partial:
            return self._group_ranking(reduce)
        device = self._parameter.device
        if self.scores is None and self.blocks.size == 1:
            flat = self._parameter.detach().flatten()
            return Ranking(len(flat), device, lambda begin, end: float_order(flat[begin:end].float().abs()))
        scores, kept = self._entries().flatten(), self.kept.flatten()
        if reduce == "mean" and self.blocks.size > 1:
            scores = scores / self.blocks.size
        return Ranking(len(scores), device, lambda begin, end: float_order(scores[begin:end]) + kept[begin:end])

    def _group_ranking(self, reduce: Reduce) -> Ranking:
        """Return the ranking of groups of which N stay, by what the others are worth; that is summed when asked for."""
        groups = lowest_of_each(self._by_group(self._entries()), self._by_group(self.kept), self.blocks.loss)
        self._lowest = groups.lowest
        worth = groups.worth / self.blocks.loss if reduce == "mean" else groups.worth
        order = float_order(worth) + groups.is_whole
        return Ranking(len(order), order.device, lambda begin, end: order[begin:end])

    def remove(self, count: int, ranking: Ranking) -> None:
        """Mask the ``count`` lowest blocks of ``ranking``, the last one made, and no others; ``write`` applies it."""
        kept = ranking.keep(count)
        if self._lowest is not None:
            view = self.blocks.view(self.kept)
            view.copy_((kept[:, None] | ~self._lowest).view(view.shape))
        else:
            self.kept = kept.view(self.grain.grid)
        self.num_removed = count * self.blocks.loss

    def forget(self) -> None:
        """Let go of what is of one step only."""
        self._lowest = None
        if self._criterion == "snip":
            self.scores = None

    def write(self) -> None:
        """Zero the masked weights, which momentum and decay move though they have no gradient."""
        if self.num_removed:
            self.grain.view(self._parameter.detach()).mul_(self.grain.spread(self.kept))

    def write_zeros(self) -> None:
        """Zero the masked weights for good, by a zero that has no sign and so compresses."""
        if self.num_removed:
            self.grain.view(self._parameter.detach()).masked_fill_(~self.grain.spread(self.kept), 0.0)

    def mask_gradient(self) -> None:
        """Zero the gradients of masked weights, so that they count in no norm and in no momentum."""
        gradient = self._parameter.grad
        if self.num_removed and gradient is not None and not gradient.is_sparse:
            self.grain.view(gradient).mul_(self.grain.spread(self.kept))

    def shrink(self, amount: float) -> None:
        """Take group lasso's proximal step: every block times ``max(0, 1 - amount / its 2-norm)``."""
        weight = self._parameter.detach()
        norm = self.blocks.summed(weight.float().square()).sqrt_()
        factor = torch.where(norm > amount, 1.0 - amount / norm, 0.0)
        self.blocks.view(weight).mul_(self.blocks.spread(factor).to(weight.dtype))

    @property
    def num_blocks_removed(self) -> int:
        """How many of the blocks are masked."""
        return self.num_removed // (self.grain.size if self._is_locked else self.blocks.loss)

    @property
    def num_blocks(self) -> int:
        """How many blocks there are; where zeros are locked each weight is one."""
        return self.grain.count if self._is_locked else self.blocks.count

    def recount(self) -> None:
        """Count the masked weights anew; waits for the device."""
        self.num_removed = int((~self.kept).sum()) * self.grain.size

    def keep_mask(self) -> Tensor:
        """Return which weights are kept, bool, in the shape of the parameter."""
        mask = torch.ones_like(self._parameter, dtype=torch.bool, memory_format=torch.contiguous_format)
        self.grain.view(mask).logical_and_(self.grain.spread(self.kept))
        return mask

    def follow_device(self) -> None:
        """Go where the parameter is."""
        device = self._parameter.device
        if self.kept.device != device:
            self.kept = self.kept.to(device)
            self.scores = None if self.scores is None else self.scores.to(device)

    def _entries(self) -> Tensor:
        """Return the scores, in the shape of the grain: sums over blocks, or of N:M each weight's."""
        if self.scores is not None:
            return self.scores
        return self.grain.summed(self._parameter.detach().float().abs())

    def _by_group(self, entries: Tensor) -> Tensor:
        """Return each weight's entry as ``(blocks, weights of a block)``."""
        return self.blocks.view(entries).reshape(self.blocks.count, self.blocks.size)
