"""What a recipe may say about repairing the consumers of units that go."""

from __future__ import annotations

from pydantic import Field

from pipeline.recipe.values import Frozen, PositiveInteger, PositiveNumber


class RepairConfig(Frozen):
    """Settings of the repair inside a pruning stage."""

    rows: PositiveInteger = Field(512, description="rows of the training split to fit to; each repair passes them once")
    ridge: PositiveNumber = Field(
        1e-3, description="holds weights back, as a share of the mean square of the inputs; more changes them less"
    )
