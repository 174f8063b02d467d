import pytest

from pipeline.convert import convert
from pipeline.errors import RecipeError
from pipeline.recipe.document import read_text
from stages import STAGES

KNOWN = {**STAGES, "sparsify": "stages.sparsify:Sparsify"}


@pytest.fixture
def converted(tmp_path):
    """Convert a text written to a file; return the recipe as plain values, read from its YAML, and the notes."""

    def run(text, name="old.yaml", **options):
        path = tmp_path / name
        path.write_text(text, "utf-8")
        done = convert(path, stages=KNOWN, **options)
        return read_text(done.text, "recipe").plain(), list(done.notes)

    return run


@pytest.fixture
def stage(converted):
    """Convert a text and return the one stage of its recipe."""
    return lambda text, **options: converted(text, **options)[0]["stages"][0]


@pytest.fixture
def refused(converted, tmp_path):
    """Return the lines of the error that converting a text raises, without the folder and the file's name."""

    def lines(text, **options):
        with pytest.raises(RecipeError) as caught:
            converted(text, **options)
        return str(caught.value).replace(f"{tmp_path}/old.yaml:", "").splitlines()

    return lines
