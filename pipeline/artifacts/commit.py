"""Commit by rename: a reader sees the old artifact or the new one, whenever the process dies.

The new artifact is filled in ``.new.<target>`` beside its target. Its files are forced to the disk, the manifest is
written last and forced too, then the folder is renamed. A redo first renames the old artifact to ``.old.<target>``.

The recovery rule, applied when a run is opened, for each ``.old.<target>`` found:

* the target exists: the redo was committed; the old artifact is deleted;
* else ``.new.<target>`` exists: it was complete before the old one moved, so the rename is finished;
* else the old artifact goes back to its place.

A ``.new.<target>`` that is left after that was never complete and is deleted. A folder that is to be deleted becomes
``.new.gone.<name>`` first, so that a kill leaves it whole or under a name that nobody reads.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.errors import ArtifactError

NEW, OLD, GONE = ".new.", ".old.", ".new.gone."
MANIFEST = "manifest.json"
CRASH_VARIABLE = "PRUNELINE_CRASH_AT"
COMMIT_POINTS = (
    "commit.begin",
    "commit.files_synced",
    "commit.manifest_written",
    "commit.manifest_synced",
    "commit.old_moved",
    "commit.new_moved",
    "commit.old_removed",
)
"""Every place between two effects of a commit, in order."""

logger = logging.getLogger(__name__)


def reach(point: str) -> None:
    """End the process at once when the environment asks for a crash at ``point``: how tests kill it there."""
    if os.environ.get(CRASH_VARIABLE) == point:
        os._exit(99)


@contextmanager
def writing(what: Path | str) -> Iterator[None]:
    """Turn a full disk or a read-only folder into one line; the libraries' own I/O errors included."""
    try:
        yield
    except OSError as error:
        raise ArtifactError(_cannot_write(what, error.strerror or str(error))) from error
    except Exception as error:
        if type(error).__name__ == "SafetensorError" and "os error" in str(error):
            raise ArtifactError(_cannot_write(what, str(error))) from error
        raise


def _cannot_write(what: Path | str, reason: str) -> str:
    return f"{what}: cannot be written ({reason}); earlier artifacts are untouched: mend that and run again"


def new_candidate(target: Path) -> Path:
    """Return an empty folder beside ``target`` in which to put the artifact's files."""
    candidate = target.parent / f"{NEW}{target.name}"
    with writing(candidate):
        shutil.rmtree(candidate, ignore_errors=True)
        candidate.mkdir()
    return candidate


def discard_candidate(target: Path) -> None:
    """Delete what ``new_candidate`` made, as far as that is possible; the recovery tries again."""
    with suppress(ArtifactError):
        delete(target.parent / f"{NEW}{target.name}")


def delete(folder: Path) -> None:
    """Delete ``folder``, if it is there, such that a kill leaves it whole or not there."""
    gone = folder.with_name(f"{GONE}{folder.name.removeprefix(NEW)}")
    with writing(folder):
        if gone.exists():
            shutil.rmtree(gone)
        if folder.exists():
            folder.rename(gone)
            shutil.rmtree(gone)


def commit(candidate: Path, target: Path, manifest: bytes, *, replaces: Path | None = None) -> None:
    """Make ``candidate`` the artifact at ``target``, in place of the folder ``replaces``; its files become read-only.

    Raises ``ArtifactError`` when the disk refuses; then ``replaces`` is still, or again, where it was.
    """
    old = target.parent / f"{OLD}{target.name}"
    with writing(target):
        reach("commit.begin")
        for folder, _, files in os.walk(candidate, topdown=False):
            for name in files:
                _sync(Path(folder, name), read_only=True)
            _sync(Path(folder))
        reach("commit.files_synced")
        path = candidate / MANIFEST
        path.write_bytes(manifest)
        reach("commit.manifest_written")
        _sync(path, read_only=True)
        _sync(candidate)
        reach("commit.manifest_synced")
        if replaces is not None:
            replaces.rename(old)
            reach("commit.old_moved")
        _move_into_place(candidate, target, old, replaces)
        _sync(target.parent)
        reach("commit.new_moved")
    _remove(old)
    reach("commit.old_removed")


def _move_into_place(candidate: Path, target: Path, old: Path, replaces: Path | None) -> None:
    try:
        candidate.rename(target)
    except OSError:
        if replaces is not None:
            old.rename(replaces)
        raise


def needs_recovery(run_dir: Path) -> bool:
    """Say whether a commit in ``run_dir`` was cut short, or is under way in another process."""
    return run_dir.is_dir() and any(entry.name.startswith((NEW, OLD)) for entry in run_dir.iterdir())


def recover(run_dir: Path) -> None:
    """Finish or undo the commits that a crash cut short (the rule at the top); the caller holds the run's lock."""
    with writing(run_dir):
        for old in sorted(run_dir.glob(f"{OLD}*")):
            target = run_dir / old.name.removeprefix(OLD)
            new = run_dir / f"{NEW}{target.name}"
            if not target.exists():
                (new if new.exists() else old).rename(target)
                _sync(run_dir)
            _remove(old)
        for new in run_dir.glob(f"{NEW}*"):
            shutil.rmtree(new) if new.is_dir() else new.unlink()


def write_file(path: Path, data: bytes) -> None:
    """Write a small file by rename, so that a reader never sees half of it."""
    with writing(path):
        temporary = path.with_name(f"{NEW}{path.name}.{os.getpid()}")
        try:
            temporary.write_bytes(data)
            _sync(temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def _remove(folder: Path) -> None:
    try:
        if folder.exists():
            shutil.rmtree(folder)
    except OSError as error:
        logger.warning("%s: the replaced artifact could not be deleted (%s); the next run tries again", folder, error)


def _sync(path: Path, *, read_only: bool = False) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        if read_only:
            os.fchmod(handle, 0o444)
        os.fsync(handle)
    finally:
        os.close(handle)
