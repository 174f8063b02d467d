"""Canonical JSON, and JSON that carries its own digest so that any changed byte shows."""

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ODD_NAMES = "surrogatepass"
"""What lets names of files through that are not UTF-8, there and back: ``json.loads`` reads bytes so, too."""


def finite(value: Any) -> Any:
    """Return ``value`` with null for each number in it that JSON has no spelling for: nan and the infinite ones."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def canonical(document: Any) -> str:
    """Return the one JSON text of ``document``: sorted keys, no spaces; raises ``ValueError`` for nan and inf."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(document: Any) -> str:
    """Return the sha256 of the canonical JSON of ``document``, in hexadecimal."""
    return hashlib.sha256(canonical(document).encode(errors=ODD_NAMES)).hexdigest()


def seal(document: Mapping[str, Any]) -> bytes:
    """Return ``document`` as indented JSON for people, with a ``digest`` of the rest of it."""
    sealed = {**document, "digest": digest(document)}
    return (json.dumps(sealed, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode(
        errors=ODD_NAMES
    )


def unseal(data: bytes) -> dict[str, Any]:
    """Return the document in ``data``; raises ``ValueError`` unless every byte is as ``seal`` wrote it."""
    sealed = json.loads(data)
    if not isinstance(sealed, dict) or "digest" not in sealed:
        raise ValueError("it is not a sealed JSON object")
    document = {key: value for key, value in sealed.items() if key != "digest"}
    if seal(document) != data:
        raise ValueError("its bytes are not those that were written")
    return document


def read_sealed(path: Path) -> dict[str, Any]:
    """Return the document at ``path``, or an empty one where the file is missing or damaged: for caches only."""
    try:
        return unseal(path.read_bytes())
    except (OSError, ValueError):
        return {}
