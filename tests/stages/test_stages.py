import importlib

import pytest
import torch

from pipeline.errors import CompressionError, RecipeError
from pipeline.surgery.condense import condense
from pipeline.surgery.keep_plan import KeepPlan, Kept
from pipeline.training.evaluation import evaluate
from stages import STAGES
from stages.distill import Distill, DistillConfig
from stages.finetune import Finetune, FinetuneConfig
from stages.prune_ffn import PruneFfn, PruneFfnConfig
from stages.prune_heads import PruneHeads, PruneHeadsConfig

QUICK = {"steps": 12, "batch_size": 8, "learning_rate": 1e-3, "mixed_precision": "no", "progress": False}


def kept(result):
    return [len(group.units) for name, group in result.keep_plan.items()]


def total(result, kind):
    return sum(len(group.units) for name, group in result.keep_plan.items() if name.endswith(kind))


def channels_left(model):
    return sum(layer.intermediate.dense.out_features for layer in model.bert.encoder.layer)


def head_width_left(model):
    return sum(layer.attention.self.query.out_features for layer in model.bert.encoder.layer)


@pytest.mark.parametrize("name", STAGES)
def test_every_stage_is_found_by_its_reference_and_says_what_a_stage_must(name):
    module, _, attribute = STAGES[name].partition(":")
    stage = getattr(importlib.import_module(module), attribute)()
    assert stage.version >= 1
    assert stage.provides_teacher == (name == "finetune")
    assert stage.needs_teacher(stage.Config()) == (name in ("distill", "prune_ffn"))


def test_pruning_stages_need_a_teacher_exactly_when_they_distill():
    assert PruneHeads().needs_teacher(PruneHeadsConfig(distill={}))
    assert not PruneFfn().needs_teacher(PruneFfnConfig(distill=None))


def test_finetune_trains_and_cuts_nothing(make_context, small_bert):
    result = Finetune().run(make_context(FinetuneConfig(**QUICK)))
    before = small_bert().state_dict()
    assert result.keep_plan is None
    assert result.details["steps"] == 12
    assert not torch.equal(result.model.state_dict()["classifier.weight"], before["classifier.weight"])


def test_distill_brings_the_student_nearer_to_its_teacher(make_context, small_bert, task):
    teacher = small_bert(seed=7)
    config = DistillConfig(**{**QUICK, "steps": 30, "learning_rate": 1e-2, "task_weight": 0.0})
    result = Distill().run(make_context(config, teacher=teacher))
    batch = task.train.batch(range(16))

    def distance(model):
        with torch.no_grad():
            mine, theirs = (each(**batch, output_hidden_states=True).hidden_states[-1] for each in (model, teacher))
        return float((mine - theirs).square().mean())

    assert distance(result.model) < 0.5 * distance(small_bert())
    assert all(torch.equal(a, b) for a, b in zip(teacher.parameters(), small_bert(seed=7).parameters(), strict=True))


def test_distill_without_a_teacher_or_with_one_that_does_not_fit_says_so(make_context, small_bert):
    with pytest.raises(RecipeError, match=r"stages\.tiny\.teacher: there is none"):
        Distill().run(make_context(DistillConfig(**QUICK)))
    with pytest.raises(RecipeError, match=r"stages\.tiny\.teacher: must have the student's 2 layers"):
        Distill().run(make_context(DistillConfig(**QUICK), teacher=small_bert(num_hidden_layers=3)))


