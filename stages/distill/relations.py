"""Attention relations: which tokens are alike to a layer's queries, keys and values, and how far two models differ.

MiniLM (Wang et al. 2020) and MiniLMv2 (Wang et al. 2021): of a layer's queries, the relation is
``softmax(q qᵀ / √d)``, ``(tokens, tokens)``, and so of its keys and values; a student learns the teacher's by their
divergence. Neither number nor width of the heads enters the shape, so that a student that has lost heads can learn
from a teacher that has them all.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stages.distill.projections import PARTS, as_it_is, attention_layers, living_heads, unwrapped, watching

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.surgery.groups import PruningGroup
    from stages.distill.config import DistillWeights

UNLIKELY = -1e9
"""The logit of padding: its probability is 0, and its logarithm finite."""


class Relations:
    """What ``weights`` says to compare between one layer of a teacher and one of a student.

    The student's layer is the teacher's, or its last where it has another number of layers. Raises ``ValueError`` for
    a layer that is not there, and for a model in which queries, keys and values are not known.
    """

    def __init__(self, teacher: nn.Module, weights: DistillWeights) -> None:
        layers, asked = attention_layers(teacher), weights.relations_layer
        if asked != "last" and asked >= len(layers):
            raise ValueError(
                f"relations_layer: must be last or at most {len(layers) - 1}, the teacher's last layer, got {asked}"
            )
        self._index = len(layers) - 1 if asked == "last" else asked
        self._depth = len(layers)
        self._weights = weights
        self._student: PruningGroup | None = None
        self.teacher = layers[self._index]
        self.parts = tuple(part for part in PARTS if any(part in pair for pair in weights.relations))

    def names(self) -> tuple[str, ...]:
        """Return what is compared of the teacher, by name, such as ``encoder.5.heads.q``."""
        return tuple(f"{self.teacher.name}.{part}" for part in self.parts)

    def student(self, model: nn.Module) -> PruningGroup:
        """Return the heads of the student's layer as they are now."""
        own = unwrapped(model)
        if self._student is None:
            layers = attention_layers(own)
            self._student = layers[self._index if len(layers) == self._depth else -1]
        return as_it_is(own, self._student)

    def watch_teacher(self, teacher: nn.Module) -> AbstractContextManager[dict[str, Tensor]]:
        """Return a context that collects the teacher's side from a forward pass."""
        return watching(teacher, self.teacher, self.parts)

    def watch_student(self, model: nn.Module) -> AbstractContextManager[dict[str, Tensor]]:
        """Return a context that collects the student's side from a forward pass."""
        return watching(unwrapped(model), self.student(model), self.parts)

    def loss(
        self, model: nn.Module, student: Mapping[str, Tensor], taught: tuple[Tensor, ...], mask: Tensor | None
    ) -> Tensor:
        """Return the sum of ``relation_loss`` over the relations compared; ``taught`` is in the order of ``parts``."""
        teacher = dict(zip(self.parts, taught, strict=True))
        alive = living_heads(unwrapped(model), self.student(model))
        losses = [
            relation_loss(
                (student[left], student[right]),
                (teacher[left], teacher[right]),
                mask,
                alive=alive,
                num_heads=self.teacher.num_units,
                relation_heads=self._weights.relation_heads,
            )
            for left, right in self._weights.relations
        ]
        return torch.stack(losses).sum()


def relation_loss(
    student: tuple[Tensor, Tensor],
    teacher: tuple[Tensor, Tensor],
    mask: Tensor | None,
    *,
    alive: Tensor,
    num_heads: int,
    relation_heads: int = 1,
) -> Tensor:
    """Return ``KL(teacher ‖ student)`` of a relation, the mean over real tokens and relation heads.

    Each side is the two projections to compare, twice the same for q with q, ``(rows, tokens, heads * width)``: the
    student's of ``len(alive)`` heads, the teacher's of ``num_heads``. Tokens that ``mask``, ``(rows, tokens)``, calls
    padding count neither as those that look nor as those looked at. The student's heads that are not ``alive`` do not
    count, so that masked ones teach as little as if they were cut out; where none is left the loss is 0.

    The heads of either side are dealt, in their order, to at most ``relation_heads`` relation heads, as equal in
    number as can be. Unlike MiniLMv2, which concatenates them and divides by the root of the joint width, the relation
    is ``softmax(mean over heads of q qᵀ / √d)``, each head with its own width: the two agree where a relation head is
    one head. Of fewer heads a joint width would make flatter relations, and a student that lost some would be told to
    scale up what is left, which changes its attention; a mean stays as sharp. It also is there for any two numbers of
    heads, where equal parts of joint widths are not: 12 heads of 32 beside 5 of them share only parts that cut through
    the student's heads, and their number would jump with each head that goes. One relation head, the mean of all, is
    the default, for it does not ask which of the teacher's heads have gone: among more, those left would be told to
    become the ones whose places they took.
    """
    if not len(alive) or not num_heads:
        return torch.zeros((), device=student[0].device)
    count = alive.sum().clamp(max=min(relation_heads, num_heads))
    shares = _dealt(alive, count, relation_heads), _dealt(alive.new_ones(num_heads), count, relation_heads)
    with torch.autocast(alive.device.type, enabled=False):
        mine, theirs = _log_relations(*student, shares[0], mask), _log_relations(*teacher, shares[1], mask)
        divergence = F.kl_div(mine, theirs, reduction="none", log_target=True).sum(dim=-1)
    used = torch.arange(relation_heads, device=alive.device) < count
    by_token = (divergence * used[:, None]).sum(dim=1) / count.clamp(min=1)
    return by_token.mean() if mask is None else (by_token * mask).sum() / mask.sum()


def _dealt(alive: Tensor, count: Tensor, relation_heads: int) -> Tensor:
    """Return the share of each head in each of the first ``count`` relation heads, ``(relation_heads, num_heads)``.

    Shares of a relation head add up to 1, or to 0 where none is dealt to it. Nothing waits for the device.
    """
    place = (alive.cumsum(0) - 1) * count // alive.sum().clamp(min=1)
    dealt = (place == torch.arange(relation_heads, device=alive.device)[:, None]) & alive
    return dealt / dealt.sum(dim=1, keepdim=True).clamp(min=1)


def _log_relations(left: Tensor, right: Tensor, shares: Tensor, mask: Tensor | None) -> Tensor:
    """Return logarithms of relations, ``(rows, relation_heads, tokens, tokens)`` float32, rows of which sum to 1."""
    looking, looked_at = (
        side.float().reshape(*side.shape[:2], shares.shape[1], -1).transpose(1, 2) for side in (left, right)
    )
    alike = looking @ looked_at.transpose(-1, -2) / math.sqrt(looking.shape[-1])
    logits = torch.einsum("gh,bhij->bgij", shares, alike)
    if mask is not None:
        logits = logits.masked_fill(~mask[:, None, None, :].bool(), UNLIKELY)
    return logits.log_softmax(dim=-1)
