"""The figure of chips shows what was found: curves, medians, envelopes, and the chips that are lost."""

import math

import numpy as np
import pytest

from neurodecorr import plots
from neurodecorr.plots import chip_errors
from neurodecorr.plots.files import rendered
from neurodecorr.plots.hardware import ChipPanel, ChipSeries, ReprogrammingPanel

LEVELS = np.array([0.01, 0.1, 0.2])


def series(form, median, high, unstable=(0.0, 0.0, 0.0)):
    median, high = np.array(median), np.array(high)
    return ChipSeries(form, LEVELS, median, 0.9 * median, high, np.array(unstable), LEVELS, np.array([0.02, 0.2, 0.4]))


@pytest.fixture(scope="module")
def figure():
    circuit = series("circuit R", [0.02, 0.3, math.inf], [0.03, math.inf, math.inf], [0.0, 0.02, 0.9])
    matrix = series("matrix M", [0.02, 0.2, 0.4], [0.03, 0.3, 0.5])
    return chip_errors([ChipPanel("Mismatch of devices", "mismatch", (circuit, matrix))], wanted=0.05)


def test_curves_are_the_closed_form_in_per_cent(figure):
    (axis,) = figure.axes
    curves = {line.get_label(): line for line in axis.lines}
    for form in ("circuit R", "matrix M"):
        np.testing.assert_allclose(curves[f"{form}, closed form"].get_xdata(), 100 * LEVELS)
        np.testing.assert_allclose(curves[f"{form}, closed form"].get_ydata(), [2, 20, 40])


def test_points_are_medians_of_chips_and_none_stands_where_half_are_lost(figure):
    (axis,) = figure.axes
    circuit, matrix = (found.lines[0].get_ydata().tolist() for found in axis.containers)
    assert circuit == pytest.approx([2, 30]) and matrix == pytest.approx([2, 20, 40])


def test_lost_chips_are_said_in_words_inside_the_panel(figure):
    (axis,) = figure.axes
    assert [text.get_text() for text in axis.texts] == ["2 %\nunstable", "90 %\nunstable"]
    rendered(figure, ("svg",))
    inside = axis.get_window_extent()
    for text in axis.texts:
        box = text.get_window_extent()
        assert inside.y0 <= box.y0 and box.y1 <= inside.y1 + 1


def test_the_legend_fits_the_figure(figure):
    rendered(figure, ("svg",))
    (legend,) = figure.legends
    box, whole = legend.get_window_extent(), figure.bbox
    assert whole.x0 <= box.x0 and box.x1 <= whole.x1
    assert {text.get_text() for text in legend.get_texts()} >= {"chips: median, 5–95 %", "wanted: 5 %"}


def panel(title="Mismatch", **options):
    learnt, once = np.full((3, 5), 0.01), np.full((3, 5), 0.1)
    once[1, 0], once[2] = np.inf, np.inf
    return ReprogrammingPanel(title, "level", [0.1, 1.0, 10.0], {"once": once, "in situ": learnt}, **options)


def test_medians_are_drawn_and_unstable_chips_stand_above_every_correlation():
    figure = plots.reprogramming([panel()])
    axes = figure.axes[0]
    by_height = sorted((drawn.get_ydata().tolist() for drawn in axes.lines), key=max)
    assert by_height[0] == [0.01] * 3
    assert by_height[1][:2] == [0.1, 0.1] and by_height[1][2] > 1
    assert axes.get_ylim()[1] > by_height[1][2]
    assert "unstable" in [label.get_text() for label in axes.get_yticklabels()]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_each_panel_has_its_place_and_all_share_one_legend(count):
    figure = plots.reprogramming([panel(str(k), log=k > 0, level=("floor", 0.02)) for k in range(count)])
    drawn = [axes for axes in figure.axes if axes.axison]
    assert [axes.get_title(loc="left") for axes in drawn] == [str(k) for k in range(count)]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["once", "in situ"]
    assert [axes.get_xscale() for axes in drawn] == ["linear", "log", "log"][:count]


def test_curves_beyond_the_colours_are_dashed():
    curves = {str(k): np.full((2, 2), 0.1) for k in range(8)}
    figure = plots.reprogramming([ReprogrammingPanel("many", "x", [1, 2], curves)])
    assert [drawn.get_linestyle() for drawn in figure.axes[0].lines] == ["-"] * 6 + ["--"] * 2
