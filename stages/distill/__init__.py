"""Training against the teacher's logits and hidden states, to get back what a cut has cost."""

from stages.distill.config import DistillConfig, DistillWeights
from stages.distill.stage import Distill

__all__ = ["Distill", "DistillConfig", "DistillWeights"]
