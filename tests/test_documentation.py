"""What README and docs/ show is what the project takes: recipes, commands, links."""

import ast
import re
import shlex
import textwrap
from pathlib import Path

import pytest
import typer

import pipeline
from pipeline.cli import app
from pipeline.recipe import load_recipe
from stages import STAGES

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
HEAD = """\
name: example
model: some/model
task: {type: text-classification, dataset: {path: some/data}, text: sentence, label: label}
training: {learning_rate: 1e-4}
"""


def blocks(page):
    """Return the indented blocks of a page, without their indentation."""
    found = re.findall(r"(?:^    .*\n(?:\n(?=    ))?)+", page.read_text("utf-8"), re.MULTILINE)
    return [textwrap.dedent(block) for block in found]


def shown(*beginnings):
    """Return page and text of every block that begins like that."""
    return [
        pytest.param(block, id=f"{page.name}-{index}")
        for page in PAGES
        for index, block in enumerate(blocks(page))
        if block.startswith(beginnings)
    ]


def commands():
    """Return every call of pruneline that a block shows, as arguments."""
    calls = [
        call for page in PAGES for block in blocks(page) for line in block.splitlines() for call in line.split("&&")
    ]
    told = [call.split("#")[0].split(">")[0].strip() for call in calls]
    return [shlex.split(call)[1:] for call in told if call.startswith("pruneline ")]


def anchors(page):
    """Return what a page's headings are called in links, as GitHub names them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_there_is_something_of_each_kind_to_look_at():
    assert len(PAGES) >= 5
    assert len(shown("name:")) >= 1
    assert len(shown("- uses:", "budget:")) >= 3
    assert {arguments[0] for arguments in commands()} >= {
        "run",
        "plan",
        "status",
        "sweep",
        "frontier",
        "convert-config",
    }


@pytest.mark.parametrize("block", shown("name:"))
def test_a_recipe_that_is_shown_is_one(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("train.jsonl", "validation.jsonl"):
        (tmp_path / name).touch()
    path = tmp_path / "recipe.yaml"
    path.write_text(block)
    assert load_recipe(path, stages=STAGES).stages


@pytest.mark.parametrize("block", shown("- uses:", "budget:"))
def test_a_part_of_a_recipe_that_is_shown_is_one(block, tmp_path):
    rest = block if block.startswith("budget:") else "stages:\n  - uses: finetune\n" + textwrap.indent(block, "  ")
    path = tmp_path / "recipe.yaml"
    path.write_text(HEAD + rest)
    assert len(load_recipe(path, stages=STAGES).stages) >= 2


@pytest.mark.parametrize("arguments", commands(), ids=" ".join)
def test_a_command_that_is_shown_is_taken(arguments):
    name, *rest = arguments
    command = typer.main.get_command(app).commands[name]
    context = command.make_context(name, [], resilient_parsing=True)
    values, left, _ = command.make_parser(context).parse_args(list(rest))
    assert not left
    assert all(values[parameter.name] for parameter in command.params if parameter.required)


@pytest.mark.parametrize("block", shown("from ", "import "))
def test_python_that_is_shown_imports_names_that_are_there(block):
    tree = ast.parse(block)
    names = [name.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for name in node.names]
    ours = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == "pipeline"]
    assert names
    assert all(name.name in pipeline.__all__ for node in ours for name in node.names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        path, _, anchor = target.partition("#")
        if path.startswith("http"):
            continue
        other = (page.parent / path).resolve() if path else page
        assert other.exists(), target
        assert not anchor or anchor in anchors(other), target
