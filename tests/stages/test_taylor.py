import copy

import pytest
import torch

from pipeline.surgery.groups import Producer, PruningGroup
from stages.taylor import Taylor


def test_gate_form_equals_a_gate_on_the_activation_and_adds_up_over_steps(layers, inputs):
    layers, inputs = layers.double(), inputs.double()
    taylor = Taylor(layers, layers.channel_groups())
    expected = torch.zeros(2, 6, dtype=torch.float64)
    for step in range(3):
        layers.zero_grad()
        gates = torch.ones(2, 6, dtype=torch.float64, requires_grad=True)
        gated = copy.deepcopy(layers)
        for ffn, gate in zip(gated.ffn, gates, strict=True):
            ffn.narrow.register_forward_pre_hook(lambda module, args, gate=gate: (args[0] * gate,))
        (gradient,) = torch.autograd.grad(gated.loss(inputs + step), gates)
        expected += gradient.square() / 3
        layers.loss(inputs + step).backward()
        taylor.observe()
    for found, row in zip(taylor.importances().values(), expected, strict=True):
        torch.testing.assert_close(found.double(), row, rtol=1e-5, atol=1e-10)


def test_gate_form_is_the_first_order_change_of_the_loss_by_brute_force(layers, inputs):
    layers, inputs = layers.double(), inputs.double()
    taylor = Taylor(layers, layers.channel_groups())
    layers.loss(inputs).backward()
    taylor.observe()
    nudge = 1e-5
    for layer, found in enumerate(taylor.importances().values()):
        for channel in range(6):
            less = copy.deepcopy(layers)
            with torch.no_grad():
                less.ffn[layer].narrow.weight[:, channel] *= 1 - nudge
            change = float((layers.loss(inputs) - less.loss(inputs)).detach()) / nudge
            assert change**2 == pytest.approx(float(found[channel]), rel=1e-2, abs=1e-9)


def test_gate_form_ranks_channels_as_their_true_loss_change_does(layers, inputs):
    layers, inputs = layers.double(), inputs.double()
    taylor = Taylor(layers, layers.channel_groups())
    layers.loss(inputs).backward()
    taylor.observe()
    true_changes = []
    for layer in range(2):
        for channel in range(6):
            without = copy.deepcopy(layers)
            with torch.no_grad():
                without.ffn[layer].narrow.weight[:, channel] = 0
            true_changes.append(float((layers.loss(inputs) - without.loss(inputs)).detach()) ** 2)
    found = torch.cat(list(taylor.importances().values()))
    ranks = torch.stack([found.argsort().argsort(), torch.tensor(true_changes).argsort().argsort()]).double()
    assert torch.corrcoef(ranks)[0, 1] > 0.8


def test_nni_form_sums_squares_over_the_rows_of_every_producer(layers, inputs):
    plain = layers.channel_groups()[0]
    gated = PruningGroup(
        **{**vars(plain), "producers": (*plain.producers, Producer("ffn.1.wide", 1))},
    )
    taylor = Taylor(layers, [gated], form="nni")
    layers.loss(inputs).backward()
    taylor.observe()
    expected = sum((ffn.wide.weight * ffn.wide.weight.grad).square().sum(1) for ffn in layers.ffn)
    torch.testing.assert_close(taylor.importances()[gated.name], expected.detach())


def test_an_interval_starts_at_zero(layers, inputs):
    taylor = Taylor(layers, layers.channel_groups())
    layers.loss(inputs).backward()
    taylor.observe()
    first = {name: values.clone() for name, values in taylor.importances().items()}
    taylor.observe()
    taylor.reset()
    assert all(not values.any() for values in taylor.tensors().values())
    with pytest.raises(AssertionError, match="at least one step"):
        taylor.importances()
    taylor.observe()
    assert all(torch.equal(values, first[name]) for name, values in taylor.importances().items())
    assert all(values.any() for values in first.values())


def test_a_step_whose_gradients_overflowed_adds_nothing_for_any_unit(layers, inputs):
    taylor = Taylor(layers, layers.channel_groups())
    layers.loss(inputs).backward()
    taylor.observe()
    before = {name: values.clone() for name, values in taylor.importances().items()}
    layers.ffn[1].narrow.weight.grad[0, 0] = torch.inf
    taylor.observe()
    assert all(torch.equal(values, before[name] / 2) for name, values in taylor.importances().items())
