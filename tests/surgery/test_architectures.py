from pathlib import Path

import pytest

from pipeline.errors import UnsupportedArchitecture
from pipeline.surgery.architectures import FAMILIES, family_of_type

README = Path(__file__).parent.parent.parent / "README.md"


def test_the_readme_and_the_refusal_name_the_architectures_of_the_table():
    (row,) = (line for line in README.read_text("utf-8").splitlines() if line.startswith("| architectures |"))
    assert row.strip("|").split("|")[1].strip() == ", ".join(FAMILIES)
    with pytest.raises(UnsupportedArchitecture, match=f"'gpt2' is not supported; supported are {', '.join(FAMILIES)}"):
        family_of_type("gpt2")
