# ruff: noqa: E501 - a message stands here as it is printed, in one line
import pytest

SPARSITY = ("sparsity: 0.5", "sparsity: {}")
RECIPE_KEYS = "extends, name, seed, model, task, training, budget, stages"


def edit(old, new):
    return [(old, new)]


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        (
            edit("sparsity: 0.5", "sparsity: 1.5"),
            "recipe.yaml:15: stages.prune_heads.sparsity: must be in [0, 1), got 1.5",
        ),
        (
            edit("sparsity: 0.5", "sparsity: -1"),
            "recipe.yaml:15: stages.prune_heads.sparsity: must be in [0, 1), got -1",
        ),
        (
            edit("epochs: 4", "epochs: true"),
            "recipe.yaml:14: stages.prune_heads.epochs: must be a number above 0 or null, got true",
        ),
        (edit("seed: 7", "seed: 7.5"), "recipe.yaml:2: seed: must be an integer in [0, 4294967296), got 7.5"),
        (edit("seed: 7", "seed: -7"), "recipe.yaml:2: seed: must be in [0, 4294967296), got -7"),
        (edit("seed: 7", "seed: yes"), "recipe.yaml:2: seed: must be an integer in [0, 4294967296), got 'yes'"),
        (
            edit("learning_rate: 1e-4", "learning_rate: .nan"),
            "recipe.yaml:10: training.learning_rate: must be a finite number, got .nan",
        ),
        (
            edit("learning_rate: 1e-4", "learning_rate: 1e999"),
            "recipe.yaml:10: training.learning_rate: must be a finite number, got .inf",
        ),
        (
            edit("learning_rate: 1e-4", "learning_rate: fast"),
            "recipe.yaml:10: training.learning_rate: must be a number above 0, got 'fast'",
        ),
        (
            edit("learning_rate: 1e-4", "schedule: lineal"),
            "recipe.yaml:10: training.schedule: must be one of linear, cosine, constant, inverse_sqrt, got 'lineal'",
        ),
        (
            edit("learning_rate: 1e-4", "betas: [0.9, 1]"),
            "recipe.yaml:10: training.betas.1: must be in [0, 1), got 1",
        ),
        (
            edit("learning_rate: 1e-4", "warmup: 1.5"),
            "recipe.yaml:10: training.warmup: must be an integer at least 0 or a number in [0, 1], got 1.5",
        ),
        (
            edit("seed: 7", "sead: 7"),
            f"recipe.yaml:2: sead: unknown key (did you mean 'seed'?); allowed: {RECIPE_KEYS}",
        ),
        (
            edit("uses: prune_heads", "uses: prune_head"),
            "recipe.yaml:13: stages.1.uses: unknown stage (did you mean 'prune_heads'?); "
            "must be one of finetune, prune_heads, distill, prune_ffn, sparsify, got 'prune_head'",
        ),
        (
            edit("name: recover_heads", "name: finetune"),
            "recipe.yaml:16: stages.2: two stages are called 'finetune'; give one of them another name",
        ),
        (
            edit("name: recover_heads", "name: source"),
            "recipe.yaml:16: stages.2.name: must begin with a letter, hold letters, digits, _ and - only, and not be source, "
            "got 'source'",
        ),
        (
            edit("name: example", "name: ../x"),
            "recipe.yaml:1: name: must be text that matches ^[A-Za-z0-9][A-Za-z0-9._-]*$, got '../x'",
        ),
        (
            edit("name: example\n", ""),
            "recipe.yaml:1: name: must be given: text that matches ^[A-Za-z0-9][A-Za-z0-9._-]*$",
        ),
        (
            edit("model: some/model", "model: 3"),
            "recipe.yaml:3: model: must be a mapping with keys of pretrained, revision, config, trust_remote_code, got 3",
        ),
        (
            edit("model: some/model", "model: ./nowhere"),
            "recipe.yaml:3: model.pretrained: must be an existing folder or a hub id, got './nowhere'",
        ),
        (
            edit("model: some/model", "model: {config: {model_type: gpt9}}"),
            "recipe.yaml:3: model.config.model_type: model type 'gpt9' is not supported; supported are "
            "bert, roberta, electra, distilbert, vit, deit",
        ),
        (
            edit("model: some/model", "model: {config: {hidden_size: 8}}"),
            "recipe.yaml:3: model.config: must hold model_type, the family's name such as bert, got {hidden_size: 8}",
        ),
        (
            edit("model: some/model", "model: {pretrained: a/b, config: {model_type: bert}}"),
            "recipe.yaml:3: model: must give exactly one of pretrained (a hub id or folder) and config (random weights)",
        ),
        (
            edit("{path: some/data, name: sst2}", "{path: json, data_files: {train: nowhere.jsonl}}"),
            "recipe.yaml:6: task.dataset.data_files.train: must be an existing file, got 'nowhere.jsonl'",
        ),
        (
            edit("{path: some/data, name: sst2}", "{builtin: digits, rows: 5}"),
            "recipe.yaml:6: task.dataset: takes no rows with builtin digits; remove one of them",
        ),
        (
            edit("text: sentence", "text: [a, b, c]"),
            "recipe.yaml:7: task.text: must name one or two columns for text-classification, got ['a', 'b', 'c']",
        ),
        (edit("text: sentence", "text: 5"), "recipe.yaml:7: task.text: must be text or a list, each value text, got 5"),
        (
            edit("text: sentence", "text: sentence\n  select: validation"),
            "recipe.yaml:8: task.select: must be a split that is neither trained on nor reported (train, validation), "
            "or a share of train such as 0.1, got 'validation'",
        ),
        (
            edit("text: sentence", "text: sentence\n  greater_is_better: false"),
            "recipe.yaml:8: task.greater_is_better: must be true for accuracy, of which more is better, got false",
        ),
        (
            edit("text: sentence", "text: sentence\n  metric: mse\n  trust_remote_code: true\n  select: 0.1"),
            "recipe.yaml:4: task.greater_is_better: must be given where select goes by a metric that is not ours, mse: "
            "true if more of it is better, false if less, as of an error",
        ),
        (
            edit("text: sentence", "text: sentence\n  metric: bleu"),
            "recipe.yaml:8: task.metric: must be of accuracy, f1, matthews, pearson, spearman, or any that evaluate.load finds "
            "with task.trust_remote_code: true, got 'bleu'",
        ),
        (
            edit("epochs: 4", "epochs: 4\n    steps: 5"),
            "recipe.yaml:15: stages.prune_heads: must give epochs or steps, got both; remove one of them",
        ),
        (
            edit("steps: 100", "steps: 100, teacher: recover"),
            "recipe.yaml:17: stages.prune_ffn.teacher: must be a stage before it or source "
            "(finetune, prune_heads, recover_heads, source), a model folder, or a hub id such as owner/model "
            "(did you mean 'recover_heads'?), got 'recover'",
        ),
        (
            edit("name: recover_heads", "name: recover_heads, teacher: prune_ffn"),
            "recipe.yaml:16: stages.recover_heads.teacher: must be a stage before 'recover_heads' (finetune, prune_heads, source), "
            "got the later 'prune_ffn'",
        ),
        (
            edit("  - {uses: finetune, epochs: 2}\n", ""),
            "recipe.yaml:15: stages.recover_heads.teacher: must be given, for no stage before it provides one: source, "
            "a model folder, or a hub id such as owner/model",
        ),
        (
            [
                ("  - {uses: finetune, epochs: 2}\n", ""),
                ("  - {uses: distill, name: recover_heads}\n", ""),
            ],
            "recipe.yaml:15: stages.prune_ffn.teacher: must be given, for no stage before it provides one: source, "
            "a model folder, or a hub id such as owner/model; or say distill: null to learn from the labels alone",
        ),
        (
            edit("  - {uses: finetune, epochs: 2}", "  - finetune"),
            "recipe.yaml:12: stages.0: must be a mapping such as {uses: finetune}, got 'finetune'",
        ),
        (
            edit("  text: sentence", "  text: sentence\n  text: other"),
            "recipe.yaml:8: task.text: is given twice, first on line 7; keep one of them",
        ),
        (
            edit("text: sentence", "text: !!python/name:os.system x"),
            "recipe.yaml:7: task.text: takes no tag, got tag:yaml.org,2002:python/name:os.system; write the plain value",
        ),
        (edit("seed: 7", "seed: [7"), "recipe.yaml:3: is not YAML: expected ',' or ']', but got ':'"),
        (edit("seed: 7", "7: seed"), "recipe.yaml:2: keys must be text, got 7; quote it"),
    ],
    ids=lambda value: value[0][1][:30] if isinstance(value, list) else "",
)
def test_one_mistake_is_one_line_with_file_line_path_and_what_is_allowed(mistakes, edits, expected):
    found = mistakes(*edits)
    assert expected in found
    assert len(found) == 1 or "uses: finetune, epochs" in edits[0][0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "recipe.yaml: is empty; a recipe holds at least model, task and stages"),
        ("# only a comment\n", "recipe.yaml: is empty; a recipe holds at least model, task and stages"),
        ("- a\n- b\n", "recipe.yaml:1: a recipe must be a mapping of keys to values, got ['a', 'b']"),
        ("just words", "recipe.yaml:1: a recipe must be a mapping of keys to values, got 'just words'"),
        ("a: {b: ", "recipe.yaml:1: is not YAML: expected the node content, but found '<stream end>'"),
        ("a: 1\n---\nb: 2\n", "recipe.yaml:2: is not YAML: but found another document"),
        ("[" * 1200, "recipe.yaml: is nested too deeply to be a recipe"),
        ("a: \x07", "recipe.yaml: is not YAML: special characters are not allowed"),
    ],
)
def test_what_is_no_recipe_at_all_is_refused_in_one_line(mistakes, text, expected):
    (found,) = mistakes(text=text)
    assert found.startswith(expected)


