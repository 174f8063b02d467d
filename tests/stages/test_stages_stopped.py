import logging

import pytest
import torch

from pipeline.errors import CompressionError, RecipeError
from pipeline.surgery.keep_plan import KeepPlan, Kept
from stages.finetune import Finetune, FinetuneConfig
from stages.prune_ffn import PruneFfn, PruneFfnConfig
from stages.prune_heads import PruneHeads, PruneHeadsConfig

QUICK = {"steps": 12, "batch_size": 8, "learning_rate": 1e-3, "mixed_precision": "no", "progress": False}


def lose_a_kept_unit(condense, model, plan):
    name = next(iter(plan))
    others = [unit for unit in range(plan[name].of) if unit not in plan[name].units]
    swapped = Kept(plan[name].of, tuple(sorted((*plan[name].units[1:], others[0]))))
    return condense(model, KeepPlan({**plan, name: swapped}))


def lose_a_bias(condense, model, plan):
    condensed = condense(model, plan)
    condensed.bert.encoder.layer[0].attention.output.dense.bias.zero_()
    return condensed


def mix_up_columns(condense, model, plan):
    condensed = condense(model, plan)
    weight = condensed.bert.encoder.layer[0].attention.output.dense.weight
    weight.copy_(weight.flip(1))
    return condensed


@pytest.mark.parametrize("fault", [lose_a_kept_unit, lose_a_bias, mix_up_columns])
def test_a_condensed_model_that_computes_something_else_stops_the_stage(make_context, monkeypatch, fault):
    from pipeline.surgery import equality

    honest = equality.condense
    monkeypatch.setattr(equality, "condense", torch.no_grad()(lambda model, plan, **_: fault(honest, model, plan)))
    with pytest.raises(CompressionError, match="does not compute"):
        PruneHeads().run(make_context(PruneHeadsConfig(**QUICK, sparsity=0.5)))


def test_settings_without_effect_are_warned_of(make_context, caplog):
    with caplog.at_level(logging.WARNING):
        PruneHeads().run(make_context(PruneHeadsConfig(**QUICK, sparsity=0.5, threshold=0.3)))
        Finetune().run(make_context(FinetuneConfig(**QUICK, teacher="source"), name="learn"))
        Finetune().run(make_context(FinetuneConfig(**QUICK), name="silent"))
    assert "stages.tiny.threshold: 0.3 has no effect" in caplog.text
    assert "stages.learn.teacher: source has no effect" in caplog.text
    assert "silent" not in caplog.text


@pytest.mark.parametrize(
    ("stage", "config", "message"),
    [
        (
            PruneHeads,
            PruneHeadsConfig(**QUICK, prune_end=13),
            "stages.tiny.prune_end: must be within the stage's 12 steps",
        ),
        (PruneHeads, PruneHeadsConfig(**QUICK, block_size=3), "stages.tiny.block_size: must divide"),
        (
            PruneHeads,
            PruneHeadsConfig(**QUICK, sparsity=0.9, min_heads_per_layer=1),
            "stages.tiny.sparsity: must be at most 0.75",
        ),
        (
            PruneFfn,
            PruneFfnConfig(**QUICK, sparsity=[0.5], distill=None),
            "stages.tiny.sparsity: must hold one share for each of 2",
        ),
    ],
)
def test_settings_that_do_not_fit_the_model_are_refused_before_training(make_context, stage, config, message):
    context = make_context(config)
    with pytest.raises(RecipeError, match=message):
        stage().run(context)
    assert not context.work_dir.exists()


class Killed(BaseException):
    pass


@pytest.mark.parametrize(
    ("stage", "config"),
    [
        (PruneHeads, PruneHeadsConfig(**QUICK, sparsity=0.5, save_seconds=0, save_share=1.0)),
        (
            PruneHeads,
            PruneHeadsConfig(**QUICK, regular_scale=100, score_learning_rate=0.5, save_seconds=0, save_share=1.0),
        ),
        (PruneFfn, PruneFfnConfig(**QUICK, sparsity=0.5, rounds=3, save_seconds=0, save_share=1.0)),
    ],
)
@pytest.mark.parametrize("kill_at", [5, 8, "before the cut"])
def test_a_killed_pruning_stage_resumes_to_the_same_model_plan_and_scores(
    make_context, small_bert, monkeypatch, dying, stage, config, kill_at
):
    import stages.pruning as pruning

    def context(name):
        return make_context(config, model=small_bert(), teacher=small_bert(seed=1), name=name)

    whole = stage().run(context("whole"))
    with monkeypatch.context() as patch:
        if kill_at == "before the cut":
            patch.setattr(pruning, "cut", lambda *arguments: (_ for _ in ()).throw(Killed))
        else:
            patch.setattr(pruning, "train", dying(pruning.train, Killed, kill_at))
        with pytest.raises(Killed):
            stage().run(context("killed"))
    resumed_from = list(context("killed").work_dir.rglob("*"))
    again = stage().run(context("killed"))
    assert resumed_from
    assert again.keep_plan == whole.keep_plan
    assert all(torch.equal(again.tensors[name], value) for name, value in whole.tensors.items())
    assert all(torch.equal(value, again.model.state_dict()[name]) for name, value in whole.model.state_dict().items())
