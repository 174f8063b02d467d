"""Whether the word embeddings of a training get sparse gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from pipeline.errors import RecipeError
from pipeline.training.processes import Processes
from pipeline.training.pruner import Pruner, PrunesWeights

if TYPE_CHECKING:
    from pipeline.recipe.training import TrainingConfig

WORTHWHILE = 4096
"""Rows of an embedding from which on sparse gradients are worth their bookkeeping: a step reads some hundreds."""


def embedding_to_update_by_rows(
    model: nn.Module, config: TrainingConfig, pruner: Pruner | None, processes: Processes
) -> nn.Embedding | None:
    """Return the word embeddings if they are to get sparse gradients, None where all gradients are dense.

    With "auto" they are where that is possible and pays: on the CPU, from ``WORTHWHILE`` rows on. Raises
    ``RecipeError`` where the recipe asks for it in vain.
    """
    asked = config.embedding_gradients
    if asked == "dense":
        return None
    embedding = _word_embeddings(model)
    reason = _why_not(model, embedding, config, pruner, processes)
    if asked == "sparse" and reason:
        raise RecipeError(f"training.embedding_gradients: cannot be sparse: {reason}; set auto or dense")
    pays = embedding is not None and processes.device.type == "cpu" and embedding.num_embeddings >= WORTHWHILE
    return embedding if not reason and (pays or asked == "sparse") else None


def _word_embeddings(model: nn.Module) -> nn.Embedding | None:
    """Return the module that transformers names as the one for the inputs, if it is a plain table of learning rows."""
    find = getattr(model, "get_input_embeddings", None)
    try:
        found = None if find is None else find()
    except NotImplementedError:
        return None
    return found if type(found) is nn.Embedding and found.weight.requires_grad else None


def _why_not(
    model: nn.Module,
    embedding: nn.Embedding | None,
    config: TrainingConfig,
    pruner: Pruner | None,
    processes: Processes,
) -> str | None:
    """Return why ``embedding`` cannot have sparse gradients, None where it can."""
    if embedding is None:
        return "the model has no word embeddings that learn"
    owners = sum(
        parameter is embedding.weight for module in model.modules() for parameter in module._parameters.values()
    )
    others = (parameter for parameter in model.parameters() if parameter is not embedding.weight)
    reasons = {
        "there are several processes, which average dense ones": processes.count > 1,
        "fp16 scales dense ones": config.mixed_precision == "fp16",
        "the weights are not float32": embedding.weight.dtype != torch.float32,
        "the word embeddings are tied to another module": owners > 1,
        "the embeddings are rescaled as they are read": embedding.max_norm is not None or embedding.scale_grad_by_freq,
        "the pruner reads those of the word embeddings": _prunes(pruner, model, embedding.weight),
        "nothing else learns": not any(parameter.requires_grad for parameter in others),
        "learning_rate times weight_decay must be less than 1": config.learning_rate * config.weight_decay >= 1,
        "betas must be such that β₁ < β₂": config.betas[0] >= config.betas[1],
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def _prunes(pruner: Pruner | None, model: nn.Module, weight: Tensor) -> bool:
    """Say whether ``pruner`` removes single weights of ``weight``."""
    touched = pruner.parameter_names() if isinstance(pruner, PrunesWeights) else frozenset()
    return any(parameter is weight and name in touched for name, parameter in model.named_parameters())
