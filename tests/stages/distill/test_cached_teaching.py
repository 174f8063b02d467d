"""The teacher's answers written once, and read at each step: the same loss, the same bits after any kill."""

import dataclasses
import hashlib
import shutil

import pytest
import torch

from pipeline import interruption
from pipeline.interruption import Interrupted
from pipeline.teaching import choice
from pipeline.teaching.answers import Answers
from pipeline.teaching.rehearsal import Rehearsal
from pipeline.teaching.shelf import TeacherShelf
from pipeline.training.job import TrainBatch
from pipeline.training.processes import Processes
from pipeline.training.stepper import Stepper
from stages.distill import Distill, DistillConfig
from stages.distill.teaching import distillation
from stages.prune_ffn import PruneFfn, PruneFfnConfig

QUICK = {
    "batch_size": 8,
    "epochs": 3,
    "learning_rate": 1e-3,
    "mixed_precision": "no",
    "progress": False,
    "log_every": 1,
}


@pytest.fixture(autouse=True)
def no_signal(monkeypatch):
    monkeypatch.setattr(interruption, "_requested", None)


@pytest.fixture
def shelf(tmp_path):
    return TeacherShelf(tmp_path / "shelf", {"teacher": "seed 1"}, passes=6.0)


@pytest.fixture
def context_of(make_context, small_bert, shelf):
    """Return a function from settings to the context of a distill stage in a run that has a shelf."""

    def make(*, config=DistillConfig, name="tiny", passes=6.0, **settings):
        own = TeacherShelf(shelf.folder, shelf.identity, passes)
        teacher = small_bert(seed=1)
        made = make_context(config(**{**QUICK, **settings}), teacher=teacher, name=name, teacher_shelf=lambda: own)
        return made, teacher

    return make


@pytest.fixture
def asked(monkeypatch):
    """The batches that the teacher's forward pass was asked for, by their rows."""
    from stages.distill.objective import Distillation

    seen, ask = [], Distillation._ask
    monkeypatch.setattr(Distillation, "_ask", lambda self, batch: seen.append(len(batch["labels"])) or ask(self, batch))
    return seen


def sha256(model):
    parts = (tensor.numpy().tobytes() for tensor in model.state_dict().values())
    return hashlib.sha256(b"".join(parts)).hexdigest()


def objective_of(context, precision="no", step=0):
    objective = distillation(context, context.load_model(), context.config)
    objective.prepare(precision, step, Processes())
    return objective


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"hidden_weight": 0.0},
        {"logits_weight": 0.0},
        {"hidden_map": "min_deeper"},
        {"relations_weight": 5.0},
        {"relations_weight": 5.0, "relations": ["qk"], "relations_layer": 0, "hidden_weight": 0.0},
    ],
)
def test_the_loss_is_that_of_the_teacher_itself(context_of, task, asked, settings):
    context, _ = context_of(**settings)
    live = distillation(context, context.load_model(), context.config)
    cached = objective_of(context)
    batch = TrainBatch(task.train.batch([4, 39, 0, 17]), [4, 39, 0, 17])
    asked.clear()
    loss, parts = cached(context.load_model(), batch)
    assert asked == []
    expected, expected_parts = live(context.load_model(), dict(batch))
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(parts, expected_parts, rtol=1e-5, atol=1e-6)


def test_every_row_is_taught_once_for_all_stages_that_share_the_teacher(context_of, task, asked):
    Distill().run(context_of(name="one")[0])
    assert [rows for rows in asked if rows > 1] == [32, 8]
    asked.clear()
    PruneFfn().run(context_of(config=PruneFfnConfig, name="two", sparsity=0.5)[0])
    assert asked == []
    Distill().run(context_of(name="three", cache_teacher=False)[0])
    assert len(asked) == 15


def test_a_batch_without_its_rows_is_answered_by_the_teacher(context_of, task, asked):
    context, _ = context_of()
    objective = objective_of(context)
    asked.clear()
    objective(context.load_model(), task.train.batch([1, 2]))
    assert asked == [2]


@pytest.mark.parametrize(("deletes", "settings"), [(False, {}), (True, {"relations_weight": 0.5})])
def test_a_stage_stopped_and_resumed_ends_in_the_same_bits_whether_the_answers_are_still_there(
    context_of, shelf, monkeypatch, deletes, settings
):
    def context():
        return context_of(**settings)[0]

    expected = sha256(Distill().run(context()).model)
    shutil.rmtree(context().work_dir)
    step = Stepper.step

    def stopping(self, wrapped, position, window):
        step(self, wrapped, position, window)
        if position.step == 5:
            monkeypatch.setattr(interruption, "_requested", 15)

    with monkeypatch.context() as patch:
        patch.setattr(Stepper, "step", stopping)
        with pytest.raises(Interrupted):
            Distill().run(context())
    monkeypatch.setattr(interruption, "_requested", None)
    if deletes:
        shutil.rmtree(shelf.folder)
    assert sha256(Distill().run(context()).model) == expected


