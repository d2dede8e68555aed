"""The figure of healing chips."""

import numpy as np
import pytest

from neurodecorr import plots
from neurodecorr.plots.hardware import ReprogrammingPanel


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
