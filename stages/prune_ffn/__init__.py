"""Removing FFN channels by first-order Taylor importance, in rounds while training, or by weight."""

from stages.prune_ffn.config import PruneFfnConfig
from stages.prune_ffn.stage import PruneFfn

__all__ = ["PruneFfn", "PruneFfnConfig"]
