"""DistilBERT whose layers keep fewer attention heads or FFN channels; needs torch and transformers only."""
# mypy: allow-subclassing-any

from dataclasses import field
from typing import Any

from transformers import (
    DistilBertConfig,
    DistilBertForMaskedLM,
    DistilBertForMultipleChoice,
    DistilBertForQuestionAnswering,
    DistilBertForSequenceClassification,
    DistilBertForTokenClassification,
    DistilBertModel,
)

from .narrow import Condensed, Coupling, Rows, Stack, code_references, travel

HEADS = Coupling(
    name="heads",
    kind="heads",
    producers=(Rows("attention.q_lin"), Rows("attention.k_lin"), Rows("attention.v_lin")),
    consumer="attention.out_lin",
    head_width="attention.attention_head_size",
)
CHANNELS = Coupling(name="channels", kind="channels", producers=(Rows("ffn.lin1"),), consumer="ffn.lin2")
STACKS = (Stack("encoder", "transformer.layer", (HEADS, CHANNELS)),)


class CondensedDistilBertConfig(DistilBertConfig):
    """A DistilBERT config that also says how many units each group keeps."""

    model_type = "condensed-distilbert"
    tokenizer_class: str | None = "BertTokenizer"
    condensed: dict[str, int] | None = None
    auto_map: dict[str, str] | None = field(default_factory=lambda: code_references(AUTO_CLASSES))


class CondensedDistilBert(Condensed):
    """What all condensed DistilBERT classes share."""

    config_class = CondensedDistilBertConfig
    stacks = STACKS


class CondensedDistilBertModel(CondensedDistilBert, DistilBertModel):
    """Condensed DistilBERT without a head."""


class CondensedDistilBertForMaskedLM(CondensedDistilBert, DistilBertForMaskedLM):
    """Condensed DistilBERT that fills masked tokens."""


class CondensedDistilBertForMultipleChoice(CondensedDistilBert, DistilBertForMultipleChoice):
    """Condensed DistilBERT that picks one of several continuations."""


class CondensedDistilBertForQuestionAnswering(CondensedDistilBert, DistilBertForQuestionAnswering):
    """Condensed DistilBERT that marks where an answer starts and ends."""


class CondensedDistilBertForSequenceClassification(CondensedDistilBert, DistilBertForSequenceClassification):
    """Condensed DistilBERT that labels whole texts."""


class CondensedDistilBertForTokenClassification(CondensedDistilBert, DistilBertForTokenClassification):
    """Condensed DistilBERT that labels each token."""


AUTO_CLASSES: dict[str, Any] = {
    "AutoConfig": CondensedDistilBertConfig,
    "AutoModel": CondensedDistilBertModel,
    "AutoModelForMaskedLM": CondensedDistilBertForMaskedLM,
    "AutoModelForMultipleChoice": CondensedDistilBertForMultipleChoice,
    "AutoModelForQuestionAnswering": CondensedDistilBertForQuestionAnswering,
    "AutoModelForSequenceClassification": CondensedDistilBertForSequenceClassification,
    "AutoModelForTokenClassification": CondensedDistilBertForTokenClassification,
}
travel(AUTO_CLASSES)
