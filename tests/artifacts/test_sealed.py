import math
import os

import pytest

from pipeline.artifacts.sealed import canonical, read_sealed, seal, unseal

DOCUMENT = {"b": [1, 2.5, None], "a": {"é": "→", "n": -0.0}, "digits": 12345678901234567890}


def test_sealed_document_reads_back_equal():
    assert unseal(seal(DOCUMENT)) == DOCUMENT


def test_any_flipped_bit_of_any_byte_is_refused():
    data = seal(DOCUMENT)
    for index in range(len(data)):
        for bit in (1, 32, 128):
            damaged = bytearray(data)
            damaged[index] ^= bit
            with pytest.raises(ValueError):
                unseal(bytes(damaged))


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"null", b"\xff", seal(DOCUMENT)[:-1], seal(DOCUMENT) + b" "])
def test_other_bytes_are_refused(data):
    with pytest.raises(ValueError):
        unseal(data)


def test_canonical_text_does_not_depend_on_the_order_of_keys():
    assert canonical({"b": 1, "a": [2]}) == canonical({"a": [2], "b": 1}) == '{"a":[2],"b":1}'


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_number_that_json_cannot_spell_is_refused(value):
    with pytest.raises(ValueError):
        seal({"value": value})


def test_missing_or_damaged_cache_reads_as_empty(tmp_path):
    path = tmp_path / "cache.json"
    assert read_sealed(path) == {}
    path.write_bytes(seal(DOCUMENT)[1:])
    assert read_sealed(path) == {}
    path.write_bytes(seal(DOCUMENT))
    assert read_sealed(path) == DOCUMENT


def test_a_name_that_is_no_text_in_utf8_reads_back_equal():
    document = {os.fsdecode(b"donn\xe9es"): 1}
    assert unseal(seal(document)) == document
