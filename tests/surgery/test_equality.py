import copy

import pytest
import torch

from pipeline.errors import CompressionError
from pipeline.surgery import equality
from pipeline.surgery.condense import condense
from pipeline.surgery.groups import dissect
from pipeline.surgery.keep_plan import KeepPlan, Kept

PLAN = KeepPlan(
    {
        "encoder.0.heads": Kept(4, (0, 2)),
        "encoder.0.channels": Kept(24, tuple(range(12))),
        "encoder.1.channels": Kept(24, (1, 4, 9)),
    }
)


def initialised(tiny_model, family, seed=0):
    """A model as small in its weights as transformers initialises it, the hardest to tell apart."""
    model = tiny_model(family)
    torch.manual_seed(seed)
    model.init_weights()
    return model


def one_index_less(model, plan, **options):
    return condense(model, KeepPlan({**plan, "encoder.0.channels": Kept(24, tuple(range(11)))}), **options)


def another_head(model, plan, **options):
    return condense(model, KeepPlan({**plan, "encoder.0.heads": Kept(4, (0, 3))}), **options)


def without_a_bias(model, plan, **options):
    condensed = condense(model, plan, **options)
    with torch.no_grad():
        condensed.get_parameter(f"{dissect(condensed)[1].consumer}.bias").zero_()
    return condensed


def columns_swapped(model, plan, **options):
    condensed = condense(model, plan, **options)
    with torch.no_grad():
        weight = condensed.get_parameter(f"{dissect(condensed)[3].consumer}.weight")
        weight.copy_(weight[:, [1, 0, 2]])
    return condensed


def not_a_number(model, plan, **options):
    condensed = condense(model, plan, **options)
    with torch.no_grad():
        condensed.get_parameter(f"{dissect(condensed)[3].consumer}.weight").fill_(float("nan"))
    return condensed


def test_a_right_cut_passes_and_comes_back(family, tiny_model, tiny_batch):
    for model in (tiny_model(family), initialised(tiny_model, family)):
        condensed = equality.condense_checked(model, PLAN, tiny_batch(family))
        assert [group.num_units for group in dissect(condensed)] == [2, 12, 4, 3]


def test_a_model_that_is_given_up_is_cut_to_the_same(family, tiny_model, tiny_batch):
    model = tiny_model(family).train()
    kept = equality.condense_checked(model, PLAN, tiny_batch(family))
    moved = equality.condense_checked(model, PLAN, tiny_batch(family), consume=True)
    assert moved.training
    assert moved.state_dict().keys() == kept.state_dict().keys()
    assert all(torch.equal(tensor, kept.state_dict()[name]) for name, tensor in moved.state_dict().items())


@pytest.mark.parametrize("fault", [one_index_less, another_head, columns_swapped, not_a_number])
@pytest.mark.parametrize("model_type", ["bert", "vit"])
def test_a_wrong_cut_stops_with_the_difference(model_type, fault, monkeypatch, tiny_model, tiny_batch):
    monkeypatch.setattr(equality, "condense", fault)
    for model in (tiny_model(model_type), initialised(tiny_model, model_type)):
        for consume in (False, True):
            with pytest.raises(CompressionError, match="max difference"):
                equality.condense_checked(model, PLAN, tiny_batch(model_type), consume=consume)


def test_a_lost_bias_stops_with_the_difference(monkeypatch, tiny_model, tiny_batch):
    monkeypatch.setattr(equality, "condense", without_a_bias)
    with pytest.raises(CompressionError, match="max difference"):
        equality.condense_checked(tiny_model("bert"), PLAN, tiny_batch("bert"))


def test_modes_and_random_state_are_as_before(tiny_model, tiny_batch):
    model = tiny_model("bert").train()
    model.classifier.eval()
    modes = [module.training for module in model.modules()]
    before = torch.get_rng_state()
    condensed = equality.condense_checked(model, PLAN, {**tiny_batch("bert"), "labels": torch.tensor([0, 1])})
    assert torch.equal(torch.get_rng_state(), before)
    assert [module.training for module in model.modules()] == modes
    assert [module.training for module in condensed.modules()] == modes


def test_half_precision_models_are_compared_in_float32_and_stay_as_they_are(tiny_model, tiny_batch):
    model = tiny_model("vit").to(torch.bfloat16)
    condensed = equality.condense_checked(model, PLAN, tiny_batch("vit"))
    assert condensed.dtype == model.dtype == torch.bfloat16


def test_evaluation_outputs_are_those_of_the_model_itself(tiny_model, tiny_batch):
    model = tiny_model("roberta")
    tensors = equality.evaluation_outputs(copy.deepcopy(model).train(), tiny_batch("roberta"))
    assert sorted(tensors) == ["hidden_states.0", "hidden_states.1", "hidden_states.2", "logits"]
    with torch.no_grad():
        assert torch.equal(tensors["logits"], model(**tiny_batch("roberta")).logits)
