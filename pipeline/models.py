"""Models in and out: the one a recipe starts from, and those of artifacts, read strictly and saved to load anywhere."""

from __future__ import annotations

import difflib
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers.utils import logging as transformers_logging

from pipeline.errors import ArtifactError, RecipeError
from pipeline.surgery.architectures import CLASS_PREFIX, CONDENSED_PREFIX, FAMILIES, Family, family_of_type

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pipeline.recipe import ModelSource
    from pipeline.tasks.task import Task

logger = logging.getLogger(__name__)

HEAD_FIELDS = ("num_labels", "id2label", "label2id", "problem_type")
"""What a task decides of any model's config; its other fields are sizes for a model from scratch."""
EVERY_CONFIG = ("num_labels", "output_attentions", "attn_implementation")
"""Keys that each config takes beside its fields."""
UNBUILDABLE = (ValueError, TypeError, KeyError, ArithmeticError, RuntimeError, AttributeError, StrictDataclassError)
"""What transformers raises for sizes that contradict each other."""


def register_models() -> None:
    """Teach transformers' Auto classes every condensed class: folders then load without a flag. Twice is harmless."""
    for family in FAMILIES.values():
        family.register()


def source_model(source: ModelSource, task: Task, seed: int) -> PreTrainedModel:
    """Return the model a recipe starts from, in evaluation mode, float32, with the head that ``task`` needs.

    What the checkpoint lacks of the head is drawn from ``seed``, and so is a whole model from a config. Raises
    ``RecipeError`` for a family that is not supported, a head that does not fit, and a checkpoint that lacks weights
    of the encoder.
    """
    with torch.random.fork_rng(devices=[]), _quiet():
        torch.manual_seed(seed)
        model = _pretrained(source, task) if source.pretrained is not None else _from_scratch(source.config or {}, task)
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
        raise ArtifactError(f"{folder}: the model cannot be read ({_one_line(error)}); run its stage again") from None
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


def _pretrained(source: ModelSource, task: Task) -> PreTrainedModel:
    """Return the checkpoint's model; raises ``RecipeError`` where its encoder would not be exactly the checkpoint's."""
    name = str(source.pretrained)
    where = {"revision": source.revision, "trust_remote_code": source.trust_remote_code}
    try:
        written, _ = transformers.PreTrainedConfig.get_config_dict(name, revision=source.revision)
        family = _family_for(str(written.get("model_type", "")), task)
        config = transformers.AutoConfig.from_pretrained(name, **where, **_head_fields(task))
        model, info = getattr(transformers, task.auto_model).from_pretrained(
            name,
            config=config,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **where,
        )
    except (OSError, ValueError, SafetensorError, StrictDataclassError) as error:
        raise RecipeError(
            f"model.pretrained: {name!r} cannot be loaded ({_one_line(error)}); give a hub id or a folder with "
            "config.json and weights"
        ) from None
    _check_loaded(name, model, family, info)
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


def _from_scratch(settings: Mapping[str, Any], task: Task) -> PreTrainedModel:
    """Return a model with new weights from a recipe's ``config``, sizes it leaves out taken from the task."""
    model_type = str(settings.get("model_type", ""))
    if model_type.startswith(CONDENSED_PREFIX) or not model_type:
        raise RecipeError(f"model.config.model_type: must be one of {', '.join(FAMILIES)}, got {model_type!r}")
    family = _family_for(model_type, task)
    given = {name: value for name, value in settings.items() if name != "model_type"}
    model_class = family.model_class(task.auto_model, model_type)
    config_class = model_class.config_class
    _check_fields(config_class, given)
    try:
        return model_class(config_class(**{**task.config_fields(), **given, **_head_fields(task)})).float()
    except UNBUILDABLE as error:
        raise RecipeError(f"model.config: {model_type} cannot be built so ({_one_line(error)})") from None


def _family_for(model_type: str, task: Task) -> Family:
    family = family_of_type(model_type)
    if task.auto_model not in family.auto_classes:
        able = [other.model_type for other in FAMILIES.values() if task.auto_model in other.auto_classes]
        raise RecipeError(f"model: {model_type!r} cannot do the task {task.name}; {', '.join(able)} can")
    family.register()
    return family


def _check_fields(config_class: Any, given: Mapping[str, Any]) -> None:
    """Refuse a misspelt field, which transformers would keep and never read."""
    known = {*(field.name for field in fields(config_class)), *config_class.attribute_map, *EVERY_CONFIG}
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(name, sorted(known), n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise RecipeError(f"model.config.{name}: {config_class.__name__} has no such field{hint}")


def _head_fields(task: Task) -> dict[str, Any]:
    return {name: value for name, value in task.config_fields().items() if name in HEAD_FIELDS}


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


def _one_line(error: BaseException) -> str:
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    return " ".join(text.split())[:300] or type(error).__name__


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
