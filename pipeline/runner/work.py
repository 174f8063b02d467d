"""What a run keeps of unfinished business: the half-done stage's folder, and which stages were asked to be redone."""

from __future__ import annotations

import hashlib
import logging
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.artifacts.commit import GONE, MANIFEST, delete, write_file, writing
from pipeline.artifacts.layout import WORK
from pipeline.artifacts.run import Artifact, Run
from pipeline.artifacts.sealed import read_sealed, seal
from pipeline.errors import ArtifactError

logger = logging.getLogger(__name__)

STAGE_FILE = "stage.json"
REDO_FILE = "redo.json"
SAVES = "**/save-*"
TEACHERS = ".teachers"


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
        """Delete the folder; nothing is left to resume, and no half of a save if a kill comes between."""
        delete(self.path)

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


def teachers_folder(run: Run) -> Path:
    """Return where the answers of teachers are kept while the stages of a run that read them are not all done."""
    return run.path / WORK / TEACHERS


def stages_to_ask(run: Run, names: Sequence[str]) -> list[str]:
    """Return which of ``names``, a stage and those after it, ``--from`` the first of them asks to be made anew.

    None that an interrupted redo from there has named already, so that the same command repeated goes on with it;
    once all of them are done, it asks for all again.
    """
    asked, found = _asked(run), run.artifacts()
    is_under_way = names[0] in asked and any(asked.get(name) == _present(found, name) for name in names)
    return [name for name in names if not (is_under_way and name in asked)]


def ask_redo(run: Run, names: Sequence[str]) -> None:
    """Note that the artifacts of ``names`` are to be made anew, so that a resume after a crash still does it.

    The note names the manifest that is to be replaced, and is void once another is in its place. The half-done work
    of those stages is discarded; a stage that never was committed has nothing to redo, and keeps it.
    """
    found, anew = run.artifacts(), stages_to_ask(run, names)
    if names[0] not in anew:
        logger.info("%s: its redo was interrupted and goes on", names[0])
    with writing(run.path / WORK):
        for name in anew:
            if name in found:
                StageWork(run.path, name).remove()
        (run.path / WORK).mkdir(exist_ok=True)
        note = {**_asked(run), **{name: _present(found, name) for name in anew}}
        write_file(run.path / WORK / REDO_FILE, seal(note))


def is_redo_asked(run: Run, artifact: Artifact) -> bool:
    """Say whether just this artifact was to be made anew, and was not yet."""
    return _asked(run).get(artifact.name) == _manifest_digest(artifact)


def forget_done(run: Run, names: Sequence[str]) -> None:
    """Delete the note of redos once none is left to do, ``names`` being all stages; and the work folder once empty."""
    found = run.artifacts()
    is_left = {name for name, replaced in _asked(run).items() if replaced == _present(found, name)}
    if not is_left & {*found, *names}:
        (run.path / WORK / REDO_FILE).unlink(missing_ok=True)
    for folder in (run.path / WORK).glob(f"{GONE}*"):
        shutil.rmtree(folder)
    if (run.path / WORK).is_dir() and not any((run.path / WORK).iterdir()):
        (run.path / WORK).rmdir()


def _asked(run: Run) -> dict[str, object]:
    return read_sealed(run.path / WORK / REDO_FILE)


def _manifest_digest(artifact: Artifact) -> str:
    path = artifact.path / MANIFEST
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "missing"


def _present(found: Mapping[str, Artifact], name: str) -> str:
    """Return what stands for the artifact that ``name`` has now."""
    return _manifest_digest(found[name]) if name in found else "no artifact"
