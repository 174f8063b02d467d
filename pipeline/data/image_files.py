"""Image files that a column of a data set names: where they are looked for, and which ones there are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.recipe.sources import DatasetSource


def image_folders(source: DatasetSource) -> list[Path]:
    """Return the folders against which a relative path is read: the current one, then those of the data files."""
    files = (Path(file) for _, file in _local_files(source))
    return list(dict.fromkeys([Path(), *(file.parent for file in files)]))


def find_image(name: str, folders: Sequence[Path]) -> Path | None:
    """Return the file called ``name``, seen from the first of ``folders`` that has it; None if none does."""
    try:
        return next((folder / name for folder in folders if (folder / name).is_file()), None)
    except (OSError, ValueError):  # a text that cannot be a path: too long, or with a null character
        return None


def named_images(source: DatasetSource, column: str) -> Mapping[str, Path | None]:
    """Return each text in ``column`` of local data with the file it names, None where there is no such file.

    Images within the data set are no text. Neither torch nor datasets is needed to find out.
    """
    names = dict.fromkeys(value for value in _column(source, column) if isinstance(value, str))
    folders = image_folders(source)
    return {name: find_image(name, folders) for name in names}


def _column(source: DatasetSource, column: str) -> Iterator[object]:
    from pipeline.data.files import FORMATS, read_text_column

    if source.path in FORMATS:
        for kind, file in _local_files(source):
            yield from read_text_column(kind, Path(file), column)
    elif source.path is not None and Path(source.path).is_dir():
        for path in sorted(Path(source.path).rglob("*.arrow")):
            if not path.name.startswith("cache-"):
                yield from _arrow_column(path, column)


def _arrow_column(path: Path, column: str) -> Iterator[object]:
    import pyarrow as pa

    from pipeline.data.files import TEXT_TYPES

    with pa.OSFile(str(path)) as source, pa.ipc.open_stream(source) as batches:
        if column not in batches.schema.names or str(batches.schema.field(column).type) not in TEXT_TYPES:
            return
        for batch in batches:
            yield from batch.column(column).to_pylist()


def _local_files(source: DatasetSource) -> Iterator[tuple[str, str]]:
    """Yield each data file that is no address, with the kind it is read as."""
    for listed in (source.data_files or {}).values():
        for file in [listed] if isinstance(listed, str) else listed:
            if "://" not in file:
                yield str(source.path), file
