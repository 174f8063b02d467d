import contextlib

import pytest
import torch

from stages.distill.config import DistillWeights
from stages.distill.objective import Distillation, check_teacher, hidden_loss, logits_kl


def batch_of(task, rows=range(5)):
    return task.train.batch(list(rows))


@pytest.fixture
def student(small_bert):
    return small_bert(seed=0)


@pytest.fixture
def teacher(small_bert):
    return small_bert(seed=1)


def test_a_student_equal_to_its_teacher_has_no_divergence_and_no_error(task, student, small_bert):
    weights = DistillWeights(task_weight=0.0)
    loss, parts = Distillation(small_bert(seed=0), weights, task)(student, batch_of(task))
    assert float(loss.detach()) == float(parts["logits_loss"]) == float(parts["hidden_loss"]) == 0.0


def test_logits_term_is_the_kl_of_softened_distributions_times_the_squared_temperature():
    torch.manual_seed(0)
    student, teacher, temperature = torch.randn(6, 3), torch.randn(6, 3), 2.5
    p, q = (teacher / temperature).softmax(-1), (student / temperature).softmax(-1)
    expected = temperature**2 * (p * (p / q).log()).sum(-1).mean()
    torch.testing.assert_close(logits_kl(student, teacher, temperature), expected)
    assert logits_kl(student, student, temperature) == 0.0
    assert logits_kl(student, teacher, temperature) != logits_kl(teacher, student, temperature)


def test_hidden_states_are_compared_layer_by_layer_over_real_tokens_only():
    torch.manual_seed(0)
    mine, theirs = [torch.randn(2, 3, 4) for _ in range(2)], [torch.randn(2, 3, 4) for _ in range(2)]
    mask = torch.tensor([[True, True, False], [True, False, False]])
    expected = sum((a[mask] - b[mask]).square().mean() for a, b in zip(mine, theirs, strict=True))
    torch.testing.assert_close(hidden_loss(mine, theirs, mask), expected)
    everywhere = sum((a - b).square().mean() for a, b in zip(mine, theirs, strict=True))
    torch.testing.assert_close(hidden_loss(mine, theirs, None), everywhere)


def test_min_deeper_takes_the_nearest_of_the_teachers_layers_at_least_as_deep():
    torch.manual_seed(0)
    theirs = [torch.randn(2, 3, 4) for _ in range(4)]
    mine = [theirs[2] + 0.1, theirs[0] + 0.1]
    nearest_to_second = min((mine[1] - layer).square().mean() for layer in theirs[1:])
    torch.testing.assert_close(hidden_loss(mine, theirs, None, deeper=True), torch.tensor(0.01) + nearest_to_second)


def test_the_loss_is_the_weighted_sum_of_its_parts(task, student, teacher):
    weights = DistillWeights(task_weight=0.3, logits_weight=0.5, hidden_weight=0.7, relations_weight=0.9)
    loss, parts = Distillation(teacher, weights, task)(student, batch_of(task))
    expected = 0.3 * parts["task_loss"] + 0.5 * parts["logits_loss"] + 0.7 * parts["hidden_loss"]
    expected += 0.9 * parts["relations_loss"]
    torch.testing.assert_close(loss.detach(), expected)
    assert all(float(part) > 0 for part in parts.values())


@pytest.mark.parametrize("settings", [{}, {"hidden_map": "min_deeper"}, {"relations_weight": 5.0}])
def test_padding_does_not_change_the_loss(task, student, teacher, settings):
    batch = batch_of(task)
    wider = {name: t if name == "labels" else torch.nn.functional.pad(t, (0, 1)) for name, t in batch.items()}
    if wider["input_ids"].shape[1] > 12:
        batch = {name: t if name == "labels" else t[:, :-1] for name, t in batch.items()}
        wider = {name: t if name == "labels" else torch.nn.functional.pad(t, (0, 1)) for name, t in batch.items()}
    distillation = Distillation(teacher, DistillWeights(**settings), task)
    torch.testing.assert_close(distillation(student, batch)[0], distillation(student, wider)[0], rtol=1e-5, atol=1e-6)


def test_hidden_states_are_not_asked_for_without_a_weight(task, student, teacher):
    asked = []
    for model in (student, teacher):
        model.register_forward_pre_hook(
            lambda module, args, kwargs: asked.append(kwargs["output_hidden_states"]), with_kwargs=True
        )
    Distillation(teacher, DistillWeights(hidden_weight=0.0), task)(student, batch_of(task))
    Distillation(teacher, DistillWeights(), task)(student, batch_of(task))
    assert asked == [False, False, True, True]


def test_the_teacher_runs_in_evaluation_mode_without_gradients_at_the_students_precision(task, student, teacher):
    seen = []
    teacher.train()
    distillation = Distillation(teacher, DistillWeights(), task)
    teacher.bert.encoder.layer[0].intermediate.register_forward_hook(
        lambda module, args, output: seen.append((module.training, output.requires_grad, output.dtype))
    )
    for context in (contextlib.nullcontext(), torch.autocast("cpu", dtype=torch.bfloat16)):
        with context:
            loss, _ = distillation(student, batch_of(task))
        loss.backward()
    assert seen == [(False, False, torch.float32), (False, False, torch.bfloat16)]
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_regression_compares_values(task, student, teacher, monkeypatch):
    monkeypatch.setattr(task, "is_regression", lambda: True)
    batch = batch_of(task)
    _, parts = Distillation(teacher, DistillWeights(hidden_weight=0.0), task)(student, batch)
    inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
    expected = (student(**inputs).logits - teacher(**inputs).logits).square().mean()
    torch.testing.assert_close(parts["logits_loss"], expected.detach())


@pytest.mark.parametrize(
    ("changes", "weights", "message"),
    [
        ({"num_hidden_layers": 3}, {}, "student's 2 layers for hidden_map same, got 3"),
        ({"num_hidden_layers": 1}, {"hidden_map": "min_deeper"}, "at least the student's 2 layers, got 1"),
        ({"hidden_size": 32}, {}, "hidden size of 16, got 32"),
        ({"num_labels": 5}, {"hidden_weight": 0.0}, "the student's 2 labels, got 5"),
        ({"num_hidden_layers": 3}, {"hidden_map": "min_deeper"}, None),
        ({"num_hidden_layers": 3, "hidden_size": 32}, {"hidden_weight": 0.0}, None),
        ({"num_labels": 5}, {"logits_weight": 0.0}, None),
    ],
)
def test_a_teacher_that_does_not_fit_is_refused_and_one_that_does_works(
    task, student, small_bert, changes, weights, message
):
    teacher, weights = small_bert(**changes), DistillWeights(**weights)
    if message is None:
        check_teacher(student, teacher, weights)
        assert torch.isfinite(Distillation(teacher, weights, task)(student, batch_of(task))[0])
    else:
        with pytest.raises(ValueError, match=message):
            check_teacher(student, teacher, weights)
