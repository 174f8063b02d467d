"""Where the teachers' answers of a run are kept, so that every stage with the same teacher finds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.artifacts.commit import delete
from pipeline.artifacts.sealed import digest

NAME_LENGTH = 16


@dataclass(frozen=True)
class TeacherShelf:
    """A folder of the run that may be deleted at any time: answers that are missing are computed to the same bits.

    ``identity`` is what decides the answers but for precision and layers: the teacher's content, the rows, and how
    they are encoded. ``passes`` counts how often all stages of the recipe with that teacher go over the rows.
    """

    folder: Path
    identity: Mapping[str, Any]
    passes: float

    def place(self, contents: Mapping[str, Any]) -> Path:
        """Return the folder of the answers whose precision and layers are ``contents``."""
        return self.folder / self._owner() / digest(dict(contents))[:NAME_LENGTH]

    def make_room(self) -> None:
        """Make the folder, and delete the answers of teachers and rows that are no longer those of this run."""
        own = self.folder / self._owner()
        for other in self.folder.glob("*"):
            if other != own:
                delete(other)
        own.mkdir(parents=True, exist_ok=True)

    def _owner(self) -> str:
        return digest(dict(self.identity))[:NAME_LENGTH]
