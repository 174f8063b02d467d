"""Every key that the old tools' schemas allow is known by name: translated, left out with a note, or refused."""

import json

import pytest

from pipeline.errors import RecipeError

BY_EPOCHS = {
    "initial_sparsity": 0.0, "target_sparsity": 0.9, "max_sparsity_ratio_per_layer": 0.98,
    "prune_type": "basic_magnitude", "start_epoch": 0, "end_epoch": 4, "start_step": 0, "end_step": 0,
    "update_frequency": 1.0, "update_frequency_on_step": 1, "excluded_names": [], "prune_domain": "global",
    "names": [], "extra_excluded_names": None, "prune_layer_type": None, "sparsity_decay_type": "exp",
    "pattern": "tile_pattern_1x1", "pruners": [], "method": "per_tensor", "parameters": {},
}  # fmt: skip
BESIDE_PRUNING = {
    "version": 1.0, "device": "cpu", "model": {"name": "bert", "framework": "pytorch", "inputs": [], "outputs": []},
    "evaluation": {"accuracy": {}}, "use_bf16": True, "optimization_level": 1, "quantization": {}, "distillation": {},
    "graph_optimization": {}, "mixed_precision": {}, "tuning": {
        "strategy": {"name": "basic"}, "accuracy_criterion": {"relative": 0.01}, "objective": "performance",
        "multi_objectives": {}, "exit_policy": {"timeout": 0}, "random_seed": 9, "tensorboard": False,
        "workspace": {"path": "x"}, "diagnosis": False,
    },
}  # fmt: skip
TRAIN = {
    "criterion": {"CrossEntropyLoss": {}}, "epoch": 1, "start_epoch": 0, "end_epoch": 4, "iteration": 3,
    "frequency": 1, "execution_mode": "eager", "postprocess": {}, "hostfile": "x",
    "dataloader": {"last_batch": "rollover", "batch_size": 4, "dataset": {}, "filter": {}, "transform": {},
                   "shuffle": False, "distributed": False},
    "optimizer": {"AdamW": {"learning_rate": 0.1, "weight_decay": 0.1, "beta_1": 0.9, "beta_2": 0.9, "epsilon": 1e-7,
                            "amsgrad": False}},
}  # fmt: skip
WEIGHTS = {
    "target_sparsity": 0.9, "pruning_type": "snip_momentum", "pattern": "4x1", "op_names": [],
    "excluded_op_names": [], "backend": None, "start_step": 0, "end_step": 0, "pruning_scope": "global",
    "pruning_frequency": 1, "min_sparsity_ratio_per_op": 0.0, "max_sparsity_ratio_per_op": 0.98,
    "sparsity_decay_type": "exp", "pruning_op_types": ["Conv", "Linear"], "low_memory_usage": False,
    "reg_type": None, "reg_coeff": None, "criterion_reduce_type": "mean", "criterion_type": "snip_momentum",
    "parameters": {"reg_coeff": 0.0}, "resume_from_pruned_checkpoint": False, "pruning_configs": [],
}  # fmt: skip
FLAGS = {
    "tb_log_dir": "x", "train_epochs": 1, "train_steps": 10, "summary_steps": 200, "save_checkpoint_steps": 1000,
    "checkpoints_max_to_keep": 8, "initial_global_step": 250000, "pretrain_model": "x",
    "pretrain_variable_pattern": "x", "update_cycle": 1, "clip_value": 5.0, "clip_norm": 5.0,
    "experimental_count_batch_num": True, "freeze_variables": "emb", "pruning_variable_pattern": "ffn",
    "nopruning_variable_pattern": "emb", "optimizer_controller": "x", "optimizer_controller_args": "x",
    "criterion.class": "x", "validator.class": "x", "optimizer.class": "Adam", "lr_schedule.class": "noam",
    "optimizer.params": {"epsilon": 1e-9}, "lr_schedule.params": {"initial_factor": 1.0, "end_factor": 1.0},
    "pruning_schedule.class": "PolynomialDecay", "keep_prune_property": True,
    "pruning_schedule.params": {
        "initial_sparsity": 0.0, "target_sparsity": 0.5, "begin_pruning_step": 0, "end_pruning_step": 5,
        "pruning_frequency": 100, "polynomial_power": 3,
    },
    "model_dir": "x", "hparams_set": "transformer_big", "config_paths": "a.yml,b.yml", "entry.class": "trainer",
    "save_checkpoints_steps": 400, "distribution_strategy": "mirrored", "dtype": "float16", "enable_fp16": True,
}  # fmt: skip


def epochs(settings, **beside):
    return {"pruning": {"approach": {"weight_compression": settings}}, **beside}


def one_by_one(base, keys, put):
    """Return a file for each key of ``keys``: ``base`` with it, ``put`` where it belongs."""
    return {key: put({**base, key: value}) for key, value in keys.items()}


SOME = {"target_sparsity": 0.9}
FILES = {
    "weight_compression": one_by_one(SOME, BY_EPOCHS, epochs),
    "beside pruning": one_by_one({}, BESIDE_PRUNING, lambda given: epochs(SOME, **given)),
    "pruning.train": one_by_one({}, TRAIN, lambda t: {"pruning": {"train": t, **epochs(SOME)["pruning"]}}),
    "WeightPruningConfig": one_by_one({"op_names": ["a"]}, WEIGHTS, lambda given: {"pruning": given}),
    "NeurST": one_by_one({"target_sparsity": 0.5, "end_pruning_step": 5}, FLAGS, dict),
}


@pytest.mark.parametrize("form", FILES)
def test_no_key_of_an_old_schema_is_unknown(converted, form):
    outcomes = {}
    for key, file in FILES[form].items():
        try:
            outcomes[key] = str(converted(json.dumps(file)))
        except RecipeError as error:
            outcomes[key] = str(error)
    assert {key: told for key, told in outcomes.items() if "unknown key" in told} == {}


@pytest.mark.parametrize("form", FILES)
def test_a_key_of_no_schema_is_refused_by_its_name(refused, form):
    file = json.loads(json.dumps(next(iter(FILES[form].values()))))
    place = file
    for key in {"weight_compression": ("pruning", "approach", "weight_compression"), "beside pruning": (), "NeurST": (),
                "pruning.train": ("pruning", "train"), "WeightPruningConfig": ("pruning",)}[form]:  # fmt: skip
        place = place[key]
    place["nonsense"] = 1
    assert any("nonsense: unknown key" in line for line in refused(json.dumps(file)))