@pytest.mark.parametrize(
    ("settings", "left"),
    [
        ({"sparsity": 0.5}, 4),
        ({"sparsity": 0.5, "granularity": "head"}, 4),
        ({"sparsity": 0.25, "criterion": "l1"}, 6),
        ({"sparsity": 0.25, "criterion": "taylor", "rounds": 2}, 6),
        ({"sparsity": 0.5, "distill": {}, "prune_end": 1.0}, 4),
        ({"score_learning_rate": 1.0, "regular_scale": 1000}, 0),
    ],
)
def test_prune_heads_cuts_what_was_asked_and_scores_the_model_before(make_context, small_bert, settings, left):
    context = make_context(PruneHeadsConfig(**QUICK, **settings), teacher=small_bert(seed=1))
    result = PruneHeads().run(context)
    assert total(result, "heads") == left
    assert result.metrics.keys() == {"before_cut/validation/accuracy"}
    assert result.tensors
    assert all(tensor.is_contiguous() for tensor in result.tensors.values())
    widths = [layer.attention.output.dense.in_features // 4 for layer in result.model.bert.encoder.layer]
    assert widths == kept(result)


@pytest.mark.parametrize(
    ("settings", "left"),
    [
        ({}, [9, 0]),
        ({"match_heads_ratio": 1.0}, [18, 0]),
        ({"sparsity": [0.25, 1.0], "distill": None}, [18, 0]),
        ({"sparsity": 0.5, "scope": "local", "form": "nni"}, [12, 12]),
        ({"sparsity": 0.5, "scope": "local", "rounds": 1, "criterion": "l1"}, [12, 12]),
        ({"sparsity": 0.3, "scope": "local", "multiple_of": 8, "prune_end": 1.0}, [24, 24]),
    ],
)
def test_prune_ffn_cuts_what_was_asked_in_every_layer(make_context, small_bert, settings, left):
    plan = KeepPlan({"encoder.0.heads": Kept(4, (0, 1, 3)), "encoder.1.heads": Kept(4, ())})
    model = condense(small_bert(), plan)
    result = PruneFfn().run(make_context(PruneFfnConfig(**QUICK, **settings), model=model, teacher=small_bert(seed=1)))
    assert kept(result) == left
    assert [layer.intermediate.dense.out_features for layer in result.model.bert.encoder.layer] == left


@pytest.mark.parametrize(
    "settings",
    [
        {"sparsity": 0.8},
        {"sparsity": [0.6, 1.0], "form": "nni", "distill": None},
        {"sparsity": 0.8, "repair": {"rows": 16}},
    ],
)
def test_channels_that_leave_at_each_round_leave_the_model_that_masks_leave(
    make_context, small_bert, at_each_step, settings
):
    results = []
    widths = at_each_step(channels_left)
    for cuts in (False, True):
        config = PruneFfnConfig(**QUICK, **settings, rounds=4, cut_at_rounds=cuts)
        context = make_context(config, teacher=small_bert(seed=1), name=f"cuts{cuts}")
        results.append(PruneFfn().run(context))
    masked, cut = results
    assert set(widths[:12]) == {48}
    assert len(set(widths[12:])) >= 3
    assert cut.keep_plan == masked.keep_plan
    for name, value in masked.model.state_dict().items():
        torch.testing.assert_close(cut.model.state_dict()[name], value, atol=1e-4, rtol=1e-3)
    assert cut.metrics == masked.metrics


@pytest.mark.parametrize(
    "settings",
    [
        {"criterion": "taylor", "sparsity": 0.75, "rounds": 4},
        {"criterion": "taylor", "sparsity": 0.875, "rounds": 3, "distill": {"relations_weight": 1.0}},
        {"criterion": "l1", "sparsity": 0.5},
        {"criterion": "taylor", "sparsity": 0.5, "rounds": 4, "repair": {"rows": 16}},
    ],
)
def test_heads_that_leave_at_each_round_leave_the_model_that_masks_leave(
    make_context, small_bert, at_each_step, settings
):
    results = []
    widths = at_each_step(head_width_left)
    for cuts in (False, True):
        config = PruneHeadsConfig(**QUICK, **settings, dropout=0.0, cut_at_rounds=cuts)
        context = make_context(config, teacher=small_bert(seed=1), name=f"cuts{cuts}")
        results.append(PruneHeads().run(context))
    masked, cut = results
    assert widths[:12] == [32] * 12
    assert widths[-1] < 32
    assert cut.keep_plan == masked.keep_plan
    for name, value in masked.model.state_dict().items():
        torch.testing.assert_close(cut.model.state_dict()[name], value, atol=1e-4, rtol=1e-3)
    assert cut.metrics == masked.metrics
    assert cut.tensors.keys() == masked.tensors.keys()


def test_heads_are_timed_in_a_forecast_with_those_gone_that_go(make_context, at_each_step):
    config = PruneHeadsConfig(**QUICK, criterion="taylor", sparsity=0.75, rounds=4, prune_begin=0, prune_end=8)
    changes, share = PruneHeads().soon_fast(config, 12)
    assert share == pytest.approx((2 * (37 / 64) + 2 * (56 / 64) + 2 * (63 / 64) + 4) / 12)
    widths = at_each_step(head_width_left)
    PruneHeads().run(make_context(config.model_copy(update=changes)))
    assert len(set(widths)) == 1
    assert widths[0] < 32
    by_weight = config.model_copy(update={"criterion": "l1"})
    changes, by_step = PruneHeads().soon_fast(by_weight, 12)
    assert by_step > share
    assert by_weight.model_copy(update=changes).ignored() == by_weight.ignored()
    for slow in ({"cut_at_rounds": False}, {"criterion": "movement"}):
        assert PruneHeads().soon_fast(config.model_copy(update=slow), 12) is None


def test_the_settings_that_a_forecast_times_cut_after_the_first_step(make_context, at_each_step):
    config = PruneFfnConfig(**QUICK, sparsity=0.8, rounds=4, prune_end=8, distill=None)
    changes, share = PruneFfn().soon_fast(config, 12)
    assert share == pytest.approx((2 * (37 / 64) + 2 * (56 / 64) + 2 * (63 / 64) + 4) / 12)
    widths = at_each_step(channels_left)
    PruneFfn().run(make_context(config, name="slow"))
    PruneFfn().run(make_context(config.model_copy(update=changes), name="fast"))
    assert widths[0] == 48
    assert widths[12:] == [widths[11]] * 12
    assert PruneFfn().soon_fast(PruneFfnConfig(**QUICK, cut_at_rounds=False), 12) is None


@pytest.mark.parametrize("edge", [0.0, 0.5, 1.0])
def test_one_shot_cuts_go_by_what_was_observed(make_context, edge):
    at = {"prune_begin": edge, "prune_end": edge, "distill": None}
    channels = PruneFfn().run(make_context(PruneFfnConfig(**QUICK, **at, sparsity=0.5, scope="local", rounds=1)))
    (importances,) = channels.tensors["importances.encoder.0.channels"]
    assert importances.all()
    kept_units = channels.keep_plan["encoder.0.channels"].units
    assert set(kept_units) == set(importances.argsort()[12:].tolist())
    heads = PruneHeads().run(make_context(PruneHeadsConfig(**QUICK, **at, sparsity=0.5), name="heads"))
    assert total(heads, "heads") == 4
    assert heads.tensors["scores.bert.encoder.layer.0.attention.self.query"].any()


def test_a_global_share_of_channels_is_removed_exactly(make_context):
    config = PruneFfnConfig(**QUICK, sparsity=0.7, max_sparsity_per_layer=0.8, distill=None)
    result = PruneFfn().run(make_context(config))
    assert total(result, "channels") == 48 - round(0.7 * 48)
    assert min(kept(result)) >= 24 - round(0.8 * 24)


def test_unit_masks_leave_the_metric_as_it_is_across_the_cut(make_context):
    for stage, config in (
        (PruneHeads, PruneHeadsConfig(**QUICK, sparsity=0.5, granularity="head")),
        (PruneFfn, PruneFfnConfig(**QUICK, sparsity=0.5, distill=None)),
    ):
        context = make_context(config, name=stage.__name__)
        context.task.validation["other"] = context.task.validation["validation"]
        result = stage().run(context)
        assert result.metrics == {
            "before_cut/validation/accuracy": evaluate(result.model, context.task)["validation/accuracy"]
        }


def test_stages_follow_each_other_down_to_a_layer_with_nothing_left(make_context, small_bert):
    teacher, model, plan = small_bert(), small_bert(), KeepPlan({})
    for index, (stage, config) in enumerate(
        [
            (PruneHeads, PruneHeadsConfig(**QUICK, sparsity=0.5)),
            (Distill, DistillConfig(**QUICK)),
            (PruneFfn, PruneFfnConfig(**QUICK, sparsity=[1.0, 0.5])),
            (PruneHeads, PruneHeadsConfig(**QUICK, score_learning_rate=1.0, regular_scale=1000)),
            (Distill, DistillConfig(**QUICK)),
        ]
    ):
        context = make_context(config, model=model, teacher=teacher, name=f"stage{index}", parent_keep_plan=plan)
        result = stage().run(context)
        model, plan = result.model, plan.then(result.keep_plan or KeepPlan({}))
    assert [len(group.units) for group in plan.values()] == [0, 0, 0, 12]
    assert torch.isfinite(model(**context.task.train.batch([0, 1])).logits).all()
    with pytest.raises(CompressionError, match="the model has no heads left to prune"):
        PruneHeads().run(make_context(PruneHeadsConfig(**QUICK), model=model, name="again"))
