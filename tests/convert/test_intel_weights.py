import pytest

CONFIG = """\
pruning:
  target_sparsity: 0.8
  pruning_type: snip_momentum
  pattern: "4x1"
  op_names: ['layer1.*']
  excluded_op_names: [classifier]
  start_step: 10
  end_step: 500
  pruning_scope: global
  pruning_frequency: 50
  min_sparsity_ratio_per_op: 0.1
  max_sparsity_ratio_per_op: 0.95
  sparsity_decay_type: cos
  pruning_op_types: [Linear]
  reg_type: group_lasso
  criterion_reduce_type: sum
  parameters: {reg_coeff: 0.1}
  resume_from_pruned_checkpoint: false
  low_memory_usage: true
"""
WHOLE = {
    "uses": "sparsify",
    "steps": 500,
    "criterion": "snip_momentum",
    "sparsity": 0.8,
    "pattern": "4x1",
    "reduce": "sum",
    "scope": "global",
    "schedule": {"kind": "cos", "begin": 10, "end": 500, "every": 50},
    "max_sparsity_per_layer": 0.95,
    "min_sparsity_per_layer": 0.1,
    "group_lasso": 0.1,
    "layers": {"types": ["Linear"], "include": ["^(?!.*(?:(?:classifier))).*(?:layer1.*)"], "exclude": []},
}


def test_every_setting_is_translated(converted):
    recipe, notes = converted(CONFIG)
    assert recipe["stages"] == [WHOLE]
    assert any(note.startswith("old.yaml:19: pruning.low_memory_usage: left out") for note in notes)


@pytest.mark.parametrize("place", ["", "pruning:\n  approach:\n    weight_compression_v2:\n"])
def test_the_settings_may_stand_elsewhere(stage, place):
    body = CONFIG.removeprefix("pruning:\n")
    indented = "".join(f"{'    ' if place else ''}{line}\n" for line in body.splitlines())
    text = place + indented if place else "".join(f"{line.strip()}\n" for line in body.splitlines())
    assert stage(text) == WHOLE


@pytest.mark.parametrize("name", ["pruning_configs", "local_configs", "pruners"])
def test_configs_of_a_list_are_domains_that_fall_back_on_what_stands_above_them(stage, name):
    listed = """
    - {op_names: [layer1]}
    - !PrunerV2 {op_names: [layer2], pattern: "1:4", target_sparsity: 0.25, start_step: 7, end_step: 7}
    - {op_names: [layer3], pruning_type: pattern_lock}
"""
    found = stage(CONFIG.replace("op_names: ['layer1.*']\n  ", "") + f"  {name}:{listed}")
    assert found["layers"]["include"] == ["^(?!.*(?:(?:classifier))).*(?:layer1)"]
    assert [
        {key: group[key] for key in group if key not in ("types", "include", "exclude")} for group in found["groups"]
    ] == [
        {"sparsity": 0.25, "pattern": "3:4", "schedule": {"kind": "cos", "begin": 7, "end": 7, "every": 50}},
        {"pattern_lock": True},
    ]


def test_a_group_after_a_locked_one_is_not_locked(stage):
    text = (
        CONFIG.replace("snip_momentum", "pattern_lock")
        + "  pruning_configs: [{}, {pruning_type: snip, op_names: [a]}]\n"
    )
    found = stage(text)
    assert found["pattern_lock"] is True
    (group,) = found["groups"]
    assert (group["pattern_lock"], group["criterion"], group["sparsity"]) == (False, "snip", 0.8)


def test_a_bare_list_is_one_of_configs_and_its_defaults_are_intels(stage):
    found = stage("- {op_names: ['layer1.*'], excluded_op_names: ['.*embeddings*'], end_step: 10000}\n")
    assert {key: found[key] for key in ("criterion", "sparsity", "pattern", "reduce", "scope", "group_lasso")} == {
        "criterion": "snip_momentum",
        "sparsity": 0.9,
        "pattern": "4x1",
        "reduce": "mean",
        "scope": "global",
        "group_lasso": 0.0,
    }
    assert found["schedule"] == {"kind": "exp", "begin": 0, "end": 10000, "every": 1}
    assert found["layers"]["types"] == ["Conv1d", "Conv2d", "Conv1D", "Linear"]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("snip_momentum", "snip_progressive", "got 'snip_progressive'; say snip: blocks go whole here"),
        ("snip_momentum", "gradient", "got 'gradient'; say snip, which weighs the gradient by the weight"),
        ("_type: sum", "_type: max", "criterion_reduce_type: must be one of mean, sum, got 'max'"),
        ("checkpoint: false", "checkpoint: true", "resume_from_pruned_checkpoint: must be false: a checkpoint's zeros"),
        ("[Linear]", "[LSTM]", "pruning_op_types: must be of Linear, Conv, Conv1d, Conv2d, got 'LSTM'"),
        ("group_lasso", "l2", "reg_type: must be group_lasso or none, got 'l2'"),
        ("frequency", "frequence", "pruning_frequence: unknown key (did you mean 'pruning_frequency'?)"),
        ("'layer1.*'", "'layer('", "op_names: must be a regular expression, got 'layer('"),
        (
            "  op_names: ['layer1.*']\n  excluded_op_names: [classifier]",
            "  excluded_op_names: ['*']",
            "got '*': nothing to",
        ),
        (r"'layer1.*'", r"'(a)\1'", "op_names: must go without back-references and inline flags beside excluded"),
        ("0.95", "1.5", "max_sparsity_ratio_per_op: must be a number in [0, 1], got 1.5"),
        ("end_step: 500", "end_step: 5", "pruning: must not end before it begins (10), got 5"),
        ('"4x1"', '"2:4"', "pruning.target_sparsity: must be at most 0.5, all that the pattern removes, got 0.8"),
    ],
)
def test_what_has_no_counterpart_is_refused_by_name(refused, old, new, told):
    (line,) = refused(CONFIG.replace(old, new, 1))
    assert told in line
