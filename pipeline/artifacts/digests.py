"""Digests of files, remembered by size, times and inode so that gigabytes are read once."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path
from typing import Any

from pipeline.artifacts.commit import write_file
from pipeline.artifacts.sealed import read_sealed, seal

CACHE_FILE = ".digests.json"
SETTLED_NS = 1_000_000_000
"""A file changed within this time may change again without its times showing it: its digest is not remembered."""


def file_digest(path: Path) -> str:
    """Return the sha256 of a file's bytes, in hexadecimal."""
    running = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            running.update(block)
    return running.hexdigest()


class DigestCache:
    """The digests of a run's files and of its data, kept in the run folder; a damaged cache counts as empty.

    Files inside the run folder are known by their relative path, so that a renamed run stays known.
    """

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir.absolute()
        self._entries: dict[str, list[Any]] = dict(read_sealed(self.run_dir / CACHE_FILE).get("files", {}))
        self._is_changed = False

    def digest(self, path: Path) -> str:
        """Return the sha256 of ``path``, read only if its size, times or inode differ from those remembered."""
        key, stamp = self._key(path), _stamp(path.stat())
        entry = self._entries.get(key)
        if entry is not None and entry[:-1] == stamp:
            return str(entry[-1])
        value = file_digest(path)
        if time.time_ns() - max(stamp[1], stamp[2]) > SETTLED_NS:
            self._store(key, [*stamp, value])
        return value

    def remember(self, path: Path, value: str) -> None:
        """Take ``value`` for the digest of ``path``, a file this process has just written and hashed."""
        self._store(self._key(path), [*_stamp(path.stat()), value])

    def save(self) -> None:
        """Write the cache to the run folder, if anything was added, without the files that are gone."""
        if not self._is_changed:
            return
        self._entries = {key: entry for key, entry in self._entries.items() if (self.run_dir / key).exists()}
        write_file(self.run_dir / CACHE_FILE, seal({"files": self._entries}))
        self._is_changed = False

    def _store(self, key: str, entry: list[Any]) -> None:
        self._entries[key] = entry
        self._is_changed = True

    def _key(self, path: Path) -> str:
        absolute = path.absolute()
        return str(absolute.relative_to(self.run_dir) if absolute.is_relative_to(self.run_dir) else absolute)


def _stamp(stat: os.stat_result) -> list[int]:
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
