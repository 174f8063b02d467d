import copy

import pytest
import torch
from torch import nn

from pipeline.errors import CompressionError
from pipeline.surgery.condense import condense
from pipeline.surgery.cut_in_place import cut_in_place, cut_in_place_checked
from pipeline.surgery.equality import evaluation_outputs
from pipeline.surgery.groups import Producer, PruningGroup, dissect, narrowed
from pipeline.surgery.keep_plan import KeepPlan, Kept
from pipeline.surgery.masking import mask_units

PLAN = KeepPlan({"encoder.0.channels": Kept(24, (0, 3, 4, 20)), "encoder.1.channels": Kept(24, ())})


def trained(model, batch, steps=3):
    """Train for some steps, noise in gradients that are zero left alone; returns the optimizer with its moments."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, eps=1e-3, fused=True)
    for _ in range(steps):
        optimizer.zero_grad()
        model(**batch).logits.square().mean().backward()
        optimizer.step()
    return optimizer


def test_a_model_cut_in_place_has_the_weights_of_the_condensed_one_in_the_parameters_it_had(
    family, tiny_model, tiny_batch
):
    model, batch = tiny_model(family), tiny_batch(family)
    optimizer = trained(model, batch)
    condensed, masked = condense(model, PLAN), mask_units(model, PLAN)
    before = {name: (id(parameter), type(parameter)) for name, parameter in model.named_parameters()}
    cut_in_place(model, PLAN, optimizer=optimizer)
    expected = condensed.state_dict()
    assert model.state_dict().keys() == expected.keys()
    assert all(
        torch.equal(value, expected[name]) and value.is_contiguous() for name, value in model.state_dict().items()
    )
    assert {name: (id(parameter), type(parameter)) for name, parameter in model.named_parameters()} == before
    assert [group.num_units for group in dissect(model)] == [4, 4, 4, 0]
    linears = [module for module in model.modules() if isinstance(module, nn.Linear)]
    assert all((module.out_features, module.in_features) == module.weight.shape for module in linears)
    for name, tensor in evaluation_outputs(masked, batch).items():
        torch.testing.assert_close(evaluation_outputs(model, batch)[name], tensor)


def test_the_moments_are_cut_with_their_parameters_and_the_next_step_moves_every_weight_alike(tiny_model, tiny_batch):
    model, batch = tiny_model("bert"), tiny_batch("bert")
    whole = mask_units(model, PLAN)
    optimizers = [trained(each, batch) for each in (model, whole)]
    whole.load_state_dict(mask_units(whole, PLAN).state_dict())
    model.load_state_dict(whole.state_dict())
    optimizers[0].load_state_dict(copy.deepcopy(optimizers[1].state_dict()))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    model(**batch).logits.sum().backward()
    cut_in_place(model, PLAN, optimizer=optimizers[0])
    assert all(parameter.grad is None for name, parameter in model.named_parameters() if "intermediate" in name)
    expected = {}
    for moment in ("exp_avg", "exp_avg_sq"):
        values = copy.deepcopy(whole)
        with torch.no_grad():
            for mine, theirs in zip(values.parameters(), whole.parameters(), strict=True):
                mine.copy_(optimizers[1].state[theirs][moment])
        expected[moment] = condense(values, PLAN).state_dict()
    for parameter, state in optimizers[0].state.items():
        assert all(torch.equal(state[moment], expected[moment][names[id(parameter)]]) for moment in expected)
        assert int(state["step"]) == 3
    for each, optimizer in zip((model, whole), optimizers, strict=True):
        optimizer.zero_grad()
        each(**batch).logits.square().mean().backward()
        optimizer.step()
    after = condense(whole, PLAN).state_dict()
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, after[name], atol=2e-5, rtol=1e-5)


def test_heads_go_as_channels_do_and_a_second_cut_counts_in_what_the_first_left(tiny_model, tiny_batch):
    first = KeepPlan({"encoder.0.heads": Kept(4, (1, 2, 3)), "encoder.0.channels": Kept(24, tuple(range(5, 20)))})
    later = KeepPlan({"encoder.0.heads": Kept(3, (0, 2)), "encoder.1.heads": Kept(4, (0,))})
    model, batch = tiny_model("bert"), tiny_batch("bert")
    expected = evaluation_outputs(condense(model, first.then(later)), batch)
    cut_in_place(model, first)
    cut_in_place(model, later)
    actual = evaluation_outputs(model, batch)
    assert all(torch.equal(actual[name], tensor) for name, tensor in expected.items())
    with pytest.raises(ValueError, match=r"counts 4 units in encoder\.0\.heads, the model has 2"):
        cut_in_place(model, first)


def test_a_cut_of_units_that_speak_is_caught(tiny_model, tiny_batch):
    model, batch = tiny_model("bert"), tiny_batch("bert")
    optimizer = trained(model, batch)
    masked = mask_units(model, PLAN)
    cut_in_place_checked(masked, PLAN, batch, optimizer=optimizer)
    with pytest.raises(CompressionError, match="does not compute what the masked model computes"):
        cut_in_place_checked(model, PLAN, batch, optimizer=optimizer)


class Fused(nn.Module):
    """Attention's matrices as GPT-2 has them: q, k and v in one, inputs first."""

    def __init__(self):
        from transformers.pytorch_utils import Conv1D

        super().__init__()
        self.qkv, self.out = Conv1D(24, 8), Conv1D(8, 8)
        self.out.bias = None


def test_fused_producers_and_transposed_weights_are_cut_along_their_axis():
    model = Fused()
    group = PruningGroup(
        name="encoder.0.heads",
        kind="heads",
        stack="encoder",
        layer=0,
        producers=tuple(Producer("qkv", 2, offset=8 * part, axis=1) for part in range(3)),
        consumer="out",
        unit_size=2,
        num_units=4,
        consumer_axis=0,
    )
    weight, bias, out = (each.detach().clone() for each in (model.qkv.weight, model.qkv.bias, model.out.weight))
    cut_in_place(model, KeepPlan({group.name: Kept(4, (0, 3))}), groups=[group])
    rows = [0, 1, 6, 7]
    columns = [8 * part + row for part in range(3) for row in rows]
    assert torch.equal(model.qkv.weight, weight[:, columns])
    assert torch.equal(model.qkv.bias, bias[columns])
    assert torch.equal(model.out.weight, out[rows])
    assert (model.qkv.nf, model.qkv.nx, model.out.nf, model.out.nx) == (12, 8, 8, 4)
    assert model.qkv(torch.ones(1, 3, 8)).shape == (1, 3, 12)
    after = narrowed(group, 2)
    assert [producer.offset for producer in after.producers] == [0, 4, 8]
    assert (after.num_units, after.unit_size, after.name) == (2, 2, group.name)
    assert narrowed(after, 0).producers[2].offset == 0
