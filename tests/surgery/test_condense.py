import copy

import pytest
import torch

from pipeline.surgery.architectures import FAMILIES
from pipeline.surgery.condense import condense
from pipeline.surgery.groups import dissect, full_plan
from pipeline.surgery.keep_plan import KeepPlan, Kept
from pipeline.surgery.masking import mask_units

UNEVEN = KeepPlan(
    {
        "encoder.0.heads": Kept(4, (0, 3)),
        "encoder.0.channels": Kept(24, (1, 5, 6, 20)),
        "encoder.1.heads": Kept(4, (1, 2, 3)),
        "encoder.1.channels": Kept(24, tuple(range(0, 24, 2))),
    }
)
EMPTY = KeepPlan(
    {
        "encoder.0.heads": Kept(4, ()),
        "encoder.0.channels": Kept(24, (3,)),
        "encoder.1.heads": Kept(4, (2,)),
        "encoder.1.channels": Kept(24, ()),
    }
)
NOTHING = KeepPlan({name: Kept(kept.of, ()) for name, kept in UNEVEN.items()})


def outputs(model, batch):
    with torch.no_grad():
        return model(**batch, output_hidden_states=True)


@pytest.mark.parametrize(
    ("attention", "plan"),
    [("sdpa", UNEVEN), ("sdpa", NOTHING), ("eager", EMPTY)],
    ids=["sdpa-uneven", "sdpa-nothing", "eager-empty"],
)
def test_condensed_model_computes_what_the_masked_model_computes(family, attention, plan, tiny_model, tiny_batch):
    model, batch = tiny_model(family, attn_implementation=attention), tiny_batch(family)
    condensed = condense(model, plan)
    expected, actual = outputs(mask_units(model, plan), batch), outputs(condensed, batch)
    assert condensed.config._attn_implementation == attention
    assert len(actual.hidden_states) == len(expected.hidden_states) == 3
    for masked, cut in zip(expected.hidden_states, actual.hidden_states, strict=True):
        torch.testing.assert_close(cut, masked, rtol=0, atol=2e-6)
    torch.testing.assert_close(actual.logits, expected.logits, rtol=0, atol=2e-6)
    assert (outputs(model, batch).logits - actual.logits).abs().max() > 1e-2


@pytest.mark.parametrize("activation", ["sigmoid", "relu", "gelu_new"])
def test_the_equality_holds_for_activations_that_are_not_zero_at_zero(activation, tiny_model, tiny_batch):
    model = tiny_model("bert", hidden_act=activation)
    expected, actual = (
        outputs(mask_units(model, UNEVEN), tiny_batch("bert")),
        outputs(condense(model, UNEVEN), tiny_batch("bert")),
    )
    torch.testing.assert_close(actual.logits, expected.logits, rtol=0, atol=2e-6)


def test_every_condensed_class_computes_what_its_masked_model_computes(family, tiny_model, tiny_batch):
    for condensed_class in FAMILIES[family].auto_classes.values():
        head = condensed_class.__name__.removeprefix("Condensed").removeprefix(
            FAMILIES[family].auto_classes["AutoConfig"].__name__.removeprefix("Condensed").removesuffix("Config")
        )
        if head == "Config":
            continue
        model, batch = tiny_model(family, head, encoder_stride=4), tiny_batch(family)
        if head == "ForMultipleChoice":
            batch = {name: tensor[None] for name, tensor in batch.items()}
        condensed = condense(model, UNEVEN)
        assert type(condensed) is condensed_class
        expected, actual = outputs(mask_units(model, UNEVEN), batch), outputs(condensed, batch)
        torch.testing.assert_close(actual[0], expected[0], rtol=1e-5, atol=1e-5)
        assert len(actual.hidden_states) == 3


def test_a_plan_that_keeps_everything_changes_no_bit(family, tiny_model, tiny_batch, assert_same_states):
    model, batch = tiny_model(family), tiny_batch(family)
    condensed = condense(model, full_plan(model))
    assert_same_states(condensed, model)
    assert torch.equal(outputs(condensed, batch).logits, outputs(model, batch).logits)
    assert_same_states(condense(model, KeepPlan({})), model)


