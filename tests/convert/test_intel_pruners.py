import pytest

STEPS = """\
version: 1.0
model: {{name: bert, framework: pytorch}}
pruning:
  approach:
    weight_compression_pytorch:
      start_step: 10
      end_step: 1000
      excluded_names: [classifier, ".*embeddings.*"]
      prune_layer_type: [Linear]
      target_sparsity: 0.9
      update_frequency_on_step: 500
      prune_domain: global
      sparsity_decay_type: exp
      pruners:
        - !Pruner
            prune_type: snip_momentum
            pattern: {pattern}
        - !Pruner
            names: [query]
            target_sparsity: 0.25
            pattern: "tile_pattern_1:4"
            start_step: 7
            end_step: 7
"""
EPOCHS = """\
version: 1.0
model: {name: net, framework: pytorch}
tuning: {random_seed: 9527}
pruning:
  train:
    start_epoch: 0
    end_epoch: 10
    dataloader: {batch_size: 256, dataset: {ImageFolder: {root: /x}}}
    criterion: {CrossEntropyLoss: {reduction: None}}
    optimizer: {AdamW: {learning_rate: 0.0001, weight_decay: 0.01}}
  approach:
    weight_compression:
      initial_sparsity: 0.1
      target_sparsity: 0.3
      pruners:
        - !Pruner
            start_epoch: 1
            end_epoch: 5
            target_sparsity: 0.97
            prune_type: basic_magnitude
            update_frequency: 0.1
            names: ['layer1.0.conv1.weight']
evaluation: {accuracy: {metric: {topk: 1}}}
"""


def test_pruners_that_count_steps_become_a_stage_and_its_groups(converted):
    recipe, notes = converted(STEPS.format(pattern="ic_pattern_4x1"))
    assert recipe["stages"] == [
        {
            "uses": "sparsify",
            "steps": 1000,
            "criterion": "snip_momentum",
            "sparsity": 0.9,
            "initial_sparsity": 0.0,
            "pattern": "4x1",
            "scope": "global",
            "schedule": {"kind": "exp", "begin": 10, "end": 1000, "every": 500},
            "max_sparsity_per_layer": 0.98,
            "min_sparsity_per_layer": 0.0,
            "layers": {"types": ["Linear"], "include": [], "exclude": ["classifier", ".*embeddings.*"]},
            "groups": [
                {
                    "types": ["Linear"],
                    "include": ["^(?!.*(?:(?:classifier)|(?:.*embeddings.*))).*(?:query)"],
                    "exclude": [],
                    "sparsity": 0.25,
                    "pattern": "3:4",
                    "schedule": {"kind": "exp", "begin": 7, "end": 7, "every": 500},
                }
            ],
        }
    ]
    assert any(note.startswith("old.yaml:2: model.name: left out") for note in notes)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("1:4", "3:4"),
        ("3:4", "1:4"),
        ("2:4", "2:4"),
        ("5:8", "3:8"),
        ("tile_pattern_16x1", "16x1"),
        ("channelx1", "channelx1"),
        ("1xchannel", "1xchannel"),
    ],
)
def test_a_pattern_counts_the_kept_where_intels_counts_the_pruned(stage, theirs, ours):
    text = STEPS.replace("target_sparsity: 0.9", "target_sparsity: 0.2").format(pattern=f'"{theirs}"')
    assert stage(text)["pattern"] == ours


@pytest.mark.parametrize("pattern", ["4:4", "0:4", "mha", "4", "4x0"])
def test_a_pattern_that_is_none_is_refused(refused, pattern):
    (line,) = refused(STEPS.format(pattern=f'"{pattern}"'))
    assert line.startswith(
        "17: pruning.approach.weight_compression_pytorch.pruners.0.pattern: must be NxM, N:M (N pruned"
    )


def test_epochs_become_shares_of_the_stage_and_weights_the_layers_they_belong_to(converted):
    recipe, notes = converted(EPOCHS)
    (stage,) = recipe["stages"]
    assert (recipe["seed"], recipe["name"]) == (9527, "old")
    assert recipe["training"] == {"batch_size": 256, "learning_rate": 0.0001, "weight_decay": 0.01}
    assert stage["epochs"] == 10.0
    assert stage["schedule"] == {"kind": "linear", "begin": 0.1, "end": 0.5}
    assert (stage["criterion"], stage["pattern"], stage["scope"]) == ("magnitude", "1x1", "local")
    assert (stage["sparsity"], stage["initial_sparsity"]) == (0.97, 0.1)
    assert stage["layers"]["include"] == [r"^layer1\.0\.conv1$"]
    frequency = "old.yaml:21: pruning.approach.weight_compression.pruners.0.update_frequency: left out: "
    assert f"{frequency}it counts epochs and every counts steps; say --steps-per-epoch" in notes


def test_a_frequency_in_epochs_needs_the_steps_of_one(stage):
    assert stage(EPOCHS, steps_per_epoch=50)["schedule"]["every"] == 5


def test_a_stage_is_as_long_as_its_pruning_where_the_file_does_not_say(converted):
    text = EPOCHS.replace("    start_epoch: 0\n    end_epoch: 10\n", "")
    recipe, notes = converted(text)
    assert (recipe["stages"][0]["epochs"], recipe["stages"][0]["schedule"]["end"]) == (5.0, 1.0)
    assert any("does not say how long to train" in note for note in notes)


def test_a_locked_pattern_is_a_setting_of_its_own(stage):
    text = EPOCHS.replace("basic_magnitude", "pattern_lock")
    assert stage(text) == {
        "uses": "sparsify",
        "epochs": 10.0,
        "pattern_lock": True,
        "layers": {
            "types": ["Conv1d", "Conv2d", "Conv1D", "Linear"],
            "include": [r"^layer1\.0\.conv1$"],
            "exclude": [],
        },
    }


def test_what_has_no_counterpart_is_refused_by_name_all_at_once(refused):
    text = (
        EPOCHS.replace("framework: pytorch", "framework: tensorflow")
        .replace("optimizer: {AdamW", "iteration: 100\n    frequency: 2\n    optimizer: {SGD")
        .replace("basic_magnitude", "gradient_sensitivity\n            parameters: {target: 8}")
        .replace("update_frequency: 0.1", "start_step: 3\n            targt_sparsity: 0.2")
        .replace("conv1.weight", "conv1.bias")
        .replace("evaluation", "quantization")
        .replace("end_epoch: 5", "end_epoch: 11")
    )
    lines = refused(text)
    assert [line.split(": must")[0].split(": unknown")[0] for line in lines] == [
        "2: model.framework",
        "10: pruning.train.iteration",
        "11: pruning.train.frequency",
        "12: pruning.train.optimizer.SGD",
        "20: pruning.approach.weight_compression.pruners.0.end_epoch",
        "22: pruning.approach.weight_compression.pruners.0.prune_type",
        "23: pruning.approach.weight_compression.pruners.0.parameters",
        "24: pruning.approach.weight_compression.pruners.0.start_step",
        "25: pruning.approach.weight_compression.pruners.0.targt_sparsity",
        "26: pruning.approach.weight_compression.pruners.0.names",
        "27: quantization",
    ]
    assert lines[5].endswith("got 'gradient_sensitivity'; attention heads are removed by the stage prune_heads")
    assert "(did you mean 'target_sparsity'?)" in lines[8]
