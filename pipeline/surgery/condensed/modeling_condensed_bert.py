"""BERT whose layers keep fewer attention heads or FFN channels; needs torch and transformers only."""
# mypy: allow-subclassing-any

from dataclasses import field
from typing import Any

from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForMultipleChoice,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertModel,
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


class CondensedBertConfig(BertConfig):
    """A BERT config that also says how many units each group keeps."""

    model_type = "condensed-bert"
    tokenizer_class: str | None = "BertTokenizer"
    condensed: dict[str, int] | None = None
    auto_map: dict[str, str] | None = field(default_factory=lambda: code_references(AUTO_CLASSES))


class CondensedBert(Condensed):
    """What all condensed BERT classes share."""

    config_class = CondensedBertConfig
    stacks = STACKS


class CondensedBertModel(CondensedBert, BertModel):
    """Condensed BERT without a head."""


class CondensedBertForMaskedLM(CondensedBert, BertForMaskedLM):
    """Condensed BERT that fills masked tokens."""


class CondensedBertForMultipleChoice(CondensedBert, BertForMultipleChoice):
    """Condensed BERT that picks one of several continuations."""


class CondensedBertForQuestionAnswering(CondensedBert, BertForQuestionAnswering):
    """Condensed BERT that marks where an answer starts and ends."""


class CondensedBertForSequenceClassification(CondensedBert, BertForSequenceClassification):
    """Condensed BERT that labels whole texts."""


class CondensedBertForTokenClassification(CondensedBert, BertForTokenClassification):
    """Condensed BERT that labels each token."""


AUTO_CLASSES: dict[str, Any] = {
    "AutoConfig": CondensedBertConfig,
    "AutoModel": CondensedBertModel,
    "AutoModelForMaskedLM": CondensedBertForMaskedLM,
    "AutoModelForMultipleChoice": CondensedBertForMultipleChoice,
    "AutoModelForQuestionAnswering": CondensedBertForQuestionAnswering,
    "AutoModelForSequenceClassification": CondensedBertForSequenceClassification,
    "AutoModelForTokenClassification": CondensedBertForTokenClassification,
}
travel(AUTO_CLASSES)
