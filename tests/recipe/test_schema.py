import jsonschema
import pytest
from ruamel.yaml import YAML

from pipeline.recipe import recipe_schema, shipped_recipes
from stages import STAGES


@pytest.fixture(scope="module")
def validator():
    schema = recipe_schema(STAGES)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("name", list(shipped_recipes()))
def test_the_shipped_recipes_fit_the_schema(validator, name):
    assert not list(validator.iter_errors(YAML(typ="safe", pure=True).load(shipped_recipes()[name])))


def test_a_stage_has_the_fields_of_what_it_uses_and_no_others(validator):
    def stages(**fields):
        return {"extends": "quickstart", "stages": [fields]}

    assert validator.is_valid(stages(uses="prune_heads", sparsity=0.5, epochs=3))
    assert not validator.is_valid(stages(uses="finetune", sparsity=0.5))
    assert not validator.is_valid(stages(uses="prune_heads", sparsity=1.5))
    assert not validator.is_valid(stages(uses="nothing"))
    assert not validator.is_valid(stages(sparsity=0.5))


def test_what_is_left_out_is_only_forgiven_where_a_recipe_is_extended(validator):
    assert validator.is_valid({"extends": "quickstart", "stages": {"finetune": {"epochs": 3}}})
    assert validator.is_valid({"extends": "quickstart", "task": {"text": "other"}})
    assert not validator.is_valid({"name": "a", "model": "b"})
    assert not validator.is_valid({"extends": "quickstart", "unknown": 3})
