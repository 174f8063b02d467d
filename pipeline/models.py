"""Models in and out: the one a recipe starts from, and those of artifacts, read strictly and saved to load anywhere."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers.utils import logging as transformers_logging

from pipeline.errors import ArtifactError, RecipeError
from pipeline.model_config import UNBUILDABLE, family_for, head_fields, model_from_config, reason_of
from pipeline.surgery.architectures import (
    CLASS_PREFIX,
    CONDENSED_PREFIX,
    FAMILIES,
    Family,
    family_of_type,
    layer_prefixes,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pipeline.recipe import ModelSource
    from pipeline.tasks.task import Task

logger = logging.getLogger(__name__)


def register_models() -> None:
    """Teach transformers' Auto classes every condensed class: folders then load without a flag. Twice is harmless."""
    for family in FAMILIES.values():
        family.register()


def source_model(source: ModelSource, task: Task, seed: int, *, is_teacher: bool = False) -> PreTrainedModel:
    """Return the model a recipe starts from, in evaluation mode, float32, with the head that ``task`` needs.

    What the checkpoint lacks of the head is drawn from ``seed``, and so is a whole model from a config. Raises
    ``RecipeError`` for a family that is not supported, a head that does not fit (a teacher's must tell the task's very
    classes, one that is trained further may tell others), and a checkpoint that lacks weights of the encoder.
    """
    with torch.random.fork_rng(devices=[]), _quiet():
        torch.manual_seed(seed)
        if source.pretrained is not None:
            model = _pretrained(source, task, is_teacher)
        else:
            model = model_from_config(source.config or {}, task)
    if not layer_prefixes(model):
        raise RecipeError(f"model: must have at least one transformer layer, got a {model.config.model_type} with none")
    _feed_forward_at_once(model)
    return _in_fresh_memory(model).eval()


def load_model(folder: Path | str, auto_model: str | None = None) -> PreTrainedModel:
    """Return the model saved in ``folder``, in evaluation mode, its parameters in fresh memory.

    ``auto_model`` names the transformers class, such as ``"AutoModelForSequenceClassification"``; by default it is
    the one the folder was saved from. Raises ``ArtifactError`` when a file cannot be read, or a weight is missing,
    left over or of another shape.
    """
    folder = Path(folder)
    try:
        saved = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        model_type = str(saved["model_type"])
        family = family_of_type(model_type)
        model_class = family.model_class(auto_model or _auto_model(saved, family), model_type)
        config = model_class.config_class.from_pretrained(str(folder), local_files_only=True)
        with _quiet():
            model, info = model_class.from_pretrained(
                None,
                config=config,
                state_dict=_read_weights(folder),
                output_loading_info=True,
                ignore_mismatched_sizes=True,
            )
    except (OSError, SafetensorError, *UNBUILDABLE) as error:
        raise ArtifactError(f"{folder}: the model cannot be read ({reason_of(error)}); run its stage again") from None
    unfit = [*info["missing_keys"], *info["unexpected_keys"], *(key for key, *_ in info["mismatched_keys"])]
    if unfit:
        raise ArtifactError(
            f"{folder}: weights and config do not fit ({len(unfit)} names, such as {min(unfit)}); run its stage again"
        )
    model.name_or_path = model.config.name_or_path = str(folder)
    return model.eval()


def save_model(model: PreTrainedModel, folder: Path) -> None:
    """Write config, weights and, for a condensed model, the code that loads it; not the processor.

    Weights keep the names their modules have: transformers' older names of ViT would defeat a strict load.
    """
    with _quiet():
        model.save_pretrained(str(folder), save_original_format=False)


def _feed_forward_at_once(model: PreTrainedModel) -> None:
    """Let no layer feed its tokens forward in chunks: the result is the same, and a hook sees all of them at once."""
    for module in (model.config, *model.modules()):
        if getattr(module, "chunk_size_feed_forward", 0):
            module.chunk_size_feed_forward = 0


