"""What the figures of a comparison show, read back from the drawn objects."""

import dataclasses
import itertools
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex

from neurodecorr import plots
from neurodecorr.plots.style import MARKS, mark

OKABE_ITO = {"#000000", "#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7"}


def drawn(figure):
    """Lay the figure out, so that its parts have places, and return what measures them."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return canvas.get_renderer()


def panels(figure):
    return [axes for axes in figure.axes if axes.axison and axes.get_label() != "<colorbar>"]


def overlapping(boxes):
    return [(a, b) for (a, first), (b, second) in itertools.combinations(boxes, 2) if first.overlaps(second)]


def replaced(comparison, name, **values):
    entries = [dataclasses.replace(e, **values) if e.name == name else e for e in comparison.entries]
    return dataclasses.replace(comparison, entries=tuple(entries))


@pytest.fixture(scope="module")
def laid_out(specimen, troubled):
    """Every figure once, laid out, with what measures its parts; images of matrices beside images of pixels."""
    plain = dataclasses.replace(specimen, shape=None)
    cases = {name: draw(troubled) for name, draw in plots.FIGURES.items()}
    cases |= {f"{name} of no image": plots.FIGURES[name](plain) for name in ("receptive_fields", "lateral_fields")}
    return {name: (figure, drawn(figure)) for name, figure in cases.items()}


CASES = (*plots.FIGURES, "receptive_fields of no image", "lateral_fields of no image")


@pytest.mark.parametrize("name", CASES)
def test_every_axis_is_labelled_on_its_panel_or_on_one_that_shares_it(name, laid_out):
    figure, _ = laid_out[name]
    for axes in panels(figure):
        for along, group, outer in (
            ("x", axes.get_shared_x_axes(), figure.get_supxlabel()),
            ("y", axes.get_shared_y_axes(), figure.get_supylabel()),
        ):
            siblings = group.get_siblings(axes)
            labels = [getattr(other, f"get_{along}label")() for other in siblings]
            ticks = [text.get_text() for other in siblings for text in getattr(other, f"get_{along}ticklabels")()]
            forms = set(ticks) & set(MARKS)  # the names of the forms need no label
            magnified = name == "spectra" and along == "y"
            assert any(labels) or outer or forms or magnified, (axes.get_title(loc="left"), along)


def words(axes):
    """Yield the titles, labels and tick labels of a panel that can be seen."""
    yield from (axes.title, axes._left_title, axes._right_title)
    for axis in (axes.xaxis, axes.yaxis) if axes.axison else ():
        low, high = sorted(axis.get_view_interval())
        yield axis.label
        yield from (tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high)


@pytest.mark.parametrize("name", CASES)
def test_no_words_lie_on_each_other(name, laid_out):
    figure, renderer = laid_out[name]
    texts = [text for axes in figure.axes for text in words(axes) if text.get_text() and text.get_visible()]
    boxes = [(text.get_text(), text.get_window_extent(renderer).padded(-0.5)) for text in texts]
    assert len(boxes) >= 3 and overlapping(boxes) == []


@pytest.mark.parametrize("name", CASES)
def test_a_legend_covers_no_panel(name, laid_out):
    figure, renderer = laid_out[name]
    for legend in figure.legends:
        box = legend.get_window_extent(renderer)
        assert not any(box.overlaps(axes.get_tightbbox(renderer)) for axes in figure.axes)
    assert all(axes.get_legend() is None for axes in figure.axes)


@pytest.mark.parametrize("name", CASES)
def test_nothing_readable_is_smaller_than_nine_points(name, laid_out):
    figure, _ = laid_out[name]
    sizes = [text.get_fontsize() for text in figure.findobj(matplotlib.text.Text) if text.get_text().strip()]
    assert min(sizes) >= 9


def test_colours_are_those_of_okabe_and_ito_and_no_two_forms_share_one():
    colours = [to_hex(look.color) for look in MARKS.values()]
    assert len(set(colours)) == len(colours) and set(colours) <= OKABE_ITO


def test_forms_differ_without_colour():
    assert len({(look.marker, look.face == "white") for look in MARKS.values()}) == len(MARKS)


def test_correlation_panels_show_the_coefficients_on_one_scale(specimen):
    images = [axes.images[0] for axes in panels(plots.correlations(specimen))]
    assert {image.get_clim() for image in images} == {(-1, 1)}
    covariances = [specimen.covariance, *(entry.covariance for entry in specimen.entries)]
    for image, covariance in zip(images, covariances, strict=True):
        size = np.sqrt(np.diag(covariance))
        np.testing.assert_allclose(image.get_array(), covariance / np.outer(size, size), atol=1e-14)


def test_a_unit_without_power_has_no_correlation_to_show(specimen):
    covariance = specimen.covariance.copy()
    covariance[2] = covariance[:, 2] = 0
    shown = panels(plots.correlations(dataclasses.replace(specimen, covariance=covariance)))[0].images[0].get_array()
    assert np.ma.getmaskarray(shown)[2].all() and not np.ma.getmaskarray(shown)[3, 4:].any()


def test_spectra_are_the_singular_values_of_the_covariances(specimen):
    lines = panels(plots.spectra(specimen))[0].lines
    covariances = [specimen.covariance, *(entry.covariance for entry in specimen.entries)]
    for line, covariance in zip(lines, covariances, strict=True):
        np.testing.assert_allclose(line.get_ydata(), np.linalg.svd(covariance, compute_uv=False), rtol=1e-10)


def tiles(mosaic):
    """Cut a mosaic at the lines between its fields."""
    data = np.asarray(mosaic.filled(np.nan))
    cuts = [np.flatnonzero(np.isnan(data).all(axis=axis)) for axis in (1, 0)]
    parts = [np.split(np.arange(data.shape[axis]), cuts[axis]) for axis in (0, 1)]
    rows, columns = [[part[~np.isin(part, cut)] for part in axis] for axis, cut in zip(parts, cuts, strict=True)]
    return [[data[np.ix_(row, column)] for column in columns] for row in rows]


def coarse(tile, shape):
    """One value per pixel of the field."""
    return tile[:: tile.shape[0] // shape[0], :: tile.shape[1] // shape[1]]


def test_each_receptive_field_is_its_row_of_M_at_the_place_of_its_pixel(specimen):
    figure = plots.receptive_fields(specimen)
    for axes, entry in zip(figure.axes, specimen.entries, strict=False):
        grid = tiles(axes.images[0].get_array())
        for i, j in itertools.product(range(3), range(4)):
            field = entry.matrix[4 * i + j].reshape(3, 4)
            np.testing.assert_allclose(coarse(grid[i][j], (3, 4)), field / np.abs(field).max())


def test_each_lateral_field_is_its_column_of_R(specimen):
    circuits = [entry for entry in specimen.entries if entry.settles]
    for axes, entry in zip(plots.lateral_fields(specimen).axes, circuits, strict=False):
        field = entry.lateral[:, 4 * 2 + 1].reshape(3, 4)
        tile = tiles(axes.images[0].get_array())[2][1]
        np.testing.assert_allclose(coarse(tile, (3, 4)), field / np.abs(field).max())


def test_inputs_that_are_no_images_are_drawn_as_matrices(specimen):
    plain = dataclasses.replace(specimen, shape=None)
    for draw, field in ((plots.receptive_fields, "matrix"), (plots.lateral_fields, "lateral")):
        shown = [axes.images[0].get_array() for axes in panels(draw(plain))]
        wanted = [getattr(e, field) for e in plain.entries if field == "matrix" or e.settles]
        for image, matrix in zip(shown, wanted, strict=True):
            np.testing.assert_array_equal(image, matrix)


def test_the_bound_is_dashed_the_distance_solid_and_the_tolerance_drawn(specimen):
    circuits = [entry for entry in specimen.entries if entry.settles]
    for axes, entry in zip(panels(plots.settling(specimen)), circuits, strict=True):
        dashed = [line.get_ydata() for line in axes.lines if line.get_linestyle() == "--"]
        solid = [line.get_ydata() for line in axes.lines if line.get_linestyle() == "-"]
        np.testing.assert_array_equal(dashed, entry.path_bound)
        np.testing.assert_array_equal(solid, entry.path_error)
        assert [set(line.get_ydata()) for line in axes.lines if line.get_linestyle() == ":"] == [{1e-6}]


def test_eigenvalues_lie_where_they_are_and_the_unstable_side_is_shaded(specimen):
    circuits = [entry for entry in specimen.entries if entry.settles]
    for axes, entry in zip(panels(plots.eigenvalues(specimen)), circuits, strict=True):
        points = axes.lines[0]
        np.testing.assert_array_equal(points.get_xdata() + 1j * points.get_ydata(), entry.eigenvalues)
        (shade,) = axes.patches
        assert shade.get_extents().transformed(axes.transData.inverted()).x1 == pytest.approx(0, abs=1e-9)
        assert axes.get_xlim()[0] < 0 < axes.get_xlim()[1]


def test_unstable_eigenvalues_stay_in_sight(specimen):
    values = specimen["R implicit"].eigenvalues.copy()
    values[0] = -3 + 0.5j
    axes = panels(plots.eigenvalues(replaced(specimen, "R implicit", eigenvalues=values)))[0]
    assert axes.get_xlim()[0] < -3


def test_a_cross_marks_where_learning_stopped(troubled, specimen):
    def crosses(comparison):
        lines = [line for axes in panels(plots.learning(comparison)) for line in axes.lines]
        return [line.get_color() for line in lines if line.get_marker() == "X"]

    assert crosses(specimen) == []
    assert crosses(troubled) == [mark("R implicit").color] * 2


def test_the_start_is_left_out_where_an_axis_is_logarithmic(specimen):
    for axes in panels(plots.learning(specimen)):
        curves = [line for line in axes.lines if line.get_color() in {look.color for look in MARKS.values()}]
        assert all(np.all(np.asarray(line.get_xdata()) > 0) for line in curves if len(line.get_xdata()) > 2)


def test_a_negative_margin_stays_in_sight(specimen):
    margins = np.array([1, 0.5, 0.1, -2.0, -4.0])
    right = panels(plots.learning(replaced(specimen, "M implicit", margins=margins)))[1]
    assert right.get_ylim()[0] < -4


def test_mismatch_shows_medians_and_puts_the_unstable_above_everything_finite(troubled):
    left, right = panels(plots.mismatch(troubled))
    medians = {bars.get_label(): bars.lines[0].get_ydata() for bars in left.containers}
    finite = np.concatenate([e.mismatch_error[np.isfinite(e.mismatch_error)] for e in troubled.entries])
    np.testing.assert_allclose(medians["R implicit"], np.median(troubled["R implicit"].mismatch_error, axis=1))
    assert medians["R congruent"][-1] > finite.max()
    assert left.get_yticklabels()[-1].get_text() == "unstable"
    shares = [line.get_ydata() for line in right.lines]
    np.testing.assert_allclose(shares, [[100, 100], [100, 100 / 3]])


def test_cost_shows_every_form_and_gives_a_matrix_no_settling_time(specimen):
    reached, time, work = panels(plots.cost(specimen))
    assert [label.get_text() for label in reached.get_yticklabels()] == [entry.name for entry in specimen.entries]
    points = {line.get_ydata()[0]: line.get_xdata() for line in work.lines}
    assert [points[3 - k][0] for k in range(4)] == [entry.operations for entry in specimen.entries]
    assert sorted(line.get_xdata()[0] for line in time.lines if len(line.get_xdata()) == 1) == [0, 0, 27.6, 27.6]


def test_drawing_leaves_matplotlib_as_it_was(specimen):
    before = dict(matplotlib.rcParams)
    plots.files.render(plots.lateral_fields(specimen), "png")
    assert dict(matplotlib.rcParams) == before


def test_figures_need_no_pyplot():
    code = "import sys, neurodecorr.plots; print('matplotlib.pyplot' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=600)
    assert done.stdout.strip() == "False"
