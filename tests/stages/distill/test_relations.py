"""Attention relations: values by hand, heads that are gone or masked, padding, and who gets a gradient."""

import math

import pytest
import torch

from pipeline.surgery.condense import condense
from pipeline.surgery.groups import dissect
from pipeline.surgery.keep_plan import KeepPlan, Kept
from pipeline.surgery.masking import mask_units
from stages.distill.config import DistillWeights
from stages.distill.objective import Distillation
from stages.distill.relations import Relations, relation_loss

ALL = ["qq", "kk", "vv", "qk"]


def only_relations(**settings):
    return DistillWeights(task_weight=0.0, logits_weight=0.0, hidden_weight=0.0, relations_weight=1.0, **settings)


def loss_of(student, teacher, mask=None, *, heads=1, teacher_heads=1, relation_heads=1, alive=None):
    alive = torch.ones(heads, dtype=torch.bool) if alive is None else torch.tensor(alive)
    pairs = ((side, side) if isinstance(side, torch.Tensor) else side for side in (student, teacher))
    return relation_loss(*pairs, mask, alive=alive, num_heads=teacher_heads, relation_heads=relation_heads)


def kl(theirs, mine):
    return float((theirs.softmax(-1) * (theirs.log_softmax(-1) - mine.log_softmax(-1))).sum(-1).mean())


def test_the_loss_is_the_divergence_of_softmaxes_worked_out_by_hand():
    student, teacher = torch.tensor([[[1.0], [0.0]]]), torch.tensor([[[2.0], [0.0]]])
    p, q = 1 / (1 + math.exp(-4)), 1 / (1 + math.exp(-1))
    first = p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))
    assert float(loss_of(student, teacher)) == pytest.approx(first / 2)  # the other token sees both alike, in both
    wide = torch.cat([teacher, torch.zeros(1, 2, 3)], dim=-1) * math.sqrt(2)
    assert float(loss_of(student, wide)) == pytest.approx(first / 2)  # a width of 4 halves what is twice as large


def test_queries_may_be_compared_with_keys_and_then_the_order_counts():
    torch.manual_seed(0)
    a, b, c, d = torch.randn(4, 1, 3, 2)
    expected = kl(c @ d.transpose(-1, -2) / math.sqrt(2), a @ b.transpose(-1, -2) / math.sqrt(2))
    assert float(loss_of((a, b), (c, d))) == pytest.approx(expected, rel=1e-5)
    assert float(loss_of((b, a), (c, d))) != pytest.approx(expected, rel=1e-2)


def test_a_relation_head_for_each_head_is_minilm():
    torch.manual_seed(0)
    mine, theirs = torch.randn(2, 2, 5, 6)
    by_head = [[side[..., 3 * h : 3 * h + 3] for h in range(2)] for side in (theirs, mine)]
    logits = [[part @ part.transpose(-1, -2) / math.sqrt(3) for part in parts] for parts in by_head]
    expected = sum(kl(*pair) for pair in zip(*logits, strict=True)) / 2
    for asked in (2, 7):
        loss = loss_of(mine, theirs, heads=2, teacher_heads=2, relation_heads=asked)
        assert float(loss) == pytest.approx(expected, rel=1e-5)
    together = kl(*(sum(side) / 2 for side in logits))
    assert float(loss_of(mine, theirs, heads=2, teacher_heads=2)) == pytest.approx(together, rel=1e-5)


def test_heads_are_dealt_in_order_and_as_equally_as_can_be():
    torch.manual_seed(0)
    mine, theirs = torch.randn(1, 3, 3), torch.randn(1, 3, 10)

    def mean_of(side, heads):
        features = [side[..., 2 * h : 2 * h + 2] if side is theirs else side[..., h : h + 1] for h in heads]
        return sum(part @ part.transpose(-1, -2) / math.sqrt(part.shape[-1]) for part in features) / len(heads)

    pairs = [((0, 1, 2), (0, 1)), ((3, 4), (2,))]
    expected = sum(kl(mean_of(theirs, t), mean_of(mine, s)) for t, s in pairs) / 2
    assert float(loss_of(mine, theirs, heads=3, teacher_heads=5, relation_heads=2)) == pytest.approx(expected, rel=1e-5)


def test_a_student_that_lost_heads_like_those_it_kept_has_nothing_to_learn():
    torch.manual_seed(0)
    head = torch.randn(2, 4, 3)
    assert float(loss_of(head.repeat(1, 1, 2), head.repeat(1, 1, 12), heads=2, teacher_heads=12)) < 1e-6


@pytest.mark.parametrize("relation_heads", [1, 2, 4])
def test_a_masked_head_counts_as_little_as_one_that_is_cut_out(relation_heads):
    torch.manual_seed(0)
    mine, theirs = torch.randn(2, 5, 12, requires_grad=True), torch.randn(2, 5, 8)
    alive = [True, False, True, True]
    kept = mine.unflatten(-1, (4, 3))[:, :, alive].flatten(2)
    masked = loss_of(mine, theirs, alive=alive, teacher_heads=4, relation_heads=relation_heads)
    cut = loss_of(kept, theirs, heads=3, teacher_heads=4, relation_heads=relation_heads)
    torch.testing.assert_close(masked, cut)
    (gradient,) = torch.autograd.grad(masked, mine)
    assert (gradient.unflatten(-1, (4, 3)).abs().sum((0, 1, 3)) > 0).tolist() == alive


