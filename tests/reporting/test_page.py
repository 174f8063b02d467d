import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest

from pipeline.reporting.figures.costs import what_is_left
from pipeline.reporting.page import PAGE, page, tiles, write_page
from pipeline.reporting.report import Report, StageRow


class Reader(HTMLParser):
    """Collects what a page refers to, its words, and tags left open."""

    VOID = ("meta", "br", "link", "img", "input", "hr")

    def __init__(self):
        super().__init__()
        self.references, self.words, self.open, self.tags = [], [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        self.references += [
            value for name, value in attributes if name in ("src", "href", "xlink:href", "data", "srcset")
        ]

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def text(made_run):
    return page(made_run, Report.from_run(made_run), "0123")


@pytest.fixture(scope="module")
def read(text):
    reader = Reader()
    reader.feed(text)
    reader.close()
    return reader


def test_the_page_has_no_external_reference(text, read):
    assert [reference for reference in read.references if not reference.startswith(("#", "data:image/png;"))] == []
    assert [target for target in re.findall(r"url\(([^)]*)\)", text) if not target.startswith("#")] == []
    assert not {"script", "link", "img", "iframe", "object"} & set(read.tags)
    assert "http" not in text
    assert "@import" not in text


def test_the_page_is_whole_and_every_reference_inside_it_is_met(text, read):
    assert read.open == []
    known = set(re.findall(r' id="([^"]+)"', text))
    assert {reference[1:] for reference in read.references if reference.startswith("#")} <= known
    assert set(re.findall(r"url\(#([^)]*)\)", text)) <= known


def test_the_page_tells_all_that_was_asked_for(text, read):
    words = " ".join(" ".join(read.words).split())
    for title in (
        "What each stage cost and gained", "The metric around each cut", "What was cut", "Heads after prune_heads",
        "Heads after again", "Width of each layer", "Why those", "Scores in prune_heads", "Importance in prune_ffn",
        "How it trained", "What it costs to run", "What is left after again", "Latency", "Size", "The recipe in short",
        "Measured on",
    ):  # fmt: skip
        assert title in words, title
    assert "32.00 (48.00), 1.00×" in words
    assert "seed 11" in words
    assert "prune_heads sparsity 0.5" in words
    assert text.count("<svg") == 9
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text


def test_the_page_shows_what_became_zero(sparse_run):
    reader, text = Reader(), page(sparse_run, Report.from_run(sparse_run))
    reader.feed(text)
    words = " ".join(" ".join(reader.words).split())
    for told in (
        "What became zero", "Share of zeros in thin", "Zeros per layer after thin", "Weights after thin",
        "zeros of these", "242 of 484", "zeros 50.0% of 968 weights touched",
    ):  # fmt: skip
        assert told in words, told
    assert "What was cut" not in words
    assert text.count("<svg") == 6
    assert {reference[:15] for reference in reader.references if not reference.startswith("#")} == {"data:image/png;"}


def test_a_page_without_zeros_does_not_speak_of_them(text):
    assert "zero" not in text


def test_names_from_a_recipe_are_text_and_not_markup(own_run):
    recipe = own_run.path / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("model_type: bert", "model_type: '<b onclick=x>'"))
    text = page(own_run, Report.from_run(own_run))
    assert "<b onclick" not in text
    assert "&lt;b onclick=x&gt;" in text


def test_tiles_compare_the_last_model_with_the_first(made_run):
    found = {
        tile.name: (tile.value, tile.note) for tile in tiles(Report.from_run(made_run).rows, ("validation", "heldout"))
    }
    assert found["validation accuracy"] == ("85.00%", "from 90.00%: −5.00 points")
    assert found["encoder sparsity"][0] == "65.0%"
    assert found["fewer MACs"] == ("2.86×", "per row")
    assert found["speed-up, batch 32"] == ("2.50×", "12.80 ms")
    assert found["time"] == ("2 min 05 s", "in 5 stages")


@pytest.fixture
def drawn(monkeypatch):
    """The marks of the pages drawn, in place of drawing them."""
    marks = []

    def draw(run, report, mark):
        marks.append(mark)
        return f'<meta name="pruneline" content="{mark}">'

    monkeypatch.setattr("pipeline.reporting.page.page", draw)
    return marks


def test_a_page_is_drawn_again_only_when_something_changed(own_run, drawn):
    write_page(own_run)
    write_page(own_run)
    assert len(drawn) == 1
    recipe = own_run.path / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("seed: 11", "seed: 12"))
    write_page(own_run)
    write_page(own_run)
    assert len(drawn) == len(set(drawn)) == 2
    assert drawn[-1] in (own_run.path / PAGE).read_text()


def test_the_mark_of_a_page_is_in_it(text):
    assert '<meta name="pruneline" content="0123">' in text


def test_a_page_that_need_not_be_drawn_needs_neither_torch_nor_matplotlib(own_run, drawn):
    write_page(own_run)
    code = (
        "import sys; from pathlib import Path; from pipeline import Run\n"
        "from pipeline.reporting.page import write_page\n"
        "write_page(Run(Path(sys.argv[1])))\n"
        "assert not {'torch', 'matplotlib', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(own_run.path)], check=True)


def test_a_run_of_one_stage_that_cut_nothing_has_a_page(own_run):
    recipe = own_run.path / "recipe.yaml"
    recipe.write_text(re.sub(r"(?s)- \{uses: prune_heads, name: prune.*", "", recipe.read_text()))
    text = page(own_run, Report.from_run(own_run))
    assert "What was cut" not in text
    assert "How it trained" in text


def test_where_the_first_stage_cut_nothing_compares_it_with_what_was_before():
    cut = {"encoder_sparsity": 0.6, "parameters": 50.0, "macs": 40.0, "latency_b1_ms": 5.0, "speedup_b1": 2.0}
    rows = (StageRow("prune_ffn", "prune_ffn", cut, 1.0, {}, {}), StageRow("recover", "distill", cut, 1.0, {}, {}))
    told = {tile.name: (tile.value, tile.note) for tile in tiles(rows, ["validation"])}
    assert "fewer MACs" not in told
    assert told["speed-up, batch 1"] == ("2.00×", "5.00 ms, against the model before any cut")
    labels = [label.get_text() for label in what_is_left(rows).axes[0].get_yticklabels()]
    assert labels
    assert not any(label.startswith("time") for label in labels)
    whole = {**cut, "encoder_sparsity": 0.0, "macs": 80.0}
    rows = (StageRow("finetune", "finetune", whole, 1.0, {}, {}), *rows)
    told = {tile.name: (tile.value, tile.note) for tile in tiles(rows, ["validation"])}
    assert told["fewer MACs"] == ("2.00×", "per row")
    assert told["speed-up, batch 1"] == ("2.00×", "5.00 ms")
