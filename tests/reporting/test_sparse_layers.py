import json
import math

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from pipeline.reporting.sparse_layers import close_ups, layer_grid, sparse_stages


def told(artifact, layers):
    """Return the artifact with a manifest that tells of ``layers``, given as ``{name: share}`` or whole."""
    facts = {name: {"sparsity": fact} if isinstance(fact, float) else fact for name, fact in layers.items()}
    artifact.manifest.details["layers"] = json.loads(json.dumps(facts))
    return artifact


def test_only_stages_that_touched_single_weights_are_told_of(sparse_run, made_run):
    assert sparse_stages(sparse_run) == ["thin"]
    assert sparse_stages(made_run) == []


def test_a_layer_stands_in_the_row_of_its_kind_and_the_column_of_its_number(sparse_run):
    grid = layer_grid(sparse_run["thin"])
    assert grid.kinds == ("attention.query", "output.dense", "head")
    assert grid.numbers == ("0", "1", "–")
    np.testing.assert_array_equal(grid.shares, [[0.25, 0.75, math.nan]] * 2 + [[math.nan, math.nan, 0.0]])
    assert grid.names[1] == ("bert.encoder.layer.0.output.dense", "bert.encoder.layer.1.output.dense", "")


def test_layers_of_two_stacks_are_two_kinds_and_numbers_are_in_their_order(sparse_run):
    names = ["encoder.block.10.layer.0.q", "encoder.block.2.layer.0.q", "decoder.block.2.layer.0.q", "0", "lstm.hh_l0"]
    grid = layer_grid(told(sparse_run["thin"], dict.fromkeys(names, 0.5)))
    assert grid.kinds == ("encoder.block.layer.0.q", "decoder.block.layer.0.q", "0", "lstm.hh_l0")
    assert grid.numbers == ("0", "2", "10", "–")
    assert [[bool(name) for name in row] for row in grid.names] == [
        [False, True, True, False], [False, True, False, False], [True, False, False, False], [False] * 3 + [True],
    ]  # fmt: skip


def test_the_layer_shown_close_up_is_as_sparse_as_the_whole(sparse_run):
    names = [f"bert.encoder.layer.{number}.output.dense" for number in (0, 1)]
    for shares, number in (((0.45, 0.99), 0), ((0.1, 0.6), 1), ((0.4, 0.6), 1)):
        artifact = told(sparse_run["thin"], dict(zip(names, shares, strict=True)))
        assert list(close_ups(artifact)) == [f"output.dense {number}"]


def test_a_close_up_is_the_corner_of_a_weight_of_its_kind(sparse_run):
    shown = close_ups(sparse_run["thin"])
    assert list(shown) == ["attention.query 1", "output.dense 1", "head"]
    expected = np.arange(1, 241, dtype=np.float64).reshape(60, 4)[:48]
    expected[:, :3] = 0.0
    np.testing.assert_array_equal(shown["attention.query 1"], expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rows_are_outputs_whatever_the_layer(sparse_run, dtype):
    transposed, conv = torch.arange(12.0).view(3, 4), torch.arange(24.0).view(2, 3, 4)
    path = sparse_run["thin"].model_dir / "model.safetensors"
    tensors = {"a.weight": transposed, "b.weight": conv, "old.weight": torch.ones(2, 2)}
    save_file({name: tensor.to(dtype) for name, tensor in tensors.items()}, path)
    layers = {
        "a": {"sparsity": 0.0, "type": "Conv1D", "parameter": "a.weight"},
        "b": {"sparsity": 0.0, "type": "Conv1d", "parameter": "b.weight"},
        "old": {"sparsity": 0.0},
        "gone": {"sparsity": 0.0, "type": "Linear", "parameter": "gone.weight"},
    }
    shown = close_ups(told(sparse_run["thin"], layers))
    assert list(shown) == ["a", "b", "old"]
    np.testing.assert_array_equal(shown["a"], transposed.t())
    np.testing.assert_array_equal(shown["b"][0], [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11])
