import gzip
import json
import time

import pytest

from pipeline.data.files import read_table
from pipeline.data.sources import load_splits
from pipeline.errors import DataError
from pipeline.recipe.sources import DatasetSource

ROWS = [{"text": "a, “b”\u2028c", "label": 0}, {"text": 'NA "', "label": 1}, {"text": "null", "label": 0}]


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def load(kind, **files):
    return load_splits(DatasetSource(path=kind, data_files={split: str(path) for split, path in files.items()}))


def write_csv(path, rows):
    lines = ["text,label", *('"' + row["text"].replace('"', '""') + f'",{row["label"]}' for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8-sig")
    return path


def write_tsv(path, rows):
    path.write_text("text\tlabel\n" + "".join(f"{row['text']}\t{row['label']}\n" for row in rows), encoding="utf-8")
    return path


def write_json(path, rows):
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def write_gzip(path, rows):
    path = path.with_suffix(".jsonl.gz")
    path.write_bytes(gzip.compress("\n".join(json.dumps(row) for row in rows).encode()))
    return path


def write_parquet(path, rows):
    import pyarrow
    from pyarrow import parquet

    table = pyarrow.Table.from_pylist(rows)
    column = table.column("text").dictionary_encode()
    parquet.write_table(table.set_column(0, "text", column), path)
    return path


@pytest.mark.parametrize(
    ("kind", "write"),
    [
        ("json", write_jsonl),
        ("json", write_json),
        ("json", write_gzip),
        ("csv", write_csv),
        ("tsv", write_tsv),
        ("parquet", write_parquet),
    ],
)
def test_each_format_gives_back_the_rows_that_were_written(tmp_path, kind, write):
    splits = load(kind, train=write(tmp_path / "rows", ROWS), validation=write(tmp_path / "more", ROWS[:1]))
    assert splits["train"].to_list() == ROWS
    assert splits["validation"].to_list() == ROWS[:1]


def test_numbers_of_a_csv_are_read_as_numbers_and_an_empty_cell_among_them_as_null(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("whole,point,text\n1,0.5,\n,2,x\n")
    assert load("csv", train=path)["train"].to_list() == [
        {"whole": 1, "point": 0.5, "text": ""},
        {"whole": None, "point": 2.0, "text": "x"},
    ]


def test_a_tsv_with_bare_quotation_marks_keeps_them(tmp_path):
    path = tmp_path / "rows.tsv"
    path.write_text('text\tlabel\n"open\t1\nplain\t0\n')
    assert load("tsv", train=path)["train"]["text"][:] == ['"open', "plain"]


def test_a_column_missing_from_some_rows_is_null_there(tmp_path):
    path = write_jsonl(tmp_path / "rows.jsonl", [{"a": 1}, {"a": 2, "b": "x"}])
    assert load("json", train=path)["train"].to_list() == [{"a": 1, "b": None}, {"a": 2, "b": "x"}]


def test_several_files_of_a_split_follow_each_other(tmp_path):
    paths = [str(write_jsonl(tmp_path / name, [{"a": name}])) for name in ("second", "first")]
    splits = load_splits(DatasetSource(path="json", data_files={"train": paths}))
    assert splits["train"]["a"][:] == ["second", "first"]


@pytest.mark.parametrize(
    ("kind", "content", "expected"),
    [
        ("json", b'{"a": 1}\n{"a": \n', ":2: not JSON"),
        ("json", b'[{"a": 1},\n]', ":2: not JSON"),
        ("json", b'{"a": 1}\n5\n', "row 2 must be an object"),
        ("json", b'{"a": 1}\n{"a": "x"}\n', "column a mixes kinds of values (int, str)"),
        ("json", b'{"a": "\\ud800"}\n', "column a holds half a surrogate pair"),
        ("json", b"\xff\xfe", "not UTF-8 text at byte 0"),
        ("csv", b"a,b\n1,2\n3\n", ":3: 1 fields, but the header has 2"),
        ("csv", b'a,b\n"1,2\n', "not delimited text"),
        ("csv", b"a,a\n1,2\n", "names a column twice"),
        ("tsv", b"a\tb\n1\n", ":2: 1 fields"),
        ("parquet", b"no parquet at all", "not a Parquet file"),
        ("json", b"", "the file is empty"),
    ],
)
def test_a_broken_file_is_refused_in_one_line_with_its_place(tmp_path, kind, content, expected):
    path = tmp_path / "broken"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_table(kind, path)
    message = str(caught.value)
    assert str(path) in message
    assert expected in message
    assert "\n" not in message


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"no such file: .*absent\.jsonl"):
        load("json", train=tmp_path / "absent.jsonl")


def test_twenty_thousand_rows_are_read_without_a_cache_in_under_a_second(tmp_path, monkeypatch):
    import datasets

    cache = tmp_path / "cache"
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache)
    path = write_jsonl(
        tmp_path / "rows.jsonl", [{"text": f"sentence {row}", "label": row % 2} for row in range(20_000)]
    )
    load("json", train=path)
    started = time.process_time()
    assert len(load("json", train=path)["train"]) == 20_000
    assert time.process_time() - started < 1
    assert not cache.exists()


@pytest.mark.parametrize("whole", [True, False])
def test_rows_nested_without_end_are_refused(tmp_path, whole):
    path = tmp_path / "deep.json"
    deep = "[" * 100_000 + "]" * 100_000
    path.write_text(deep if whole else f'{{"text": {deep}}}')
    with pytest.raises(DataError, match=r"deep.json: nested too deeply to be read; a row must be an object"):
        read_table("json", path)


@pytest.mark.parametrize("write", [write_csv, write_tsv, write_jsonl, write_parquet])
def test_of_a_file_with_all_columns_needed_no_other_is_read(tmp_path, write):
    kind = {write_jsonl: "json"}.get(write, write.__name__.removeprefix("write_"))
    path = write(tmp_path / "rows", ROWS[:1])
    assert read_table(kind, path, needed=("label",)).column_names == ["label"]
    assert read_table(kind, path, needed=("label", "absent")).column_names == ["text", "label"]
