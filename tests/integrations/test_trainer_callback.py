import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.utils.data import SequentialSampler
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from pipeline import PruningCallback
from pipeline.errors import ArtifactError


class InOrder(Trainer):
    def _get_train_sampler(self, *arguments):
        return SequentialSampler(self.train_dataset)


class Killed(BaseException):
    """What a killed process leaves behind is what this does: nothing runs after it."""


class Killer(TrainerCallback):
    def __init__(self, step):
        self.step = step

    def on_pre_optimizer_step(self, args, state, control, **others):
        if state.global_step == self.step:
            raise Killed


@pytest.fixture
def rows(batches):
    return [{name: tensor[row] for name, tensor in batch.items()} for batch in batches for row in range(4)]


@pytest.fixture
def trainer(tmp_path, rows):
    """A function to a Trainer of eight steps that prunes, and saves after every third."""

    def build(model, pruner, *more, folder="run", kind=Trainer, resume_from=None, **changes):
        arguments = {
            "output_dir": str(tmp_path / folder),
            "max_steps": 8,
            "per_device_train_batch_size": 4,
            "learning_rate": 1e-2,
            "lr_scheduler_type": "linear",
            "max_grad_norm": 0.1,
            "save_steps": 3,
            "logging_steps": 50,
            "report_to": "none",
            "use_cpu": True,
            "disable_tqdm": True,
            "dataloader_pin_memory": False,
            **changes,
        }
        pruning = PruningCallback(pruner, resume_from=resume_from)
        return kind(model, TrainingArguments(**arguments), train_dataset=rows, callbacks=[pruning, *more]), pruning

    return build


def test_a_trainer_killed_within_a_step_goes_on_to_the_same_bits(model, build, trainer, assert_same):
    whole, stopped, resumed = model(), model(), model()
    pruners = build(whole), build(stopped), build(resumed)
    straight, pruning = trainer(whole, pruners[0])
    straight.train()
    killed, _ = trainer(stopped, pruners[1], Killer(4), folder="again")
    with pytest.raises(Killed):
        killed.train()
    again, goes_on = trainer(resumed, pruners[2], folder="again")
    again.train(resume_from_checkpoint=True)
    assert_same([(whole, resumed), (pruners[0], pruners[2])])
    assert goes_on.keep_plan == pruning.keep_plan
    state = pruners[2].state_dict()
    saved = load_file(Path(again.args.output_dir) / "checkpoint-6" / "pruner.safetensors")
    assert saved.keys() == state.keys()


def test_scores_are_of_gradients_before_clipping_and_steps_of_those_after(model, build, trainer, train, assert_same):
    by_hand, trained = model(dropout=0.0), model(dropout=0.0)
    pruners = build(by_hand), build(trained)
    train(by_hand, pruners[0], max_norm=0.1)
    run, _ = trainer(trained, pruners[1], kind=InOrder, lr_scheduler_type="constant", save_strategy="no")
    run.optimizer = torch.optim.AdamW(trained.parameters(), lr=1e-2)
    run.train()
    pruners[0].finish()
    assert_same([(by_hand, trained), pruners])
    assert run.args.max_grad_norm == 0.1


def test_a_checkpoint_keeps_the_arguments_as_they_were_given(model, sparsifier, trainer):
    own = model()
    run, _ = trainer(own, sparsifier(own))
    run.train()
    folder = Path(run.args.output_dir) / "checkpoint-3"
    assert torch.load(folder / "training_args.bin", weights_only=False).max_grad_norm == 0.1
    assert json.loads((folder / "trainer_state.json").read_text())["global_step"] == 3


def test_a_checkpoint_may_be_in_another_folder(model, sparsifier, trainer, assert_same, tmp_path):
    first, second = model(), model()
    pruners = sparsifier(first), sparsifier(second)
    trainer(first, pruners[0])[0].train()
    checkpoint = str(tmp_path / "run" / "checkpoint-6")
    run, _ = trainer(second, pruners[1], folder="elsewhere", resume_from=checkpoint)
    run.train(resume_from_checkpoint=checkpoint)
    assert_same([(first, second), pruners])


