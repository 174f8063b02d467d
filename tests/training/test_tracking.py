from typing import ClassVar

import pytest

from pipeline.errors import RecipeError
from pipeline.recipe.training import TrainingConfig
from pipeline.recipe.values import display_fields
from pipeline.training import tracking
from pipeline.training.metrics_log import MetricsLog
from pipeline.training.tracking import TrackedLog, stage_log


class FakeTracker:
    """Keeps what it is sent."""

    made: ClassVar[list] = []

    def __init__(self, *arguments, **options):
        self.arguments, self.options, self.sent, self.is_open = arguments, options, [], False
        FakeTracker.made.append(self)

    def start(self):
        self.is_open = True

    def log(self, values, step):
        assert self.is_open
        self.sent.append((step, values))

    def finish(self):
        self.is_open = False


@pytest.fixture
def made(monkeypatch):
    monkeypatch.setattr(FakeTracker, "made", [])
    monkeypatch.setattr(tracking, "find_spec", lambda name: object())
    for name in ("TensorBoardTracker", "WandBTracker", "MLflowTracker"):
        monkeypatch.setattr(f"accelerate.tracking.{name}", FakeTracker)
    return FakeTracker.made


def log_of(folder, choice, **options):
    config = TrainingConfig(tracking=choice)
    return stage_log(config, folder / "metrics.jsonl", run_dir=folder / "mine", stage="cut", writes=True, **options)


@pytest.mark.parametrize("choice", ["tensorboard", "wandb", "mlflow"])
def test_the_numbers_of_every_line_are_sent_and_the_tracker_is_finished(tmp_path, made, choice):
    (tmp_path / "mine").mkdir()
    with log_of(tmp_path, choice) as log:
        log(1, loss=0.5, name="x", rounds=2)
        log(2, loss=0.25)
        assert made[0].is_open
    assert made[0].sent == [(1, {"loss": 0.5, "rounds": 2}), (2, {"loss": 0.25})]
    assert not made[0].is_open
    assert log.lines() == [{"step": 1, "loss": 0.5, "name": "x", "rounds": 2}, {"step": 2, "loss": 0.25}]
    named = {"tensorboard": ("cut", tmp_path / "mine" / "tracking"), "wandb": ("mine",), "mlflow": ("mine",)}
    assert made[0].arguments == named[choice]


def test_the_tracker_is_finished_when_the_stage_fails(tmp_path, made):
    def fail():
        with log_of(tmp_path, "mlflow") as log:
            log(1, loss=0.5)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not made[0].is_open


def test_nothing_is_opened_before_the_first_line_nor_by_a_process_that_does_not_write(tmp_path, made):
    with log_of(tmp_path, "mlflow"):
        pass
    log = TrackedLog(tmp_path / "log", tracking="mlflow", run_dir=tmp_path, stage="cut", writes=False)
    log(1, loss=0.5)
    log.close()
    assert made == []


def test_without_tracking_the_log_is_a_plain_one(tmp_path, made):
    with log_of(tmp_path, None) as log:
        log(1, loss=0.5)
    assert type(log) is MetricsLog
    assert made == []


def test_a_tracker_that_is_not_installed_is_named_with_the_way_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)
    with (
        pytest.raises(RecipeError, match=r"^training.tracking: wandb is not installed; .* pip install wandb"),
        log_of(tmp_path, "wandb"),
    ):
        pass


def test_tracking_changes_no_fingerprint():
    assert "tracking" in display_fields(TrainingConfig)


def test_tensorboards_file_holds_each_number_at_its_step_also_after_a_resume(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def scalars():
        found = EventAccumulator(str(tmp_path / "mine" / "tracking" / "cut"))
        found.Reload()
        return {tag: [(event.step, event.value) for event in found.Scalars(tag)] for tag in found.Tags()["scalars"]}

    with log_of(tmp_path, "tensorboard") as log:
        for step in (1, 2, 3):
            log(step, loss=1.0 / step)
    assert scalars() == {"loss": [(1, 1.0), (2, 0.5), (3, pytest.approx(1 / 3))]}
    with log_of(tmp_path, "tensorboard") as log:
        log.truncate(1)
        for step in (2, 3):
            log(step, loss=8.0)
    assert scalars() == {"loss": [(1, 1.0), (2, 8.0), (3, 8.0)]}
    with log_of(tmp_path, "tensorboard") as log:
        log.truncate(0)
        log(10, loss=4.0)
    assert scalars() == {"loss": [(10, 4.0)]}
