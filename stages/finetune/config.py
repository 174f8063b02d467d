"""What a recipe may say about the finetune stage: only how to train."""

from pipeline.recipe.training import StageConfig


class FinetuneConfig(StageConfig):
    """Settings of ``finetune``: those of the training loop, and nothing more."""
