import pytest
import torch

from pipeline.training.optimizers import build_optimizer
from pipeline.training.parts import BestWeights, LossScale, Moments, PrunerState, Weights, named_weights


def learned(fakes):
    model = fakes.tiny_bert()
    optimizer = build_optimizer(model, fakes.settings())
    model(**fakes.Task().train.batch([0, 1, 2])).loss.backward()
    optimizer.step()
    return model, optimizer


def part_of(fakes, name):
    model, optimizer = learned(fakes)
    return {
        "weights": lambda: Weights(model),
        "optimizer": lambda: Moments(optimizer, model),
        "best": lambda: keeping(BestWeights(model)),
    }[name]()


def keeping(best):
    best.keep()
    return best


@pytest.mark.parametrize("name", ["weights", "optimizer", "best"])
@pytest.mark.parametrize("harm", ["missing", "extra", "shape", "dtype"])
def test_a_part_is_read_strictly(fakes, name, harm):
    part = part_of(fakes, name)
    state = {key: tensor.clone() for key, tensor in part.state().items()}
    part.load(state)
    victim = next(key for key in state if key.endswith("query.weight"))
    if harm == "missing":
        del state[victim]
    elif harm == "extra":
        state["step.nothing" if name == "optimizer" else "nothing"] = torch.zeros(())
    elif harm == "shape":
        state[victim] = state[victim][:-1] if state[victim].ndim else torch.zeros(1)
    else:
        state[victim] = state[victim].double()
    with pytest.raises(ValueError, match="tensor"):
        part.load(state)


@pytest.mark.parametrize("name", ["weights", "optimizer", "best"])
def test_what_was_loaded_lies_in_memory_of_its_own(fakes, name):
    part = part_of(fakes, name)
    state = {key: tensor.clone() for key, tensor in part.state().items()}
    part.load(state)
    kept = {key: tensor.clone() for key, tensor in part.state().items()}
    for tensor in state.values():
        tensor.add_(1)
    assert all(tensor.equal(kept[key]) for key, tensor in part.state().items())


def test_weights_stay_at_the_address_they_had(fakes):
    model = fakes.tiny_bert()
    before = {name: parameter.data_ptr() for name, parameter in model.named_parameters()}
    other = fakes.tiny_bert(seed=1)
    Weights(model).load(named_weights(other))
    assert {name: parameter.data_ptr() for name, parameter in model.named_parameters()} == before
    assert fakes.sha256(model) == fakes.sha256(other)


def test_a_tied_weight_is_named_once():
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 3))
    model[1].weight = model[0].weight
    assert list(named_weights(model)) == ["0.weight", "0.bias", "1.bias"]


def test_a_parameter_without_a_gradient_has_no_moments_and_needs_none(fakes):
    model = fakes.tiny_bert()
    optimizer = build_optimizer(model, fakes.settings())
    assert Moments(optimizer, model).state() == {}
    model.classifier.weight.grad = torch.ones_like(model.classifier.weight)
    optimizer.step()
    state = Moments(optimizer, model).state()
    assert set(state) == {f"{moment}.classifier.weight" for moment in ("step", "exp_avg", "exp_avg_sq")}
    fresh = build_optimizer(model, fakes.settings())
    Moments(fresh, model).load(state)
    assert set(fresh.state) == {model.classifier.weight}


def test_a_pruner_s_state_needs_a_pruner(fakes):
    with pytest.raises(ValueError, match="raw belongs to nothing"):
        PrunerState(None, torch.nn.Linear(1, 1)).load({"raw": torch.zeros(1)})


def test_the_loss_scale_comes_back():
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    scaler.scale(torch.ones(()))
    state = LossScale(scaler).state()
    other = torch.amp.GradScaler("cpu", init_scale=2.0)
    LossScale(other).load(state)
    assert other.get_scale() == 8.0
    assert LossScale(torch.amp.GradScaler("cpu", enabled=False)).state() == {}
