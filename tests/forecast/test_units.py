import pytest

from pipeline.forecast.units import Units, spread


@pytest.mark.parametrize(
    ("total", "widths", "counts"),
    [
        (0, (4, 4), (0, 0)),
        (5, (4, 4), (3, 2)),
        (8, (4, 4), (4, 4)),
        (6, (1, 9, 9), (1, 3, 2)),
        (3, (0, 4), (0, 3)),
    ],
)
def test_units_are_spread_evenly_where_there_is_room(total, widths, counts):
    assert spread(total, widths) == counts


def test_more_units_than_there_is_room_for_are_refused():
    with pytest.raises(ValueError, match=r"total must be in \[0, 8\], got 9"):
        spread(9, (4, 4))


def test_known_layers_add_up():
    assert Units.of_layers((3, 2)) == Units(5, (3, 2))
