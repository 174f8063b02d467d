import json
import logging
import shutil
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from pipeline.errors import RecipeError, UnsupportedArchitecture
from pipeline.models import save_model, source_model
from pipeline.recipe import ModelSource
from pipeline.surgery.condense import condense
from pipeline.surgery.groups import dissect
from pipeline.surgery.keep_plan import KeepPlan, Kept

PLAN = KeepPlan({"encoder.0.heads": Kept(4, ()), "encoder.1.channels": Kept(24, (0, 9, 23))})


class Labels:
    """As much of a task as a model is made for."""

    def __init__(self, auto_model="AutoModelForSequenceClassification", num_labels=3, **sizes):
        self.name = auto_model
        self.auto_model = auto_model
        self.checked = []
        names = [f"class {number}" for number in range(num_labels)]
        self.fields = {
            "num_labels": num_labels,
            "id2label": dict(enumerate(names)),
            "label2id": {name: number for number, name in enumerate(names)},
            "problem_type": "single_label_classification",
            **sizes,
        }

    def config_fields(self):
        return self.fields

    def check_classes(self, classes, whose, *, is_trained_further):
        self.checked.append((classes, whose, is_trained_further))


def task_for(model_type, **options):
    vision = model_type in ("vit", "deit")
    return Labels("AutoModelForImageClassification" if vision else "AutoModelForSequenceClassification", **options)


@pytest.fixture
def encoder(tmp_path, tiny_model):
    """A folder with a tiny BERT without a head."""
    tiny_model("bert", "Model").save_pretrained(tmp_path / "encoder")
    return tmp_path / "encoder"


def lose(name):
    return lambda weights: weights.pop(name)


def test_a_model_from_a_config_is_drawn_from_the_seed(family, tiny_sizes, assert_same_states):
    sizes = {name: value for name, value in tiny_sizes(family).items() if name != "vocab_size"}
    source = ModelSource(config={"model_type": family, **sizes})
    task = task_for(family, **({"vocab_size": 41} if "vocab_size" in tiny_sizes(family) else {}))
    before = torch.get_rng_state()
    model, same, other = (source_model(source, task, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert_same_states(model, same)
    assert any(not torch.equal(tensor, other.state_dict()[name]) for name, tensor in model.state_dict().items())
    assert model.config.id2label == {0: "class 0", 1: "class 1", 2: "class 2"}
    assert getattr(model.config, "vocab_size", 41) == 41
    assert not model.training
    assert type(model).__name__.endswith("Classification")


def test_an_encoder_without_a_head_gets_one_drawn_from_the_seed(encoder, caplog, assert_same_states):
    source = ModelSource(pretrained=str(encoder))
    with caplog.at_level(logging.WARNING, "pipeline.models"):
        model, same, other = (source_model(source, Labels(num_labels=5), seed) for seed in (1, 1, 2))
    assert "classifier.bias, classifier.weight: drawn from the seed" in caplog.text
    assert_same_states(model, same)
    assert not torch.equal(model.classifier.weight, other.classifier.weight)
    weights = load_file(encoder / "model.safetensors")
    assert all(torch.equal(model.state_dict()[f"bert.{name}"], tensor) for name, tensor in weights.items())
    assert model.config.num_labels == 5
    assert all(parameter.data_ptr() % 64 == 0 for parameter in model.parameters())


def test_a_config_may_say_what_the_task_decides_too(tiny_sizes):
    said = {"num_labels": 3, "id2label": {"0": "class 0", "1": "class 1", "2": "class 2"}}
    source = ModelSource(config={"model_type": "bert", **tiny_sizes("bert"), **said})
    assert source_model(source, Labels(), 0).config.num_labels == 3


def test_a_checkpoint_with_another_head_of_its_family_gets_the_tasks(tmp_path, tiny_model, caplog, assert_same_states):
    whole = tiny_model("deit", "ForImageClassificationWithTeacher")
    whole.save_pretrained(tmp_path / "distilled")
    with caplog.at_level(logging.WARNING):
        model = source_model(ModelSource(pretrained=str(tmp_path / "distilled")), task_for("deit"), 0)
    assert type(model).__name__ == "DeiTForImageClassification"
    assert "classifier.weight" in caplog.text
    assert_same_states(model.deit, whole.deit)


def test_a_missing_pooler_counts_as_part_of_the_head(encoder, caplog, edit_weights):
    edit_weights(encoder, lambda weights: [weights.pop(f"pooler.dense.{part}") for part in ("weight", "bias")])
    with caplog.at_level(logging.WARNING, "pipeline.models"):
        source_model(ModelSource(pretrained=str(encoder)), Labels(), 0)
    assert "bert.pooler.dense.weight" in caplog.text


def test_a_condensed_folder_is_a_source_too(tmp_path, tiny_model):
    save_model(condense(tiny_model("bert", "Model"), PLAN), tmp_path)
    model = source_model(ModelSource(pretrained=str(tmp_path)), Labels(), 0)
    assert [group.num_units for group in dissect(model)] == [0, 24, 4, 3]
    assert type(model).__name__ == "CondensedBertForSequenceClassification"


def test_half_precision_checkpoints_start_in_float32(encoder, tiny_model):
    tiny_model("bert", "Model").to(torch.bfloat16).save_pretrained(encoder)
    model = source_model(ModelSource(pretrained=str(encoder)), Labels(), 0)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_feed_forward_layers_take_all_tokens_at_once_whatever_the_checkpoint_says(encoder, tiny_model):
    tiny_model("bert", "Model", chunk_size_feed_forward=1).save_pretrained(encoder)
    model, calls = source_model(ModelSource(pretrained=str(encoder)), Labels(), 0), []
    model.bert.encoder.layer[0].intermediate.register_forward_hook(lambda *_: calls.append(1))
    model(input_ids=torch.full((1, 6), 7))
    assert calls == [1]
    assert model.config.chunk_size_feed_forward == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lose("encoder.layer.1.output.dense.weight"), "lacks 1 weights of the encoder"),
        (lose("embeddings.word_embeddings.weight"), r"such as bert\.embeddings\.word_embeddings\.weight"),
        (
            lambda weights: weights.update({"encoder.layer.2.output.dense.bias": torch.zeros(16)}),
            "holds 1 weights its config has no place for",
        ),
    ],
)
def test_a_checkpoint_whose_encoder_would_be_drawn_anew_is_refused(change, message, encoder, edit_weights):
    edit_weights(encoder, change)
    with pytest.raises(RecipeError, match=message):
        source_model(ModelSource(pretrained=str(encoder)), Labels(), 0)