def _pretrained(source: ModelSource, task: Task, is_teacher: bool) -> PreTrainedModel:
    """Return the checkpoint's model; raises ``RecipeError`` where its encoder would not be exactly the checkpoint's."""
    name = str(source.pretrained)
    where = {"revision": source.revision, "trust_remote_code": source.trust_remote_code}
    try:
        written, _ = transformers.PreTrainedConfig.get_config_dict(name, revision=source.revision)
        config = transformers.AutoConfig.from_pretrained(name, **where, **head_fields(task))
        model_type = str(written.get("model_type", ""))
        family = family_for(model_type, task)
        # The Auto class would follow the checkpoint's own head, such as DeiT's with two outputs, which fits no task.
        has_own_code = source.trust_remote_code and not model_type.startswith(CONDENSED_PREFIX)
        model_class = (
            getattr(transformers, task.auto_model) if has_own_code else family.model_class(task.auto_model, model_type)
        )
        model, info = model_class.from_pretrained(
            name,
            config=config,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **where,
        )
    except (OSError, ValueError, SafetensorError, StrictDataclassError) as error:
        raise RecipeError(
            f"model.pretrained: {name!r} cannot be loaded ({reason_of(error)}); give a hub id or a folder with "
            "config.json and weights"
        ) from None
    _check_loaded(name, model, family, info)
    if all(key.startswith(f"{model.base_model_prefix}.") for key in info["missing_keys"]):
        # The head is the checkpoint's; what its config called the classes was overwritten by the task's names.
        task.check_classes(written.get("id2label") or {}, repr(name), is_trained_further=not is_teacher)
    return model


def _check_loaded(name: str, model: PreTrainedModel, family: Family, info: Mapping[str, Any]) -> None:
    """Refuse what transformers would have initialised anew in silence, the weights of a new head excepted."""
    for key, found, needed in sorted(info["mismatched_keys"]):
        raise RecipeError(
            f"model.pretrained: {name!r} holds {key} as {tuple(found)}, the task needs {tuple(needed)}; save it "
            "without its head (transformers.AutoModel.from_pretrained(…).save_pretrained(folder)) and give that folder"
        )
    body = f"{model.base_model_prefix}."
    missing = sorted(info["missing_keys"])
    lost = [key for key in missing if key.startswith(body) and not key.startswith(f"{body}pooler.")]
    layers = tuple(f"{prefix}{stack.layers}." for stack in family.stacks for prefix in (body, ""))
    left_over = sorted(key for key in info["unexpected_keys"] if key.startswith(layers))
    if lost or left_over:
        what = f"lacks {len(lost)} weights" if lost else f"holds {len(left_over)} weights its config has no place for"
        raise RecipeError(
            f"model.pretrained: {name!r} {what} of the encoder, such as {(lost or left_over)[0]}; its config.json and "
            "its weights do not belong together"
        )
    if missing:
        logger.warning("%s has no %s: drawn from the seed", name, ", ".join(missing))


def _auto_model(config: Mapping[str, Any], family: Family) -> str:
    """Return the Auto class whose model a saved config names; raises ``ValueError`` where it names none of them."""
    names = [str(name).removeprefix(CLASS_PREFIX) for name in config.get("architectures") or ()]
    for auto_class, condensed_class in family.auto_classes.items():
        if condensed_class.__name__.removeprefix(CLASS_PREFIX) in names:
            return auto_class
    raise ValueError(f"config.json names the architectures {names or 'none'}: say which auto_model to load")


def _read_weights(folder: Path) -> dict[str, Tensor]:
    """Return every weight in ``folder`` in fresh memory, without mapping the files."""
    index = folder / "model.safetensors.index.json"
    names = ["model.safetensors"]
    if index.exists():
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    weights: dict[str, Tensor] = {}
    for name in names:
        with safe_open(folder / name, framework="pt", backend="pread") as file:
            # What is read lies at odd addresses, where matrix kernels may round otherwise.
            weights.update({key: file.get_tensor(key).clone() for key in file.keys()})  # noqa: SIM118
    return weights


def _in_fresh_memory(model: PreTrainedModel) -> PreTrainedModel:
    """Move every parameter out of the checkpoint's mapped file: there its address may change last bits of results."""
    for parameter in model.parameters():
        parameter.data = parameter.data.clone(memory_format=torch.contiguous_format)
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence transformers' progress bars and reports, which would tell what is checked here."""
    verbosity, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()
