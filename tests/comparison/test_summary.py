"""The comparison as text."""

import dataclasses
import math

import numpy as np
import pytest

from neurodecorr.comparison import Comparison
from neurodecorr.comparison.summary import blocks, format_number
from neurodecorr.errors import CheckpointError
from neurodecorr.io import Result
from neurodecorr.report.tables import drawn, table_text


def cells(comparison, title, name):
    (block,) = [block for block in blocks(comparison) if block.title.startswith(title)]
    (row,) = [row for row_name, row in block.rows if row_name == name]
    return dict(zip([column.head for column in block.columns], row, strict=True))


def test_three_blocks_hold_every_form(specimen):
    names = [entry.name for entry in specimen.entries]
    assert [[name for name, _ in block.rows] for block in blocks(specimen)] == [names] * 3


def test_the_table_fits_a_hundred_columns(specimen, troubled):
    wide = [dataclasses.replace(e, operations=3e8, synapses=10**6, limited=123_456) for e in troubled.entries]
    for comparison in (specimen, troubled, dataclasses.replace(troubled, entries=tuple(wide))):
        assert max(map(len, table_text(comparison).splitlines())) <= 100


def test_columns_are_aligned_on_the_right(specimen):
    lines = table_text(specimen).splitlines()
    head = next(k for k, line in enumerate(lines) if line.startswith("form"))
    assert len({len(line) for line in (lines[head], *lines[head + 2 : head + 6])}) == 1


def test_every_column_is_explained_once(specimen):
    for block in blocks(specimen):
        assert {column.head for column in block.columns} == {column.head for column in block.legend}
        assert len(block.legend) == len(set(block.legend)) and all(column.meaning for column in block.legend)


def test_numbers_are_those_of_the_entries(specimen):
    entry = specimen["R implicit"]
    assert cells(specimen, "How well", "R implicit")["rms corr."] == f"{entry.correlation:#.3g}"
    fast = cells(specimen, "How fast", "R implicit")
    assert (fast["median τ"], fast["predicted"], fast["products"], fast["mult-adds"]) == ("27.6", "27.5", "21", "3,024")
    assert (fast["margin"], fast["lowest"]) == (f"{entry.margin:#.3g}", "0.300")
    assert cells(specimen, "What", "R implicit")["10 %"] == f"{np.median(entry.mismatch_error[1]):#.3g}"


def test_a_matrix_has_no_settling_time_and_the_reference_no_distance(specimen):
    fast = cells(specimen, "How fast", "M implicit")
    assert {fast["error"], fast["median τ"], fast["worst τ"]} == {"–"}
    assert cells(specimen, "How well", "M* offline")["to M*"] == "–"


def test_a_median_of_unstable_draws_reads_unstable(troubled):
    assert cells(troubled, "What", "R congruent") == {
        "1 %": format_number(float(np.median(troubled["R congruent"].mismatch_error[0]))),
        "settle": "2/6",
        "10 %": "unstable",
    }


def test_a_form_that_stopped_early_is_marked_and_its_message_told(troubled):
    text = table_text(troubled)
    assert "R implicit †" in text and "† R implicit stopped early; its numbers are those at sample 100." in text
    assert "Why: min Re λ(R) is -0.1 after sample 123." in " ".join(text.split()) and "M implicit †" not in text


def test_more_levels_than_fit_go_into_further_blocks(specimen):
    levels = np.array([0.01, 0.02, 0.03, 0.04, 0.05, 0.06])
    entries = [dataclasses.replace(e, mismatch_error=np.tile(e.mismatch_error[:1], (6, 1))) for e in specimen.entries]
    comparison = dataclasses.replace(specimen, mismatch_levels=levels, entries=tuple(entries))
    heads = [column.head for block in blocks(comparison)[2:] for column in block.columns if column.head != "settle"]
    assert heads == ["1 %", "2 %", "3 %", "4 %", "5 %", "6 %"]
    assert max(map(len, table_text(comparison).splitlines())) <= 100


def test_a_stream_that_was_repeated_says_how_often(specimen):
    assert "presented" not in table_text(specimen)
    entries = tuple(dataclasses.replace(entry, learnt=2500) for entry in specimen.entries)
    assert "1,000 samples to learn from (presented 2.5 times)" in table_text(
        dataclasses.replace(specimen, entries=entries)
    )


def test_a_name_cannot_command_the_terminal(specimen):
    assert "\x1b" not in table_text(dataclasses.replace(specimen, dataset="\x1b[2Jmine"))


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0.00"), (0.5, "0.500"), (133.4, "133"), (12_345.0, "12,345"), (1e-6, "1.00e-6"), (2.5e7, "2.50e7")],
)
def test_numbers_have_three_digits(value, text):
    assert format_number(value) == text


def test_what_is_no_number_is_said_in_words():
    assert (format_number(math.inf), format_number(math.nan)) == ("unstable", "–")


def test_a_comparison_comes_back_from_its_file_to_the_bit(tmp_path, troubled):
    troubled.to_result().save(tmp_path / "result.npz")
    again = Comparison.load(tmp_path)
    for mine, theirs in zip(troubled.entries, again.entries, strict=True):
        for field in dataclasses.fields(mine):
            np.testing.assert_array_equal(getattr(mine, field.name), getattr(theirs, field.name))
    assert (again.shape, again.config, again.dataset) == (troubled.shape, troubled.config, troubled.dataset)
    assert table_text(again) == table_text(troubled)


def test_a_comparison_of_another_version_is_refused_by_name(specimen):
    result = specimen.to_result()
    entries = [{k: v for k, v in e.items() if k != "predicted_time"} for e in result.meta["entries"]]
    with pytest.raises(CheckpointError, match=r"predicted_time.*Run it again"):
        Comparison.from_result(Result(result.arrays, {**result.meta, "entries": entries}))
    with pytest.raises(CheckpointError, match="not a comparison"):
        Comparison.from_result(Result({"M": np.eye(2)}, {"kind": "other"}))


@pytest.mark.parametrize("terminal", ["COLUMNS=20 FORCE_COLOR=1 TTY_COMPATIBLE=1", "TERM=dumb NO_COLOR=1"])
def test_a_table_is_plain_text_whatever_the_terminal(monkeypatch, specimen, terminal):
    plain = table_text(specimen)
    for setting in terminal.split():
        monkeypatch.setenv(*setting.split("="))
    assert table_text(specimen) == plain and plain.replace("\n", "").isprintable()


def test_a_table_neither_obeys_nor_cuts_what_stands_in_it():
    hostile = "[red]R[/red] :smile: \x1b[2J\u202e\nend " + "x" * 200
    head, rule, row = drawn("T [b]", ("form", "x̄ τ"), [(hostile, "1")]).splitlines()[1:]
    assert row.startswith("[red]R[/red] :smile: \\x1b[2J\\u202e\\x0aend xxx") and row.endswith(" 1")
    assert head.endswith(" x̄ τ")
    assert set(rule) == {"─"} and len(rule) == len(row)
