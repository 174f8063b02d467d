import gzip

import pytest
import torch
from torch import nn

from stages.sparsify import Sparsifier
from stages.sparsify.zeros import Zeros, gzip_bytes, sparsity_metrics


def test_zeros_are_counted_over_all_tensors_together():
    found = Zeros.of(torch.tensor([0.0, 1.0, -0.0]), torch.ones(5))
    assert (found.weights, found.zeros, found.share) == (8, 2, 0.25)
    assert Zeros.of().share == 0.0


def test_intels_ratio_counts_the_weights_that_were_not_touched_and_no_embedding():
    model = nn.ModuleDict({"a": nn.Linear(4, 4), "classifier": nn.Linear(4, 12), "embed": nn.Embedding(100, 4)})
    with torch.no_grad():
        model["a"].weight[:2] = 0
        model["embed"].weight.zero_()
    metrics = sparsity_metrics(model, Sparsifier(model, {"pattern_lock": True}, num_steps=9))
    assert metrics["weights_touched"] == 16
    assert (metrics["weight_sparsity"], metrics["matmul_sparsity"]) == (0.5, 8 / 64)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_gzipped_size_is_that_of_the_bytes_of_every_weight_once(dtype):
    model = nn.Sequential(nn.Linear(32, 32), nn.Linear(32, 32)).to(dtype)
    model[1].weight = model[0].weight
    model.register_buffer("count", torch.arange(100))
    parts = [model.count, model[0].weight, model[0].bias, model[1].bias]
    data = b"".join(bytes(part.detach().flatten().view(torch.uint8).numpy()) for part in parts)
    assert gzip_bytes(model) == len(gzip.compress(data, 6))
