import pytest

from pipeline.recipe import load_recipe
from stages import STAGES

TARGET = ("training:", "budget: {macs: 0.15}\ntraining:")
NO_SPARSITY = ("    sparsity: 0.5\n", "")
TWO = ("  - {uses: prune_ffn, steps: 100}", "  - {uses: prune_ffn, steps: 100}\n  - {uses: prune_heads, name: again}")


def test_a_budget_takes_the_place_of_the_stages_sparsities(load):
    recipe = load(TARGET, NO_SPARSITY)
    assert (recipe.budget.macs, recipe.budget.encoder_sparsity) == (0.15, None)
    assert [recipe.stage(name).config.sparsity for name in ("prune_heads", "prune_ffn")] == [None, None]
    values = {path: (value, origin) for path, value, origin in recipe.values()}
    assert values["budget.macs"] == (0.15, "recipe.yaml:8")
    assert values["budget.rows"] == (512, "default")
    assert values["stages.prune_ffn.sparsity"] == (None, "recipe.yaml:8")
    assert load(NO_SPARSITY).stage("prune_ffn").config.sparsity == "match_heads"


def test_a_recipe_with_a_budget_written_out_reads_back_equal(load):
    recipe = load(TARGET, NO_SPARSITY)
    assert recipe.document()["budget"] == {"macs": 0.15, "rows": 512}
    assert load_recipe(recipe.document(), stages=STAGES) == recipe
    assert "budget" not in load().document()


def test_each_stage_meets_the_budget_with_those_to_come(load):
    recipe = load(TARGET, NO_SPARSITY)
    budgets = [recipe.stage_budget(index) for index in range(4)]
    assert [budget is None for budget in budgets] == [True, False, True, False]
    assert list(budgets[1].to_come) == ["channels"]
    assert budgets[3].to_come == {}
    assert load().stage_budget(1) is None


def test_the_command_line_can_set_take_out_and_exchange_a_budget(load):
    null = ("stages.prune_heads.sparsity=null", "stages.prune_ffn.sparsity=null")
    recipe = load(overrides=(*null, "budget.encoder_sparsity=0.86"))
    assert recipe.budget.encoder_sparsity == 0.86
    recipe = load(TARGET, NO_SPARSITY, overrides=("budget.encoder_sparsity=0.5",))
    assert (recipe.budget.macs, recipe.budget.encoder_sparsity) == (None, 0.5)
    recipe = load(TARGET, NO_SPARSITY, overrides=("budget=null",))
    assert recipe.budget is None
    assert recipe.stage("prune_ffn").config.sparsity == "match_heads"


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        (
            [TARGET],
            "recipe.yaml:16: stages.prune_heads.sparsity: must not be given beside the recipe's budget, which says how "
            "much goes, got 0.5; say sparsity: null, or take the budget out",
        ),
        (
            [TARGET, NO_SPARSITY, TWO],
            "recipe.yaml:18: stages.again: prunes heads, as 'prune_heads' does, and a budget is shared by one stage of "
            "each kind; take one of them out, or give every stage a sparsity and no budget",
        ),
        (
            [TARGET, NO_SPARSITY, ("steps: 100", "steps: 100, scope: local")],
            "recipe.yaml:17: stages.prune_ffn.scope: must be global beside the recipe's budget, got local",
        ),
        (
            [TARGET, NO_SPARSITY, ("steps: 100", "steps: 100, multiple_of: 8")],
            "recipe.yaml:17: stages.prune_ffn.multiple_of: must be 1 beside the recipe's budget, which is met to the "
            "channel, got 8",
        ),
        (
            [("steps: 100", "steps: 100, sparsity: null")],
            "recipe.yaml:17: stages.prune_ffn.sparsity: must be match_heads or a share where the recipe has no budget, "
            "got null",
        ),
        (
            [("training:", "budget: {macs: 0.1, encoder_sparsity: 0.9}\ntraining:"), NO_SPARSITY],
            "recipe.yaml:8: budget: must give exactly one of macs and encoder_sparsity, such as {macs: 0.15}",
        ),
        (
            [("training:", "budget: {}\ntraining:"), NO_SPARSITY],
            "recipe.yaml:8: budget: must give exactly one of macs and encoder_sparsity, such as {macs: 0.15}",
        ),
        (
            [("training:", "budget: {macs: 1.5}\ntraining:"), NO_SPARSITY],
            "recipe.yaml:8: budget.macs: must be in (0, 1), got 1.5",
        ),
        (
            [
                TARGET,
                ("  - uses: prune_heads\n    epochs: 4\n    sparsity: 0.5\n", ""),
                ("  - {uses: prune_ffn, steps: 100}\n", ""),
            ],
            "recipe.yaml:8: budget: no stage of the recipe prunes; add prune_heads or prune_ffn, or take the budget "
            "out",
        ),
    ],
)
def test_a_budget_that_cannot_be_shared_is_refused_in_one_line(mistakes, edits, expected):
    assert mistakes(*edits) == [expected]


def test_heads_judged_by_weight_need_no_sparsity_beside_a_budget(load):
    recipe = load(TARGET, (NO_SPARSITY[0], "    criterion: l1\n"))
    assert recipe.stage("prune_heads").config.sparsity is None


def test_a_child_may_set_a_budget_over_the_sparsities_it_extends(load, write):
    write(name="base.yaml")
    child = (
        "extends: base.yaml\nbudget: {encoder_sparsity: 0.8}\n"
        "stages: {prune_heads: {sparsity: null}, prune_ffn: {sparsity: null}}\n"
    )
    assert load(text=child).budget.encoder_sparsity == 0.8