def test_condensing_twice_is_condensing_once_by_the_composed_plan(family, tiny_model, assert_same_states):
    model = tiny_model(family)
    later = KeepPlan({"encoder.0.heads": Kept(2, (1,)), "encoder.1.channels": Kept(12, (0, 11))})
    twice, once = condense(condense(model, UNEVEN), later), condense(model, UNEVEN.then(later))
    assert_same_states(twice, once)
    assert type(twice) is type(once)
    assert twice.config.to_dict() == once.config.to_dict()


def test_rows_and_biases_of_producers_and_columns_of_consumers_are_kept_in_order(family, tiny_model):
    model = tiny_model(family)
    before, after = copy.deepcopy(model.state_dict()), copy.deepcopy(condense(model, UNEVEN).state_dict())
    for group in dissect(model):
        features = [u * group.unit_size + i for u in UNEVEN[group.name].units for i in range(group.unit_size)]
        for producer in group.producers:
            for part in ("weight", "bias"):
                assert torch.equal(after.pop(f"{producer.path}.{part}"), before[f"{producer.path}.{part}"][features])
        assert torch.equal(after.pop(f"{group.consumer}.weight"), before[f"{group.consumer}.weight"][:, features])
    assert all(torch.equal(tensor, before[name]) for name, tensor in after.items())


def test_the_argument_is_untouched_and_shares_no_memory_with_the_result(family, tiny_model, assert_same_states):
    model = tiny_model(family).train()
    before, config = copy.deepcopy(model.state_dict()), copy.deepcopy(model.config.to_dict())
    condensed = condense(model, UNEVEN)
    with torch.no_grad():
        for tensor in [*condensed.parameters(), *condensed.buffers()]:
            tensor.add_(1)
    assert_same_states(model, before)
    assert model.config.to_dict() == config
    assert model.config is not condensed.config
    assert type(model).__module__.startswith("transformers.")


def test_a_consumed_model_leaves_what_is_whole_to_the_result_and_nothing_of_what_is_cut(
    family, tiny_model, assert_same_states
):
    model = tiny_model(family)
    expected, whole = copy.deepcopy(condense(model, UNEVEN).state_dict()), dict(model.named_parameters())
    expected_ties = len({id(parameter) for parameter in condense(model, UNEVEN).parameters()})
    condensed = condense(model, UNEVEN, consume=True)
    assert_same_states(condensed, expected)
    assert len({id(parameter) for parameter in condensed.parameters()}) == expected_ties
    moved = {name for name, parameter in condensed.named_parameters() if parameter is whole[name]}
    consumers = {f"{group.consumer}.weight" for group in dissect(condensed)}
    assert moved
    assert consumers <= whole.keys() - moved
    assert all(whole[name].numel() == (condensed.get_parameter(name).numel() if name in moved else 0) for name in whole)


def test_a_consumed_model_whose_weights_are_views_leaves_copies(tiny_model):
    model = tiny_model("bert")
    embedding = model.bert.embeddings.word_embeddings
    rows = embedding.weight.detach().clone()
    embedding.weight.data = torch.cat([rows, rows])[: len(rows)]
    moved = condense(model, UNEVEN, consume=True).bert.embeddings.word_embeddings.weight
    assert torch.equal(moved, rows)
    assert moved.untyped_storage().nbytes() == rows.nbytes


def test_a_plan_of_another_model_consumes_nothing(tiny_model, assert_same_states):
    model = tiny_model("bert")
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match="heads"):
        condense(model, KeepPlan({"encoder.0.heads": Kept(5, (0,))}), consume=True)
    assert_same_states(model, before)


def test_every_weight_of_a_condensed_model_learns(family, tiny_model, tiny_batch):
    condensed = condense(tiny_model(family), UNEVEN).train()
    condensed(**tiny_batch(family), labels=torch.tensor([0, 2])).loss.backward()
    assert [name for name, parameter in condensed.named_parameters() if not parameter.grad.any()] == []


def test_layers_without_heads_or_channels_train(family, tiny_model, tiny_batch):
    condensed = condense(tiny_model(family), NOTHING).train()
    optimizer = torch.optim.AdamW(condensed.parameters(), lr=0.1)
    before = copy.deepcopy(condensed.state_dict())
    condensed(**tiny_batch(family), labels=torch.tensor([0, 2])).loss.backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in condensed.parameters())
    optimizer.step()
    consumer = dissect(condensed)[0].consumer
    assert not torch.equal(condensed.get_parameter(f"{consumer}.bias"), before[f"{consumer}.bias"])


