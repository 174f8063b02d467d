"""Models that are more or less than what their class makes of their config, or stand in a wrapper."""

import copy

import pytest
import torch
import transformers

from pipeline.errors import UnsupportedArchitecture
from pipeline.surgery.condense import check_condensable, condense
from pipeline.surgery.keep_plan import KeepPlan, Kept
from pipeline.surgery.masking import mask_units

UNEVEN = KeepPlan({"encoder.0.heads": Kept(4, (0, 3)), "encoder.1.channels": Kept(24, (1, 5, 6, 20))})


def outputs(model, batch):
    with torch.no_grad():
        return model(**batch)


def without_pooler(model_type):
    def build(tiny_model):
        body = tiny_model(model_type, "Model")
        body.pooler = None
        return body

    return build


def with_mask_token(tiny_model):
    config = tiny_model("vit", "Model").config
    return transformers.ViTModel(config, use_mask_token=True).eval()


@pytest.mark.parametrize(
    "build", [without_pooler("bert"), without_pooler("roberta"), without_pooler("vit"), with_mask_token]
)
def test_what_a_model_was_built_without_or_with_beside_its_config_is_kept_so(build, tiny_model, tiny_batch):
    model = build(tiny_model)
    check_condensable(model)
    condensed = condense(model, UNEVEN)
    inputs = tiny_batch(model.config.model_type)
    expected = outputs(mask_units(model, UNEVEN), inputs).last_hidden_state
    torch.testing.assert_close(outputs(condensed, inputs).last_hidden_state, expected)
    assert {name.split(".")[0] for name in condensed.state_dict()} == {
        name.split(".")[0] for name in model.state_dict()
    }
    assert ("embeddings.mask_token" in condensed.state_dict()) == ("embeddings.mask_token" in model.state_dict())


def wider_head(model):
    model.classifier = torch.nn.Linear(16, 7)


def deeper_head(model):
    model.classifier = torch.nn.Sequential(model.classifier, torch.nn.ReLU())


def one_weight_more(model):
    model.bert.scale = torch.nn.Parameter(torch.ones(1))


def no_bias(model):
    model.classifier.bias = None


@pytest.mark.parametrize("consume", [False, True])
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            wider_head,
            r"classifier\.weight would be left with the shape \(7, 16\), where its config describes \(3, 16\)",
        ),
        (deeper_head, r"BertForSequenceClassification has a module classifier\.0, unlike what its config describes"),
        (one_weight_more, r"BertForSequenceClassification has a weight bert\.scale, unlike what its config"),
        (no_bias, r"BertForSequenceClassification lacks the weight classifier\.bias, unlike what its config"),
    ],
)
def test_a_model_that_its_config_does_not_describe_is_refused_and_stays_whole(
    change, told, consume, tiny_model, assert_same_states
):
    model = tiny_model("bert")
    change(model)
    before = copy.deepcopy(model.state_dict())
    for attempt in (lambda: condense(model, UNEVEN, consume=consume), lambda: check_condensable(model)):
        with pytest.raises(UnsupportedArchitecture, match=told) as caught:
            attempt()
        assert "\n" not in str(caught.value)
    assert_same_states(model, before)


def test_a_wrapped_model_is_condensed_as_the_one_it_was_made_of(tiny_model, assert_same_states):
    model = tiny_model("bert")
    for wrapped in (torch.compile(model, backend="eager"), torch.nn.DataParallel(model)):
        assert_same_states(condense(wrapped, UNEVEN), condense(model, UNEVEN))
