import copy

import pytest
import torch

from pipeline.surgery.equality import condense_checked, evaluation_outputs
from pipeline.surgery.groups import dissect, full_plan
from pipeline.surgery.keep_plan import KeepPlan, Kept
from pipeline.surgery.masking import mask_units
from pipeline.training import randomness
from stages.prune_heads.movement import MovementPruner, MovementSettings
from stages.repair.at_the_cut import RepairedAtTheCut
from stages.repair.calibration import Calibration, observe, real_tokens
from stages.repair.repair import Repair
from stages.schedules import Span


def loud(model):
    """Give every weight a size at which units matter."""
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    return model


@pytest.fixture
def model(small_bert):
    return loud(small_bert())


@pytest.fixture
def make_repair(task):
    return lambda ridge=1e-3, rows=24, seed=1: Repair(Calibration(task, rows, seed, 8), ridge)


def plan_of(model, units):
    """Return a plan that keeps ``units[kind]`` in every group of that kind."""
    groups = [group for group in dissect(model) if group.kind in units]
    return KeepPlan({group.name: Kept(group.num_units, units[group.kind]) for group in groups})


HEADS, CHANNELS = {"heads": (0, 2)}, {"channels": tuple(range(0, 24, 3))}


@torch.no_grad()
def consumer_errors(whole, cut, repair, *, inputs_of):
    """Return by consumer the squared error of what ``cut`` makes of the inputs seen in ``inputs_of``."""
    errors = {group.consumer: 0.0 for group in dissect(whole)}
    for batch, mask in repair.calibration.batches():
        seen = {}
        observe(inputs_of, batch, errors, lambda path, x, y: seen.update({path: real_tokens(x, mask)}))  # noqa: B023
        for path, x in seen.items():
            outputs = [each.get_submodule(path)(x) for each in (whole, cut)]
            errors[path] += float((outputs[0] - outputs[1]).double().square().sum())
    return errors


@pytest.mark.parametrize("units", [HEADS, CHANNELS, {**HEADS, **CHANNELS}, {"heads": (3,), "channels": (5,)}])
@pytest.mark.parametrize("ridge", [1e-6, 1e-3, 1.0])
def test_what_a_consumer_puts_out_changes_less_than_without_repair(model, make_repair, units, ridge):
    repair, plan, repaired = make_repair(ridge), plan_of(model, units), copy.deepcopy(model)
    repair(repaired, dissect(model), plan)
    without = consumer_errors(model, mask_units(model, plan), repair, inputs_of=model)
    with_it = consumer_errors(model, mask_units(repaired, plan), repair, inputs_of=model)
    touched = [group.consumer for group in dissect(model) if group.kind in units]
    assert all(with_it[path] < without[path] for path in touched)
    assert not any(with_it[path] for path in with_it.keys() - touched)


def test_the_kept_columns_are_those_of_the_closed_form_over_all_columns(model, make_repair):
    group = next(group for group in dissect(model) if group.kind == "channels")
    plan, ridge, repaired = plan_of(model, CHANNELS), 1e-2, copy.deepcopy(model)
    repair = make_repair(ridge)
    repair(repaired, [group], plan)
    rows = []
    for batch, mask in repair.calibration.batches():
        observe(model, batch, [group.consumer], lambda path, x, y: rows.append(real_tokens(x, mask)))  # noqa: B023
    x = torch.cat(rows).double()
    centred, kept = x - x.mean(dim=0), list(plan[group.name].units)
    square = centred.T @ centred
    square += ridge * square.diagonal()[kept].mean() * torch.eye(len(square), dtype=torch.float64)
    before, after = (each.get_submodule(group.consumer) for each in (model, repaired))
    weight = before.weight.double()
    expected = weight @ square[:, kept] @ torch.linalg.inv(square[kept][:, kept])
    torch.testing.assert_close(after.weight[:, kept].double(), expected, rtol=1e-4, atol=1e-5)
    mean = (weight @ x.mean(dim=0) + before.bias.double()) - expected @ x.mean(dim=0)[kept]
    torch.testing.assert_close(after.bias.double(), mean, rtol=1e-4, atol=1e-5)


def test_a_channel_that_others_can_stand_in_for_is_recovered_exactly(model, make_repair):
    """Two channels that see the same are twins, so one can speak for both; the same for whole heads."""
    with torch.no_grad():
        for layer in model.bert.encoder.layer:
            inner, heads = layer.intermediate.dense, layer.attention.self
            inner.weight[1], inner.bias[1] = inner.weight[0], inner.bias[0]
            for rows in (heads.query, heads.key, heads.value):
                rows.weight[4:8], rows.bias[4:8] = rows.weight[:4], rows.bias[:4]
    plan = plan_of(model, {"heads": (0, 2, 3), "channels": (0, *range(2, 24))})
    before = evaluation_outputs(model, make_repair().calibration.task.train.batch(range(40)))
    unrepaired = evaluation_outputs(mask_units(model, plan), make_repair().calibration.task.train.batch(range(40)))
    make_repair(1e-6, rows=40)(model, dissect(model), plan)
    after = evaluation_outputs(mask_units(model, plan), make_repair().calibration.task.train.batch(range(40)))
    assert (unrepaired["logits"] - before["logits"]).abs().max() > 0.1
    assert (after["logits"] - before["logits"]).abs().max() < 2e-3


