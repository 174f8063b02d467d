"""What identifies a run's data and first model: content for local files, a commit for the hub, name and version else.

Nothing here imports torch, transformers or datasets.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pipeline.artifacts.digests import DigestCache
from pipeline.artifacts.hub import HubCommits
from pipeline.artifacts.sealed import digest
from pipeline.data.image_files import named_images
from pipeline.errors import DataError, RecipeError
from pipeline.recipe.sources import DatasetSource, ModelSource

FILE_FORMATS = frozenset({"csv", "tsv", "json", "parquet"})
SAVED_FOLDER = ("dataset_dict.json", "state.json")
BUILTINS: dict[str, dict[str, int]] = {"digits": {"version": 1}, "grammar": {"version": 1, "rows": 2000, "seed": 0}}
"""Each builtin data set's default options, and a version raised when its rows change for the same options."""


class Identities:
    """Looks up identities for one run, whose folder remembers digests and commits."""

    def __init__(self, files: DigestCache, commits: HubCommits) -> None:
        self.files = files
        self.commits = commits

    def dataset(self, source: DatasetSource, *, images: str | None = None) -> dict[str, Any]:
        """Return what the rows depend on; raises ``DataError`` for a data file that is not there.

        ``images`` is the column of a task over images: the files that local rows name in it count by their content.
        """
        identity = self._rows(source)
        named = {} if images is None or "hub" in identity else named_images(source, images)
        if named:
            identity["images"] = digest([None if path is None else self._digest(path) for path in named.values()])
        return identity

    def _rows(self, source: DatasetSource) -> dict[str, Any]:
        if source.builtin is not None:
            return {"builtin": source.builtin, **BUILTINS[source.builtin], **_given(source, "rows", "seed")}
        path = str(source.path)
        if path in FILE_FORMATS:
            return {"format": path, "files": self._splits(source)}
        if Path(path).is_dir():
            return {"folder": self._folder(Path(path)), **_given(source, "name", "data_files")}
        if _reads_as_path(path):
            raise DataError(f"task.dataset.path: no such folder: {path}")
        commit = self.commits.commit("dataset", path, source.revision)
        return {"hub": path, "commit": commit, **_given(source, "name", "data_files")}

    def model(self, source: ModelSource) -> dict[str, Any]:
        """Return what the first weights depend on; raises ``RecipeError`` for a folder that is not there."""
        if source.config is not None:
            return {"config": source.config}
        name = str(source.pretrained)
        if source.is_folder:
            kept = (path for path in sorted(Path(name).iterdir()) if _is_read(path, source.trust_remote_code))
            return {"folder": {path.name: self.files.digest(path) for path in kept}}
        if _reads_as_path(name):
            raise RecipeError(f"model.pretrained: no such folder: {name}; give a model's folder or a hub id")
        return {"hub": name, "commit": self.commits.commit("model", name, source.revision)}

    def pin_dataset(self, source: DatasetSource) -> DatasetSource:
        """Return ``source`` at the commit this run uses."""
        commit = self._rows(source).get("commit")
        return source.model_copy(update={"revision": commit}) if commit else source

    def pin_model(self, source: ModelSource) -> ModelSource:
        """Return ``source`` at the commit this run uses."""
        commit = self.model(source).get("commit")
        return source.model_copy(update={"revision": commit}) if commit else source

    def save(self) -> None:
        """Keep digests and commits in the run folder."""
        self.files.save()
        self.commits.save()

    def _splits(self, source: DatasetSource) -> dict[str, list[Any]]:
        splits = source.data_files or {}
        return {
            split: [self._file(split, file) for file in ([files] if isinstance(files, str) else files)]
            for split, files in splits.items()
        }

    def _file(self, split: str, file: str) -> dict[str, str]:
        if "://" in file:
            return {"address": file}
        path = Path(file)
        if not path.is_file():
            raise DataError(f"task.dataset.data_files.{split}: no such file: {file}")
        return {"sha256": self._digest(path), "suffix": path.suffix}

    def _folder(self, folder: Path) -> dict[str, str]:
        found = (path for path in sorted(folder.rglob("*")) if path.is_file() and not _is_hidden(path, folder))
        return {path.relative_to(folder).as_posix(): self._digest(path) for path in found}

    def _digest(self, path: Path) -> str:
        try:
            return self.files.digest(path)
        except OSError as error:
            raise DataError(f"task.dataset: {path} cannot be read: {error.strerror}") from error


def _given(source: DatasetSource, *fields: str) -> dict[str, Any]:
    return {field: value for field in fields if (value := getattr(source, field)) is not None}


def _is_read(path: Path, with_code: bool) -> bool:
    """Say whether ``from_pretrained`` may read ``path``: not the card, nor code that nobody allowed to run."""
    if not path.is_file() or path.name.startswith(".") or path.name == "README.md":
        return False
    return with_code or path.suffix != ".py"


def _is_hidden(path: Path, folder: Path) -> bool:
    parts: Iterable[str] = path.relative_to(folder).parts
    return any(part.startswith((".", "cache-")) for part in parts)


def _reads_as_path(name: str) -> bool:
    return name.startswith((".", "/", "~")) or name.count("/") > 1
