"""The picture of zeros by its values: a cell is empty exactly where a weight is zero."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from pipeline.reporting.figures.chart import VARIABLES, svg_document
from pipeline.reporting.figures.zeros import EMPTY, SIZES, zeros_map

WEIGHT = np.array([[0.0, -2.0, 1.0, 0.0], [3.0, 0.0, 0.5, 0.0]])


def drawn(figure, name):
    """Return what the panel of one weight shows."""
    (image,) = (image for axes in figure.axes for image in axes.images if image.get_gid() == name)
    return image.get_array()


def test_a_cell_is_empty_exactly_where_the_weight_is_zero_and_else_shows_its_size():
    shown = drawn(zeros_map({"a": WEIGHT}), "a")
    np.testing.assert_array_equal(shown.mask, WEIGHT == 0)
    np.testing.assert_array_equal(shown.compressed(), [2.0, 1.0, 3.0, 0.5])


def test_titles_tell_the_share_of_zeros_and_panels_follow_the_order_given():
    figure = zeros_map({"half": WEIGHT, "none": np.ones((2, 4)), "all": np.zeros((2, 4))}, across=2)
    titles = [axes.get_title(loc="left") for axes in figure.axes if axes.images]
    assert titles == ["half: 50% zero", "none: 0% zero", "all: 100% zero"]


def test_all_panels_share_one_scale_that_leaves_outliers_out():
    figure = zeros_map({"small": np.full((10, 20), 1.0), "large": np.full((10, 20), 4.0)})
    limits = {image.get_clim() for axes in figure.axes for image in axes.images}
    assert limits == {(0.0, 4.0)}
    outlier = np.ones((10, 20))
    outlier[0, 0] = 1000.0
    (image,) = (image for axes in zeros_map({"one": outlier}).axes for image in axes.images)
    assert image.get_clim() == (0.0, 1.0)


def test_a_place_without_a_weight_stays_blank():
    figure = zeros_map(dict.fromkeys("abc", WEIGHT), across=2)
    assert [axes.axison for axes in figure.axes[:4]] == [True, True, True, False]


def test_nothing_but_zeros_is_drawn_empty():
    assert drawn(zeros_map({"a": np.zeros((2, 2))}), "a").mask.all()


def test_cells_are_parted_by_lines_where_they_are_few():
    few, many = zeros_map({"a": np.ones((3, 64))}).axes[0], zeros_map({"a": np.ones((3, 65))}).axes[0]
    assert (len(few.get_xticks(minor=True)), len(few.get_yticks(minor=True))) == (63, 2)
    assert len(many.get_xticks(minor=True)) == 0


@pytest.mark.parametrize("shape", [(3,), (4, 4, 3), (0, 4)])
def test_what_is_no_matrix_is_refused(shape):
    with pytest.raises(ValueError, match="conv: must be a matrix, got shape"):
        zeros_map({"conv": np.ones(shape)})


def test_no_colour_of_cells_or_of_what_is_between_them_is_one_that_the_page_changes_by_night():
    colors = {to_hex(SIZES(step)) for step in range(SIZES.N)} | {EMPTY}
    assert not colors & VARIABLES.keys()
    assert svg_document(zeros_map({"a": WEIGHT})).count(EMPTY) >= 5
