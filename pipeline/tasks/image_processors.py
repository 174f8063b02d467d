"""The image processor of a task: an artifact's, the model source's, or one made for a model from a config."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import DataError
from pipeline.tasks.processor_files import (
    IMAGE_PROCESSOR_FILES,
    check_place,
    name_class,
    read_folder,
    read_source,
    write_files,
)

if TYPE_CHECKING:
    from pipeline.recipe.sources import ModelSource

logger = logging.getLogger(__name__)

DEFAULT_IMAGE_SIZE = 224
DEFAULT_CHANNELS = 3


@dataclass(frozen=True)
class LoadedProcessor:
    """An image processor, the files it is saved as, and the channels of the pixels it makes."""

    processor: Any
    files: Mapping[str, bytes]
    num_channels: int


def load_processor(model: ModelSource, processor_dir: Path | None) -> LoadedProcessor:
    """Return the image processor of ``processor_dir``, else the model source's, else one made for its config."""
    check_place(model, processor_dir, IMAGE_PROCESSOR_FILES)
    if processor_dir is not None:
        files = read_folder(processor_dir, IMAGE_PROCESSOR_FILES)
        processor = _read_processor(str(processor_dir), model)
    elif model.config is None:
        processor = _read_processor(str(model.pretrained), model)
        files = read_source(model, IMAGE_PROCESSOR_FILES)
    else:
        files = _made_files(model.config)
        with tempfile.TemporaryDirectory(prefix="pruneline-processor-") as folder:
            write_files(files, Path(folder))
            processor = _read_processor(folder, model)
    if not files:
        raise DataError(f"model: {model.pretrained} has no {IMAGE_PROCESSOR_FILES[0]}")
    mean = processor.image_mean
    num_channels = len(mean) if isinstance(mean, (list, tuple)) else DEFAULT_CHANNELS
    files = name_class(files, IMAGE_PROCESSOR_FILES[0], "image_processor_type", processor)
    return LoadedProcessor(processor, files, num_channels)


def find_processor(model: ModelSource) -> LoadedProcessor | None:
    """Return the image processor beside a pretrained model; None where there is none that can be read."""
    try:
        return None if model.pretrained is None else load_processor(model, None)
    except DataError:
        return None


def _read_processor(place: str, model: ModelSource) -> Any:
    from transformers import AutoImageProcessor

    options: dict[str, Any] = {"trust_remote_code": model.trust_remote_code}
    if model.pretrained == place and not model.is_folder:
        options["revision"] = model.revision
    try:
        return AutoImageProcessor.from_pretrained(place, **options)
    except Exception as error:  # missing files, broken files and the network fail in their own ways
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise DataError(f"model: cannot load an image processor from {place}: {lines[0]}") from error


def _made_files(config: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the settings of a ViT's image processor that maps pixels to [-1, 1] at the size of the config."""
    size = config.get("image_size", DEFAULT_IMAGE_SIZE)
    height, width = size if isinstance(size, (list, tuple)) and len(size) == 2 else (size, size)
    channels = config.get("num_channels", DEFAULT_CHANNELS)
    if not all(isinstance(length, int) and length > 0 for length in (height, width)):
        raise DataError(f"model.config.image_size: must be a positive integer or two of them, got {size!r}")
    if channels not in (1, 3):
        raise DataError(f"model.config.num_channels: must be 1 (grey) or 3 (colour), got {channels!r}")
    if channels == 1:
        logger.warning(
            "model.config.num_channels is 1: transformers.pipeline feeds models colour images, so it cannot run this "
            "one; num_channels: 3 makes a model that it can"
        )
    settings = {
        "image_processor_type": "ViTImageProcessor",
        "do_convert_rgb": channels == 3,
        "do_resize": True,
        "size": {"height": height, "width": width},
        "resample": 2,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.5] * channels,
        "image_std": [0.5] * channels,
    }
    return {IMAGE_PROCESSOR_FILES[0]: (json.dumps(settings, indent=2) + "\n").encode()}
