import matplotlib
import numpy as np
import pytest

from pipeline.reporting.figures.chart import SERIES, VARIABLES, chart, inline_svg, styled, svg_document, thinned


@styled
def drawn():
    figure = chart(1.0)
    figure.subplots().plot([0, 1], [1, 2], color=SERIES[0], marker="o")
    return figure


def test_a_figure_in_a_page_refers_to_nothing_outside_it():
    element = inline_svg(drawn(), 'what "it" is')
    assert element.startswith('<svg role="img" aria-label="what &quot;it&quot; is" width="')
    for forbidden in ("http", "<!DOCTYPE", "<?xml", "@import", "font-family"):
        assert forbidden not in element
    assert "<text" in element


def test_every_colour_of_ours_is_the_page_s_to_choose():
    element = inline_svg(drawn(), "it")
    assert "var(--series-1)" in element
    assert "var(--ink)" in element
    assert not [color for color in VARIABLES if color in element]


def test_the_same_figure_is_the_same_text():
    assert inline_svg(drawn(), "it") == inline_svg(drawn(), "it")


def test_a_notebook_is_handed_a_whole_file():
    assert drawn()._repr_svg_() == svg_document(drawn())
    assert svg_document(drawn()).startswith("<?xml")


def test_nobody_s_settings_change():
    before = dict(matplotlib.rcParams)
    svg_document(drawn())
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize(
    ("length", "most", "places"), [(5, 9, [0, 1, 2, 3, 4]), (9, 3, [0, 4, 8]), (0, 3, []), (1, 4, [0])]
)
def test_thinning_keeps_both_ends(length, most, places):
    assert thinned(np.zeros(length), most).tolist() == places


def luminance(color):
    parts = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(first, second):
    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
def test_colours_stand_out_from_the_paper_by_day_and_night(mode):
    """As the accessibility guidelines ask: 4.5 for letters, 3 for what is drawn."""
    import re
    from importlib import resources

    template = resources.files("pipeline.reporting").joinpath("page.html.j2").read_text()
    block = template.split(":root {")[1 + mode].split("}")[0]
    colors = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))
    for name in ("ink", "muted"):
        assert contrast(colors[name], colors["paper"]) >= 4.5
        assert contrast(colors[name], colors["raised"]) >= 4.5
    for number in range(1, len(SERIES) + 1):
        assert contrast(colors[f"series-{number}"], colors["paper"]) >= 3
