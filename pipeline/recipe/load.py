"""Reads a recipe to the end: what it extends, what ``--set`` changes, what each stage inherits, and every mistake."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from pipeline.errors import RecipeError
from pipeline.recipe.budget_rules import check_budget
from pipeline.recipe.document import Located, Path_, dotted, from_mapping, unfit_numbers
from pipeline.recipe.document_model import RecipeDocument
from pipeline.recipe.extending import extended, read_recipe_file
from pipeline.recipe.inheritance import StageDraft, draft_stages
from pipeline.recipe.mistakes import Mistake, refuse
from pipeline.recipe.overrides import VARY, apply_overrides
from pipeline.recipe.recipe import Recipe, leaves
from pipeline.recipe.references import check_references
from pipeline.recipe.shipped import find_recipe
from pipeline.recipe.wording import check


def load_recipe(
    source: str | Path | Mapping[str, Any],
    *,
    stages: Mapping[str, Any],
    overrides: Sequence[str] = (),
    varied: Sequence[str] = (),
) -> Recipe:
    """Return the recipe in a file, shipped under a name, or given as a mapping, with ``overrides`` applied.

    ``varied`` are the overrides of one run of a sweep, applied after the others.
    ``stages`` maps what a stage may use to ``"module:Class"``. Raises one ``RecipeError`` that lists every mistake,
    a line each: ``recipe.yaml:14: stages.prune_heads.sparsity: must be in [0, 1), got 1.5``.
    """
    document = apply_overrides(apply_overrides(_read(source), overrides), varied, VARY)
    drafts, wrong_stages = draft_stages(document, stages)
    head, wrong = check(RecipeDocument, document.plain(), document, ())
    wrong_head = {path: mistake for path, mistake in wrong.items() if path[:1] != ("stages",)}
    unfit = _unfit_numbers(document, {draft.index: draft.name for draft in drafts})
    references = {**check_references(document, drafts), **check_budget(document, drafts)}
    refuse(_innermost({**wrong, **references, **wrong_stages, **wrong_head, **unfit}))
    recipe = cast(RecipeDocument, head)
    return Recipe(
        name=recipe.name,
        seed=recipe.seed,
        model=recipe.model,
        task=recipe.task,
        training=recipe.training,
        stages=tuple(draft.resolved() for draft in drafts),
        budget=recipe.budget,
        provenance=_provenance(document, recipe, drafts),
    )


def _read(source: str | Path | Mapping[str, Any]) -> Located:
    if isinstance(source, Mapping):
        return extended(from_mapping(source, "recipe"), Path())
    if not isinstance(source, (str, Path)):
        raise RecipeError(f"a recipe must be a file, a shipped recipe's name or a mapping, got {type(source).__name__}")
    return read_recipe_file(find_recipe(source))


def _unfit_numbers(document: Located, names: Mapping[int, str]) -> dict[Path_, Mistake]:
    return {
        path: Mistake(mistake.origin, dotted(_named(path, names)), mistake.message)
        for path, mistake in unfit_numbers(document).items()
    }


def _named(path: Path_, names: Mapping[int, str]) -> Path_:
    """Return a path with the stage's name in place of its index."""
    if len(path) > 1 and path[0] == "stages" and isinstance(path[1], int):
        return ("stages", names.get(path[1], str(path[1])), *path[2:])
    return path


def _innermost(mistakes: Mapping[Path_, Mistake]) -> list[Mistake]:
    """Return the mistakes without those that only follow from one further inside the same value."""
    return [
        mistake
        for path, mistake in mistakes.items()
        if not any(other != path and other[: len(path)] == path and path for other in mistakes)
    ]


def _provenance(document: Located, recipe: RecipeDocument, drafts: Sequence[StageDraft]) -> dict[str, str]:
    origins: dict[str, str] = {}
    for field in ("name", "seed", "model", "task", "training", "budget"):
        for path, _ in leaves((field,), getattr(recipe, field)):
            if document.has(path):
                origins[dotted(path)] = document.find(path).origin.short()
    for draft in drafts:
        for path, _ in leaves((), draft.config):
            if draft.fields is not None and draft.fields.has(path):
                origin = draft.fields.find(path).origin.short()
                inherited = path[0] in draft.inherited
                origins[dotted(("stages", draft.name, *path))] = f"training ({origin})" if inherited else origin
    return origins
