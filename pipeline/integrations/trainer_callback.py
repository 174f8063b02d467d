"""A pruner inside ``transformers.Trainer``, its state beside Trainer's checkpoints."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from pipeline.errors import ArtifactError
from pipeline.integrations.counted import drop_overflow, learning_rate
from pipeline.surgery.keep_plan import KeepPlan
from pipeline.training.pruner import Pruner

logger = logging.getLogger(__name__)

STATE = "pruner.safetensors"
CHECKPOINT = "checkpoint-{}"
MARK = "_pruning_callback"
"""What a training's state, which Trainer makes anew for each, knows its callback by."""


class PruningCallback(TrainerCallback):  # type: ignore[misc]
    """Prunes while a ``Trainer`` trains: ``Trainer(model, arguments, callbacks=[PruningCallback(pruner)], …)``.

    Trainer calls its callbacks when gradients are clipped already, which would change the scores: so this one clips
    them, to ``max_grad_norm`` of the arguments, after the pruner has read them. The pruner's state goes into every
    checkpoint; a training that resumes from one goes on with the same masks, scores and momentum. At the end of
    training ``keep_plan`` says which units stay, None for a pruner of single weights.
    """

    def __init__(self, pruner: Pruner, *, resume_from: str | Path | None = None) -> None:
        """Prune with ``pruner``, built for Trainer's model.

        ``resume_from`` is the checkpoint that ``train(resume_from_checkpoint=…)`` is given, where it is in another
        folder than the arguments' ``output_dir``: Trainer does not tell its callbacks.
        """
        self.pruner = pruner
        self.keep_plan: KeepPlan | None = None
        self._resume_from = None if resume_from is None else Path(resume_from)
        self._max_grad_norm: float | None = None
        self._lr = 0.0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any
    ) -> None:
        """Check that Trainer does nothing that a pruner cannot follow, and restore the state of a checkpoint."""
        self._give_clipping_back(args)
        self._check(args, state)
        if state.global_step > 0:
            self._restore(args, state)

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any
    ) -> None:
        """Keep Trainer from clipping in this step; its arguments are as before when it saves them."""
        self._max_grad_norm, args.max_grad_norm = args.max_grad_norm, 0.0

    def on_pre_optimizer_step(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        *,
        model: nn.Module,
        optimizer: Any,
        **others: Any,
    ) -> None:
        """Let the pruner read the gradients, reduced and unscaled, then clip them."""
        parameters = list(model.parameters())
        if getattr(optimizer, "scaler", None) is not None:
            drop_overflow(parameters)
        self._lr = learning_rate(optimizer, self.pruner)
        self.pruner.before_optimizer_step(state.global_step)
        if self._max_grad_norm:
            nn.utils.clip_grad_norm_(parameters, self._max_grad_norm)

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any
    ) -> None:
        """Let the pruner mask the new weights."""
        self.pruner.after_optimizer_step(state.global_step, self._lr)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any) -> None:
        """Give Trainer its arguments back."""
        self._give_clipping_back(args)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any) -> None:
        """Write the pruner's state into the checkpoint that was just saved, whole or not at all."""
        if not args.should_save:
            return
        target = Path(args.output_dir) / CHECKPOINT.format(state.global_step) / STATE
        if not target.parent.is_dir():
            # Trainer's search over hyperparameters has a folder for each trial, and tells its callbacks of none.
            logger.warning("%s: no such folder: this checkpoint is saved without its pruner", target.parent)
            return
        unfinished = target.with_name(f".new.{STATE}")
        tensors = {name: tensor.contiguous() for name, tensor in self.pruner.state_dict().items()}
        save_file(tensors, unfinished, metadata={"step": str(state.global_step)})
        os.replace(unfinished, target)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any
    ) -> None:
        """Let the pruner decide for good."""
        self.keep_plan = self.pruner.finish()

    def _give_clipping_back(self, args: TrainingArguments) -> None:
        """Restore ``max_grad_norm``, also after a training that was stopped within a step."""
        if self._max_grad_norm is not None:
            args.max_grad_norm, self._max_grad_norm = self._max_grad_norm, None

    def _check(self, args: TrainingArguments, state: TrainerState) -> None:
        if getattr(state, MARK, self) is not self:
            raise ValueError("callbacks: must hold one PruningCallback, got two; prune with one after the other")
        setattr(state, MARK, self)
        if args.load_best_model_at_end:
            raise ValueError("load_best_model_at_end: must be False: masks belong to the last weights, got True")
        if args.deepspeed or args.fsdp:
            raise ValueError("deepspeed, fsdp: must be off: a pruner reads whole weights and gradients")
        num_steps = getattr(self.pruner, "num_steps", None)
        if num_steps is not None and num_steps != state.max_steps:
            raise ValueError(f"num_steps: must be the {state.max_steps} steps that Trainer takes, got {num_steps}")

    def _restore(self, args: TrainingArguments, state: TrainerState) -> None:
        """Load the pruner's state of the checkpoint that Trainer goes on from; ``ArtifactError`` if it has none."""
        given = args.resume_from_checkpoint if isinstance(args.resume_from_checkpoint, str) else None
        folders = [Path(args.output_dir) / CHECKPOINT.format(state.global_step)]
        folders = [*(Path(folder) for folder in (self._resume_from, given) if folder is not None), *folders]
        found = next((folder / STATE for folder in folders if (folder / STATE).is_file()), None)
        if found is None:
            raise ArtifactError(
                f"{folders[0] / STATE}: is missing, so pruning cannot resume at step {state.global_step}; resume from "
                "an earlier checkpoint, or say where it is: PruningCallback(pruner, resume_from=…)"
            )
        try:
            with safe_open(found, framework="pt") as opened:
                step = (opened.metadata() or {}).get("step")
                tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - no mapping
        except SafetensorError as error:
            raise ArtifactError(f"{found}: is damaged ({error}); resume from an earlier checkpoint") from error
        if step != str(state.global_step):
            raise ArtifactError(f"{found}: must be of step {state.global_step}, where Trainer resumes, got step {step}")
        self.pruner.load_state_dict(tensors)
