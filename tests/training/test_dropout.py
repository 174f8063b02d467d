import pytest
import torch
from transformers import ViTConfig, ViTForImageClassification

from pipeline.interruption import Interrupted
from pipeline.training.dropout import dropout_rate


def rates(model):
    return [module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)]


def test_without_dropout_two_passes_in_training_are_equal_and_afterwards_they_differ_again(fakes):
    model = fakes.tiny_bert(dropout=0.5).train()
    batch = fakes.Task().train.batch([0, 1])
    own = rates(model)
    with dropout_rate(model, 0.0):
        assert torch.equal(model(**batch).logits, model(**batch).logits)
    assert rates(model) == own
    assert not torch.equal(model(**batch).logits, model(**batch).logits)


def test_a_rate_that_attention_holds_as_a_number_is_set_too():
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    images = {"image_size": 4, "patch_size": 2, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.5}
    model = ViTForImageClassification(ViTConfig(**sizes, **images)).train()
    pixels = torch.rand(2, 3, 4, 4)
    assert not torch.equal(model(pixels).logits, model(pixels).logits)
    with dropout_rate(model, 0.0):
        assert torch.equal(model(pixels).logits, model(pixels).logits)
    assert not torch.equal(model(pixels).logits, model(pixels).logits)


def test_none_leaves_every_layer_alone(fakes):
    model = fakes.tiny_bert(dropout=0.5)
    with dropout_rate(model, None):
        assert set(rates(model)) == {0.5}


def test_a_stage_trains_with_its_own_rate_and_resumes_with_it_to_the_same_bits(benches):
    own, without = benches("own").run(), benches("without").run(dropout=0.0)
    assert own.sha256 != without.sha256
    assert rates(without.model) == rates(own.model)
    stopped = benches("stopped")
    with pytest.raises(Interrupted):
        stopped.run(dropout=0.0, stop_after=5)
    assert stopped.run(dropout=0.0).sha256 == without.sha256


def test_a_rate_that_a_config_holds_as_a_whole_number_is_set_too():
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    images = {"image_size": 4, "patch_size": 2, "hidden_dropout_prob": 0, "attention_probs_dropout_prob": 0}
    model = ViTForImageClassification(ViTConfig(**sizes, **images)).train()
    pixels = torch.rand(2, 3, 4, 4)
    with dropout_rate(model, 0.5):
        assert {module.attention_dropout for module in model.modules() if hasattr(module, "attention_dropout")} == {0.5}
        assert not torch.equal(model(pixels).logits, model(pixels).logits)
    assert torch.equal(model(pixels).logits, model(pixels).logits)
