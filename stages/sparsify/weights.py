"""The weights of a model that are multiplied with: each as a matrix of output rows by input columns."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from stages.sparsify.config import MATMULS, LayerType

SINGLE = ("weight",)
LAYERS: tuple[tuple[LayerType, type[nn.Module], tuple[str, ...]], ...] = (
    ("Linear", nn.Linear, SINGLE),
    ("Conv1d", nn.Conv1d, SINGLE),
    ("Conv2d", nn.Conv2d, SINGLE),
    ("LSTM", nn.LSTM, ("weight_ih_l", "weight_hh_l", "weight_hr_l")),
    ("GRU", nn.GRU, ("weight_ih_l", "weight_hh_l")),
    (
        "MultiheadAttention",
        nn.MultiheadAttention,
        ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"),
    ),
    ("Embedding", nn.Embedding, SINGLE),
)
"""What a recipe calls a layer, its class, and how the names of its weights begin."""
COMPILED = "_orig_mod"
"""What torch.compile puts into the paths of a model."""


@dataclass(frozen=True, eq=False)
class MatrixWeight:
    """One parameter; ``name`` is the path of its layer, or its own where the layer has several."""

    name: str
    parameter_name: str
    parameter: nn.Parameter
    layer_type: LayerType

    def matrix(self, tensor: Tensor) -> Tensor:
        """Return a tensor of the parameter's shape as ``(rows, *kernel, columns)``, a view.

        Rows are outputs (of an embedding: its entries), columns inputs. Those of a convolution are the input channels
        at each place of its kernel, so that neighbours are channels, as sparse kernels have them.
        """
        if self.layer_type == "Conv1D":
            return tensor.t()
        return tensor.movedim(1, -1) if tensor.ndim > 2 else tensor


def matrix_weights(model: nn.Module) -> list[MatrixWeight]:
    """Return every weight of the types that a recipe can name, each parameter once; those without entries are not.

    A parameter that an embedding shares with the output layer counts as the embedding's.
    """
    embedded = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    found: dict[int, MatrixWeight] = {}
    for path, module in model.named_modules():
        path = ".".join(part for part in path.split(".") if part != COMPILED)
        for layer_type, name, parameter in _weights_of(module):
            own = f"{path}.{name}".lstrip(".")
            kind: LayerType = "Embedding" if id(parameter) in embedded else layer_type
            shown = path if name in SINGLE and path else own
            found.setdefault(id(parameter), MatrixWeight(shown, own, parameter, kind))
    return list(found.values())


def _weights_of(module: nn.Module) -> Iterator[tuple[LayerType, str, nn.Parameter]]:
    if any(base.__name__ == "Conv1D" for base in type(module).__mro__):
        kinds: list[tuple[LayerType, tuple[str, ...]]] = [("Conv1D", SINGLE)]
    else:
        kinds = [(layer_type, names) for layer_type, layer, names in LAYERS if isinstance(module, layer)]
    for layer_type, names in kinds[:1]:
        for name, parameter in module.named_parameters(recurse=False):
            is_named = name in names if names is SINGLE else name.startswith(names)
            if is_named and parameter.ndim >= 2 and parameter.numel() > 0:
                yield layer_type, name, parameter


def chosen(
    weights: Sequence[MatrixWeight], *, types: Sequence[str], include: Sequence[str], exclude: Sequence[str]
) -> list[MatrixWeight]:
    """Return the weights of ``types`` whose name an expression of ``include`` finds; without any, all but ``exclude``.

    Include wins over exclude, as in NeurST.
    """

    def is_chosen(weight: MatrixWeight) -> bool:
        if weight.layer_type not in types:
            return False
        if include:
            return any(re.search(expression, weight.name) for expression in include)
        return not any(re.search(expression, weight.name) for expression in exclude)

    return [weight for weight in weights if is_chosen(weight)]


def matmul_weights(model: nn.Module) -> list[MatrixWeight]:
    """Return all weights of matrix products and convolutions, chosen or not; no embeddings."""
    return [weight for weight in matrix_weights(model) if weight.layer_type in MATMULS]
