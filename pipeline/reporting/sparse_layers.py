"""What a stage made zero: how much of each layer, and how some of the weights look."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pipeline.artifacts.run import Artifact, Run

Values = NDArray[np.float64]
NUMBER = re.compile(r"(?:^|(?<=\.))\d+(?=\.|$)")
WITHOUT = "–"
"""In place of a number for layers whose name has none."""
EDGE, MOST_KINDS = 48, 6
"""Rows and columns of a weight that are shown close up, and of how many weights."""


@dataclass(frozen=True)
class LayerGrid:
    """The share of zeros in every layer touched: a row for each kind of layer, a column for each number.

    ``shares`` is ``(kinds, numbers)``, nan where there is no such layer; ``names`` has the layers' names, ``""`` there.
    """

    kinds: tuple[str, ...]
    numbers: tuple[str, ...]
    shares: Values
    names: tuple[tuple[str, ...], ...]


def sparse_stages(run: Run) -> list[str]:
    """Return the stages of ``run`` that touched single weights, in order."""
    return [name for name in run.stages if run[name].metrics.get("weights_touched")]


def layer_grid(artifact: Artifact) -> LayerGrid:
    """Return the zeros of each layer as the manifest of ``artifact`` tells them.

    A layer's number is the first in its name; its kind is what follows, with what stands before the number only where
    that is not the same for all.
    """
    layers = artifact.manifest.details["layers"]
    placed = {name: _placed(name) for name in layers}
    is_one_stack = len({before for before, number, _ in placed.values() if number != WITHOUT}) == 1
    kinds: dict[str, dict[str, str]] = {}
    for name, (before, number, after) in placed.items():
        kind = after if is_one_stack else f"{before}.{after}"
        kinds.setdefault(kind.strip(".") or name, {})[number] = name
    found = {number for of_kind in kinds.values() for number in of_kind}
    numbers = tuple(sorted(found, key=lambda number: math.inf if number == WITHOUT else int(number)))
    names = tuple(tuple(of_kind.get(number, "") for number in numbers) for of_kind in kinds.values())
    shares = [[layers[name]["sparsity"] if name else math.nan for name in row] for row in names]
    return LayerGrid(tuple(kinds), numbers, np.array(shares, dtype=np.float64), names)


def close_ups(artifact: Artifact) -> dict[str, Values]:
    """Return the upper left corner, ``(rows, columns)``, of one weight of each kind, by kind and layer number.

    Of a kind the layer is shown whose share of zeros is nearest to that of all weights touched, the later of two, and
    of kinds the first few: where nearly all is zero, or nothing, a pattern is not to be seen. Rows are outputs and
    columns inputs; of a convolution these are the channels at each place of its kernel. What the weights' file does
    not hold under the name that the stage knew is left out.
    """
    layers, grid = artifact.manifest.details["layers"], layer_grid(artifact)
    overall = artifact.metrics["weight_sparsity"]
    with ExitStack() as opened:
        files = dict(_files(artifact, opened))
        found: dict[str, Values] = {}
        for kind, row in list(zip(grid.kinds, grid.names, strict=True))[:MOST_KINDS]:
            numbered = [(number, name) for number, name in zip(grid.numbers, row, strict=True) if name]
            number, name = min(reversed(numbered), key=lambda each: abs(layers[each[1]]["sparsity"] - overall))
            key = layers[name].get("parameter", f"{name}.weight")
            if key in files:
                title = kind if number == WITHOUT else f"{kind} {number}"
                found[title] = _corner(files[key].get_slice(key), layers[name].get("type"))
    return found


def _placed(name: str) -> tuple[str, str, str]:
    """Return what of a name stands before its first number, the number, and what follows it."""
    found = NUMBER.search(name)
    if found is None:
        return "", WITHOUT, name
    return name[: found.start()].rstrip("."), found[0], name[found.end() :].lstrip(".")


def _files(artifact: Artifact, opened: ExitStack) -> Iterator[tuple[str, Any]]:
    """Yield the name of every tensor in the model's folder with the file that holds it."""
    from safetensors import safe_open

    for path in sorted(artifact.model_dir.glob("*.safetensors")):
        file = opened.enter_context(safe_open(path, framework="pt"))
        yield from ((key, file) for key in file.keys())  # noqa: SIM118 - no mapping


def _corner(part: Any, layer_type: str | None) -> Values:
    tensor = part[:EDGE, :EDGE] if len(part.get_shape()) == 2 else part[:EDGE].movedim(1, -1).flatten(1)[:, :EDGE]
    return np.asarray((tensor.t() if layer_type == "Conv1D" else tensor).double().numpy())
