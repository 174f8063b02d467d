"""The saved state of a half-done stage: tensors and JSON, committed by rename, read strictly, saved in good measure."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from pipeline.artifacts.commit import writing
from pipeline.errors import ArtifactError

FORMAT = 1
TENSORS = "state.safetensors"
DOCUMENT = "state.json"
ASSUMED_BYTES_PER_SECOND = 500e6
"""How fast the first save is taken to be; later ones are measured."""


class Checkpoints:
    """Saves in ``folder``, one at a time: ``save-000007/`` replaces ``save-000006/`` only once it is whole.

    A save is due after ``save_seconds``, and later where it would take more than ``save_share`` of the time.
    """

    def __init__(self, folder: Path, *, save_seconds: float, save_share: float) -> None:
        self.folder = folder
        self.save_seconds = save_seconds
        self.save_share = save_share
        self._took: float | None = None
        self._saved_at = time.monotonic()

    def seconds_until_due(self, size_bytes: int) -> float:
        """Return the seconds until a save of ``size_bytes`` keeps to both limits; not positive: it is due."""
        return max(self.save_seconds, self._rest_seconds(size_bytes)) - (time.monotonic() - self._saved_at)

    def is_cheap(self, size_bytes: int) -> bool:
        """Say whether a save now would keep to ``save_share``, whatever ``save_seconds`` says."""
        return self._rest_seconds(size_bytes) <= time.monotonic() - self._saved_at

    def _rest_seconds(self, size_bytes: int) -> float:
        """Return the seconds between two saves that keep their share of the time small enough."""
        took = size_bytes / ASSUMED_BYTES_PER_SECOND if self._took is None else self._took
        return took / self.save_share

    def save(self, tensors: Mapping[str, Tensor], document: Mapping[str, Any]) -> None:
        """Write a save and then remove the one before; raises ``ArtifactError`` where the disk refuses.

        One without tensors tells nothing of how long the next will take.
        """
        started = time.monotonic()
        saves = self._saves()
        number = int(saves[-1].name.partition("-")[2]) + 1 if saves else 1
        with writing(self.folder):
            self._write(self.folder / f"save-{number:06d}", tensors, document)
        for old in saves:
            shutil.rmtree(old, ignore_errors=True)
        self._saved_at = time.monotonic()
        if tensors:
            self._took = self._saved_at - started

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return tensors and document of the last save, None without one; ``ArtifactError`` if it is damaged."""
        saves = self._saves()
        if not saves:
            return None
        document = _read_document(saves[-1] / DOCUMENT)
        return _read_tensors(saves[-1] / TENSORS, document["sha256"]), document["content"]

    def path(self) -> Path:
        """Return the tensors' file of the last save, for messages."""
        saves = self._saves()
        return saves[-1] / TENSORS if saves else self.folder

    def _saves(self) -> list[Path]:
        return sorted(self.folder.glob("save-*"))

    def _write(self, target: Path, tensors: Mapping[str, Tensor], document: Mapping[str, Any]) -> None:
        incomplete = self.folder / "incomplete"
        if incomplete.exists():
            shutil.rmtree(incomplete)
        incomplete.mkdir(parents=True)
        save_file(_unshared(tensors), incomplete / TENSORS)
        whole = {"format": FORMAT, "sha256": _sha256(incomplete / TENSORS), "content": dict(document)}
        (incomplete / DOCUMENT).write_text(json.dumps({**whole, "check": _check(whole)}), encoding="utf-8")
        for path in (incomplete / TENSORS, incomplete / DOCUMENT, incomplete):
            _sync(path)
        incomplete.rename(target)
        _sync(self.folder)


def damaged(path: Path, why: str) -> ArtifactError:
    """Return the error for a save that cannot be read, with the way out."""
    return ArtifactError(f"{path}: {why}; delete {path.parents[1]} to start this stage over")


def _read_document(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        check = document.pop("check")
    except OSError as error:
        raise damaged(path, f"the saved state cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise damaged(path, "the saved state is damaged: not the JSON that was written") from error
    if check != _check(document):
        raise damaged(path, "the saved state is damaged: its check sum does not fit")
    if document["format"] != FORMAT:
        raise damaged(path, f"the saved state has format {document['format']}, this version reads {FORMAT}")
    return dict(document)


def _read_tensors(path: Path, sha256: str) -> dict[str, Tensor]:
    try:
        if _sha256(path) != sha256:
            raise damaged(path, "the saved state is damaged: its check sum does not fit")
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is not a dictionary
    except OSError as error:
        raise damaged(path, f"the saved state cannot be read ({error.strerror})") from error


def _unshared(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return contiguous tensors of which no two share memory, as safetensors asks."""
    seen: set[int] = set()
    result: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        contiguous = tensor.detach().contiguous()
        storage = contiguous.untyped_storage().data_ptr()
        result[name] = contiguous.clone() if storage in seen else contiguous
        seen.add(storage)
    return result


def _check(document: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def size_bytes(tensors: Mapping[str, Tensor]) -> int:
    """Return the bytes that ``tensors`` take."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