def test_a_head_of_another_size_is_refused_with_the_way_out(tmp_path, tiny_model):
    tiny_model("bert").save_pretrained(tmp_path)
    with pytest.raises(RecipeError, match=r"holds classifier\.bias as \(3,\), the task needs \(7,\); save it without"):
        source_model(ModelSource(pretrained=str(tmp_path)), Labels(num_labels=7), 0)


@pytest.mark.parametrize("is_teacher", [False, True])
def test_what_a_checkpoints_head_tells_is_compared_with_the_task_before_it_is_overwritten(
    tmp_path, tiny_model, is_teacher
):
    tiny_model("bert", id2label={0: "a", 1: "b", 2: "c"}).save_pretrained(tmp_path)
    task = Labels()
    model = source_model(ModelSource(pretrained=str(tmp_path)), task, 0, is_teacher=is_teacher)
    assert task.checked == [({"0": "a", "1": "b", "2": "c"}, repr(str(tmp_path)), not is_teacher)]
    assert model.config.id2label == {0: "class 0", 1: "class 1", 2: "class 2"}


def test_a_head_drawn_anew_tells_nothing_that_could_be_compared(encoder):
    config = json.loads((encoder / "config.json").read_text())
    (encoder / "config.json").write_text(json.dumps({**config, "id2label": {"0": "a", "1": "b", "2": "c"}}))
    task = Labels()
    source_model(ModelSource(pretrained=str(encoder)), task, 0)
    assert task.checked == []


def test_an_unsupported_checkpoint_is_refused_by_name_before_its_weights_are_read(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    with pytest.raises(UnsupportedArchitecture, match="'gpt2' is not supported; supported are bert"):
        source_model(ModelSource(pretrained=str(tmp_path)), Labels(), 0)


def test_a_folder_without_a_model_is_refused_in_one_line(encoder, tmp_path):
    (tmp_path / "empty").mkdir()
    shutil.rmtree(encoder)
    for folder in (tmp_path / "empty", encoder):
        with pytest.raises(RecipeError) as caught:
            source_model(ModelSource(pretrained=str(folder)), Labels(), 0)
        assert "\n" not in str(caught.value)


def test_a_family_that_cannot_do_the_task_is_refused(tiny_sizes):
    with pytest.raises(RecipeError, match=r"'vit' cannot do the task .*; bert, roberta, electra, distilbert can"):
        source_model(ModelSource(config={"model_type": "vit", **tiny_sizes("vit")}), Labels(), 0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"hiden_size": 16}, r"model\.config\.hiden_size: BertConfig has no such field; did you mean hidden_size\?"),
        ({"hidden_size": 15}, "bert cannot be built so"),
        ({"hidden_size": "wide"}, "bert cannot be built so"),
        ({"hidden_act": "swoosh"}, "bert cannot be built so"),
        ({"num_attention_heads": 0}, "bert cannot be built so"),
        ({"intermediate_size": 0}, r"bert cannot be built so \(bert\.encoder\.layer\.0\..* would be empty\)"),
        ({"num_hidden_layers": 0}, "model: must have at least one transformer layer, got a bert with none"),
        ({"num_hidden_layers": 10**30}, r"model\.config\.num_hidden_layers: must be below 2147483648, got 1000"),
        ({"num_labels": 9}, r"model\.config\.num_labels: the task's labels decide it: 3, got 9; leave it out"),
        (
            {"problem_type": "regression"},
            "problem_type: the task's labels decide it: 'single_label_classification', got",
        ),
        ({"id2label": {"0": "other"}}, r"model\.config\.id2label: the task's labels decide it: {0: 'class 0', 1: "),
        ({"attn_implementation": "eager"}, "attn_implementation: BertConfig has no such field: saved models do not"),
        ({"model_type": "gpt2"}, "'gpt2' is not supported"),
        ({"model_type": "condensed-bert"}, "must be one of bert, "),
    ],
)
def test_a_config_that_cannot_be_built_is_refused_in_one_line(fields, message, tiny_sizes):
    source = SimpleNamespace(pretrained=None, config={"model_type": "bert", **tiny_sizes("bert"), **fields})
    with pytest.raises(RecipeError, match=message) as caught:
        source_model(source, Labels(), 0)
    assert "\n" not in str(caught.value)
