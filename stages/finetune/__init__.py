"""Training on the task's own loss; the model it returns is the teacher of later stages."""

from stages.finetune.config import FinetuneConfig
from stages.finetune.stage import Finetune

__all__ = ["Finetune", "FinetuneConfig"]
