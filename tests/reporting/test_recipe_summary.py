from pipeline.reporting.recipe_summary import recipe_in_short

RECIPE = {
    "model": {"pretrained": "google-bert/bert-base-uncased", "trust_remote_code": False},
    "task": {
        "type": "text-classification",
        "dataset": {"path": "nyu-mll/glue", "name": "mnli"},
        "metric": ["accuracy", "f1"],
    },
    "training": {"learning_rate": 3e-5, "batch_size": 32, "progress": True},
    "budget": {"macs": 0.15, "rows": 512},
    "stages": [
        {"uses": "finetune", "name": "finetune", "epochs": 3.0, "teacher": None},
        {
            "uses": "distill",
            "name": "recover",
            "steps": 20,
            "is_odd": True,
            "sparsity": [0.5, 1],
            "more": {"a": None, "b": 2.0},
        },
    ],
}


def test_a_recipe_tells_what_has_a_value_and_names_what_a_stage_uses():
    assert recipe_in_short(RECIPE) == [
        ("model", "pretrained google-bert/bert-base-uncased"),
        ("data", "path nyu-mll/glue, name mnli"),
        ("task", "type text-classification, metric accuracy f1"),
        ("training", "learning_rate 3e-05, batch_size 32"),
        ("budget", "macs 0.15, rows 512"),
        ("finetune", "epochs 3"),
        ("recover (distill)", "steps 20, is_odd true, sparsity 0.5 1, more (b 2)"),
    ]


def test_a_recipe_that_says_nothing_tells_nothing():
    assert recipe_in_short({}) == []
