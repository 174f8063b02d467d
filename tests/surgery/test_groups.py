import subprocess
import sys

import pytest

from pipeline.errors import UnsupportedArchitecture
from pipeline.surgery.architectures import FAMILIES, encoder_parameters, family_of, layer_prefixes, num_dense_heads
from pipeline.surgery.condense import condense
from pipeline.surgery.groups import checked_plan, consumer_columns, dissect, full_plan, producer_rows
from pipeline.surgery.keep_plan import KeepPlan, Kept

HEADS = {"ForMaskedLM", "ForMultipleChoice", "ForQuestionAnswering", "ForTokenClassification", "Model"}


def test_every_row_of_the_table_is_tested(tiny_sizes):
    for model_type in FAMILIES:
        assert tiny_sizes(model_type)


def test_a_condensed_model_tells_how_many_heads_its_architecture_has(family, tiny_model):
    model = tiny_model(family)
    plan = KeepPlan({"encoder.0.heads": Kept(4, (1,)), "encoder.1.heads": Kept(4, ())})
    assert num_dense_heads(model) == num_dense_heads(condense(model, plan)) == 4


def test_dissect_finds_heads_and_channels_of_each_layer(family, tiny_model):
    model = tiny_model(family)
    groups = dissect(model)
    assert [(group.name, group.kind, group.num_units, group.unit_size) for group in groups] == [
        ("encoder.0.heads", "heads", 4, 4),
        ("encoder.0.channels", "channels", 24, 1),
        ("encoder.1.heads", "heads", 4, 4),
        ("encoder.1.channels", "channels", 24, 1),
    ]
    for group in groups:
        width = group.num_units * group.unit_size
        assert consumer_columns(model, group).shape[group.consumer_axis] == width
        assert [weight.shape[0] for weight in producer_rows(model, group)] == [width] * len(group.producers)
    assert [len(group.producers) for group in groups] == [3, 1, 3, 1]


def test_dissect_sees_the_same_groups_under_every_head(family, tiny_model):
    classes = [cls.__name__ for cls in FAMILIES[family].auto_classes.values()]
    names = [group.name for group in dissect(tiny_model(family))]
    for head in HEADS:
        if any(name.endswith(head) for name in classes):
            model = tiny_model(family, head)
            assert [group.name for group in dissect(model)] == names
            assert all(model.get_submodule(group.consumer) for group in dissect(model))


def test_dissect_reads_the_widths_of_a_condensed_model_from_its_weights(family, tiny_model):
    plan = KeepPlan({"encoder.0.heads": Kept(4, ()), "encoder.1.channels": Kept(24, (2, 3, 7))})
    groups = dissect(condense(tiny_model(family), plan))
    assert [group.num_units for group in groups] == [0, 24, 4, 3]
    assert [group.unit_size for group in groups] == [4, 1, 4, 1]


def test_encoder_parameters_count_the_layers_alone(family, tiny_model):
    model = tiny_model(family)
    layer = 4 * (16 * 16 + 16) + (16 * 24 + 24) + (24 * 16 + 16) + 2 * (16 + 16)
    assert encoder_parameters(model) == 2 * layer
    assert [model.get_submodule(path) is not None for path in layer_prefixes(model)] == [True, True]
    plan = KeepPlan({"encoder.0.heads": Kept(4, (1,)), "encoder.0.channels": Kept(24, (0,))})
    removed_heads, removed_channels = 3 * (3 * (16 * 4 + 4) + 16 * 4), 23 * (16 + 1 + 16)
    assert encoder_parameters(condense(model, plan)) == 2 * layer - removed_heads - removed_channels


def test_a_family_without_a_row_is_refused_by_name_with_the_list():
    import transformers

    model = transformers.GPT2Model(transformers.GPT2Config(n_embd=8, n_layer=1, n_head=2, vocab_size=10, n_positions=8))
    with pytest.raises(UnsupportedArchitecture, match=r"'gpt2' is not supported; supported are bert, roberta, .*vit"):
        dissect(model)


def test_a_module_that_is_no_transformer_is_refused_by_name():
    import torch

    with pytest.raises(UnsupportedArchitecture, match="'Linear' is not supported"):
        family_of(torch.nn.Linear(1, 1))


def test_a_head_without_a_condensed_class_is_refused_by_name(tiny_model):
    model = tiny_model("bert", "ForNextSentencePrediction")
    with pytest.raises(
        UnsupportedArchitecture, match=r"BertForNextSentencePrediction has no condensed class; bert has"
    ):
        condense(model, full_plan(model))


def test_a_plan_for_another_model_is_refused(tiny_model):
    groups = dissect(tiny_model("bert"))
    with pytest.raises(ValueError, match=r"names .encoder\.7\.heads., which the model lacks"):
        checked_plan(groups, KeepPlan({"encoder.7.heads": Kept(4, ())}))
    with pytest.raises(ValueError, match=r"counts 12 units in encoder\.0\.heads, the model has 4"):
        checked_plan(groups, KeepPlan({"encoder.0.heads": Kept(12, (0,))}))


def test_groups_and_plans_are_read_without_torch():
    code = "import sys, pipeline.surgery.groups; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
