import json

import pytest
import torch
import transformers
from safetensors.torch import load_file

from pipeline.errors import ArtifactError
from pipeline.models import load_model, register_models, save_model
from pipeline.surgery.condense import condense
from pipeline.surgery.groups import dissect
from pipeline.surgery.keep_plan import KeepPlan, Kept

PLAN = KeepPlan({"encoder.0.heads": Kept(4, ()), "encoder.1.channels": Kept(24, (0, 9, 23))})


def auto_model(model_type):
    """Return the name of the auto class that makes a model of the family with a head for classes."""
    return f"AutoModelFor{'Image' if model_type in ('vit', 'deit') else 'Sequence'}Classification"


@pytest.mark.parametrize("is_condensed", [False, True], ids=["dense", "condensed"])
def test_a_saved_model_is_loaded_bit_for_bit_into_fresh_memory(
    family, is_condensed, tmp_path, tiny_model, tiny_batch, assert_same_states
):
    model = condense(tiny_model(family), PLAN) if is_condensed else tiny_model(family)
    save_model(model, tmp_path / "model")
    loaded = load_model(tmp_path / "model", auto_model(family))
    assert type(loaded) is type(model)
    assert not loaded.training
    assert_same_states(loaded, model)
    assert [group.num_units for group in dissect(loaded)] == [group.num_units for group in dissect(model)]
    batch = tiny_batch(family)
    assert torch.equal(loaded(**batch).logits, model(**batch).logits)
    assert all(parameter.data_ptr() % 64 == 0 for parameter in loaded.parameters())
    assert all(parameter.requires_grad for parameter in loaded.parameters() if parameter.is_floating_point())
    assert loaded.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("is_condensed", [False, True], ids=["dense", "condensed"])
def test_save_load_save_is_a_fixed_point(family, is_condensed, tmp_path, tiny_model):
    model = condense(tiny_model(family), PLAN) if is_condensed else tiny_model(family)
    save_model(model, tmp_path / "first")
    save_model(load_model(tmp_path / "first", auto_model(family)), tmp_path / "second")
    register_models()
    auto = getattr(transformers, auto_model(family))
    auto.from_pretrained(tmp_path / "second").save_pretrained(tmp_path / "third", save_original_format=False)
    names = sorted(path.name for path in (tmp_path / "first").iterdir())
    code = ["modeling_condensed_" + family + ".py", "narrow.py"] if is_condensed else []
    assert names == sorted(["config.json", "model.safetensors", *code])
    for other in ("second", "third"):
        assert sorted(path.name for path in (tmp_path / other).iterdir()) == names
        for name in names:
            assert (tmp_path / other / name).read_bytes() == (tmp_path / "first" / name).read_bytes(), name


def test_tied_weights_are_saved_once_and_loaded_tied(tmp_path, tiny_model, assert_same_states):
    model = condense(tiny_model("bert", "ForMaskedLM"), PLAN)
    save_model(model, tmp_path)
    loaded = load_model(tmp_path, "AutoModelForMaskedLM")
    assert loaded.get_output_embeddings().weight is loaded.get_input_embeddings().weight
    assert_same_states(loaded, model)


def test_weights_in_several_files_are_all_read(tmp_path, tiny_model, assert_same_states):
    model = tiny_model("bert")
    model.save_pretrained(tmp_path, max_shard_size="3KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    assert_same_states(load_model(tmp_path, "AutoModelForSequenceClassification"), model)


def test_vit_is_saved_under_the_names_its_modules_have(tmp_path, tiny_model):
    for name, model in (("dense", tiny_model("vit")), ("condensed", condense(tiny_model("vit"), PLAN))):
        save_model(model, tmp_path / name)
        assert load_file(tmp_path / name / "model.safetensors").keys() == model.state_dict().keys()
    model.save_pretrained(tmp_path / "plainly")
    assert load_file(tmp_path / "plainly" / "model.safetensors").keys() == model.state_dict().keys()


def test_loading_a_condensed_model_never_allocates_its_original_widths(tmp_path, tiny_model, largest_tensor):
    model = tiny_model("bert", intermediate_size=5000)
    condensed = condense(model, KeepPlan({f"encoder.{layer}.channels": Kept(5000, (7,)) for layer in range(2)}))
    save_model(condensed, tmp_path / "condensed")
    save_model(model, tmp_path / "dense")
    register_models()
    with largest_tensor() as plainly:
        transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "condensed")
    with largest_tensor() as strictly:
        load_model(tmp_path / "condensed", "AutoModelForSequenceClassification")
    with largest_tensor() as dense:
        load_model(tmp_path / "dense", "AutoModelForSequenceClassification")
    assert dense.elements == 5000 * 16
    assert max(plainly.elements, strictly.elements) <= 50 * 16


def lose(name):
    return lambda weights: weights.pop(name)


def add(weights):
    weights["bert.encoder.layer.2.output.dense.bias"] = torch.zeros(16)


def reshape(weights):
    weights["bert.encoder.layer.1.output.dense.weight"] = torch.zeros(16, 4)


@pytest.mark.parametrize(
    "change",
    [lose("bert.encoder.layer.0.attention.self.key.weight"), lose("classifier.bias"), add, reshape],
    ids=["encoder weight missing", "head weight missing", "weight left over", "another shape"],
)
@pytest.mark.parametrize("is_condensed", [False, True], ids=["dense", "condensed"])
def test_an_artifact_whose_weights_do_not_fit_is_refused(is_condensed, change, tmp_path, tiny_model, edit_weights):
    model = tiny_model("bert")
    save_model(condense(model, PLAN) if is_condensed else model, tmp_path)
    edit_weights(tmp_path, change)
    with pytest.raises(ArtifactError, match=r"weights and config do not fit \(1 names, such as .*run its stage again"):
        load_model(tmp_path, "AutoModelForSequenceClassification")


@pytest.mark.parametrize("is_condensed", [False, True], ids=["dense", "condensed"])
@pytest.mark.parametrize("head", ["ForSequenceClassification", "Model"])
def test_a_folder_knows_which_model_it_holds(head, is_condensed, tmp_path, tiny_model):
    model = tiny_model("bert", head)
    save_model(condense(model, PLAN) if is_condensed else model, tmp_path)
    loaded = load_model(str(tmp_path))
    assert type(loaded).__name__ == f"{'Condensed' if is_condensed else ''}Bert{head}"


def test_a_folder_that_names_no_known_model_asks_for_one(tmp_path, tiny_model):
    save_model(tiny_model("bert"), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "architectures": ["Strange"]}))
    with pytest.raises(ArtifactError, match=r"names the architectures \['Strange'\]: say which auto_model to load"):
        load_model(tmp_path)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("content", [None, b"", b"{}", b"[1]", b"\xff\xfe"])
def test_an_artifact_that_cannot_be_read_is_refused_in_one_line(name, content, tmp_path, tiny_model):
    save_model(tiny_model("bert"), tmp_path)
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ArtifactError) as caught:
        load_model(tmp_path, "AutoModelForSequenceClassification")
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_loading_is_silent(tmp_path, tiny_model, capfd):
    save_model(tiny_model("bert"), tmp_path)
    capfd.readouterr()
    load_model(tmp_path, "AutoModelForSequenceClassification")
    assert capfd.readouterr() == ("", "")
    assert transformers.utils.logging.is_progress_bar_enabled()


def test_registering_twice_is_harmless():
    register_models()
    register_models()
    assert transformers.AutoConfig.for_model("condensed-bert").model_type == "condensed-bert"
