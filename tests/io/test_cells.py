"""Cells of CSV files: numbers to the bit, texts that no spreadsheet runs."""

import csv
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurodecorr.experiments.sweep import write_csv
from neurodecorr.io.cells import csv_cell, csv_line, csv_text

FORMULAS = [
    "=1+1", "=cmd|' /C calc'!A0", "+A1", "-A1", "@SUM(1)", "\t=1", "\r=1", "\n=1", "  =1", "=A1,B1", '="x"', "＝1", "-",
]  # fmt: skip


@pytest.mark.parametrize("text", FORMULAS)
def test_no_text_reaches_a_spreadsheet_as_a_formula(text):
    ((cell, beside),) = csv.reader(io.StringIO(csv_line([text, 1])))
    assert cell.lstrip().startswith("'") and cell.lstrip()[1:].strip() == text.strip() and beside == "1"


@pytest.mark.parametrize("text", FORMULAS)
def test_every_writer_of_tables_escapes_names(text, tmp_path):
    path = write_csv(tmp_path / "t.csv", [{"curve": text, text: 1.0}])
    for written in (path.read_text(), csv_text([], ["curve", text], [[text, 1.0]])):
        for row in csv.reader(io.StringIO(written)):
            assert not any(cell.lstrip(" ").startswith(tuple("=+-@\t\r\n＝")) for cell in row)


def test_no_line_of_a_comment_begins_a_row():
    text = csv_text(["about\n=1+1\r=2"], ["a"], [["b"]])
    assert [line[0] for line in text.splitlines()] == ["#", "a", "b"]


@given(st.floats(allow_nan=False))
def test_numbers_come_back_to_the_bit(value):
    assert float(csv_cell(value)) == value == float(csv_cell(np.float64(value)))


@given(st.text(st.characters(exclude_characters="\0\r", exclude_categories=["Cs"])))
def test_texts_come_back_but_for_the_apostrophe(text):
    cells = next(csv.reader(io.StringIO(csv_line([text, "end"]), newline="")))
    assert cells in ([text, "end"], ["'" + text, "end"])


def test_numbers_written_as_texts_stay_numbers():
    assert [csv_cell(cell) for cell in ("-0.5", "+3", "-1e-3", -2, np.int64(-7), True)] == [
        "-0.5",
        "+3",
        "-1e-3",
        "-2",
        "-7",
        "True",
    ]
