"""Where a run's model and data come from, as the recipe says it."""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from pipeline.recipe.values import Flag, Frozen, Integer, NonNegativeInteger, Number, PositiveInteger, Text

FILE_FORMATS = ("csv", "tsv", "json", "parquet")
KNOWN_METRICS = ("accuracy", "f1", "matthews", "pearson", "spearman")
Builtin = Literal["digits", "grammar"]
FOREIGN_FIELDS: dict[str | None, tuple[str, ...]] = {
    None: ("rows", "seed"),
    "digits": ("name", "revision", "data_files", "rows", "seed"),
    "grammar": ("name", "revision", "data_files"),
    **dict.fromkeys(FILE_FORMATS, ("name", "revision", "rows", "seed")),
}
"""What a data set of each builtin, of local files, or of another path, has no use for."""


def _one_as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Names = Annotated[
    tuple[Text, ...],
    BeforeValidator(_one_as_list, json_schema_input_type=str | list[str]),
]
GrammarRows = Annotated[Integer, Field(ge=4, le=100_000)]
SplitShare = Annotated[Number, Field(gt=0, lt=1)]


class ModelSource(Frozen):
    """A model to start from: weights of the hub or of a folder (``pretrained``), or random ones (``config``)."""

    pretrained: Text | None = Field(None, description="hub id or folder of a model")
    revision: Text | None = Field(None, description="branch, tag or commit on the hub")
    config: dict[str, Any] | None = Field(
        None, description="a configuration with model_type, to start from random weights"
    )
    trust_remote_code: Flag = False

    @property
    def is_folder(self) -> bool:
        """Say whether ``pretrained`` exists as a local folder."""
        return self.pretrained is not None and os.path.isdir(self.pretrained)

    @model_validator(mode="before")
    @classmethod
    def _read_text(cls, value: Any) -> Any:
        return {"pretrained": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _has_one_source(self) -> ModelSource:
        if (self.pretrained is None) == (self.config is None):
            raise ValueError("must give exactly one of pretrained (a hub id or folder) and config (random weights)")
        if self.config is not None and self.revision is not None:
            raise ValueError("takes no revision with a config; remove one of them")
        return self

    @field_validator("config")
    @classmethod
    def _names_its_family(cls, config: dict[str, Any] | None) -> dict[str, Any] | None:
        if config is not None and not (isinstance(config.get("model_type"), str) and config["model_type"]):
            raise ValueError("must hold model_type, the family's name such as bert")
        return config


class DatasetSource(Frozen):
    """Rows of the hub, of local files, of a folder written by ``save_to_disk``, or built in (no network)."""

    path: Text | None = Field(None, description="hub id, save_to_disk folder, or csv, tsv, json, parquet")
    name: Text | None = Field(None, description="configuration of a hub data set, such as mnli")
    revision: Text | None = None
    data_files: dict[str, Text | list[Text]] | None = Field(None, description="files of each split")
    builtin: Builtin | None = Field(None, description="digits: scikit-learn's images; grammar: generated text")
    rows: GrammarRows | None = Field(None, description="how many training rows the grammar makes")
    seed: NonNegativeInteger | None = Field(None, description="seed of the grammar's rows")
    trust_remote_code: Flag = False

    @model_validator(mode="before")
    @classmethod
    def _read_text(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _has_one_source(self) -> DatasetSource:
        if (self.path is None) == (self.builtin is None):
            raise ValueError("must give exactly one of path (hub id, folder or file format) and builtin")
        if self.path in FILE_FORMATS and self.data_files is None:
            raise ValueError(f"data_files: must be given with path {self.path}, such as {{train: FILE}}")
        kind = self.path if self.path in FILE_FORMATS else self.builtin
        source = f"builtin {self.builtin}" if self.builtin else f"path {kind}" if kind else "path"
        for field in FOREIGN_FIELDS[kind]:
            if getattr(self, field) is not None:
                raise ValueError(f"takes no {field} with {source}; remove one of them")
        return self

    @field_validator("data_files")
    @classmethod
    def _names_a_file(cls, files: dict[str, str | list[str]] | None) -> dict[str, str | list[str]] | None:
        if files is not None and (not files or not all(files.values())):
            raise ValueError("must name at least one file for each split")
        return files


class TaskSource(Frozen):
    """What is predicted from which columns of which splits, and how it is scored."""

    type: Literal["text-classification", "image-classification"]
    dataset: DatasetSource
    text: Names = Field((), description="one or two text columns", validate_default=True)
    image: Text = Field("image", description="the image column")
    label: Text = Field("label", description="the label column")
    labels: tuple[Text, ...] | None = Field(None, description="names of the classes, in order; default: the data's")
    train: Text = "train"
    validation: Names = Field(("validation",), description="splits that are reported, each apart", min_length=1)
    select: Text | SplitShare | None = Field(
        None, description="a split, or a share of train, on which the best epoch is chosen; null: the last epoch"
    )
    metric: Names = Field(("accuracy",), description="names of metrics; the first one leads", min_length=1)
    greater_is_better: Flag | None = Field(
        None,
        description="whether more of the first metric is better; to be said where select goes by a metric that is not "
        "ours, such as mse: false",
    )
    max_length: PositiveInteger = Field(128, description="longest input in tokens")
    regression: Flag = Field(False, description="labels are numbers to be regressed")
    train_rows: PositiveInteger | None = Field(None, description="only the first rows of train, for trials")
    validation_rows: PositiveInteger | None = Field(None, description="only the first rows of each validation split")
    trust_remote_code: Flag = Field(False, description="fetch unknown metrics with evaluate.load, and run their code")

    @field_validator("validation", "metric", "labels", "text")
    @classmethod
    def _has_no_twins(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for name in names or ():
            if (names or ()).count(name) > 1:
                raise ValueError(f"must not name {name!r} twice")
        return names

    @model_validator(mode="after")
    def _is_consistent(self) -> TaskSource:
        if self.type == "text-classification" and len(self.text) not in (1, 2):
            raise ValueError(f"text: must name one or two columns for text-classification, got {list(self.text)}")
        if self.regression and self.labels is not None:
            raise ValueError("labels: takes no class names with regression: true; remove one of them")
        if self.regression and self.type == "image-classification":
            raise ValueError("regression: must be false for image-classification, got true")
        if self.select is not None and self.select in (self.train, *self.validation):
            reported = ", ".join((self.train, *self.validation))
            raise ValueError(
                f"select: must be a split that is neither trained on nor reported ({reported}), or a share of train "
                f"such as 0.1, got {self.select!r}"
            )
        unknown = [name for name in self.metric if name not in KNOWN_METRICS]
        if unknown and not self.trust_remote_code:
            raise ValueError(
                f"metric: must be of {', '.join(KNOWN_METRICS)}, or any that evaluate.load finds with "
                f"task.trust_remote_code: true, got {unknown[0]!r}"
            )
        self._check_direction()
        return self

    def _check_direction(self) -> None:
        leading = self.metric[0]
        if leading in KNOWN_METRICS and self.greater_is_better is False:
            raise ValueError(f"greater_is_better: must be true for {leading}, of which more is better, got false")
        if leading not in KNOWN_METRICS and self.select is not None and self.greater_is_better is None:
            raise ValueError(
                f"greater_is_better: must be given where select goes by a metric that is not ours, {leading}: true if "
                "more of it is better, false if less, as of an error"
            )
