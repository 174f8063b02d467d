"""Checks that a recipe's budget has stages to share it, and that none of them names a number of its own."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.recipe.budget import BUDGET, PruningConfig, given_budget
from pipeline.recipe.document import Located, Path_, dotted
from pipeline.recipe.inheritance import StageDraft
from pipeline.recipe.mistakes import Mistake, shown

SPARSITY = "sparsity"


def check_budget(document: Located, drafts: Sequence[StageDraft]) -> dict[Path_, Mistake]:
    """Return a mistake for each reason why the stages cannot share the budget, by its path in the document."""
    budget = given_budget(document)
    sharing = [draft for draft in drafts if draft.stage is not None and issubclass(draft.stage.Config, PruningConfig)]
    if budget is None:
        return {}
    if not sharing and all(draft.stage is not None for draft in drafts):
        message = "no stage of the recipe prunes; add prune_heads or prune_ffn, or take the budget out"
        return {BUDGET: Mistake(budget.origin, dotted(BUDGET), message)}
    mistakes: dict[Path_, Mistake] = {}
    for draft in sharing:
        mistakes.update(_wrong_sparsity(draft))
        mistakes.update(_second_of_kind(draft, sharing))
    return mistakes


def _wrong_sparsity(draft: StageDraft) -> dict[Path_, Mistake]:
    written = draft.fields.find((SPARSITY,)) if draft.fields is not None and draft.fields.has((SPARSITY,)) else None
    if written is None or written.value is None:
        return {}
    message = (
        f"must not be given beside the recipe's budget, which says how much goes, got {shown(written.plain())}; "
        "say sparsity: null, or take the budget out"
    )
    path: Path_ = ("stages", draft.index, SPARSITY)
    return {path: Mistake(written.origin, dotted(("stages", draft.name, SPARSITY)), message)}


def _second_of_kind(draft: StageDraft, sharing: Sequence[StageDraft]) -> dict[Path_, Mistake]:
    kind = _kind(draft)
    first = next(other for other in sharing if _kind(other) == kind)
    if first is draft or draft.fields is None:
        return {}
    message = (
        f"prunes {kind}, as {first.name!r} does, and a budget is shared by one stage of each kind; "
        "take one of them out, or give every stage a sparsity and no budget"
    )
    path: Path_ = ("stages", draft.index, "uses")
    return {path: Mistake(draft.fields.origin, dotted(("stages", draft.name)), message)}


def _kind(draft: StageDraft) -> str:
    assert draft.stage is not None, "only stages that were found share a budget"
    config = draft.stage.Config
    assert issubclass(config, PruningConfig), config
    return config.prunes
