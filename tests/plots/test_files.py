"""Figures as files."""

import pytest

from neurodecorr import plots
from neurodecorr.errors import CheckpointError


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_the_same_figure_gives_the_same_bytes(kind, specimen):
    first, second = (plots.files.render(plots.mismatch(specimen), kind) for _ in range(2))
    assert first == second


def test_an_svg_names_no_date(specimen):
    assert b"<dc:date>" not in plots.files.render(plots.cost(specimen), "svg")


def test_save_writes_a_vector_and_a_pixel_file(tmp_path, specimen):
    paths = plots.save(plots.cost(specimen), tmp_path / "new", "cost")
    assert [path.name for path in paths] == ["cost.svg", "cost.png"]
    assert paths[0].read_bytes().startswith(b"<?xml") and paths[1].read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["cost.png", "cost.svg"]


def test_save_says_why_a_folder_cannot_be_used(tmp_path, specimen):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(CheckpointError, match="file"):
        plots.save(plots.cost(specimen), tmp_path / "file", "cost")
    assert (tmp_path / "file").read_text() == "mine"
