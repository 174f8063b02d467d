"""NeurST: the flags of its trainer, on a command line or in YAML with ``.class`` and ``.params``."""

from __future__ import annotations

import math
import re
from typing import Any

from pipeline.convert.domain import Domain, Length, Translated
from pipeline.convert.layer_names import checked, of_variables
from pipeline.convert.section import Section

TOOL = "NeurST"
OWN_KEYS = (
    "pruning_schedule",
    "pruning_schedule.class",
    "pruning_variable_pattern",
    "nopruning_variable_pattern",
    "begin_pruning_step",
    "end_pruning_step",
    "initial_global_step",
    "entry.class",
    "train_steps",
    "keep_prune_property",
)
"""Keys by which NeurST's flags are told from other files."""
SCHEDULES = {
    "polynomial_decay": "polynomial",
    "PolynomialDecay": "polynomial",
    "constant_sparsity": "constant",
    "ConstantSparsity": "constant",
}
ALIASES = {
    "final_sparsity": "target_sparsity",
    "begin_step": "begin_pruning_step",
    "end_step": "end_pruning_step",
    "frequency": "pruning_frequency",
    "power": "polynomial_power",
}
"""What TensorFlow Model Optimization, whose schedules NeurST has, calls the same settings."""
LEFT_OUT = {
    "the recipe's model is a hub id or a folder": (
        "pretrain_model",
        "pretrain_variable_pattern",
        "model",
        "hparams_set",
    ),
    "a run folder holds what pruneline writes": (
        "model_dir",
        "tb_log_dir",
        "save_checkpoint_steps",
        "save_checkpoints_steps",
        "checkpoints_max_to_keep",
    ),
    "the model's own loss is the one trained on": ("criterion",),
    "the recipe's task says what is trained on and how it is scored": ("task", "dataset", "validator"),
    "the recipe is the one file that counts": ("config_paths", "include"),
    "the rows are counted in any case": ("experimental_count_batch_num",),
    "processes are started with accelerate launch": ("distribution_strategy", "worker_hosts", "hvd_backend"),
    "say mixed_precision in training": ("dtype", "enable_fp16", "enable_xla"),
}
MATRICES = ("Linear", "Conv1d", "Conv2d", "Conv1D", "LSTM", "GRU", "MultiheadAttention")
EMBEDDINGS = ("embed", "shared", "lm_head")
MODALITY = re.compile("modal|emb")
"""NeurST's names of the embedding and of the output projection that shares its weights."""


def translate(root: Section) -> Translated:
    """Return what NeurST's flags say; mistakes and notes go to the section's ledger."""
    flags = _flat(root)
    training = {**_training(flags), **_learning_rate(flags)}
    length = _length(flags)
    schedule, settings = _sparsity(flags)
    layers = _layers(flags)
    _put_aside(flags)
    flags.close()
    if length == Length() and schedule.get("end"):
        length = Length(steps=schedule["end"]) if isinstance(schedule["end"], int) else Length()
        flags.ledger.note(f"{root.origin.short()}: the flags do not say how long to train; raise steps of the stage")
    domain = Domain({**settings, "schedule": schedule} if schedule else settings, layers)
    return Translated(TOOL, (domain,), length, training)


def _flat(root: Section) -> Section:
    """Return all flags as one section: those of the entry and of the pruning schedule as if they stood at the top."""
    entry = root.inner("entry.params")
    flags = root.without("entry.params") if entry is None else entry.over(root.without("entry.params"))
    schedule = flags.inner("pruning_schedule.params")
    flags = flags.without("pruning_schedule.params")
    flags = flags if schedule is None else schedule.over(flags)
    return flags.renamed({**ALIASES, "pruning_schedule.class": "pruning_schedule"})


