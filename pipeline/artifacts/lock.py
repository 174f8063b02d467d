"""One writer per run folder: an advisory lock that dies with its process, and says who holds it."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType

from pipeline.artifacts.commit import writing
from pipeline.errors import ArtifactError

LOCK_FILE = ".lock"


@dataclass(frozen=True)
class Holder:
    """The process that writes to a run."""

    pid: int | str
    host: str
    since: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"


class RunLock:
    """Holds a run folder while in the ``with`` block; raises ``ArtifactError`` naming the process that has it."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self._handle: int | None = None

    def __enter__(self) -> RunLock:
        path = self.run_dir / LOCK_FILE
        with writing(path):
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _lock(handle)
        except BlockingIOError:
            os.close(handle)
            told = f"{self.run_dir}: another process works on this run: {_read_holder(path)}"
            raise ArtifactError(f"{told}; wait for it to end, or stop it") from None
        except OSError as error:
            os.close(handle)
            raise ArtifactError(f"{path}: cannot be locked ({error.strerror}); put the runs on another disk") from error
        self._handle = handle
        with writing(path):
            self._write(handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    @staticmethod
    def _write(handle: int) -> None:
        since = datetime.now(timezone.utc).astimezone().isoformat(timespec="seconds")
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": since}).encode(), 0)


def _lock(handle: int) -> None:
    """Take the lock; tries for half a second, since a reader that asks who holds it takes it for an instant."""
    for _ in range(10):
        try:
            return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.05)
    return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def holder(run_dir: Path) -> Holder | None:
    """Return the process that holds the run's lock, or None; takes no lock that outlives the call."""
    path = run_dir / LOCK_FILE
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read_holder(path)
    except OSError:
        return None
    finally:
        os.close(handle)
    return None


def _read_holder(path: Path) -> Holder:
    try:
        written = json.loads(path.read_bytes())
        return Holder(written["pid"], written["host"], written["since"])
    except (OSError, ValueError, KeyError, TypeError):
        return Holder("unknown", "an unknown host", "an unknown time")
