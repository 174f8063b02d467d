"""ViT whose layers keep fewer attention heads or FFN channels; needs torch and transformers only."""
# mypy: allow-subclassing-any

from dataclasses import field
from typing import Any

from transformers import (
    ViTConfig,
    ViTForImageClassification,
    ViTForMaskedImageModeling,
    ViTModel,
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


class CondensedViTConfig(ViTConfig):
    """A ViT config that also says how many units each group keeps."""

    model_type = "condensed-vit"
    image_processor_type: str | None = "ViTImageProcessor"
    condensed: dict[str, int] | None = None
    auto_map: dict[str, str] | None = field(default_factory=lambda: code_references(AUTO_CLASSES))


class CondensedViT(Condensed):
    """What all condensed ViT classes share."""

    config_class = CondensedViTConfig
    stacks = STACKS


class CondensedViTModel(CondensedViT, ViTModel):
    """Condensed ViT without a head."""


class CondensedViTForImageClassification(CondensedViT, ViTForImageClassification):
    """Condensed ViT that labels images."""


class CondensedViTForMaskedImageModeling(CondensedViT, ViTForMaskedImageModeling):
    """Condensed ViT that fills masked patches."""


AUTO_CLASSES: dict[str, Any] = {
    "AutoConfig": CondensedViTConfig,
    "AutoModel": CondensedViTModel,
    "AutoModelForImageClassification": CondensedViTForImageClassification,
    "AutoModelForMaskedImageModeling": CondensedViTForMaskedImageModeling,
}
travel(AUTO_CLASSES)
