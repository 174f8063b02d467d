import pytest

from pipeline.teaching.choice import choose, free_bytes

FACTS = {
    "size_bytes": 10**9,
    "passes": 6.0,
    "has_hidden": True,
    "on_cpu": True,
    "memory_bytes": 4 * 10**9,
    "free_bytes": 10**10,
}


@pytest.mark.parametrize(
    ("changes", "is_cached", "why"),
    [
        ({}, True, "1.00 GB of answers serve 6 passes over the rows"),
        ({"passes": 1.0}, False, "the teacher is asked for 1 passes over the rows, and writing takes one"),
        ({"passes": 1.01}, True, "serve 1.01 passes"),
        ({"memory_bytes": 4 * 10**9 - 1}, False, "its answers take 1.00 GB, more than 25% of 4.00 GB of memory"),
        ({"free_bytes": 10**10 - 1}, False, "its answers take 1.00 GB, more than 10% of 10.00 GB of free disk"),
        ({"on_cpu": False}, False, "off the CPU a forward pass is quicker"),
        ({"on_cpu": False, "has_hidden": False, "size_bytes": 10**6}, True, "1.00 MB"),
    ],
)
def test_answers_are_written_where_they_are_read_more_than_once_and_fit(changes, is_cached, why):
    chosen = choose(**{**FACTS, **changes})
    assert chosen.is_cached == is_cached
    assert why in chosen.why


def test_free_space_is_told_of_a_folder_that_is_not_there_yet(tmp_path):
    assert free_bytes(tmp_path / "not" / "yet") > 0
