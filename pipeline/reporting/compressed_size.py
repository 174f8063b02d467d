"""How many bytes a model's weights take once compressed: what a download or an app store counts."""

from __future__ import annotations

import zlib
from pathlib import Path

GZIP = 16 + zlib.MAX_WBITS
"""The window that makes ``zlib`` write gzip's header and checksum."""
PIECE = 1 << 20


def gzip_bytes(folder: Path, pattern: str = "*.safetensors") -> int:
    """Return the bytes that ``gzip`` at its usual level makes of the files of ``folder``, one after the other."""
    return sum(_compressed(path) for path in sorted(folder.glob(pattern)))


def _compressed(path: Path) -> int:
    compressor, total = zlib.compressobj(wbits=GZIP), 0
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            total += len(compressor.compress(piece))
    return total + len(compressor.flush())
