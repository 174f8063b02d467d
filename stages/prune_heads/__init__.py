"""Removing attention heads: movement pruning of blocks or of whole heads, or the heads of least weight."""

from stages.prune_heads.config import PruneHeadsConfig
from stages.prune_heads.stage import PruneHeads

__all__ = ["PruneHeads", "PruneHeadsConfig"]