def test_a_layer_without_heads_contributes_nothing():
    mine, theirs = torch.randn(2, 3, 4, requires_grad=True), torch.randn(2, 3, 4)
    masked = loss_of(mine, theirs, alive=[False, False], teacher_heads=2)
    masked.backward()
    assert float(masked.detach()) == 0.0
    assert not mine.grad.any()
    assert loss_of(torch.empty(2, 3, 0), theirs, heads=0, teacher_heads=2) == 0.0
    assert loss_of(mine, torch.empty(2, 3, 0), heads=2, teacher_heads=0) == 0.0


def test_padding_is_neither_looked_at_nor_looks():
    torch.manual_seed(0)
    mine, theirs = torch.randn(2, 1, 5, 4)
    mask = torch.tensor([[True, True, True, False, False]])
    expected = loss_of(mine[:, :3], theirs[:, :3], heads=2, teacher_heads=2)
    padded = loss_of(mine, theirs.masked_fill(~mask[..., None], 1e4), mask, heads=2, teacher_heads=2)
    torch.testing.assert_close(padded, expected)


@pytest.mark.parametrize("keeps", [(0, 2, 3), ()])
def test_every_family_masked_is_as_far_from_its_teacher_as_condensed(family, tiny_model, tiny_batch, keeps):
    student, teacher, batch = tiny_model(family), tiny_model(family, seed=1), tiny_batch(family)
    groups = [group for group in dissect(student) if group.kind == "heads"]
    assert [producer.path.rpartition(".")[2][0] for producer in groups[-1].producers] == ["q", "k", "v"]
    plan = KeepPlan({groups[0].name: Kept(4, (1,)), groups[-1].name: Kept(4, keeps)})
    mask = batch["attention_mask"].bool() if "attention_mask" in batch else None
    losses = {}
    for name, model in (("masked", mask_units(student, plan)), ("condensed", condense(student, plan))):
        relations = Relations(teacher, only_relations(relations=ALL, relation_heads=2))
        with relations.watch_teacher(teacher) as theirs, relations.watch_student(model) as mine, torch.no_grad():
            teacher(**batch)
            model(**batch)
        losses[name] = relations.loss(model, mine, tuple(theirs[part] for part in "qkv"), mask)
    assert bool(losses["masked"] > 0) == bool(keeps)
    torch.testing.assert_close(losses["masked"], losses["condensed"], rtol=1e-4, atol=1e-6)


def test_only_the_student_learns_and_of_the_compared_layer_only_what_makes_the_relations(task, small_bert):
    student, teacher = small_bert(seed=0), small_bert(seed=1)
    loss, parts = Distillation(teacher, only_relations(relations=["qq", "vv"]), task)(student, task.train.batch([0, 1]))
    loss.backward()
    assert float(parts["relations_loss"]) == pytest.approx(float(loss.detach())) != 0.0
    layers = student.bert.encoder.layer
    own = layers[1].attention
    moved = {name: bool(part.weight.grad.any()) for name, part in own.self.named_children() if hasattr(part, "weight")}
    assert moved == {"query": True, "key": False, "value": True}
    assert layers[0].attention.output.dense.weight.grad.any()
    assert not own.output.dense.weight.grad.any()
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert not any(module._forward_hooks for model in (student, teacher) for module in model.modules())


def test_a_student_equal_to_its_teacher_is_not_told_anything(task, small_bert):
    loss, _ = Distillation(small_bert(), only_relations(relations=ALL), task)(small_bert(), task.train.batch([0, 1, 2]))
    assert float(loss.detach()) == 0.0


def test_what_is_computed_in_bf16_is_compared_in_float32(task, small_bert):
    torch.manual_seed(0)
    mine, theirs = torch.randn(2, 2, 5, 8).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = loss_of(mine, theirs, heads=2, teacher_heads=2)
    assert torch.equal(inside, loss_of(mine.float(), theirs.float(), heads=2, teacher_heads=2))
    objective = Distillation(small_bert(seed=1, initializer_range=0.5), only_relations(), task)
    student, batch = small_bert(initializer_range=0.5), task.train.batch(range(8))
    exact, _ = objective(student, batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, _ = objective(student, batch)
    torch.testing.assert_close(loss.detach(), exact.detach(), rtol=0.05, atol=0.0)


def test_a_layer_is_the_teachers_and_a_student_of_another_depth_and_width_learns_it_in_its_last(small_bert):
    teacher = small_bert(num_hidden_layers=3, hidden_size=32, num_attention_heads=2)
    relations = Relations(teacher, only_relations(relations_layer=1, relations=["qk"]))
    assert relations.names() == ("encoder.1.heads.q", "encoder.1.heads.k")
    assert relations.student(small_bert()).name == "encoder.1.heads"
    assert Relations(teacher, only_relations(relations_layer=0)).student(small_bert()).name == "encoder.1.heads"
    same = Relations(teacher, only_relations(relations_layer=0))
    assert same.student(small_bert(num_hidden_layers=3)).name == "encoder.0.heads"
    assert Relations(teacher, only_relations()).teacher.name == "encoder.2.heads"


def test_a_layer_that_is_not_there_is_refused(small_bert):
    with pytest.raises(ValueError, match="relations_layer: must be last or at most 1, the teacher's last layer, got 2"):
        Relations(small_bert(), only_relations(relations_layer=2))
