"""The patterns in which weights become zero, as a recipe spells them; light, for a recipe is read without torch."""

from __future__ import annotations

import re
from dataclasses import dataclass

BLOCK = re.compile(r"([1-9]\d*)x([1-9]\d*)")
KEPT_OF = re.compile(r"([1-9]\d*):([1-9]\d*)")
CHANNEL = "channel"


@dataclass(frozen=True)
class BlockPattern:
    """Blocks of ``rows`` output rows by ``columns`` input columns; None: as many as the weight has."""

    rows: int | None
    columns: int | None

    @property
    def largest_share(self) -> float:
        """The share of a weight that the pattern can remove."""
        return 1.0


@dataclass(frozen=True)
class KeptPattern:
    """``kept`` of every ``of`` consecutive inputs stay, which is what NVIDIA's sparse kernels ask for at 2 of 4.

    Unlike Intel Neural Compressor, whose ``N:M`` counts the pruned.
    """

    kept: int
    of: int

    @property
    def largest_share(self) -> float:
        """The share of a weight that the pattern can remove."""
        return (self.of - self.kept) / self.of


Pattern = BlockPattern | KeptPattern


def parse_pattern(text: str) -> Pattern:
    """Return what ``text`` means: NxM, channelx1, 1xchannel or N:M; raises ``ValueError`` for anything else."""
    if text == f"{CHANNEL}x1":
        return BlockPattern(None, 1)
    if text == f"1x{CHANNEL}":
        return BlockPattern(1, None)
    if found := BLOCK.fullmatch(text):
        return BlockPattern(int(found[1]), int(found[2]))
    if (found := KEPT_OF.fullmatch(text)) and int(found[1]) < int(found[2]):
        return KeptPattern(int(found[1]), int(found[2]))
    raise ValueError(f"must be NxM such as 4x1, N:M with N kept of M such as 2:4, channelx1 or 1xchannel, got {text!r}")