def test_a_consumer_that_keeps_nothing_puts_out_the_mean_of_before(model, make_repair):
    repair, plan = make_repair(), plan_of(model, {"heads": (), "channels": ()})
    means = {}
    for group in dissect(model):
        rows = []
        for batch, mask in repair.calibration.batches():
            observe(model, batch, [group.consumer], lambda path, x, y: rows.append(real_tokens(y, mask)))  # noqa: B023
        means[group.consumer] = torch.cat(rows).mean(dim=0)
    weights = {path: model.get_submodule(path).weight.clone() for path in means}
    repair(model, dissect(model), plan)
    for path, mean in means.items():
        torch.testing.assert_close(model.get_submodule(path).bias.detach(), mean, rtol=1e-4, atol=1e-5)
        assert torch.equal(model.get_submodule(path).weight, weights[path])


def test_a_plan_that_keeps_all_changes_no_bit(model, make_repair):
    before = copy.deepcopy(model.state_dict())
    make_repair()(model, dissect(model), full_plan(model))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_columns_of_zeros_that_go_change_no_bit(model, make_repair):
    plan = plan_of(model, {**HEADS, **CHANNELS})
    masked = mask_units(model, plan)
    before = copy.deepcopy(masked.state_dict())
    make_repair()(masked, dissect(model), plan)
    assert all(torch.equal(value, before[name]) for name, value in masked.state_dict().items())


def test_a_repaired_model_condenses_to_what_it_computes_masked(model, make_repair, task):
    plan = plan_of(model, {**HEADS, **CHANNELS})
    before = copy.deepcopy(model.state_dict())
    make_repair()(model, dissect(model), plan)
    condense_checked(model, plan, task.train.batch(range(16)))
    for group in dissect(model):
        gone = [unit for unit in range(group.num_units) if unit not in plan[group.name].units]
        units = model.get_submodule(group.consumer).weight.unflatten(1, (group.num_units, group.unit_size))[:, gone]
        old = before[f"{group.consumer}.weight"].unflatten(1, (group.num_units, group.unit_size))[:, gone]
        assert torch.equal(units, old)


def test_padding_does_not_count(model, make_repair):
    plan, other = plan_of(model, CHANNELS), copy.deepcopy(model)
    with torch.no_grad():
        other.bert.embeddings.word_embeddings.weight[0] += 100.0
    for each in (model, other):
        make_repair()(each, dissect(model), plan)
    for group in dissect(model):
        mine, theirs = (each.get_submodule(group.consumer).weight for each in (model, other))
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


def test_the_rows_follow_from_the_seed_and_nothing_else_is_touched(model, make_repair):
    plan = plan_of(model, CHANNELS)
    model.train()
    model.bert.embeddings.eval()
    modes = [module.training for module in model.modules()]
    state = randomness.capture()
    repaired = [copy.deepcopy(model) for _ in range(3)]
    for each, seed in zip(repaired, (1, 1, 2), strict=True):
        make_repair(seed=seed)(each, dissect(model), plan)
        assert [module.training for module in each.modules()] == modes
        assert not any(module._forward_hooks for module in each.modules())
    assert all(torch.equal(value, state[name]) for name, value in randomness.capture().items() if "gauss" not in name)
    first, again, other = (each.bert.encoder.layer[0].output.dense.weight for each in repaired)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


ROW = {"input_ids": torch.ones(1, 3, dtype=torch.int64)}


def test_hooks_are_gone_even_when_a_pass_fails(model):
    def fail(*seen):
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        observe(model, ROW, ["bert.pooler.dense"], fail)
    assert not model.bert.pooler.dense._forward_hooks


def test_a_pass_ends_with_the_last_module_that_is_observed(model):
    first, last = (f"bert.encoder.layer.{layer}.attention.output.dense" for layer in (0, 1))
    ran = []
    for path in (first, last, "bert.encoder.layer.1.intermediate.dense"):
        model.get_submodule(path).register_forward_hook(lambda *_, path=path: ran.append(path))
    seen = []
    observe(model, ROW, [last, first], lambda path, x, y: seen.append(path))
    assert seen == [first, last]
    assert ran == seen
    whole = model(**ROW).logits
    observe(model, ROW, [first], lambda path, x, y: seen.append(path))
    assert seen == [first, last, first]
    assert torch.equal(model(**ROW).logits, whole)


def masked_blocks(model):
    """Return a pruner in the middle of its work: a third of the blocks masked, some heads gone by their q alone."""
    settings = MovementSettings(block_size=2)
    pruner = MovementPruner(model, dissect(model), settings, span=Span(0, 4), num_steps=4)
    dead = torch.rand(pruner.layout.num_blocks, generator=torch.Generator().manual_seed(3)) < 0.3
    for band, heads in zip(pruner.layout.bands[:1], [[1, 6]], strict=True):
        dead[band[heads].flatten()] = True
    pruner._choose = lambda progress: dead
    pruner.after_optimizer_step(0, 0.0)
    return pruner


def test_after_the_cut_of_blocks_the_model_is_nearer_to_the_one_that_was_trained(model, make_repair, task):
    unrepaired = copy.deepcopy(model)
    bare, repaired = masked_blocks(unrepaired), RepairedAtTheCut(masked_blocks(model), model, make_repair(1e-4, 40))
    batch = task.train.batch(range(40))
    trained = evaluation_outputs(model, batch)["hidden_states.2"]
    distances = []
    for pruner, each in ((bare, unrepaired), (repaired, model)):
        plan = pruner.finish()
        found = evaluation_outputs(condense_checked(each, plan, batch), batch)["hidden_states.2"]
        distances.append(float((found - trained).square().mean()))
    assert 0 < sum(kept.of - len(kept.units) for kept in plan.values()) < 8
    assert distances[1] < 0.8 * distances[0]
