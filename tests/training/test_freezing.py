import pytest
import torch

from pipeline.errors import RecipeError
from pipeline.interruption import Interrupted
from pipeline.recipe.training import TrainingConfig
from pipeline.training.freezing import frozen


def test_what_a_pattern_is_found_in_keeps_its_bits_and_the_rest_learns(bench, fakes):
    before = dict(fakes.tiny_bert().named_parameters())
    model = bench.run(freeze=("embeddings", r"layer\.0\..*bias")).model
    for name, value in model.named_parameters():
        is_frozen = "embeddings" in name or ("layer.0." in name and name.endswith("bias"))
        assert torch.equal(value, before[name]) == is_frozen, name
    assert all(value.requires_grad for value in model.parameters())


def test_a_training_with_frozen_parameters_resumes_to_the_same_bits(benches):
    whole = benches("whole").run(freeze=("embeddings",))
    stopped = benches("stopped")
    with pytest.raises(Interrupted):
        stopped.run(freeze=("embeddings",), stop_after=5)
    assert stopped.run(freeze=("embeddings",)).sha256 == whole.sha256


def test_a_pattern_that_is_found_nowhere_is_refused_with_a_name_that_there_is(fakes):
    model = fakes.tiny_bert()
    with (
        pytest.raises(RecipeError, match=r"stages.recover.freeze: .* bert.embeddings.*, got 'embedings'"),
        frozen(model, ["embedings"], where="recover"),
    ):
        pass


def test_freezing_everything_is_refused_and_leaves_the_model_as_it_was(fakes):
    model = fakes.tiny_bert()
    with pytest.raises(RecipeError, match="must leave a parameter that learns"), frozen(model, ["."], where="recover"):
        pass
    assert all(value.requires_grad for value in model.parameters())


def test_what_was_frozen_before_stays_frozen_afterwards(fakes):
    model = fakes.tiny_bert()
    model.bert.embeddings.requires_grad_(False)
    with frozen(model, ["layer.0", "embeddings"], where="recover"):
        assert not any(value.requires_grad for value in model.bert.encoder.layer[0].parameters())
    assert all(value.requires_grad for value in model.bert.encoder.layer[0].parameters())
    assert not any(value.requires_grad for value in model.bert.embeddings.parameters())


def test_what_is_no_regular_expression_is_refused_when_the_recipe_is_read():
    with pytest.raises(ValueError, match="must be a regular expression"):
        TrainingConfig(freeze=("layer[",))
