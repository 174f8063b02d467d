import pytest

from pipeline.artifacts.fingerprint import derive_seed, explain, fingerprint, stage_document
from pipeline.recipe import StageRecipe, TaskSource
from pipeline.recipe.budget import BudgetSource, StageBudget
from pipeline.recipe.training import StageConfig

TASK = {"type": "text-classification", "dataset": {"builtin": "grammar"}, "text": "text"}


def document(*, config=None, task=None, uses="finetune", name="finetune", **changes):
    values = {
        "version": 1,
        "seed": 1,
        "data": {"builtin": "grammar"},
        "parent": {"model/model.safetensors": "a" * 64},
        "teacher": None,
        **changes,
    }
    stage = StageRecipe(uses, name, StageConfig(**{"epochs": 1, **(config or {})}))
    return stage_document(stage, task=TaskSource(**{**TASK, **(task or {})}), **values)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"version": 2}, "version"),
        ({"seed": 2}, "seed"),
        ({"uses": "distill"}, "uses"),
        ({"name": "other"}, "name"),
        ({"data": {"builtin": "digits"}}, "data.builtin"),
        ({"parent": {"model/model.safetensors": "b" * 64}}, "parent.model/model.safetensors"),
        ({"teacher": {"model/model.safetensors": "b" * 64}}, "teacher"),
        ({"config": {"learning_rate": 1e-3}}, "config.learning_rate"),
        ({"config": {"betas": [0.9, 0.98]}}, "config.betas"),
        ({"config": {"warmup": 0.0}}, "config.warmup"),
        ({"config": {"max_grad_norm": None}}, "config.max_grad_norm"),
        ({"config": {"freeze": ["embeddings"]}}, "config.freeze"),
        ({"task": {"text": ["a", "b"]}}, "task.text"),
        ({"task": {"train_rows": 5}}, "task.train_rows"),
        ({"task": {"labels": ["no", "yes"]}}, "task.labels"),
    ],
)
def test_fingerprint_changes_with_a_meaningful_field_and_the_field_is_named(change, field):
    old, new = document(), document(**change)

    assert fingerprint(old) != fingerprint(new)
    assert [found.field for found in explain(old, new)] == [field]


@pytest.mark.parametrize(
    "change",
    [
        {"config": {"teacher": "finetune"}},
        {"config": {"log_every": 3}},
        {"config": {"evaluate_every": 3}},
        {"config": {"save_seconds": 3}},
        {"config": {"save_share": 0.5}},
        {"config": {"progress": False}},
        {"task": {"trust_remote_code": True}},
        {"task": {"image": "picture"}},
        {"config": {"epochs": 1.0}},
    ],
)
def test_fingerprint_does_not_change_with_what_changes_no_result(change):
    assert fingerprint(document()) == fingerprint(document(**change))


def test_evaluations_do_not_count_where_the_best_epoch_is_selected_since_it_is_judged_after_each_epoch():
    selecting = document(task={"select": 0.1})
    assert fingerprint(selecting) == fingerprint(document(task={"select": 0.1}, config={"evaluate_every": 3}))


def test_the_direction_of_a_metric_counts_only_where_the_epoch_of_the_least_score_is_kept():
    foreign = {"metric": "mse", "trust_remote_code": True}
    assert document(task=foreign) == document(task={**foreign, "greater_is_better": False})
    selecting = {**foreign, "select": 0.1, "greater_is_better": True}
    assert "greater_is_better" not in document(task=selecting)["task"]
    least = document(task={**selecting, "greater_is_better": False})
    assert [change.field for change in explain(document(task=selecting), least)] == ["task.greater_is_better"]


def test_document_is_what_json_gives_back():
    made = document(parent={"model": {"config": {"id2label": {0: "a"}}}})
    assert made["parent"] == {"model": {"config": {"id2label": {"0": "a"}}}}


def test_explanation_tells_old_and_new_and_what_is_absent():
    old = {"a": {"b": 1, "gone": "x"}, "same": [1], "digest": "a" * 64}
    new = {"a": {"b": 1.5}, "same": [1], "digest": "b" * 64, "added": {"c": 2}}

    assert [str(change) for change in explain(old, new)] == [
        "a.b: 1 → 1.5",
        'a.gone: "x" → (absent)',
        "digest: aaaaaaaaaaaa → bbbbbbbbbbbb",
        'added: (absent) → {"c": 2}',
    ]
    assert explain(old, old) == []


def test_seeds_differ_by_stage_and_by_recipe_and_never_change():
    seeds = {derive_seed(seed, name) for seed in range(20) for name in ("finetune", "distill", "model")}
    assert len(seeds) == 60
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert derive_seed(42, "finetune") == 1647693289


def test_a_later_setting_at_its_default_leaves_artifacts_made_before_it_fresh():
    from stages.prune_ffn import PruneFfnConfig
    from stages.repair import RepairConfig

    def settings(**values):
        stage = StageRecipe("prune_ffn", "prune_ffn", PruneFfnConfig(epochs=1, sparsity=0.5, **values))
        return stage_document(
            stage, task=TaskSource(**TASK), version=1, seed=1, data={}, parent={"model": "a"}, teacher=None
        )["config"]

    assert settings().keys().isdisjoint({"repair", "freeze"})
    assert settings(repair=RepairConfig(rows=8))["repair"]["rows"] == 8


def test_a_budget_enters_the_fingerprint_as_far_as_the_stage_depends_on_it():
    from stages.prune_ffn import PruneFfnConfig

    def shared(target, *, cap=0.9, is_last=False):
        later = {} if is_last else {"channels": PruneFfnConfig(max_sparsity_per_layer=cap)}
        return document(budget=StageBudget(BudgetSource(**target), later))

    def fields(old, new):
        return [change.field for change in explain(old, new)]

    assert "budget" not in document()
    assert document(budget=None) == document()
    split = shared({"macs": 0.2})
    assert fields(split, shared({"macs": 0.3})) == ["budget.macs"]
    assert fields(split, shared({"macs": 0.2, "rows": 9})) == ["budget.rows"]
    assert fields(split, shared({"macs": 0.2}, cap=0.8)) == ["budget.to_come.channels.max_sparsity_per_layer"]
    last = shared({"macs": 0.2}, is_last=True)
    assert last == shared({"macs": 0.2, "rows": 9}, is_last=True)
    assert fields(last, shared({"encoder_sparsity": 0.2}, is_last=True)) == ["budget.macs", "budget.encoder_sparsity"]
