"""What the figure of spiking networks shows, read back from the drawn objects."""

import numpy as np
import pytest

from neurodecorr import plots, spiking

GAMMAS = np.array([0.2, 0.1, 0.05])


@pytest.fixture(scope="module")
def made_up():
    """A short run, and reductions made up in closed form."""
    run = spiking.run_code(spiking.SpikeCode(np.eye(4)), spiking.ou_stimulus(np.eye(4), 50, seed=0), record_s=2e-4)
    before, after = (
        spiking.correlation.SpikeCorrelation(0.2, 0.19, 0.21, 0.02, 100),
        spiking.correlation.SpikeCorrelation(0.05, 0.04, 0.06, 0.02, 100),
    )
    reductions = {"one": [spiking.correlation.Reduction(before, after, 4.0, 3.5, 4.5)] * 2, "other": []}
    errors = np.outer(GAMMAS, [0.29, 0.28])
    return run, spiking.code.coding_error_floor(1.0) * errors, reductions


def drawn(made_up):
    run, errors, reductions = made_up
    return plots.spike_codes(run, np.zeros_like(run.activity), GAMMAS, errors, reductions), run, errors


def test_every_spike_stands_at_its_time_and_unit_in_the_colour_of_its_sign(made_up):
    figure, run, _ = drawn(made_up)
    up, down = figure.axes[0].lines
    assert len(up.get_xdata()) == (run.spikes.sign > 0).sum() > 0
    np.testing.assert_array_equal(down.get_xdata(), run.spikes.time_s[run.spikes.sign < 0])
    np.testing.assert_array_equal(down.get_ydata(), run.spikes.unit[run.spikes.sign < 0])
    assert up.get_color() != down.get_color()


def test_errors_stand_beside_their_prediction(made_up):
    figure, _, errors = drawn(made_up)
    line, *seeds = figure.axes[2].lines
    np.testing.assert_allclose(line.get_ydata(), line.get_xdata() / np.sqrt(12), rtol=1e-12)
    np.testing.assert_array_equal([seed.get_ydata() for seed in seeds], errors.T)


def test_networks_are_read_from_top_to_bottom(made_up):
    figure, *_ = drawn(made_up)
    assert [label.get_text() for label in figure.axes[3].get_yticklabels()] == ["other", "one"]


def test_every_axis_is_labelled_and_every_panel_has_a_title(made_up):
    figure, *_ = drawn(made_up)
    for axes in figure.axes:
        assert axes.get_xlabel() and axes.get_title(loc="left")
    assert all(axes.get_ylabel() for axes in figure.axes[:3])
