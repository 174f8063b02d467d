import copy

import pytest
import torch
from torch.func import functional_call

from stages.schedules import Span

STEPS = 24
SPAN = Span(4, 20)


def score_gradient(pruner, step=0):
    """Return the gradient that the scores take at ``step``, on the gradients the parameters hold."""
    seen = []
    pruner.scores.update = seen.append
    pruner.before_optimizer_step(step)
    return seen[0]


def mask_some(pruner, share=0.3):
    """Mask random blocks, as a step in the middle of pruning would."""
    dead = torch.rand(pruner.layout.num_blocks, generator=torch.Generator().manual_seed(2)) < share
    pruner._choose = lambda progress: dead
    pruner.after_optimizer_step(0, 0.0)
    return dead


def gated_loss(layers, pruner, raw, gates, inputs):
    """Return the loss of ``W' = gate ⊙ W_raw`` for a gate on every block of q, k, v and o."""
    weights = dict(raw)
    for path, gate in pruner.layout.by_weight(gates).items():
        matrix = raw[f"{path}.weight"]
        gate = gate.T if path.endswith(".o") else gate
        rows, columns = (size // blocks for size, blocks in zip(matrix.shape, gate.shape, strict=True))
        weights[f"{path}.weight"] = matrix * gate.repeat_interleave(rows, 0).repeat_interleave(columns, 1)
    return functional_call(layers, weights, (inputs,)).square().mean()


@pytest.mark.parametrize("granularity", ["block", "head"])
def test_movement_gradient_is_that_of_a_gate_on_every_block_dead_ones_included(
    make_pruner, layers, inputs, granularity
):
    layers, inputs = layers.double(), inputs.double()
    raw = {name: value.detach().clone() for name, value in layers.named_parameters()}
    pruner = make_pruner(layers, granularity=granularity, sparsity=0.5)
    dead = mask_some(pruner)
    assert 0 < dead.sum() < len(dead)
    gates = (~dead).double().requires_grad_()
    (expected,) = torch.autograd.grad(gated_loss(layers, pruner, raw, gates, inputs), gates)
    layers.loss(inputs).backward()
    torch.testing.assert_close(score_gradient(pruner).double(), expected, rtol=1e-5, atol=1e-8)
    assert expected[dead].abs().min() > 0


def test_movement_gradient_agrees_with_finite_differences(make_pruner, layers, inputs):
    layers, inputs = layers.double(), inputs.double()
    raw = {name: value.detach().clone() for name, value in layers.named_parameters()}
    pruner = make_pruner(layers, sparsity=0.5)
    dead = mask_some(pruner)
    layers.loss(inputs).backward()
    found = score_gradient(pruner)
    for block in range(0, len(dead), 7):
        losses = []
        for nudge in (1e-5, -1e-5):
            gates = (~dead).double()
            gates[block] += nudge
            losses.append(float(gated_loss(layers, pruner, raw, gates, inputs)))
        assert (losses[0] - losses[1]) / 2e-5 == pytest.approx(float(found[block]), rel=1e-4, abs=1e-7)


def test_head_gradient_is_that_of_a_gate_on_the_head_at_the_input_of_o(make_pruner, layers, inputs):
    layers, inputs = layers.double(), inputs.double()
    pruner = make_pruner(layers, granularity="head", sparsity=0.5)
    dead = mask_some(pruner)
    gates = (~dead).double().requires_grad_()
    gated = copy.deepcopy(layers)
    pruned = layers.loss(inputs)
    pruned.backward()
    found = score_gradient(pruner)
    gated.load_state_dict(layers.state_dict())  # the raw weights, restored by the pruner
    for attention, own in zip(gated.attention, gates.split(layers.num_heads), strict=True):
        scale = own.repeat_interleave(layers.head_dim)
        attention.o.register_forward_pre_hook(lambda module, args, scale=scale: (args[0] * scale,))
    loss = gated.loss(inputs)
    (expected,) = torch.autograd.grad(loss, gates)
    torch.testing.assert_close(loss, pruned, rtol=0, atol=2e-12)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("sparsity", [None, 0.5])
def test_penalty_follows_the_schedule(make_pruner, layers, sparsity):
    layers.zero_grad(set_to_none=True)
    for step, size in ((SPAN.begin, 0.0), (SPAN.end, 10 * 0.25 / (8 * 16))):
        gradient = score_gradient(make_pruner(layers, sparsity=sparsity, regular_scale=10.0), step)
        torch.testing.assert_close(gradient, torch.full_like(gradient, size))


def test_clipping_and_weight_decay_never_touch_the_scores(make_pruner, layers, run_steps):
    results = []
    for max_norm in (1e-9, 1e9):
        model = copy.deepcopy(layers)
        pruner = make_pruner(model)
        still = torch.optim.SGD(model.parameters(), lr=0.0)
        run_steps(model, pruner, 4, optimizer=still, max_norm=max_norm)
        results.append(pruner.scores.values)
        assert {name for name, _ in model.named_parameters()} == {name for name, _ in layers.named_parameters()}
    assert results[0].any()
    assert torch.equal(*results)


def test_every_change_of_the_masks_shows_in_the_weights(make_pruner, layers, run_steps):
    pruner, changes = make_pruner(layers, sparsity=0.6), []
    before = {}

    def check(step):
        changed = 0
        for weight in pruner.layout.weights:
            blocks = weight._blocks(weight.weight.weight())
            assert torch.equal(blocks.abs().amax(dim=(2, 3)) == 0, weight.dead)
            changed += int((weight.dead != before.get(weight.weight.path, False)).sum())
            before[weight.weight.path] = weight.dead
        assert pruner.logs()["blocks_changed"] == changed
        changes.append(changed)

    run_steps(layers, pruner, STEPS, after=check)
    assert sum(change > 0 for change in changes) > 5


def test_masked_weights_stay_frozen_while_their_blocks_go_on_learning(make_pruner, layers, run_steps):
    pruner = make_pruner(layers, sparsity=0.5)
    run_steps(layers, pruner, SPAN.end)
    weight, own = pruner.layout.weights[0], pruner.layout.slices[0]
    raw, scores = weight.raw.clone(), pruner.scores.values[own][weight.dead.flatten()]
    pruner._choose = lambda progress: pruner._dead
    run_steps(layers, pruner, 3, first=SPAN.end)
    assert len(raw)
    assert torch.equal(weight.raw, raw)
    assert not torch.equal(pruner.scores.values[own][weight.dead.flatten()], scores)


def test_masked_blocks_have_no_gradient_before_clipping(make_pruner, layers, inputs, run_steps):
    pruner = make_pruner(layers, sparsity=0.5)
    run_steps(layers, pruner, SPAN.end)
    layers.zero_grad()
    layers.loss(inputs).backward()
    pruner.before_optimizer_step(SPAN.end)
    for weight in pruner.layout.weights:
        gradients = weight._blocks(weight.weight.gradient()).abs().amax(dim=(2, 3))
        assert not gradients[weight.dead].any()
    assert any(weight.dead.any() for weight in pruner.layout.weights)
    assert layers.attention[0].v.weight.grad.any()


def test_finish_gives_kept_heads_their_masked_blocks_back_and_may_be_called_again(make_pruner, layers, run_steps):
    pruner = make_pruner(layers, sparsity=0.5)
    run_steps(layers, pruner, STEPS)
    live = pruner.live()
    inside_kept = pruner._dead & pruner.layout.gather(live)
    assert inside_kept.any()
    plan = pruner.finish()
    for weight in pruner.layout.weights:
        assert weight._blocks(weight.weight.weight()).abs().amax(dim=(2, 3)).all()
    assert [unit for kept in plan.values() for unit in kept.units] == [
        head % 4 for head in live.nonzero().flatten().tolist()
    ]
    weights = copy.deepcopy(layers.state_dict())
    assert pruner.finish() == plan
    assert all(torch.equal(weights[name], value) for name, value in layers.state_dict().items())


@pytest.mark.parametrize("settings", [{"sparsity": 0.5}, {"granularity": "head", "threshold": 0.4}])
@pytest.mark.parametrize("middle", [3, 9, 15, STEPS])
def test_a_pruner_restored_mid_run_ends_with_identical_masks_and_weights(
    make_pruner, layers, run_steps, settings, middle
):
    pruner = make_pruner(layers, **settings)
    optimizer = run_steps(layers, pruner, middle)
    other, saved = copy.deepcopy(layers), pruner.state_dict()
    moments = copy.deepcopy(optimizer.state_dict())
    run_steps(layers, pruner, STEPS - middle, first=middle, optimizer=optimizer)
    again = make_pruner(other, **settings)
    again.load_state_dict(saved)
    optimizer = torch.optim.AdamW(other.parameters())
    optimizer.load_state_dict(moments)
    run_steps(other, again, STEPS - middle, first=middle, optimizer=optimizer)
    assert again.finish() == pruner.finish()
    assert all(
        torch.equal(a, b) for a, b in zip(layers.state_dict().values(), other.state_dict().values(), strict=True)
    )
    assert all(torch.equal(value, again.tensors()[name]) for name, value in pruner.tensors().items())


def test_a_state_with_a_tensor_missing_unknown_or_of_another_shape_is_refused(make_pruner, layers):
    pruner = make_pruner(layers)
    state = pruner.state_dict()
    for name in state:
        with pytest.raises(ValueError, match=name):
            pruner.load_state_dict({other: value for other, value in state.items() if other != name})
        with pytest.raises(ValueError, match="does not fit"):
            pruner.load_state_dict({**state, name: torch.zeros(3, 3, 3)})
    with pytest.raises(ValueError, match="unknown"):
        pruner.load_state_dict({**state, "more": torch.zeros(1)})


def test_scores_and_their_history_are_kept_by_weight(make_pruner, layers, run_steps):
    pruner = make_pruner(layers, sparsity=0.5)
    run_steps(layers, pruner, STEPS)
    tensors = pruner.tensors()
    assert tensors["history.steps"].tolist() == list(range(1, STEPS + 1))
    assert tensors["scores.attention.0.q"].shape == (4, 4)
    assert torch.equal(tensors["history.attention.1.o"][-1], tensors["scores.attention.1.o"])
    assert not torch.equal(tensors["history.attention.1.o"][0], tensors["scores.attention.1.o"])


@pytest.mark.parametrize(("block_size", "fits"), [(1, True), (2, True), (3, False), (4, False)])
def test_blocks_that_do_not_divide_a_head_are_refused(make_pruner, layers, block_size, fits):
    if fits:
        make_pruner(layers, block_size=block_size)
        return
    with pytest.raises(ValueError, match=rf"block_size: must divide the head's width \(2\).*got {block_size}"):
        make_pruner(layers, block_size=block_size)