def test_dtype_modes_and_what_is_frozen_survive(family, tiny_model):
    model = tiny_model(family).to(torch.bfloat16).train()
    layer = model.get_submodule(dissect(model)[0].consumer)
    layer.weight.requires_grad_(False)
    layer.eval()
    condensed = condense(model, UNEVEN)
    assert {parameter.dtype for parameter in condensed.parameters()} == {torch.bfloat16}
    frozen = [name for name, parameter in condensed.named_parameters() if not parameter.requires_grad]
    assert frozen == [f"{dissect(model)[0].consumer}.weight"]
    modes = {name: module.training for name, module in model.named_modules()}
    assert {name: module.training for name, module in condensed.named_modules()} == modes
    assert len(set(modes.values())) == 2


@pytest.mark.parametrize("model_type", ["bert", "roberta", "electra", "distilbert"])
def test_tied_weights_stay_tied(model_type, tiny_model):
    model = tiny_model(model_type, "ForMaskedLM")
    condensed = condense(model, UNEVEN)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert condensed.get_output_embeddings().weight is condensed.get_input_embeddings().weight
    assert len(list(condensed.parameters())) == len(list(model.parameters()))


def test_buffers_that_are_not_saved_are_copied(family, tiny_model):
    model = tiny_model(family)
    for _, buffer in model.named_buffers():
        buffer.copy_(torch.ones_like(buffer))
    condensed = condense(model, UNEVEN)
    assert [name for name, _ in condensed.named_buffers()] == [name for name, _ in model.named_buffers()]
    assert all(bool((buffer == 1).all()) for buffer in condensed.buffers())


def test_gradient_checkpointing_stays_on(tiny_model):
    model = tiny_model("bert")
    model.activation_checkpointing_enable()
    condensed = condense(model, UNEVEN)
    assert condensed.bert.encoder.layer[0].gradient_checkpointing
    assert not condense(tiny_model("bert"), UNEVEN).bert.encoder.layer[0].gradient_checkpointing


def test_constructing_a_condensed_model_never_allocates_its_original_widths(family, tiny_model, largest_tensor):
    wide = {"hidden_dim": 5000} if family == "distilbert" else {"intermediate_size": 5000}
    model = tiny_model(family, **wide)
    plan = KeepPlan({f"encoder.{layer}.channels": Kept(5000, (7,)) for layer in range(2)})
    with largest_tensor(model.parameters()) as condensing:
        condensed = condense(model, plan)
    with largest_tensor() as constructing:
        type(condensed)(condensed.config)
    with largest_tensor() as dense:
        tiny_model(family, **wide)
    largest = max(parameter.numel() for parameter in condensed.parameters())
    assert dense.elements == 5000 * 16
    assert condensing.elements <= 5000
    assert constructing.elements == largest < 5000


def test_a_model_constructed_from_a_condensed_config_is_initialised_like_a_dense_one(family, tiny_model, tiny_batch):
    condensed = condense(tiny_model(family), UNEVEN)
    torch.manual_seed(0)
    direct = type(condensed)(condensed.config).eval()
    assert [p.shape for p in direct.parameters()] == [p.shape for p in condensed.parameters()]
    for name, parameter in direct.named_parameters():
        assert torch.isfinite(parameter).all(), name
        assert parameter.abs().max() <= 1, name
    assert all(torch.equal(a, b) for a, b in zip(direct.buffers(), condensed.buffers(), strict=True))
    direct.load_state_dict(condensed.state_dict())
    batch = tiny_batch(family)
    assert torch.equal(outputs(direct, batch).logits, outputs(condensed, batch).logits)


def test_a_config_that_names_a_group_the_model_lacks_is_refused(tiny_model):
    condensed = condense(tiny_model("bert"), UNEVEN)
    config = copy.deepcopy(condensed.config)
    config.condensed = {**config.condensed, "encoder.9.heads": 1}
    with pytest.raises(ValueError, match=r"has no group 'encoder\.9\.heads'"):
        type(condensed)(config)