def test_a_checkpoint_without_its_pruner_is_refused(model, sparsifier, trainer, tmp_path):
    own = model()
    trainer(own, sparsifier(own))[0].train()
    path = tmp_path / "run" / "checkpoint-3" / "pruner.safetensors"
    later = (tmp_path / "run" / "checkpoint-6" / path.name).read_bytes()
    for content, told in (
        (later, "must be of step 3, where Trainer resumes, got step 6"),
        (b"torn", r"pruner\.safetensors: is damaged"),
        (None, r"pruner\.safetensors: is missing, so pruning cannot resume at step 3"),
    ):
        path.unlink() if content is None else path.write_bytes(content)
        other = model()
        run, _ = trainer(other, sparsifier(other))
        with pytest.raises(ArtifactError, match=told):
            run.train(resume_from_checkpoint=str(path.parent))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"max_steps": 20}, "num_steps: must be the 20 steps that Trainer takes, got 8"),
        ({"load_best_model_at_end": True}, "load_best_model_at_end: must be False: masks belong to the last weights"),
        ({"fsdp": "full_shard"}, "deepspeed, fsdp: must be off"),
    ],
)
def test_what_a_pruner_cannot_follow_is_refused_before_the_first_step(model, sparsifier, changes, told):
    own = model()
    arguments = TrainingArguments(output_dir="unused", report_to="none", use_cpu=True)
    for name, value in changes.items():
        setattr(arguments, name, value)
    state = TrainerState(max_steps=changes.get("max_steps", 8))
    with pytest.raises(ValueError, match=told):
        PruningCallback(sparsifier(own)).on_train_begin(arguments, state, TrainerControl())


def test_a_checkpoint_that_is_elsewhere_stops_no_training(model, sparsifier, tmp_path, caplog):
    arguments = TrainingArguments(output_dir=str(tmp_path / "search"), report_to="none", use_cpu=True)
    PruningCallback(sparsifier(model())).on_save(arguments, TrainerState(global_step=3), TrainerControl())
    assert "search/checkpoint-3: no such folder: this checkpoint is saved without its pruner" in caplog.text
    assert not (tmp_path / "search" / "checkpoint-3").exists()


def test_two_pruners_in_one_trainer_are_refused(model, sparsifier, trainer):
    own = model()
    run, _ = trainer(own, sparsifier(own), PruningCallback(sparsifier(own)))
    with pytest.raises(ValueError, match="callbacks: must hold one PruningCallback, got two"):
        run.train()


def test_accumulated_gradients_are_one_step(model, sparsifier, trainer):
    own = model()
    pruner = sparsifier(own)
    seen = []
    before = pruner.before_optimizer_step
    pruner.before_optimizer_step = lambda step: (seen.append(step), before(step))
    trainer(own, pruner, gradient_accumulation_steps=2, save_strategy="no")[0].train()
    assert seen == list(range(8))


def test_an_overflow_reaches_no_score(model, sparsifier):
    own = model()
    pruner = sparsifier(own, criterion="snip_momentum")
    callback = PruningCallback(pruner)
    for parameter in own.parameters():
        parameter.grad = torch.full_like(parameter, float("inf"))
    optimizer = torch.optim.AdamW(own.parameters())
    optimizer.scaler = torch.amp.GradScaler("cpu")
    arguments = TrainingArguments(output_dir="unused", report_to="none", use_cpu=True)
    callback.on_pre_optimizer_step(arguments, TrainerState(global_step=3), None, model=own, optimizer=optimizer)
    assert all(bool((parameter.grad == 0).all()) for parameter in own.parameters())
    assert all(
        bool(torch.isfinite(tensor).all()) for tensor in pruner.state_dict().values() if tensor.is_floating_point()
    )