def test_a_binary_file_is_refused_in_one_line(tmp_path, load):
    from pipeline.errors import RecipeError
    from pipeline.recipe import load_recipe

    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(RecipeError, match=r"binary.yaml: is not a YAML file: must be UTF-8 text"):
        load_recipe(tmp_path / "binary.yaml", stages={})


def test_aliases_that_multiply_are_refused_and_not_expanded(mistakes):
    levels = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12))
    (found,) = mistakes(text="a0: &a0 [x]\n" + levels)
    assert "aliases included" in found


def test_an_alias_within_itself_is_refused(mistakes):
    (found,) = mistakes(text="a: &a [*a]\n")
    assert "recipe.yaml" in found


def test_every_mistake_is_listed_in_the_order_of_the_file(mistakes):
    found = mistakes(
        ("seed: 7", "sed: 7"),
        ("batch_size: 16", "batch_size: 0"),
        ("epochs: 2", "epoch: 2"),
        ("sparsity: 0.5", "sparsity: 2"),
    )
    assert [line.split(": ")[:2] for line in found] == [
        ["recipe.yaml:2", "sed"],
        ["recipe.yaml:9", "training.batch_size"],
        ["recipe.yaml:12", "stages.finetune.epoch"],
        ["recipe.yaml:15", "stages.prune_heads.sparsity"],
    ]


