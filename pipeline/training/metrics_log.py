"""The log of a stage: one JSON object per line, cut back to the restored step when a stage resumes."""

import json
import os
from pathlib import Path
from typing import Any

from pipeline.artifacts.commit import writing
from pipeline.artifacts.sealed import finite


class MetricsLog:
    """Appends ``{"step": 10, "loss": 0.5, …}`` to one file; ``step`` counts the optimizer steps done.

    ``writes`` is false on all processes but the main one. A full disk or a folder that cannot be written raises
    ``ArtifactError``.
    """

    def __init__(self, path: Path | str, *, writes: bool = True) -> None:
        self.path = Path(path)
        self.writes = writes

    def __call__(self, step: int, **values: Any) -> None:
        """Append one line; a number that is not finite is written as null."""
        if not self.writes:
            return
        line = json.dumps({"step": step, **finite(values)})
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")

    def position(self) -> int:
        """Return the file's length in bytes, once all of it has reached the disk."""
        if not self.path.exists():
            return 0
        with writing(self.path), self.path.open("rb") as file:
            os.fsync(file.fileno())
            return file.seek(0, os.SEEK_END)

    def rewind(self, position: int) -> None:
        """Drop all that was written after ``position`` was taken."""
        if self.writes and self.path.exists() and self.path.stat().st_size > position:
            with writing(self.path), self.path.open("r+b") as file:
                file.truncate(position)

    def truncate(self, step: int) -> None:
        """Drop every line beyond ``step``, and a last line that a kill cut short."""
        if not self.writes or not self.path.exists():
            return
        position = 0
        with self.path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n") or json.loads(line)["step"] > step:
                    break
                position += len(line)
        self.rewind(position)

    def lines(self) -> list[dict[str, Any]]:
        """Return every whole line, oldest first."""
        if not self.path.exists():
            return []
        text = self.path.read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
