"""Settings of a training loop, inherited by every stage and overridden where it says otherwise."""

import re
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from pipeline.recipe.values import (
    DISPLAY,
    LATER,
    Flag,
    Frozen,
    NonNegativeNumber,
    Number,
    PositiveInteger,
    PositiveNumber,
    Share,
    StepOrShare,
    Text,
)

Beta = Annotated[Number, Field(ge=0, lt=1)]


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"must be a regular expression, got {pattern!r}: {error}") from None
    return pattern


Pattern = Annotated[Text, AfterValidator(_compiles)]


class TrainingConfig(Frozen):
    """How to train: exactly one of ``epochs`` and ``steps`` holds in a stage; a stage's own wins over the inherited."""

    epochs: PositiveNumber | None = Field(None, description="passes over the training split; a fraction is allowed")
    steps: PositiveInteger | None = Field(None, description="optimizer steps, instead of epochs")
    batch_size: PositiveInteger = Field(32, description="rows per forward pass and process")
    gradient_accumulation: PositiveInteger = Field(
        1, description="batches per optimizer step, each counted by its rows"
    )
    learning_rate: PositiveNumber = 3e-5
    schedule: Literal["linear", "cosine", "constant", "inverse_sqrt"] = "linear"
    warmup: StepOrShare = Field(0, description="learning-rate warm-up: an integer counts steps, 0.1 is a share")
    weight_decay: NonNegativeNumber = 0.0
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    epsilon: PositiveNumber = 1e-8
    max_grad_norm: PositiveNumber | None = Field(1.0, description="gradient clipping by norm; null: none")
    freeze: tuple[Pattern, ...] = Field(
        (),
        description="regular expressions; parameters whose name one of them is found in do not learn: [embeddings]",
        json_schema_extra=LATER,
    )
    dropout: Share | None = Field(
        None, description="probability in all dropout layers; null: the model's own", json_schema_extra=LATER
    )
    embedding_gradients: Literal["auto", "dense", "sparse"] = Field(
        "auto",
        description="sparse: of word embeddings only the rows that a step reads are updated, the others when they are "
        "next read, with the same result (to rounding, where gradients are large beside epsilon); auto: so on the CPU, "
        "in one process, where it pays",
        json_schema_extra=LATER,
    )
    length_pool: PositiveInteger = Field(50, description="batches sorted by length together; 1: no bucketing")
    mixed_precision: Literal["auto", "no", "bf16", "fp16"] = Field(
        "auto", description="auto times a few steps in float32 and in bf16 and keeps the faster"
    )
    evaluate_every: PositiveNumber | None = Field(
        1, description="epochs between evaluations while training; null: only at the end", json_schema_extra=DISPLAY
    )
    log_every: PositiveInteger = Field(10, description="steps between lines of metrics", json_schema_extra=DISPLAY)
    save_seconds: NonNegativeNumber = Field(
        30, description="seconds of work a kill may lose, where save_share allows it", json_schema_extra=DISPLAY
    )
    save_share: PositiveNumber = Field(
        0.03, description="largest share of time spent saving", json_schema_extra=DISPLAY
    )
    progress: Flag = Field(True, description="show progress bars", json_schema_extra=DISPLAY)
    tracking: Literal["tensorboard", "wandb", "mlflow"] | None = Field(
        None, description="where the metrics of every step logged are sent as well", json_schema_extra=DISPLAY
    )


class StageConfig(TrainingConfig):
    """What every stage's own ``Config`` extends."""

    inherits_as: ClassVar[Mapping[str, str]] = {}
    """Fields of ``training`` that this stage has under another name, since it says something else by theirs."""

    teacher: Text | None = Field(
        None, description="an earlier stage, 'source', a model folder or hub id; default: the last finetune before it"
    )