def test_a_mistake_in_training_is_told_once_and_not_for_every_stage(mistakes):
    assert mistakes(("batch_size: 16", "batch_size: 0")) == [
        "recipe.yaml:9: training.batch_size: must be above 0, got 0"
    ]


def test_an_unknown_key_of_a_stage_lists_the_stages_own_keys_first(mistakes):
    (found,) = mistakes(("sparsity: 0.5", "sparsitty: 0.5"))
    assert "(did you mean 'sparsity'?); allowed: criterion, granularity, threshold," in found


def test_no_stages_and_a_missing_recipe_list_what_is_allowed(mistakes):
    text = "name: a\nmodel: b/c\ntask: {type: image-classification, dataset: x/y}\nstages: []\n"
    assert mistakes(text=text) == [
        "recipe.yaml:4: stages: must be a list of at least 1 value, each value a mapping of keys to values, got []"
    ]
    (found,) = mistakes(text=text.replace("stages: []\n", ""))
    assert found.startswith("recipe.yaml:1: stages: must be given: a list of at least 1 value")


def test_a_missing_recipe_names_the_shipped_ones(tmp_path):
    from pipeline.errors import RecipeError
    from pipeline.recipe import load_recipe

    with pytest.raises(
        RecipeError, match=r"^quickstrt: no such recipe \(did you mean 'quickstart'\?\); give a YAML file"
    ):
        load_recipe("quickstrt", stages={})
    with pytest.raises(RecipeError, match="must be a file, got a folder; give a file"):
        load_recipe(tmp_path, stages={})
