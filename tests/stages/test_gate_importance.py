import copy

import pytest
import torch

from pipeline.surgery.groups import dissect
from stages.gate_importance import gate_importances
from stages.taylor import Taylor

ROWS = 24


@pytest.fixture
def model(small_bert):
    return small_bert()


def importances(model, task, *, batch_size=8, rows=ROWS, seed=3):
    return gate_importances(model, dissect(model), task, rows=rows, seed=seed, batch_size=batch_size)


def test_importances_are_squared_gate_gradients_of_one_row_at_a_time(model, task):
    scorer = Taylor(model, dissect(model), form="gate")
    for row in range(len(task.train)):
        model.zero_grad()
        model(**task.train.batch([row])).loss.backward()
        scorer.observe()
    expected = scorer.importances()
    found = importances(model, task, rows=1000)
    for name, values in expected.items():
        torch.testing.assert_close(found[name].float(), values, rtol=1e-3, atol=1e-4 * float(values.max()))


def test_importances_do_not_depend_on_how_rows_are_batched(model, task):
    few, many = importances(model, task, batch_size=5), importances(model, task, batch_size=24)
    for name, values in few.items():
        torch.testing.assert_close(values, many[name], rtol=1e-3, atol=1e-4 * float(values.max()))


def test_the_same_seed_gives_the_same_bits_and_leaves_no_trace(model, task):
    before = copy.deepcopy(model.train().state_dict())
    state = torch.random.get_rng_state()
    first, again = importances(model, task), importances(model, task)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(values, first[name]) for name, values in importances(model, task, seed=4).items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), state)
    assert model.training
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_a_unit_that_nothing_reads_is_worth_nothing(model, task):
    group = next(group for group in dissect(model) if group.kind == "heads")
    with torch.no_grad():
        model.get_submodule(group.consumer).weight[:, : group.unit_size] = 0
    found = importances(model, task)[group.name]
    assert found[0] == 0
    assert (found[1:] > 0).all()