def test_a_stage_goes_on_as_it_began_whatever_the_machine_says_now(context_of, shelf, asked, monkeypatch):
    context, _ = context_of()
    objective_of(context)
    shutil.rmtree(shelf.folder)
    monkeypatch.setattr(choice, "LARGEST_SHARE_OF_MEMORY", 0.0)
    asked.clear()
    objective_of(context, step=3)
    assert sum(asked) > 40
    (context.work_dir / "teacher.json").unlink()
    asked.clear()
    objective_of(context, step=3)
    assert asked == []


def test_auto_follows_the_recipe_and_a_setting_is_obeyed(context_of, shelf, asked, caplog):
    caplog.set_level("INFO")
    objective_of(context_of(passes=1.0, name="once")[0])
    assert not shelf.folder.exists()
    assert "once: cache_teacher: false (the teacher is asked for 1 passes over the rows" in caplog.text
    objective_of(context_of(passes=1.0, name="told", cache_teacher=True)[0])
    assert Answers.are_at(next(shelf.folder.glob("*/*")))
    assert "told: cache_teacher: true (as it was asked for, written in" in caplog.text


def test_hidden_states_are_kept_in_the_type_they_were_computed_in(context_of, task, shelf):
    dtypes = {}
    for precision in ("no", "bf16"):
        context, _ = context_of(name=precision)
        objective = objective_of(context, precision)
        batch = TrainBatch(task.train.batch([1, 2]), [1, 2])
        dtypes[precision] = objective._teach(batch).hidden[0].dtype
        shutil.rmtree(shelf.folder)
    assert dtypes == {"no": torch.float32, "bf16": torch.bfloat16}


def test_answers_in_another_precision_are_read_rather_than_asked_for_again_and_after_a_resume_too(
    context_of, task, shelf, asked
):
    objective_of(context_of(name="first")[0], "bf16")
    assert sum(asked) >= len(task.train)
    asked.clear()
    context, _ = context_of(name="second")
    objective_of(context, "no")
    assert asked == []
    shutil.rmtree(shelf.folder)
    resumed = objective_of(context, "no", step=3)
    assert sum(asked) >= len(task.train)
    batch = TrainBatch(task.train.batch([4, 39]), [4, 39])
    assert {layer.dtype for layer in resumed._cache.taught(batch).hidden} == {torch.bfloat16}


def test_a_step_that_is_timed_does_not_count_the_teacher_where_its_answers_will_be_read(context_of, task, asked):
    for passes, times in ((6.0, 1), (1.0, 3)):
        context, _ = context_of(passes=passes)
        objective = distillation(context, context.load_model(), context.config)
        batch = TrainBatch(task.train.batch(range(8)), range(8))
        for _ in range(3):
            objective(context.load_model(), batch)
        assert asked.count(8) == times
        asked.clear()


def test_a_stage_that_is_only_timed_writes_nothing_and_tells_the_seconds_of_the_pass_once(
    context_of, task, shelf, asked
):
    seconds = {}
    for name in ("one", "two"):
        own = Rehearsal(shelf.folder, shelf.identity, 6.0, seconds)
        context = dataclasses.replace(context_of(name=name)[0], teacher_shelf=lambda own=own: own)
        objective = objective_of(context)
        asked.clear()
        loss, _ = objective(context.load_model(), TrainBatch(task.train.batch([1, 2]), [1, 2]))
        assert torch.isfinite(loss)
        assert asked == []
        assert len(seconds) == 1
        assert all(spent > 0 for spent in seconds.values())
        seconds.update(dict.fromkeys(seconds, 7.0))
    assert list(seconds.values()) == [7.0]
    assert not shelf.folder.exists()
    assert not (context.work_dir / "teacher.json").exists()


def test_queries_and_the_like_have_a_place_of_their_own_and_leave_that_of_other_answers_as_it_was(context_of, shelf):
    objective_of(context_of(name="plain")[0])
    plain = shelf.place({"precision": "no", "hidden": True})
    assert set(shelf.folder.glob("*/*")) == {plain}
    for settings in ({}, {"relations": ["qk"]}, {"relations_layer": 0}):
        objective_of(context_of(name=repr(settings), relations_weight=1.0, **settings)[0])
    assert len(set(shelf.folder.glob("*/*"))) == 4
