import pytest
import torch

from pipeline import interruption
from pipeline.errors import CompressionError
from pipeline.interruption import Interrupted
from pipeline.surgery.keep_plan import KeepPlan, Kept
from pipeline.training.loop import task_objective, train
from pipeline.training.metrics_log import MetricsLog
from pipeline.training.stepper import Stepper


class CuttingPruner:
    """Masks channel 0 of the first layer after step 2 and lets it be cut out of the model."""

    def __init__(self, model):
        self.weight = model.bert.encoder.layer[0].output.dense.weight
        self.has_masked = self.is_cut = False

    def before_optimizer_step(self, step):
        pass

    def after_optimizer_step(self, step, lr):
        self.has_masked |= step >= 2
        if self.has_masked and not self.is_cut:
            self.weight.data[:, 0] = 0

    def take_cut(self):
        if self.is_cut or not self.has_masked:
            return None
        self.is_cut = True
        return KeepPlan({"encoder.0.channels": Kept(24, tuple(range(1, 24)))})

    def in_place(self):
        return KeepPlan({"encoder.0.channels": Kept(24, tuple(range(int(self.is_cut), 24)))})

    def finish(self):
        return self.in_place()

    def state_dict(self):
        return {"masked": torch.tensor(self.has_masked), "cut": torch.tensor(self.is_cut)}

    def load_state_dict(self, state):
        self.has_masked, self.is_cut = bool(state["masked"]), bool(state["cut"])

    def logs(self):
        return {}


@pytest.fixture
def run_cutting(fakes, tmp_path, monkeypatch):
    """Return a function that trains with ``CuttingPruner``, and what widths the steps began with."""

    def run(stop_after=None, name="cutting"):
        model, widths = fakes.tiny_bert(), []
        monkeypatch.setattr(interruption, "_requested", None)

        def objective(model, batch):
            widths.append(model.bert.encoder.layer[0].output.dense.in_features)
            if len(widths) == stop_after:
                monkeypatch.setattr(interruption, "_requested", 15)
            return task_objective(model, batch)

        train(
            model,
            task=fakes.Task(),
            config=fakes.settings(epochs=None, steps=6),
            objective=objective,
            pruner=CuttingPruner(model),
            seed=7,
            work_dir=tmp_path / name,
            log=MetricsLog(tmp_path / f"{name}.jsonl"),
        )
        return fakes.sha256(model), widths

    return run


@pytest.mark.parametrize("stop_after", [2, 3, 5])
def test_what_a_pruner_lets_go_for_good_leaves_the_model_before_the_next_step_and_stays_out_after_a_resume(
    run_cutting, stop_after
):
    whole, widths = run_cutting()
    assert widths == [24, 24, 24, 23, 23, 23]
    with pytest.raises(Interrupted):
        run_cutting(stop_after, name="again")
    again, left = run_cutting(name="again")
    assert again == whole
    assert left == widths[stop_after:]


def test_many_processes_keep_what_goes_masked_in_the_model(run_cutting, monkeypatch):
    step = Stepper._cut

    def cut(self, pruner):
        self.processes.count = 2
        step(self, pruner)
        self.processes.count = 1

    monkeypatch.setattr(Stepper, "_cut", cut)
    assert run_cutting()[1] == [24] * 6


def test_a_pruner_that_lets_go_what_is_not_masked_stops_the_training(run_cutting, monkeypatch):
    monkeypatch.setattr(CuttingPruner, "after_optimizer_step", lambda self, step, lr: setattr(self, "has_masked", True))
    with pytest.raises(CompressionError, match="does not compute what the masked model computes"):
        run_cutting()
