"""What an artifact is: where it came from, what it holds, what it measured; written last, sealed by its own digest."""

from __future__ import annotations

import math
import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from pipeline.artifacts.commit import MANIFEST
from pipeline.artifacts.digests import file_digest
from pipeline.artifacts.sealed import finite, seal, unseal

FORMAT = 1
VERSIONS = ("torch", "transformers", "accelerate", "datasets", "tokenizers", "safetensors")


@dataclass(frozen=True)
class Manifest:
    """One committed stage.

    ``document`` is what ``fingerprint`` hashes. ``inputs`` names the parent and the teacher with the digest of their
    content. ``files`` maps each path in the artifact to its sha256. ``metrics`` are numbers (nan where a metric is
    undefined), ``details`` any JSON, with null for a number that is not finite. ``seconds`` is wall time summed over
    resumes, ``created`` an ISO time.
    """

    stage: str
    uses: str
    version: int
    fingerprint: str
    document: Mapping[str, Any]
    inputs: Mapping[str, Any]
    files: Mapping[str, str]
    metrics: Mapping[str, float]
    details: Mapping[str, Any]
    environment: Mapping[str, Any]
    seconds: float
    created: str

    def to_bytes(self) -> bytes:
        """Return the manifest as the sealed JSON of ``manifest.json``."""
        measured = {"metrics": finite(self.metrics), "details": finite(self.details)}
        return seal({**asdict(self), **measured, "format": FORMAT})

    @classmethod
    def from_bytes(cls, data: bytes) -> Manifest:
        """Return the manifest in ``data``; raises ``ValueError`` when a byte differs from what was written."""
        document = unseal(data)
        if document.pop("format", None) != FORMAT:
            raise ValueError("another version of pruneline wrote it")
        if set(document) != {field.name for field in fields(cls)}:
            raise ValueError("it holds other fields than a manifest")
        metrics = {key: math.nan if value is None else value for key, value in document["metrics"].items()}
        return cls(**{**document, "metrics": metrics})


def list_files(folder: Path) -> list[Path]:
    """Return every file below ``folder`` but the manifest, sorted."""
    return sorted(path for path in folder.rglob("*") if not path.is_dir() and path != folder / MANIFEST)


def file_digests(folder: Path) -> dict[str, str]:
    """Return ``{path relative to folder: sha256}`` of every file but the manifest."""
    return {path.relative_to(folder).as_posix(): file_digest(path) for path in list_files(folder)}


def environment(device: str) -> dict[str, Any]:
    """Return versions, threads and machine, so that a number can be traced to what measured it: ``device``."""
    torch = sys.modules.get("torch")
    return {
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in VERSIONS},
        "machine": platform.machine(),
        "system": platform.system(),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads() if torch is not None else None,
        "device": device,
    }


def now() -> str:
    """Return the present time in UTC, in ISO form with seconds."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
