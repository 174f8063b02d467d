import pytest

YAML = """\
model_dir: ./somewhere
entry.class: trainer
entry.params:
  initial_global_step: 250000
  train_steps: 10000
  summary_steps: 200
  update_cycle: 2
  clip_norm: 5.0
  optimizer.class: adam
  optimizer.params: {epsilon: 1.e-9, beta_1: 0.9, beta_2: 0.98}
  lr_schedule.class: noam
  lr_schedule.params: {initial_factor: 2.0, dmodel: 1024, warmup_steps: 4000}
  pruning_schedule.class: PolynomialDecay
  pruning_schedule.params:
    {initial_sparsity: 0.1, final_sparsity: 0.5, begin_step: 5, end_step: 5000, frequency: 50, power: 2}
  nopruning_variable_pattern: (ln/gamma)|(ln/beta)|(modalit)|encoder/layer_0
"""
FLAGS = """\
# weights to zero
python3 -m neurst.cli.run_exp \\
    --model_dir=pruned/ \\
    --initial_global_step 250000 --train_steps 10000 \\
    --pruning_schedule polynomial_decay \\
    --initial_sparsity 0 \\
    --target_sparsity 0.1 \\
    --begin_pruning_step 0 \\
    --end_pruning_step 500 \\
    --nopruning_variable_pattern (ln/gamma)|(ln/beta)|(modalit)
"""
MATRICES = ["Linear", "Conv1d", "Conv2d", "Conv1D", "LSTM", "GRU", "MultiheadAttention"]


def test_settings_of_the_trainer_and_of_its_schedule_are_translated(converted):
    recipe, notes = converted(YAML)
    assert recipe["training"] == {
        "max_grad_norm": 5.0,
        "gradient_accumulation": 2,
        "log_every": 200,
        "epsilon": 1e-9,
        "betas": [0.9, 0.98],
        "learning_rate": 0.000125,
        "schedule": "constant",
    }
    assert recipe["stages"] == [
        {
            "uses": "sparsify",
            "steps": 10000,
            "criterion": "magnitude",
            "pattern": "1x1",
            "scope": "local",
            "sparsity": 0.5,
            "initial_sparsity": 0.1,
            "max_sparsity_per_layer": 1.0,
            "schedule": {"kind": "polynomial", "power": 2.0, "begin": 5, "end": 5000, "every": 50},
            "layers": {
                "types": MATRICES,
                "include": [],
                "exclude": ["embed", "shared", "lm_head", r"encoder\.layer_0"],
            },
        }
    ]
    assert any("initial_global_step: the learning rate is that of step 250000" in note for note in notes)


def test_a_command_with_its_flags_is_read_as_it_was_typed(converted):
    recipe, notes = converted(FLAGS, name="prune.sh")
    (stage,) = recipe["stages"]
    assert (recipe["name"], stage["steps"], stage["sparsity"]) == ("prune", 10000, 0.1)
    assert stage["schedule"] == {"kind": "polynomial", "power": 3.0, "begin": 0, "end": 500, "every": 100}
    assert stage["layers"]["exclude"] == ["embed", "shared", "lm_head"]
    assert "prune.sh:3: model_dir: left out: a run folder holds what pruneline writes" in notes


def test_without_a_start_in_the_middle_the_learning_rate_is_warmed_up(converted):
    recipe, _ = converted(YAML.replace("  initial_global_step: 250000\n", ""))
    found = recipe["training"]
    assert (found["schedule"], found["warmup"], found["learning_rate"]) == ("inverse_sqrt", 4000, 0.000988212)


def test_a_constant_share_goes_on_to_the_end(stage):
    found = stage(YAML.replace("PolynomialDecay", "constant_sparsity").replace("end_step: 5000, ", ""))
    assert found["schedule"] == {"kind": "constant", "begin": 5, "end": 1.0, "every": 50}


def test_a_pattern_of_what_is_pruned_wins_and_takes_in_embeddings_that_it_names(stage):
    found = stage(f"{YAML}  pruning_variable_pattern: ffn/conv1|modality\n")
    assert found["layers"] == {
        "types": [*MATRICES, "Embedding"],
        "include": [r"ffn\.conv1", "embed", "shared", "lm_head"],
        "exclude": [],
    }


def test_without_patterns_all_is_pruned_embeddings_too(stage):
    found = stage("{train_steps: 10, target_sparsity: 0.5, end_pruning_step: 5}")
    assert found["layers"] == {"types": [*MATRICES, "Embedding"], "include": [], "exclude": []}


def test_kept_zeros_without_a_target_are_a_locked_pattern(stage):
    found = stage("{train_steps: 10, keep_prune_property: true, nopruning_variable_pattern: modality}")
    assert (found["pattern_lock"], "schedule" in found) == (True, False)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("clip_norm", "clip_value", "entry.params.clip_value: must be taken out: gradients are clipped by norm here"),
        ("adam", "sgd", "entry.params.optimizer.class: must be one of adam"),
        ("noam", "piecewise", "entry.params.lr_schedule.class: must be one of noam"),
        ("PolynomialDecay", "Cosine", "entry.params.pruning_schedule.class: must be one of polynomial_decay"),
        ("end_step: 5000, ", "", "end_pruning_step: must be at least begin_pruning_step (5), got -1"),
        ("final_sparsity: 0.5", "final_sparsity: 0.0", "final_sparsity: must be above 0, or nothing is pruned"),
        ("train_steps: 10000", "trian_steps: 10000", "trian_steps: unknown key (did you mean 'train_steps'?)"),
        ("frequency: 50", "frequency: 50, pruning_frequency: 3", "pruning_frequency: says the same as"),
        ("update_cycle: 2", "partial_tuning: true", "partial_tuning: must be taken out: say keep_prune_property"),
        ("trainer", "evaluation", "entry.class: must be trainer"),
    ],
)
def test_what_has_no_counterpart_is_refused_by_name(refused, old, new, told):
    (line,) = refused(YAML.replace(old, new, 1))
    assert told in line
