"""RoBERTa whose layers keep fewer attention heads or FFN channels; needs torch and transformers only."""
# mypy: allow-subclassing-any

from dataclasses import field
from typing import Any

from transformers import (
    RobertaConfig,
    RobertaForMaskedLM,
    RobertaForMultipleChoice,
    RobertaForQuestionAnswering,
    RobertaForSequenceClassification,
    RobertaForTokenClassification,
    RobertaModel,
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


class CondensedRobertaConfig(RobertaConfig):
    """A RoBERTa config that also says how many units each group keeps."""

    model_type = "condensed-roberta"
    tokenizer_class: str | None = "RobertaTokenizer"
    condensed: dict[str, int] | None = None
    auto_map: dict[str, str] | None = field(default_factory=lambda: code_references(AUTO_CLASSES))


class CondensedRoberta(Condensed):
    """What all condensed RoBERTa classes share."""

    config_class = CondensedRobertaConfig
    stacks = STACKS


class CondensedRobertaModel(CondensedRoberta, RobertaModel):
    """Condensed RoBERTa without a head."""


class CondensedRobertaForMaskedLM(CondensedRoberta, RobertaForMaskedLM):
    """Condensed RoBERTa that fills masked tokens."""


class CondensedRobertaForMultipleChoice(CondensedRoberta, RobertaForMultipleChoice):
    """Condensed RoBERTa that picks one of several continuations."""


class CondensedRobertaForQuestionAnswering(CondensedRoberta, RobertaForQuestionAnswering):
    """Condensed RoBERTa that marks where an answer starts and ends."""


class CondensedRobertaForSequenceClassification(CondensedRoberta, RobertaForSequenceClassification):
    """Condensed RoBERTa that labels whole texts."""


class CondensedRobertaForTokenClassification(CondensedRoberta, RobertaForTokenClassification):
    """Condensed RoBERTa that labels each token."""


AUTO_CLASSES: dict[str, Any] = {
    "AutoConfig": CondensedRobertaConfig,
    "AutoModel": CondensedRobertaModel,
    "AutoModelForMaskedLM": CondensedRobertaForMaskedLM,
    "AutoModelForMultipleChoice": CondensedRobertaForMultipleChoice,
    "AutoModelForQuestionAnswering": CondensedRobertaForQuestionAnswering,
    "AutoModelForSequenceClassification": CondensedRobertaForSequenceClassification,
    "AutoModelForTokenClassification": CondensedRobertaForTokenClassification,
}
travel(AUTO_CLASSES)