def _sparsity(flags: Section) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the schedule and the other settings: magnitude, weight by weight, in every layer the same share."""
    kind = flags.choice("pruning_schedule", SCHEDULES, "polynomial")
    target = flags.number("target_sparsity", 0.0, high=1.0)
    initial = flags.number("initial_sparsity", 0.0, high=1.0)
    power = flags.number("polynomial_power", 3.0)
    every = flags.integer("pruning_frequency", 100, low=1)
    begin, end = flags.integer("begin_pruning_step", 0), flags.integer("end_pruning_step", -1, low=-1)
    settings: dict[str, Any] = {"criterion": "magnitude", "pattern": "1x1", "scope": "local"}
    keeps = flags.flag("keep_prune_property")
    if target == 0:
        if not keeps:
            flags.mistake(
                "target_sparsity", "must be above 0, or nothing is pruned; keep_prune_property keeps the zeros"
            )
        return {}, {**settings, "pattern_lock": True}
    if keeps:
        flags.note("keep_prune_property", "left out: the zeros there are have the least magnitude and go first")
    settings |= {"sparsity": target, "initial_sparsity": initial, "max_sparsity_per_layer": 1.0}
    if kind == "constant":
        return {"kind": kind, "begin": begin, "end": end if end >= 0 else 1.0, "every": every}, settings
    if end < begin:
        flags.mistake("end_pruning_step", f"must be at least begin_pruning_step ({begin}), got {end}")
        end = begin
    return {"kind": kind, "power": power, "begin": begin, "end": end, "every": every}, settings


def _length(flags: Section) -> Length:
    epochs = flags.integer("train_epochs", 0)
    steps = flags.integer("train_steps", 0)
    if epochs:
        if steps:
            flags.note("train_steps", "left out: train_epochs wins")
        return Length(epochs=float(epochs))
    return Length(steps=steps) if steps else Length()


def _training(flags: Section) -> dict[str, Any]:
    found: dict[str, Any] = {"max_grad_norm": None}
    if flags.number("clip_norm", 0.0):
        found["max_grad_norm"] = flags.number("clip_norm", 0.0)
    flags.refuse("clip_value", "must be taken out: gradients are clipped by norm here, say clip_norm")
    if "update_cycle" in flags:
        found["gradient_accumulation"] = flags.integer("update_cycle", 1, low=1)
    if "summary_steps" in flags:
        found["log_every"] = flags.integer("summary_steps", 200, low=1)
    if "freeze_variables" in flags:
        found["freeze"] = _names(flags, "freeze_variables")
    return {**found, **_optimizer(flags)}


def _optimizer(flags: Section) -> dict[str, Any]:
    adam = dict.fromkeys(("adam", "Adam", "adamw", "AdamW", "AdamWeightDecay", "lazy_adam", "LazyAdam"), "adamw")
    for name in ("optimizer", "optimizer.class"):
        flags.choice(name, adam, "adamw")
    params = flags.inner("optimizer.params")
    if params is None:
        return {}
    found: dict[str, Any] = {}
    if "epsilon" in params:
        found["epsilon"] = params.number("epsilon", 1e-8)
    if "beta_1" in params or "beta_2" in params:
        found["betas"] = [params.number("beta_1", 0.9, high=1.0), params.number("beta_2", 0.999, high=1.0)]
    if "weight_decay_rate" in params:
        found["weight_decay"] = params.number("weight_decay_rate", 0.0)
    params.leave_out("learning_rate", "lr_schedule says it")
    params.close()
    return found


def _learning_rate(flags: Section) -> dict[str, Any]:
    """Return the rate of the noam schedule, which falls with the root of the step.

    Begun in its middle by ``initial_global_step`` it hardly moves any more, and is constant here.
    """
    begun = flags.integer("initial_global_step", 0)
    for name in ("lr_schedule", "lr_schedule.class"):
        flags.choice(name, {"noam": "noam", "Noam": "noam", "NoamSchedule": "noam"}, "noam")
    params = flags.inner("lr_schedule.params")
    if params is None:
        if begun:
            told = "left out: it is where the learning rate's schedule begins, which is not given; say learning_rate"
            flags.note("initial_global_step", told)
        return {}
    warmup = params.integer("warmup_steps", 4000, low=1)
    scale = params.number("initial_factor", 1.0) / math.sqrt(params.integer("dmodel", 512, low=1))
    for name in ("end_factor", "start_decay_at", "decay_steps"):
        params.refuse(name, "must be taken out: the factor of the learning rate does not change here")
    params.close()
    if begun < warmup:
        if begun:
            flags.note("initial_global_step", "left out: the warm-up begins at its beginning here")
        return {"learning_rate": _rounded(scale / math.sqrt(warmup)), "schedule": "inverse_sqrt", "warmup": warmup}
    flags.note("initial_global_step", f"the learning rate is that of step {begun} and stays there")
    return {"learning_rate": _rounded(scale / math.sqrt(begun)), "schedule": "constant"}


def _layers(flags: Section) -> dict[str, Any]:
    """Return which layers are pruned; with ``pruning_variable_pattern`` the other pattern has no effect."""
    included, excluded = "pruning_variable_pattern", "nopruning_variable_pattern"
    if included in flags:
        flags.leave_out(excluded, f"{included} wins")
        names = _names(flags, included)
        found_there = bool(MODALITY.search(flags.text(included)))
        return {"types": [*MATRICES, *(["Embedding"] if found_there else [])], "include": names, "exclude": []}
    names = _names(flags, excluded) if excluded in flags else []
    spared = excluded in flags and bool(MODALITY.search(flags.text(excluded)))
    return {"types": [*MATRICES, *([] if spared else ["Embedding"])], "include": [], "exclude": names}


def _names(flags: Section, key: str) -> list[str]:
    """Return a pattern of TensorFlow's variables as expressions for layers, the embedding by the names it has here."""
    pattern = flags.text(key)
    try:
        parts = of_variables(checked(pattern))
    except ValueError as error:
        flags.mistake(key, str(error))
        return []
    names: dict[str, None] = {}
    for part in parts:
        names.update(dict.fromkeys(EMBEDDINGS if MODALITY.search(part) else (part,)))
    told = ", ".join(names) or "nothing"
    flags.note(key, f"names TensorFlow's variables; read as {told}; look at the layers in `pruneline plan --numbers`")
    return list(names)


def _put_aside(flags: Section) -> None:
    for why, names in LEFT_OUT.items():
        for name in names:
            for key in (name, f"{name}.class", f"{name}.params"):
                flags.leave_out(key, why)
    for name in ("entry", "entry.class"):
        if flags.text(name, "trainer") not in ("trainer", "Trainer"):
            flags.mistake(name, f"must be trainer: training alone is converted, got {flags.text(name)!r}")
    for name in ("optimizer_controller", "optimizer_controller_args"):
        flags.refuse(name, "must be taken out: the optimizer is AdamW here")
    for name in ("partial_tuning", "mask_dir", "mask_pkl"):
        flags.refuse(
            name, "must be taken out: say keep_prune_property, which keeps a checkpoint's zeros", unless=(False,)
        )


def _rounded(number: float) -> float:
    return float(f"{number:.6g}")
