"""What ``plan`` prints of stages; the blocks of values are tested through the command."""

from pipeline.api import plan
from pipeline.reporting.listing import plan_lines

RECIPE = {
    "name": "example",
    "model": {"config": {"model_type": "bert"}},
    "task": {"type": "text-classification", "dataset": {"builtin": "grammar"}, "text": "text"},
    "training": {"epochs": 1},
    "stages": [
        {"uses": "finetune"},
        {"uses": "prune_heads", "sparsity": 0.5},
        {"uses": "finetune", "name": "more"},
        {"uses": "distill"},
        {"uses": "prune_ffn", "teacher": "finetune"},
        {"uses": "distill", "name": "last", "teacher": "source"},
    ],
}


def test_each_stage_that_learns_from_a_teacher_names_it_even_where_the_recipe_does_not(tmp_path):
    lines = plan_lines(plan(RECIPE, runs_dir=tmp_path))
    assert [" ".join(line.split()) for line in lines if line.strip()[0].isdecimal()] == [
        "1 finetune missing",
        "2 prune_heads missing",
        "3 more missing",
        "4 distill missing, teacher: more",
        "5 prune_ffn missing, teacher: finetune",
        "6 last missing, teacher: source",
    ]
