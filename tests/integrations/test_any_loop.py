"""What else a loop may do around a pruner: compile the model, accumulate gradients, compute in bf16."""

import pytest
import torch
from torch import nn

from pipeline import Sparsifier
from pipeline.api import convert_config
from pipeline.recipe import load_recipe
from stages import STAGES

SETTINGS = {
    "sparsity": 0.75,
    "pattern": "4x1",
    "schedule": {"kind": "polynomial", "begin": 1, "end": 6, "every": 2},
    "layers": {"exclude": []},
}


@pytest.fixture
def mlp():
    """A function to the same small network, time and again."""

    def build(dtype=torch.float32):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8)).to(dtype)

    return build


def inputs(step, dtype=torch.float32):
    return torch.randn(8, 8, generator=torch.Generator().manual_seed(step)).to(dtype)


def train(model, pruner, losses, num_steps=8, after=lambda step: None):
    """Train ``model`` on the losses of ``losses(step)``, whose gradients are accumulated."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for step in range(num_steps):
        for loss in losses(step):
            loss.backward()
        pruner.before_optimizer_step(step)
        optimizer.step()
        pruner.after_optimizer_step(step, 1e-2)
        optimizer.zero_grad()
        after(step)
    pruner.finish()


def share_of_zeros(model):
    weights = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    return sum(int((weight == 0).sum()) for weight in weights) / sum(weight.numel() for weight in weights)


def masks_equal(left, right):
    one, other = left.masks(), right.masks()
    return one.keys() == other.keys() and all(torch.equal(mask, other[name]) for name, mask in one.items())


def test_a_compiled_model_is_compiled_once_whatever_the_masks(mlp):
    from torch._dynamo.testing import CompileCounter

    torch._dynamo.reset()
    counter = CompileCounter()
    model, plain = mlp(), mlp()
    compiled = torch.compile(model, backend=counter)
    pruner, reference = (Sparsifier(each, SETTINGS, num_steps=8) for each in (compiled, plain))
    counts, removed = [], []

    def note(step):
        counts.append(counter.frame_count)
        removed.append(pruner.logs()["weights_removed"])

    train(compiled, pruner, lambda step: [compiled(inputs(step)).square().mean()], after=note)
    train(plain, reference, lambda step: [plain(inputs(step)).square().mean()])
    assert counts == [1] * 8
    assert removed[0] < removed[2] < removed[5] == 0.75
    assert masks_equal(pruner, reference)
    assert share_of_zeros(model) == 0.75


@pytest.mark.parametrize("criterion", ["magnitude", "snip", "snip_momentum"])
def test_accumulated_gradients_choose_the_masks_of_the_whole_batch(mlp, criterion):
    whole, parts = mlp(torch.float64), mlp(torch.float64)
    pruners = [Sparsifier(model, {**SETTINGS, "criterion": criterion}, num_steps=8) for model in (whole, parts)]
    train(whole, pruners[0], lambda step: [whole(inputs(step, torch.float64)).square().mean()])
    halves = [slice(0, 4), slice(4, 8)]
    train(
        parts,
        pruners[1],
        lambda step: [parts(inputs(step, torch.float64)[half]).square().mean() / 2 for half in halves],
    )
    assert masks_equal(*pruners)
    for left, right in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(left, right)


@pytest.mark.parametrize("weights", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("criterion", ["magnitude", "snip", "snip_momentum"])
def test_in_bf16_the_share_is_exact_and_nothing_changes_its_type(mlp, weights, criterion):
    model = mlp(weights)
    pruner = Sparsifier(model, {**SETTINGS, "criterion": criterion}, num_steps=8)

    def losses(step):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            yield model(inputs(step, weights)).float().square().mean()

    seen = []
    train(model, pruner, losses, after=lambda step: seen.append(share_of_zeros(model)))
    assert seen[-1] == 0.75
    assert seen == sorted(seen)
    assert {parameter.dtype for parameter in model.parameters()} == {weights}
    assert all(bool(torch.isfinite(parameter).all()) for parameter in model.parameters())


def test_a_config_that_was_converted_takes_its_steps_afterwards(mlp, tmp_path):
    (tmp_path / "old.yaml").write_text('pruning: {pattern: "3:4", target_sparsity: 0.75, pruning_frequency: 2}')
    convert_config(tmp_path / "old.yaml", output=tmp_path / "new.yaml")
    config = load_recipe(tmp_path / "new.yaml", stages=STAGES).stage("sparsify").config
    assert (config.pattern, config.schedule.kind, config.schedule.end) == ("1:4", "exp", 0)
    model = mlp()
    pruner = Sparsifier(model, config, num_steps=8)
    pruner.update(start_step=2, end_step=5)
    seen = []
    train(
        model,
        pruner,
        lambda step: [model(inputs(step)).square().mean()],
        after=lambda step: seen.append(share_of_zeros(model)),
    )
    assert seen[:1] == [0.0]
    assert 0 < seen[3] < seen[4] == seen[7] == 0.75
