"""Image classification over a column of images, paths or pixel arrays."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from pipeline.data.files import TEXT_TYPES
from pipeline.data.image_files import find_image, image_folders
from pipeline.errors import DataError
from pipeline.tasks.classification import Classification
from pipeline.tasks.encoded_images import EncodedImages
from pipeline.tasks.image_processors import LoadedProcessor, find_processor, load_processor
from pipeline.tasks.labels import find_labels
from pipeline.tasks.rows import Rows, choose_rows

if TYPE_CHECKING:
    from PIL.Image import Image

    from pipeline.recipe.sources import ModelSource, TaskSource

logger = logging.getLogger(__name__)

NO_IMAGE = "the image is null; drop the row"
SAMPLE = (0,)
"""Images of the training split by which two processors are compared."""
PIXEL_TOLERANCE = 0.1
"""Of pixels that are normalized, about 1 in size: beyond what resampling differs by."""


class ImageClassification(Classification):
    """One label per image."""

    auto_model = "AutoModelForImageClassification"
    train: EncodedImages

    def __init__(
        self,
        source: TaskSource,
        *,
        processor: LoadedProcessor,
        sample: Callable[[LoadedProcessor], np.ndarray],
        **fields: Any,
    ) -> None:
        """Hold the task; ``sample`` makes pixels of some training images with any processor."""
        super().__init__(source, processor_files=processor.files, **fields)
        self._processor = processor
        self._sample = sample

    def check_teacher(self, model: Any, source: ModelSource) -> None:
        """Raise ``DataError`` when the teacher cannot take this data; warn where its own pixels would be others."""
        super().check_teacher(model, source)
        processor = find_processor(source)
        if processor is None:
            return
        mine, theirs = self._sample(self._processor), self._sample(processor)
        if mine.shape != theirs.shape or np.abs(mine - theirs).max() > PIXEL_TOLERANCE:
            logger.warning(
                "teacher: %s was trained on images prepared otherwise (size, mean or deviation) than the model's, "
                "which it reads here; that may make it a worse teacher",
                source.pretrained,
            )

    def check_config(self, config: Any) -> None:
        """Raise ``DataError`` for another number of classes, of channels, or another image size than the model's."""
        super().check_config(config)
        size, channels = config.image_size, config.num_channels
        height, width = (size, size) if isinstance(size, int) else tuple(size)
        if self.train.pixel_shape != (channels, height, width):
            got = "×".join(map(str, self.train.pixel_shape))
            raise DataError(
                f"task.image: the image processor makes {got} (channels × height × width), but the model takes "
                f"{channels}×{height}×{width}; use the processor the model was trained with"
            )

    def token_mask(self, batch: Mapping[str, Tensor]) -> Tensor | None:
        """Return None: every patch of an image is real."""
        return None


def build(source: TaskSource, *, model: ModelSource, processor_dir: Path | None, seed: int) -> ImageClassification:
    """Return the task of ``build_task`` for images."""
    chosen = choose_rows(source, {"image": (source.image,), "label": (source.label,)}, seed)
    labels = find_labels(source, chosen.whole_train)
    loaded = load_processor(model, processor_dir)

    def split(rows: Rows) -> EncodedImages:
        _check_files(source, rows)
        return EncodedImages(rows.split, _encoder(source, rows, loaded), rows.take(labels.encode(rows)))

    return ImageClassification(
        source,
        labels=labels,
        train=split(chosen.train),
        select=None if chosen.select is None else split(chosen.select),
        validation={name: split(rows) for name, rows in chosen.validation.items()},
        processor=loaded,
        sample=lambda processor: _encoder(source, chosen.train, processor)(SAMPLE),
    )


def _check_files(source: TaskSource, rows: Rows) -> None:
    """Raise ``DataError`` for the first row that names no image file, before all of them are read or any is trained on.

    Whoever mends it later, when the file is first read, changes the data of what was trained meanwhile.
    """
    if getattr(rows.data.features[source.image], "dtype", None) not in TEXT_TYPES:
        return
    folders, names = image_folders(source.dataset), rows.column(source.image).to_pylist()
    for row in range(len(names)) if rows.kept is None else rows.kept.tolist():
        if names[row] is None or find_image(names[row], folders) is None:
            reason = NO_IMAGE if names[row] is None else f"no such image file: {names[row]}"
            raise DataError(f"{_where(source, rows, row)}: {reason}")


def _where(source: TaskSource, rows: Rows, row: int) -> str:
    return f"task.image: split {rows.split!r}, row {row + 1}, column {source.image!r}"


def _encoder(source: TaskSource, rows: Rows, loaded: LoadedProcessor) -> Any:
    folders = image_folders(source.dataset)
    mode = "L" if loaded.num_channels == 1 else "RGB"

    data = rows.data.select_columns([source.image])

    def encode(wanted: Sequence[int]) -> np.ndarray:
        index = list(wanted) if rows.kept is None else rows.kept[list(wanted)].tolist()
        images = []
        for row in index:
            try:
                images.append(_open(data[row][source.image], folders).convert(mode))
            except (OSError, ValueError, TypeError) as error:
                raise DataError(f"{_where(source, rows, row)}: {error}") from error
        pixels = loaded.processor(images=images, return_tensors="np")["pixel_values"]
        return np.ascontiguousarray(pixels, dtype=np.float32)

    return encode


def _open(value: Any, folders: Sequence[Path]) -> Image:
    from PIL import Image, ImageOps

    if isinstance(value, Image.Image):
        return value
    if isinstance(value, str):
        path = find_image(value, folders)
        if path is None:
            raise ValueError(f"no such image file: {value}")
        with Image.open(path) as image:
            return ImageOps.exif_transpose(image)
    if value is None:
        raise ValueError(NO_IMAGE)
    pixels = np.asarray(value)
    if pixels.ndim not in (2, 3) or pixels.dtype == object:
        raise ValueError(f"must be an image, a path, or pixels of 2 or 3 axes, got {type(value).__name__}")
    if pixels.min() < 0 or pixels.max() > 255 or np.any(pixels != np.rint(pixels)):
        raise ValueError(f"pixels must be whole numbers from 0 to 255, got {pixels.min():g} to {pixels.max():g}")
    if pixels.ndim == 3 and pixels.shape[0] in (1, 3) and pixels.shape[2] not in (1, 3):
        pixels = np.moveaxis(pixels, 0, -1)
    return Image.fromarray(pixels.astype(np.uint8).squeeze(-1) if pixels.shape[2:] == (1,) else pixels.astype(np.uint8))
