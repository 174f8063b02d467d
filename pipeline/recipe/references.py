"""Checks what a recipe refers to: teachers among its stages, and files that must be there."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline.errors import UnsupportedArchitecture
from pipeline.recipe.document import Located, Path_, dotted
from pipeline.recipe.inheritance import StageDraft
from pipeline.recipe.mistakes import Mistake, did_you_mean, shown
from pipeline.recipe.sources import FILE_FORMATS
from pipeline.surgery.architectures import family_of_type

SOURCE = "source"


def check_references(document: Located, drafts: Sequence[StageDraft]) -> dict[Path_, Mistake]:
    """Return a mistake for each reference to what is not there, by its path in the document."""
    mistakes: dict[Path_, Mistake] = {}
    for draft in drafts:
        message = _wrong_teacher(draft, drafts)
        if message is not None and draft.fields is not None:
            origin = draft.fields.find(("teacher",)).origin
            mistakes["stages", draft.index, "teacher"] = Mistake(
                origin, dotted(("stages", draft.name, "teacher")), message
            )
    folders: tuple[Path_, ...] = (("model", "pretrained"), ("task", "dataset", "path"))
    for folder in folders:
        message = _missing_folder(document, folder)
        if message is not None:
            mistakes[folder] = Mistake(document.find(folder).origin, dotted(folder), message)
    for path, file in _data_files(document):
        if "://" not in file.value and not os.path.isfile(file.value):
            mistakes[path] = Mistake(file.origin, dotted(path), f"must be an existing file, got {shown(file.value)}")
    mistakes.update(_unsupported_model(document))
    return mistakes


def _wrong_teacher(draft: StageDraft, drafts: Sequence[StageDraft]) -> str | None:
    teacher = draft.config.teacher if draft.config is not None else None
    earlier = [other.name for other in drafts if other.index < draft.index]
    if teacher is None:
        return _lacks_teacher(draft, drafts)
    if teacher == SOURCE or teacher in earlier:
        return None
    if any(other.name == teacher for other in drafts):
        choice = ", ".join([*earlier, SOURCE])
        return f"must be a stage before {draft.name!r} ({choice}), got the later {teacher!r}"
    if os.path.isdir(teacher) or ("/" in teacher and not _is_path(teacher)):
        return None
    allowed = ", ".join([*earlier, SOURCE])
    return (
        f"must be a stage before it or source ({allowed}), a model folder, or a hub id such as owner/model"
        f"{did_you_mean(teacher, [*earlier, SOURCE])}, got {shown(teacher)}"
    )


def _lacks_teacher(draft: StageDraft, drafts: Sequence[StageDraft]) -> str | None:
    if draft.stage is None or draft.config is None or not draft.stage.needs_teacher(draft.config):
        return None
    if any(other.stage is not None and other.stage.provides_teacher for other in drafts if other.index < draft.index):
        return None
    without = getattr(draft.config, "distill", None) is not None
    return (
        "must be given, for no stage before it provides one: source, a model folder, or a hub id such as owner/model"
        + ("; or say distill: null to learn from the labels alone" if without else "")
    )


def _is_path(text: str) -> bool:
    return text.startswith((".", "/", "~")) or text.count("/") > 1


def _missing_folder(document: Located, path: Path_) -> str | None:
    text = document.find(path).value if document.has(path) else None
    if not isinstance(text, str) or os.path.isdir(text):
        return None
    if os.path.isfile(text):
        mend = "; for a file of rows say {path: json, data_files: {train: FILE}}" if path[0] == "task" else ""
        return f"must be a folder or a hub id, got the file {shown(text)}{mend}"
    return f"must be an existing folder or a hub id, got {shown(text)}" if _is_path(text) else None


def _unsupported_model(document: Located) -> dict[Path_, Mistake]:
    """Return a mistake when a configuration, or a local folder's, is of a family that cannot be cut."""
    path: Path_ = ("model", "config", "model_type")
    model_type = None
    if document.has(path):
        model_type = document.find(path).value
    elif document.has(("model", "pretrained")):
        path = ("model", "pretrained")
        model_type = _folder_model_type(document.find(path).value)
    if not isinstance(model_type, str) or not model_type:
        return {}
    try:
        family_of_type(model_type)
    except UnsupportedArchitecture as error:
        return {path: Mistake(document.find(path).origin, dotted(path), str(error))}
    return {}


def _folder_model_type(folder: Any) -> Any:
    try:
        config = json.loads(Path(str(folder), "config.json").read_bytes())
    except (OSError, ValueError):
        return None
    return config.get("model_type") if isinstance(config, dict) else None


def _data_files(document: Located) -> Iterator[tuple[Path_, Any]]:
    """Yield the files that are named where only local files can be meant, with their paths in the document."""
    dataset: Path_ = ("task", "dataset")
    if not document.has((*dataset, "data_files")) or document.find((*dataset, "path")).value not in FILE_FORMATS:
        return
    for path, file in document.find((*dataset, "data_files")).leaves((*dataset, "data_files")):
        if isinstance(file.value, str) and file.value:
            yield path, file
