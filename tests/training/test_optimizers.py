import pytest
import torch

from pipeline.errors import CompressionError
from pipeline.training.optimizers import build_optimizer, set_learning_rate


def test_only_matrices_decay(fakes):
    model = fakes.tiny_bert()
    optimizer = build_optimizer(model, fakes.settings(weight_decay=0.5))
    names = {parameter: name for name, parameter in model.named_parameters()}
    decays = {names[p] for group in optimizer.param_groups if group["weight_decay"] for p in group["params"]}
    assert decays
    assert not any(name.endswith("bias") or "LayerNorm" in name for name in decays)
    assert len(names) == sum(len(group["params"]) for group in optimizer.param_groups)
    assert {name for name in names.values() if "LayerNorm" not in name and name.endswith("weight")} == decays


def test_a_frozen_parameter_is_left_out(fakes):
    model = fakes.tiny_bert()
    model.bert.embeddings.requires_grad_(False)
    optimizer = build_optimizer(model, fakes.settings())
    assert all(p.requires_grad for group in optimizer.param_groups for p in group["params"])
    model.requires_grad_(False)
    with pytest.raises(CompressionError, match="no trainable parameter"):
        build_optimizer(model, fakes.settings())


def test_the_step_is_that_of_adamw_by_hand():
    model = torch.nn.Linear(2, 1, bias=False)
    model.weight.data.copy_(torch.tensor([[1.0, -2.0]]))
    from pipeline.recipe.training import TrainingConfig

    config = TrainingConfig(learning_rate=1.0, weight_decay=0.1, betas=(0.9, 0.99), epsilon=1e-6)
    optimizer = build_optimizer(model, config)
    set_learning_rate(optimizer, 0.5)
    model.weight.grad = torch.tensor([[3.0, -4.0]])
    optimizer.step()
    decayed = torch.tensor([[1.0, -2.0]]) * (1 - 0.5 * 0.1)
    assert torch.allclose(model.weight, decayed - 0.5 * torch.tensor([[1.0, -1.0]]), atol=1e-5)
    assert optimizer.defaults["fused"]
