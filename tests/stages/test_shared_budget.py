import logging

import pytest

from pipeline.allowance import Allowance
from pipeline.errors import RecipeError
from pipeline.recipe.budget import BudgetSource, StageBudget
from pipeline.surgery.architectures import encoder_parameters
from pipeline.surgery.condense import condense
from pipeline.surgery.groups import dissect
from pipeline.surgery.keep_plan import KeepPlan, Kept
from stages import shared_budget
from stages.budget_search import share_budget
from stages.gate_importance import gate_importances
from stages.prune_ffn import PruneFfn, PruneFfnConfig
from stages.prune_heads import PruneHeads, PruneHeadsConfig
from stages.shared_budget import IMPORTANCES_FILE, within_budget

QUICK = {"steps": 4, "batch_size": 8, "mixed_precision": "no", "progress": False}
BESIDE_BUDGET = {"has_budget": True}


def heads_config(**settings):
    return PruneHeadsConfig.model_validate({**QUICK, "granularity": "head", **settings}, context=BESIDE_BUDGET)


def channels_config(**settings):
    given = {**QUICK, "sparsity": None, "distill": None, "rounds": 2, **settings}
    return PruneFfnConfig.model_validate(given, context=BESIDE_BUDGET)


def budget(target, *to_come, rows=16):
    return StageBudget(BudgetSource(**target, rows=rows), {config.prunes: config for config in to_come})


def count(plan, kind):
    return sum(len(kept.units) for name, kept in plan.items() if name.endswith(kind))


def kwons_counts(model, task, limit, costs, least=None):
    """Return the split by itself: importances of the same rows, then the search."""
    groups = dissect(model)
    found = gate_importances(model, groups, task, rows=16, seed=3, batch_size=8)
    heads, channels = ({g.name: found[g.name] for g in groups if g.kind == kind} for kind in ("heads", "channels"))
    plan = share_budget(
        heads, channels, cost_per_head=costs["heads"], cost_per_channel=costs["channels"], budget=limit, least=least
    )
    return {kind: count(plan, kind) for kind in ("heads", "channels")}


@pytest.mark.parametrize("target", [{"macs": 0.4}, {"encoder_sparsity": 0.6}], ids=str)
@pytest.mark.parametrize("order", [("heads", "channels"), ("channels", "heads")], ids="-".join)
def test_two_stages_split_a_budget_as_kwon_does_and_keep_it_to_the_channel(
    make_context, small_bert, task, target, order
):
    stages = {"heads": (PruneHeads(), heads_config()), "channels": (PruneFfn(), channels_config())}
    (first, own), (second, later) = (stages[kind] for kind in order)
    dense = small_bert()
    allowance = Allowance.of(dense, None, BudgetSource(**target), task)
    expected = kwons_counts(dense, task, allowance.limit, allowance.costs)
    assert 0 < expected["heads"] < 8
    context = make_context(own, model=small_bert(), name="first", budget=budget(target, later))
    one = first.run(context)
    assert count(one.keep_plan, order[0]) == expected[order[0]]
    assert one.details["budget_units"] == expected
    assert {f"budget.{group.name}" for group in dissect(dense)} <= one.tensors.keys()
    two = second.run(
        make_context(later, model=one.model, name="second", parent_keep_plan=one.keep_plan, budget=budget(target))
    )
    assert count(two.keep_plan, order[1]) == expected[order[1]]
    spent = sum(allowance.costs[kind] * expected[kind] for kind in order)
    assert allowance.limit - allowance.costs["channels"] < spent <= allowance.limit
    if "encoder_sparsity" in target:
        gone = 1 - encoder_parameters(two.model) / encoder_parameters(dense)
        assert 0 <= gone - 0.6 < allowance.costs["channels"] / encoder_parameters(dense)


def test_the_later_stages_cap_holds_back_heads_for_the_channels_it_has_to_keep(make_context, small_bert):
    counts = []
    for cap in (0.95, 0.7):
        context = make_context(
            heads_config(),
            name=f"cap-{cap}",
            budget=budget({"macs": 0.25}, channels_config(max_sparsity_per_layer=cap)),
        )
        decided = shared_budget._decide(context, small_bert(), dissect(small_bert()), context.budget)
        counts.append(decided.kept)
    assert counts[0]["heads"] > counts[1]["heads"]
    assert counts[1]["channels"] >= 2 * 7 > counts[0]["channels"]


@pytest.mark.parametrize(
    ("stage", "config", "kind"), [(PruneHeads, heads_config, "heads"), (PruneFfn, channels_config, "channels")]
)
def test_one_stage_alone_takes_all_of_a_budget(make_context, small_bert, task, stage, config, kind):
    dense = small_bert()
    context = make_context(config(), model=dense, budget=budget({"encoder_sparsity": 0.25}))
    result = stage().run(context)
    gone = 1 - encoder_parameters(result.model) / encoder_parameters(small_bert())
    unit = Allowance.of(small_bert(), None, context.budget.target, task).costs[kind]
    assert 0 <= gone - 0.25 < unit / encoder_parameters(small_bert())
    assert not (context.work_dir / IMPORTANCES_FILE).exists()


def test_more_than_one_stage_alone_can_remove_is_refused_before_it_trains(make_context, small_bert):
    context = make_context(heads_config(), budget=budget({"encoder_sparsity": 0.6}))
    with pytest.raises(RecipeError, match=r"budget\.encoder_sparsity: must be at most 0\.\d+, .* got 0\.6"):
        within_budget(context, lambda context: pytest.fail("the stage began"))


def test_importances_are_computed_once_and_kept_for_a_resume(make_context, monkeypatch):
    context = make_context(heads_config(), budget=budget({"macs": 0.4}, channels_config()))
    seen = []

    def dies(told):
        seen.append(told.config.sparsity)
        raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            within_budget(context, dies)
        monkeypatch.setattr(shared_budget, "gate_importances", lambda *_, **__: pytest.fail("computed again"))
    assert seen[0] == seen[1] > 0


def test_the_stage_says_how_the_budget_was_split_and_which_settings_it_overrules(make_context, caplog):
    caplog.set_level(logging.INFO)
    result = PruneHeads().run(
        make_context(heads_config(threshold=0.3), budget=budget({"macs": 0.4}, channels_config()))
    )
    kept = result.details["budget_units"]
    assert f"tiny: the budget leaves {kept['heads']} heads and {kept['channels']} channels" in caplog.messages
    assert "stages.tiny.threshold: 0.3 has no effect beside the stage's other settings" in caplog.messages


def test_where_more_is_gone_than_the_budget_asks_nothing_else_goes(make_context, small_bert):
    plan = KeepPlan({"encoder.0.heads": Kept(4, (1,)), "encoder.1.heads": Kept(4, (0,))})
    model = condense(small_bert(), plan)
    context = make_context(
        channels_config(), model=model, parent_keep_plan=plan, budget=budget({"encoder_sparsity": 0.1})
    )
    result = PruneFfn().run(context)
    assert count(result.keep_plan, "channels") == 48
    assert result.details["budget_units"] == {"channels": 48}
