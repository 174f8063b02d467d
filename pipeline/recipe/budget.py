"""One target for a whole recipe, which its pruning stages share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import Field, ValidationInfo, model_validator
from typing_extensions import Self

from pipeline.recipe.document import Located, Path_
from pipeline.recipe.training import StageConfig
from pipeline.recipe.values import Frozen, Number, PositiveInteger
from pipeline.surgery.groups import Kind

BUDGET: Path_ = ("budget",)
PartShare = Annotated[Number, Field(gt=0, lt=1)]


class BudgetSource(Frozen):
    """What the first model may come down to; exactly one of the two shares is given.

    Both count the transformer layers alone: their multiply-accumulates on the rows that the report counts on, or
    their parameters. What stays is within the budget, by less than one channel, or by less
    than one head where no channel has to go or no stage prunes them.
    """

    macs: PartShare | None = Field(None, description="share of the layers' multiply-accumulates that stays")
    encoder_sparsity: PartShare | None = Field(None, description="share of the layers' parameters that goes")
    rows: PositiveInteger = Field(512, description="training rows by which heads and channels are weighed up")

    @model_validator(mode="after")
    def _has_one_target(self) -> Self:
        if (self.macs is None) == (self.encoder_sparsity is None):
            raise ValueError("must give exactly one of macs and encoder_sparsity, such as {macs: 0.15}")
        return self


class PruningConfig(StageConfig):
    """What the ``Config`` of a stage extends that removes units of one kind, as many as its ``sparsity`` says.

    A recipe's budget gives it that number; its ``sparsity`` is then null.
    """

    prunes: ClassVar[Kind]
    floor: ClassVar[str]
    """The name of the setting that ``least_kept`` follows."""

    def least_kept(self, width: int) -> int:
        """Return how many units a layer that has ``width`` of them keeps at least."""
        raise NotImplementedError


@dataclass(frozen=True)
class StageBudget:
    """A recipe's budget as one pruning stage meets it; ``to_come`` are the later stages that share it, by kind."""

    target: BudgetSource
    to_come: Mapping[Kind, PruningConfig]

    def document(self) -> dict[str, Any]:
        """Return what the stage's output depends on: the rows and the later floors only where a split is to be made."""
        given = self.target.model_dump(mode="json", exclude_none=True)
        if not self.to_come:
            del given["rows"]
            return given
        floors = {kind: {config.floor: getattr(config, config.floor)} for kind, config in self.to_come.items()}
        return {**given, "to_come": floors}


def given_budget(document: Located) -> Located | None:
    """Return the budget as it is written; None where there is none, also for ``budget: null``."""
    written = document.find(BUDGET)
    return written if document.has(BUDGET) and written.value is not None else None


def has_budget(info: ValidationInfo) -> bool:
    """Say whether the config that is being read belongs to a recipe with a budget."""
    return bool((info.context or {}).get("has_budget"))
