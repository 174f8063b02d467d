"""What a run keeps of unfinished business: the half-done stage's folder, and which stages were asked to be redone."""

from __future__ import annotations

import hashlib
import logging
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from pipeline.artifacts.commit import MANIFEST, write_file, writing
from pipeline.artifacts.run import WORK, Artifact, Run
from pipeline.artifacts.sealed import read_sealed, seal
from pipeline.errors import ArtifactError

logger = logging.getLogger(__name__)

STAGE_FILE = "stage.json"
REDO_FILE = "redo.json"
SAVES = "**/save-*"


class StageWork:
    """The folder of one half-done stage, and the wall seconds spent on it over all resumes.

    The seconds of an attempt that was killed are counted up to the last file it wrote here.
    """

    def __init__(self, run_dir: Path, name: str) -> None:
        self.path = run_dir / WORK / name
        self._seconds = 0.0
        self._began: float | None = None

    def is_half_done(self, fingerprint: str) -> bool:
        """Say whether a resume would find saved progress of just this fingerprint."""
        return self._state().get("fingerprint") == fingerprint and self._has_save()

    def open(self, fingerprint: str) -> None:
        """Begin or resume an attempt: work of another fingerprint, or without anything saved, is discarded."""
        state = self._state()
        is_same = state.get("fingerprint") == fingerprint
        self._seconds = self._spent(state) if is_same else 0.0
        with writing(self.path):
            if not (is_same and self._has_save()):
                self.remove()
            self.path.mkdir(parents=True, exist_ok=True)
            self._began = time.monotonic()
            self._write(fingerprint, started=time.time())

    def close(self, fingerprint: str) -> None:
        """Keep the seconds of an attempt that did not finish."""
        try:
            self._write(fingerprint, started=None, seconds=self.seconds())
        except ArtifactError as error:
            logger.warning("%s", error)

    def seconds(self) -> float:
        """Return the wall seconds of this attempt and those before it."""
        return self._seconds + (0.0 if self._began is None else time.monotonic() - self._began)

    def remove(self) -> None:
        """Delete the folder; nothing is left to resume."""
        if self.path.exists():
            shutil.rmtree(self.path)

    def _has_save(self) -> bool:
        return any(self.path.glob(SAVES))

    def _state(self) -> dict[str, object]:
        return read_sealed(self.path / STAGE_FILE)

    def _write(self, fingerprint: str, *, started: float | None, seconds: float | None = None) -> None:
        spent = self._seconds if seconds is None else seconds
        write_file(self.path / STAGE_FILE, seal({"fingerprint": fingerprint, "seconds": spent, "started": started}))

    def _spent(self, state: dict[str, object]) -> float:
        spent, started = state.get("seconds"), state.get("started")
        seconds = float(spent) if isinstance(spent, (int, float)) else 0.0
        if isinstance(started, (int, float)):
            last = max(path.stat().st_mtime for path in self.path.rglob("*"))
            seconds += max(0.0, last - started)
        return seconds


def ask_redo(run: Run, names: Sequence[str]) -> None:
    """Note that the artifacts of ``names`` are to be made anew, so that a resume after a crash still does it.

    The note names the manifest that is to be replaced, and is void once another is in its place. The half-done work
    of those stages is discarded; a stage that never was committed has nothing to redo, and keeps it.
    """
    found = run.artifacts()
    asked = {name: _manifest_digest(found[name]) for name in names if name in found}
    with writing(run.path / WORK):
        for name in asked:
            StageWork(run.path, name).remove()
        (run.path / WORK).mkdir(exist_ok=True)
        write_file(run.path / WORK / REDO_FILE, seal({**_asked(run), **asked}))


def is_redo_asked(run: Run, artifact: Artifact) -> bool:
    """Say whether just this artifact was to be made anew, and was not yet."""
    return _asked(run).get(artifact.name) == _manifest_digest(artifact)


def forget_done(run: Run) -> None:
    """Delete the note of redos once none is left to do, and the work folder once nothing is in it."""
    found = run.artifacts()
    if not any(name in found and is_redo_asked(run, found[name]) for name in _asked(run)):
        (run.path / WORK / REDO_FILE).unlink(missing_ok=True)
    if (run.path / WORK).is_dir() and not any((run.path / WORK).iterdir()):
        (run.path / WORK).rmdir()


def _asked(run: Run) -> dict[str, object]:
    return read_sealed(run.path / WORK / REDO_FILE)


def _manifest_digest(artifact: Artifact) -> str:
    path = artifact.path / MANIFEST
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "missing"
