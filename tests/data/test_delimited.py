import csv
import io

import pytest

from pipeline.data.files import read_table
from pipeline.errors import DataError

CELLS = ['"open', 'close"', '"whole"', 'a "word" in it', '"""', '"a""b"', '"', "plain", "", '" "']


@pytest.fixture
def read(tmp_path):
    """Read text as a file of a kind, and return its rows as tuples."""

    def read_text(text, kind="tsv", as_text=("text",)):
        path = tmp_path / "rows"
        path.write_text(text, newline="")
        table = read_table(kind, path, as_text)
        return list(zip(*table.to_pydict().values(), strict=True))

    return read_text


def test_a_mark_that_opens_in_one_line_and_one_that_closes_in_another_swallow_no_row(read):
    lines = ['"An odd film\t1', "plain\t0", 'which he called "bad"\t0', 'ends in a quote"\t1']
    assert read("\n".join(["text\tlabel", *lines])) == [
        ('"An odd film', 1),
        ("plain", 0),
        ('which he called "bad"', 0),
        ('ends in a quote"', 1),
    ]


@pytest.mark.parametrize("is_last", [False, True])
def test_rows_without_quoting_come_back_as_written_wherever_their_marks_stand(read, is_last):
    rows = [(cell, 7) for cell in CELLS]
    lines = [f"7\t{cell}" if is_last else f"{cell}\t7" for cell in CELLS]
    header = "label\ttext" if is_last else "text\tlabel"
    assert read("\n".join([header, *lines])) == [row[::-1] if is_last else row for row in rows]


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
@pytest.mark.parametrize("extra", [[], ["two\nlines"], ["a\ttab"]], ids=["even lines", "a line break", "a tab"])
def test_what_a_csv_writer_quoted_comes_back_as_it_was_given(read, quoting, extra):
    rows = [(cell, index) for index, cell in enumerate([*CELLS, *extra])]
    stream = io.StringIO()
    csv.writer(stream, delimiter="\t", quoting=quoting).writerows([("text", "label"), *rows])
    assert read(stream.getvalue()) == rows


@pytest.mark.parametrize(
    "lines",
    [
        ['"open\t1', "a\tlost\ttab", 'close"\t0'],
        ["1\tx", '2\t"open', "3\tlost", "short", '4\tclose"'],
        ["short", '"open\t1', 'close"\t0'],
    ],
)
def test_where_lines_are_uneven_a_field_that_would_swallow_rows_is_refused_with_the_line(read, lines):
    with pytest.raises(DataError, match=r"rows:\d: \d fields, but the header has 2; a quoted field may hold a tab or"):
        read("\n".join(["text\tlabel", *lines]))


@pytest.mark.parametrize("kind", ["csv", "tsv"])
@pytest.mark.parametrize("cells", [("001", "2"), ("1", "2"), ("1_000", "3"), ("1.50", "2.0"), ("nan", "inf"), ("", "")])
def test_a_column_of_text_is_text_whatever_it_looks_like(read, kind, cells):
    separator = "," if kind == "csv" else "\t"
    lines = [f"{cell}{separator}x" for cell in cells]
    assert [text for text, _ in read("\n".join([f"text{separator}label", *lines]), kind)] == list(cells)


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["0", "-3", ""], [0, -3, None]),
        (["0.5", "2", "-1e-3"], [0.5, 2.0, -0.001]),
        (["5.000", "3.800"], [5.0, 3.8]),
        (["01", "02"], ["01", "02"]),
        (["1", "02"], ["1", "02"]),
        (["1_000", "2"], ["1_000", "2"]),
        (["1.5", "02.5"], ["1.5", "02.5"]),
        ([" 1", "2"], [" 1", "2"]),
        (["+1", "2"], ["+1", "2"]),
        (["١", "2"], ["١", "2"]),
        (["nan", "1.5"], ["nan", "1.5"]),
        (["1e999", "1.5"], ["1e999", "1.5"]),
        ([str(2**63), "1"], [str(2**63), "1"]),
        ([str(2**53 + 1), "0.5"], [str(2**53 + 1), "0.5"]),
    ],
)
def test_other_columns_are_numbers_only_where_no_cell_could_mean_anything_else(read, cells, values):
    text = "\n".join(["text,label", *(f"x,{cell}" for cell in cells)])
    assert [label for _, label in read(text, "csv")] == values


@pytest.mark.parametrize(("kind", "delimiter"), [("csv", ","), ("tsv", "\t")])
def test_a_field_may_be_of_any_length_and_the_modules_limit_stays_as_it_was(read, kind, delimiter):
    before, long = csv.field_size_limit(), "x" * 200_000
    assert read(f"text{delimiter}label\n{long}{delimiter}1\n", kind) == [(long, 1)]
    assert csv.field_size_limit() == before
