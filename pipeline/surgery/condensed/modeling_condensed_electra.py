"""ELECTRA whose layers keep fewer attention heads or FFN channels; needs torch and transformers only."""
# mypy: allow-subclassing-any

from dataclasses import field
from typing import Any

from transformers import (
    ElectraConfig,
    ElectraForMaskedLM,
    ElectraForMultipleChoice,
    ElectraForQuestionAnswering,
    ElectraForSequenceClassification,
    ElectraForTokenClassification,
    ElectraModel,
)

from .narrow import Condensed, Coupling, Rows, Stack, code_references, travel

HEADS = Coupling(
    name="heads",
    kind="heads",
    producers=(Rows("attention.self.query"), Rows("attention.self.key"), Rows("attention.self.value")),
    consumer="attention.output.dense",
    head_width="attention.self.attention_head_size",
)
CHANNELS = Coupling(name="channels", kind="channels", producers=(Rows("intermediate.dense"),), consumer="output.dense")
STACKS = (Stack("encoder", "encoder.layer", (HEADS, CHANNELS)),)


class CondensedElectraConfig(ElectraConfig):
    """A ELECTRA config that also says how many units each group keeps."""

    model_type = "condensed-electra"
    tokenizer_class: str | None = "BertTokenizer"
    condensed: dict[str, int] | None = None
    auto_map: dict[str, str] | None = field(default_factory=lambda: code_references(AUTO_CLASSES))


class CondensedElectra(Condensed):
    """What all condensed ELECTRA classes share."""

    config_class = CondensedElectraConfig
    stacks = STACKS


class CondensedElectraModel(CondensedElectra, ElectraModel):
    """Condensed ELECTRA without a head."""


class CondensedElectraForMaskedLM(CondensedElectra, ElectraForMaskedLM):
    """Condensed ELECTRA that fills masked tokens."""


class CondensedElectraForMultipleChoice(CondensedElectra, ElectraForMultipleChoice):
    """Condensed ELECTRA that picks one of several continuations."""


class CondensedElectraForQuestionAnswering(CondensedElectra, ElectraForQuestionAnswering):
    """Condensed ELECTRA that marks where an answer starts and ends."""


class CondensedElectraForSequenceClassification(CondensedElectra, ElectraForSequenceClassification):
    """Condensed ELECTRA that labels whole texts."""


class CondensedElectraForTokenClassification(CondensedElectra, ElectraForTokenClassification):
    """Condensed ELECTRA that labels each token."""


AUTO_CLASSES: dict[str, Any] = {
    "AutoConfig": CondensedElectraConfig,
    "AutoModel": CondensedElectraModel,
    "AutoModelForMaskedLM": CondensedElectraForMaskedLM,
    "AutoModelForMultipleChoice": CondensedElectraForMultipleChoice,
    "AutoModelForQuestionAnswering": CondensedElectraForQuestionAnswering,
    "AutoModelForSequenceClassification": CondensedElectraForSequenceClassification,
    "AutoModelForTokenClassification": CondensedElectraForTokenClassification,
}
travel(AUTO_CLASSES)
