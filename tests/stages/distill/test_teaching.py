"""Relations as a stage sets them up: in every stage that distils, over pruned models, and what is told people."""

import json

import pytest
import torch

from pipeline.errors import RecipeError
from pipeline.surgery.condense import condense
from pipeline.surgery.keep_plan import KeepPlan, Kept
from stages.distill import Distill, DistillConfig
from stages.distill.teaching import distillation
from stages.prune_ffn import PruneFfn, PruneFfnConfig
from stages.prune_heads import PruneHeads, PruneHeadsConfig
from stages.prune_heads.movement import MovementPruner
from stages.sparsify import Sparsify, SparsifyConfig

QUICK = {"steps": 6, "batch_size": 8, "learning_rate": 1e-3, "mixed_precision": "no", "progress": False, "log_every": 1}
ON = {"relations_weight": 1.0}
HALF = {**QUICK, "sparsity": 0.5, "min_heads_per_layer": 1, "prune_begin": 0, "distill": ON}


class Images:
    """Rows of noise for a tiny model of images."""

    def __len__(self):
        return 4

    def batch(self, rows):
        return {"pixel_values": torch.rand(len(rows), 3, 8, 8), "labels": torch.zeros(len(rows), dtype=torch.int64)}


def without_heads(model, layer, kept=()):
    return condense(model, KeepPlan({f"encoder.{layer}.heads": Kept(4, tuple(kept))}))


def logged_losses(context):
    lines = [json.loads(line) for line in context.log.path.read_text().splitlines()]
    return [line["relations_loss"] for line in lines if "loss" in line]


@pytest.mark.parametrize(
    ("stage", "config"),
    [
        (Distill, DistillConfig(**QUICK, **ON)),
        (PruneHeads, PruneHeadsConfig(**HALF)),
        (PruneHeads, PruneHeadsConfig(**HALF, criterion="taylor", rounds=3)),
        (PruneFfn, PruneFfnConfig(**QUICK, sparsity=0.5, rounds=2, distill=ON)),
        (Sparsify, SparsifyConfig(**QUICK, sparsity=0.5, distill=ON)),
    ],
)
def test_every_stage_that_distils_learns_relations_also_of_a_model_that_lost_heads(
    make_context, small_bert, stage, config
):
    context = make_context(config, model=without_heads(small_bert(), 1, (0, 1, 3)), teacher=small_bert(seed=1))
    stage().run(context)
    losses = logged_losses(context)
    assert len(losses) == 6
    assert all(loss > 0 for loss in losses)


def test_learning_relations_brings_the_student_nearer_to_them(make_context, small_bert):
    settings = {**QUICK, "steps": 40, "learning_rate": 3e-3, "task_weight": 0.0, "logits_weight": 0.0}
    student, teacher = without_heads(small_bert(initializer_range=0.3), 1, (2,)), small_bert(7, initializer_range=0.3)
    context = make_context(DistillConfig(**settings, hidden_weight=0.0, **ON), model=student, teacher=teacher)
    Distill().run(context)
    losses = logged_losses(context)
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])


@pytest.mark.parametrize("whose", ["teacher", "model"])
def test_where_no_head_is_left_nothing_is_compared_and_that_is_said(make_context, small_bert, task, caplog, whose):
    models = {"teacher": small_bert(seed=1), "model": small_bert()}
    models[whose] = without_heads(models[whose], 1)
    context = make_context(DistillConfig(**QUICK, **ON), **models)
    _, parts = distillation(context, models["model"], context.config)(models["model"], task.train.batch([0, 1]))
    assert "relations_loss" not in parts
    assert f"stages.tiny.relations_weight: no effect, for the {whose} has no encoder.1.heads left" in caplog.text


def test_settings_of_relations_that_are_off_are_named(make_context, small_bert, caplog):
    config = PruneHeadsConfig(**QUICK, distill={"relations": ["vv"], "relation_heads": 4})
    distillation(make_context(config, teacher=small_bert(seed=1)), small_bert(), config.distill)
    assert "stages.tiny.distill.relations: ('vv',) has no effect while the weight of its term is 0" in caplog.text
    assert "stages.tiny.distill.relation_heads: 4 has no effect" in caplog.text


def test_a_layer_that_is_not_there_is_refused_where_it_was_named(make_context, small_bert):
    for config, place in (
        (DistillConfig(**QUICK, **ON, relations_layer=9), "stages.tiny"),
        (PruneHeadsConfig(**QUICK, distill={**ON, "relations_layer": 9}), "stages.tiny.distill"),
    ):
        context = make_context(config, teacher=small_bert(seed=1))
        with pytest.raises(RecipeError, match=rf"^{place}\.relations_layer: must be last or at most 1, .* got 9$"):
            distillation(context, small_bert(), getattr(config, "distill", config))


def test_a_head_that_movement_masks_is_left_out_of_the_relations(make_context, small_bert, task, monkeypatch):
    from stages.distill import relations

    seen, masked, living, before_step = [], [], relations.living_heads, MovementPruner.before_optimizer_step
    monkeypatch.setattr(relations, "living_heads", lambda *asked: seen.append(living(*asked)) or seen[-1])
    monkeypatch.setattr(
        MovementPruner,
        "before_optimizer_step",
        lambda self, step: masked.append(self.live()[4:]) or before_step(self, step),
    )
    config = PruneHeadsConfig(**QUICK, sparsity=0.5, granularity="head", prune_begin=0, prune_end=3, distill=ON)
    PruneHeads().run(make_context(config, teacher=small_bert(seed=1)))
    assert seen[0].all()
    assert len({tuple(heads.tolist()) for heads in seen}) > 1
    assert all(torch.equal(*both) for both in zip(seen, masked, strict=True))


@pytest.mark.parametrize("weights", [{}, {"hidden_weight": 0.0, **ON}])
def test_a_teacher_that_cuts_images_into_other_tokens_is_refused_unless_only_logits_are_compared(
    make_context, task, tiny_model, weights
):
    student, teacher = tiny_model("vit"), tiny_model("deit")
    task.validation = {"validation": Images()}
    context = make_context(DistillConfig(**QUICK, **weights), teacher=teacher)
    with pytest.raises(RecipeError, match=r"teacher: must see an image as the student's 5 tokens, got 6; set hidden_"):
        distillation(context, student, context.config)
    distillation(context, student, DistillConfig(**QUICK, hidden_weight=0.0))


def test_settings_of_terms_without_a_weight_are_named():
    assert DistillConfig(hidden_weight=0, hidden_map="min_deeper", logits_weight=0.5).without_effect() == (
        "hidden_map",
    )
    assert DistillConfig(logits_weight=0, temperature=4).without_effect() == ("temperature",)
    assert DistillConfig(temperature=4, hidden_map="min_deeper").without_effect() == ()
