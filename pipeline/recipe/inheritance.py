"""Resolves each stage: its own fields over ``training``, read by the stage's own ``Config``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from pipeline.errors import RecipeError
from pipeline.recipe.budget import PruningConfig, given_budget
from pipeline.recipe.document import Located, Path_, dotted
from pipeline.recipe.mistakes import Mistake, Origin, did_you_mean, shown
from pipeline.recipe.recipe import LENGTH, StageRecipe
from pipeline.recipe.stage_lookup import load_stage
from pipeline.recipe.training import StageConfig, TrainingConfig
from pipeline.recipe.wording import check
from pipeline.stage import Stage

STAGE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,99}")
RESERVED = ("source",)
DEFAULT_EPOCHS = 3.0


@dataclass(frozen=True)
class StageDraft:
    """A stage on its way to being resolved: ``fields`` as written or inherited, and ``config`` once they are right."""

    index: int
    name: str
    uses: str = ""
    stage: Stage | None = None
    fields: Located | None = None
    inherited: frozenset[str] = frozenset()
    config: StageConfig | None = None

    def resolved(self) -> StageRecipe:
        """Return the finished stage."""
        assert self.config is not None, "a draft without mistakes has its config"
        return StageRecipe(self.uses, self.name, self.config)


def draft_stages(document: Located, known: Mapping[str, Any]) -> tuple[list[StageDraft], dict[Path_, Mistake]]:
    """Return a draft of every stage that is a mapping, and the mistakes found, by their path in the document."""
    mistakes: dict[Path_, Mistake] = {}
    stages = document.find(("stages",)).value if document.has(("stages",)) else ()
    training = document.find(("training",)) if document.has(("training",)) else Located({}, document.origin)
    drafts: list[StageDraft] = []
    for index, located in enumerate(stages if isinstance(stages, list) else ()):
        path: Path_ = ("stages", index)
        if not isinstance(located.value, dict):
            message = f"must be a mapping such as {{uses: finetune}}, got {shown(located.plain())}"
            mistakes[path] = Mistake(located.origin, dotted(path), message)
            continue
        draft, wrong = _draft(index, located, training, known, given_budget(document))
        mistakes.update(wrong)
        twin = next((other for other in drafts if other.name == draft.name), None)
        if twin is not None:
            message = f"two stages are called {draft.name!r}; give one of them another name"
            mistakes.setdefault((*path, "name"), Mistake(located.origin, dotted(path), message))
        drafts.append(draft)
    return drafts, mistakes


def _draft(
    index: int, located: Located, training: Located, known: Mapping[str, Any], budget: Located | None
) -> tuple[StageDraft, dict[Path_, Mistake]]:
    path: Path_ = ("stages", index)
    fields = {key: item for key, item in located.value.items() if key not in ("uses", "name")}
    uses, wrong_uses = _uses(located, path, known)
    name, wrong_name = _name(located, path, uses)
    mistakes = {**wrong_uses, **wrong_name}
    if wrong_uses:
        return StageDraft(index, name), mistakes
    try:
        stage = load_stage(known[uses])
    except RecipeError as error:
        mistakes[(*path, "uses")] = Mistake(located.origin, dotted(("stages", name, "uses")), str(error))
        return StageDraft(index, name), mistakes
    written, inherited = _inherit(Located(fields, located.origin), training, stage.Config)
    if budget is not None and issubclass(stage.Config, PruningConfig):
        written = Located({"sparsity": Located(None, budget.origin), **written.value}, written.origin)
    about = {"has_budget": budget is not None}
    config, wrong = check(stage.Config, written.plain(), written, (), label=("stages", name), context=about)
    given_as = {own: name for name, own in stage.Config.inherits_as.items()}
    for below, mistake in wrong.items():
        is_inherited = bool(below) and below[0] in inherited
        place = ("training", given_as.get(str(below[0]), below[0]), *below[1:]) if is_inherited else (*path, *below)
        mistakes[place] = mistake
    length = (*path, "epochs")
    if all(_is_given(written, key) for key in LENGTH):
        message = "must give epochs or steps, got both; remove one of them"
        mistakes[length] = Mistake(written.value["steps"].origin, dotted(("stages", name)), message)
    return StageDraft(index, name, uses, stage, written, inherited, cast(StageConfig, config)), mistakes


def _uses(located: Located, path: Path_, known: Mapping[str, Any]) -> tuple[str, dict[Path_, Mistake]]:
    names = ", ".join(known)
    if "uses" not in located.value:
        message = f"must be given: one of {names}"
        return "", {(*path, "uses"): Mistake(located.origin, dotted((*path, "uses")), message)}
    item = located.value["uses"]
    if isinstance(item.value, str) and item.value in known:
        return item.value, {}
    message = (
        f"unknown stage{did_you_mean(item.plain(), list(known))}; must be one of {names}, got {shown(item.plain())}"
    )
    return "", {(*path, "uses"): Mistake(item.origin, dotted((*path, "uses")), message)}


def _name(located: Located, path: Path_, uses: str) -> tuple[str, dict[Path_, Mistake]]:
    if "name" not in located.value:
        return uses or str(path[1]), {}
    item = located.value["name"]
    if isinstance(item.value, str) and STAGE_NAME.fullmatch(item.value) and item.value not in RESERVED:
        return item.value, {}
    message = (
        f"must begin with a letter, hold letters, digits, _ and - only, and not be {' or '.join(RESERVED)}, "
        f"got {shown(item.plain())}"
    )
    return str(path[1]), {(*path, "name"): Mistake(item.origin, dotted((*path, "name")), message)}


def _inherit(own: Located, training: Located, config: type[StageConfig]) -> tuple[Located, frozenset[str]]:
    """Return a stage's fields over those of ``training``, and the names of the inherited; settles epochs or steps."""
    given = training.value if isinstance(training.value, dict) else {}
    given = {config.inherits_as.get(key, key): given[key] for key in given if key in TrainingConfig.model_fields}
    fields = {key: item for key, item in given.items() if key not in own.value}
    if any(_is_given(own, key) for key in LENGTH):
        fields = {key: item for key, item in fields.items() if key not in LENGTH}
    inherited = frozenset(fields)
    fields.update(own.value)
    merged = Located(fields, own.origin)
    defaults = [config.model_fields[key].default for key in LENGTH]
    if not any(_is_given(merged, key) for key in LENGTH) and defaults == [None, None]:
        fields["epochs"] = Located(DEFAULT_EPOCHS, Origin("default"))
    return merged, inherited


def _is_given(mapping: Located, key: str) -> bool:
    return key in mapping.value and mapping.value[key].value is not None
