"""Artifacts of other settings than the recipe's are told, whatever kept the stage from being redone."""

import pytest

from pipeline.artifacts.asked import ASKED_FILE

STAGES = ({"uses": "train"}, {"uses": "cut"}, {"uses": "train", "name": "recover"})


def with_stage(machine, index, **changes):
    return machine.recipe(*(stage | (changes if place == index else {}) for place, stage in enumerate(STAGES)))


def test_a_run_to_its_end_has_nothing_outdated(machine):
    run = machine.run()
    assert run.outdated() == ()
    assert machine.run(with_stage(machine, 1, add=2)).outdated() == ()


@pytest.mark.parametrize(
    ("change", "outdated"),
    [
        (lambda machine: with_stage(machine, 1, add=2), ("cut",)),
        (lambda machine: with_stage(machine, 2, dropout=0.0), ("recover",)),
        (lambda machine: with_stage(machine, 2, teacher="train"), ()),
        (lambda machine: with_stage(machine, 1, log_every=3), ()),
        (lambda machine: with_stage(machine, 1, teacher="source"), ("cut",)),
        (lambda machine: machine.recipe(seed=8), ("cut", "recover")),
        (lambda machine: machine.recipe(STAGES[0], STAGES[2], STAGES[1]), ("recover", "cut")),
        (lambda machine: machine.recipe(task=machine.recipe()["task"] | {"max_length": 5}), ("cut", "recover")),
    ],
)
def test_stages_after_until_that_the_recipe_asks_otherwise_are_outdated(machine, change, outdated):
    machine.run()
    run = machine.run(change(machine), until="train")
    assert set(run.outdated()) == set(outdated)


def test_a_stage_whose_redo_failed_is_outdated_until_it_is_redone(machine):
    run = machine.run()
    with pytest.raises(RuntimeError, match="asked to fail"):
        machine.run(with_stage(machine, 0, fail=True))
    assert run.outdated() == ("train",)
    assert machine.run().outdated() == ()


def test_a_stage_that_from_takes_as_it_is_stays_outdated(machine):
    machine.run()
    assert machine.run(with_stage(machine, 0, add=2), from_stage="cut").outdated() == ("train",)


def test_another_first_model_is_told_where_from_takes_what_is_there(machine):
    machine.run()
    other = machine.recipe(model={"config": {"model_type": "bert", "hidden_size": 32}})
    assert machine.run(other, from_stage="cut").outdated() == ("train",)


def test_other_data_are_told_where_from_takes_what_is_there(machine, tmp_path):
    machine.run()
    (tmp_path / "train.jsonl").write_text('{"text": "c", "label": 0}\n')
    assert machine.run(from_stage="cut").outdated() == ("train",)


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_text("{")])
def test_without_the_note_stages_are_held_against_their_parents_alone(machine, damage):
    machine.run()
    run = machine.run(with_stage(machine, 1, add=2), until="train")
    damage(run.path / ASKED_FILE)
    assert run.outdated() == ()
    assert machine.run().outdated() == ()
    assert (run.path / ASKED_FILE).exists()
