"""DeiT whose layers keep fewer attention heads or FFN channels; needs torch and transformers only."""
# mypy: allow-subclassing-any

from dataclasses import field
from typing import Any

from transformers import (
    DeiTConfig,
    DeiTForImageClassification,
    DeiTForMaskedImageModeling,
    DeiTModel,
)

from .narrow import Condensed, Coupling, Rows, Stack, code_references, travel

HEADS = Coupling(
    name="heads",
    kind="heads",
    producers=(Rows("attention.q_proj"), Rows("attention.k_proj"), Rows("attention.v_proj")),
    consumer="attention.o_proj",
    head_width="attention.head_dim",
)
CHANNELS = Coupling(name="channels", kind="channels", producers=(Rows("mlp.fc1"),), consumer="mlp.fc2")
STACKS = (Stack("encoder", "layers", (HEADS, CHANNELS)),)


class CondensedDeiTConfig(DeiTConfig):
    """A DeiT config that also says how many units each group keeps."""

    model_type = "condensed-deit"
    image_processor_type: str | None = "DeiTImageProcessor"
    condensed: dict[str, int] | None = None
    auto_map: dict[str, str] | None = field(default_factory=lambda: code_references(AUTO_CLASSES))


class CondensedDeiT(Condensed):
    """What all condensed DeiT classes share."""

    config_class = CondensedDeiTConfig
    stacks = STACKS


class CondensedDeiTModel(CondensedDeiT, DeiTModel):
    """Condensed DeiT without a head."""


class CondensedDeiTForImageClassification(CondensedDeiT, DeiTForImageClassification):
    """Condensed DeiT that labels images."""


class CondensedDeiTForMaskedImageModeling(CondensedDeiT, DeiTForMaskedImageModeling):
    """Condensed DeiT that fills masked patches."""


AUTO_CLASSES: dict[str, Any] = {
    "AutoConfig": CondensedDeiTConfig,
    "AutoModel": CondensedDeiTModel,
    "AutoModelForImageClassification": CondensedDeiTForImageClassification,
    "AutoModelForMaskedImageModeling": CondensedDeiTForMaskedImageModeling,
}
travel(AUTO_CLASSES)
