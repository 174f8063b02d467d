"""What stands around the pruning in one of Intel's files: the model, the training, and the tool's other trades."""

from __future__ import annotations

from typing import Any

from pipeline.convert.domain import Length
from pipeline.convert.section import Section
from pipeline.recipe.mistakes import shown

FRAMEWORKS = ("pytorch", "pytorch_fx", "pytorch_ipex", "NA")
LEFT_OUT = {
    "version": "it is the version of the tool's own format",
    "device": "the device is the one that is there",
    "evaluation": "the recipe's task says how a model is scored",
    "use_bf16": "say mixed_precision in training",
    "optimization_level": "it is about the tool's graphs",
}
OTHER_TRADES = ("quantization", "graph_optimization", "mixed_precision", "auto_distillation", "nas")
OPTIMIZERS = ("AdamW", "Adam")


def read_head(root: Section) -> int | None:
    """Read all but ``pruning`` and return the seed, if there is one."""
    model = root.inner("model")
    if model is not None:
        framework = model.text("framework", "pytorch")
        if framework not in FRAMEWORKS:
            model.mistake("framework", f"must be one of {', '.join(FRAMEWORKS)}, got {shown(framework)}")
        for name in ("name", "inputs", "outputs"):
            model.leave_out(name, "the recipe's model is a hub id or a folder")
        model.close()
    for name, why in LEFT_OUT.items():
        if name in root:
            root.leave_out(name, why) if name != "version" else root.take(name)
    for name in OTHER_TRADES:
        root.refuse(name, "must be taken out: pruning alone is converted")
    root.refuse("distillation", "must be taken out: say distill in the stage sparsify")
    tuning = root.inner("tuning")
    if tuning is None:
        return None
    seed = tuning.integer("random_seed", -1, low=0) if "random_seed" in tuning else None
    for name in ("strategy", "accuracy_criterion", "objective", "multi_objectives", "exit_policy", "diagnosis"):
        tuning.leave_out(name, "it is about quantization")
    for name in ("tensorboard", "workspace"):
        tuning.leave_out(name, "a run folder holds what pruneline writes")
    tuning.close()
    return seed


def read_train(train: Section | None) -> tuple[Length, dict[str, Any]]:
    """Return how long ``pruning.train`` trains, and with what."""
    if train is None:
        return Length(), {}
    begin = train.integer("start_epoch", 0)
    epochs = train.integer("end_epoch", 0) or train.integer("epoch", 0)
    length = Length(epochs=float(epochs - begin)) if epochs > begin else Length()
    train.take("epoch")
    train.refuse("iteration", "must be taken out: an epoch here is the whole split; say task.train_rows for less")
    train.refuse("frequency", "must be taken out: say update_frequency of the pruners")
    train.leave_out("hostfile", "processes are started with accelerate launch")
    train.leave_out("criterion", "the model's own loss is the one trained on")
    for name in ("execution_mode", "postprocess"):
        train.leave_out(name, "it is about TensorFlow")
    settings = {**_batches(train.inner("dataloader")), **_optimizer(train.inner("optimizer"))}
    train.close()
    return length, settings


def _batches(loader: Section | None) -> dict[str, Any]:
    if loader is None:
        return {}
    found = {"batch_size": loader.integer("batch_size", 1, low=1)} if "batch_size" in loader else {}
    for name in [name for name in loader if name != "batch_size"]:
        loader.leave_out(name, "the recipe's task says what is trained on")
    return found


def _optimizer(optimizer: Section | None) -> dict[str, Any]:
    """Return the settings of Adam; every other optimizer is refused, for training here is with AdamW."""
    found: dict[str, Any] = {}
    for name in list(optimizer or ()):
        assert optimizer is not None, "an empty section has no keys"
        if name not in OPTIMIZERS:
            optimizer.refuse(name, f"must be {' or '.join(OPTIMIZERS)}: training here is with AdamW")
            continue
        chosen = optimizer.inner(name)
        if chosen is None:
            continue
        for setting in ("learning_rate", "weight_decay", "epsilon"):
            if setting in chosen:
                found[setting] = chosen.number(setting, 0.0)
        if "beta_1" in chosen or "beta_2" in chosen:
            found["betas"] = [chosen.number("beta_1", 0.9, high=1.0), chosen.number("beta_2", 0.999, high=1.0)]
        chosen.refuse("amsgrad", "must be false: training here is with plain AdamW", unless=(False,))
        chosen.close()
    return found
