"""Tables in plain text: a comparison, a hardware budget, a training run."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO

from rich.box import Box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from neurodecorr._texts import one_line, printable
from neurodecorr.comparison import Comparison
from neurodecorr.comparison.summary import TableBlock, blocks, failures, format_number, headline
from neurodecorr.export.budget import BIAS_A, MOST_CHIPS, SUPPLY_V, BudgetCell, HardwareBudget, Needs

WIDTH = 100  # columns of the terminal
# A rule below the heads, and nothing else.
RULED = Box("    \n    \n ── \n    \n    \n    \n    \n    \n")
PREFIXES = ((1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"), (1e-12, "p"), (1e-15, "f"))


@dataclass(frozen=True)
class BudgetTable:
    """Table of a hardware budget: explanation, heads, and rows of cells."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def table_text(comparison: Comparison) -> str:
    """Return the comparison as plain text, at most 100 columns wide.

    Parameters
    ----------
    comparison : Comparison
        What was found.

    Returns
    -------
    str
        A headline, blocks with their explanations (a further one with several seeds), and the messages of forms that
        stopped early.
    """
    parts = [textwrap.fill(headline(comparison), WIDTH)]
    for block in blocks(comparison):
        heads = ("form", *(column.head for column in block.columns))
        table = drawn(block.title, heads, [(name, *cells) for name, cells in block.rows])
        parts.append(f"{table}\n{_legend(block)}")
    parts += [textwrap.fill(note, WIDTH, subsequent_indent="  ") for note in failures(comparison)]
    return "\n\n".join(parts) + "\n"


def drawn(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a table as plain text: a title, heads, a rule and rows, numbers on the right.

    Nothing is wrapped or cut, whatever takes the text; columns stand one blank apart where two do not fit.

    Parameters
    ----------
    title : str
        A line.
    heads : sequence of str
        One per column.
    rows : sequence of sequence of str
        Cells. Marks of a console in them are text, and so is what a terminal would obey.

    Returns
    -------
    str
        Lines without blanks at their ends.
    """
    texts = [[display_text(cell) for cell in row] for row in (heads, *rows)]
    width = sum(max(map(cell_len, column)) for column in zip(*texts, strict=True))
    gap = 2 if width + 2 * (len(heads) - 1) <= WIDTH else 1
    table = Table(box=RULED, show_edge=False, pad_edge=False, padding=(0, 0, 0, gap - 1))
    for k, head in enumerate(texts[0]):
        table.add_column(Text(head), justify="right" if k else "left", no_wrap=True)
    for row in texts[1:]:
        table.add_row(*map(Text, row))
    lines = _lines(table, width + gap * len(heads))
    return "\n".join([title, *lines])


def _legend(block: TableBlock) -> str:
    """Return a line for each column that says what it is."""
    table = Table.grid(padding=(0, 2, 0, 0))
    for column in block.legend:
        table.add_row(Text(f"  {column.head}"), Text(column.meaning))
    return "\n".join(_lines(table, 2 * WIDTH))


def _lines(table: Table, width: int) -> list[str]:
    """Return what a console of this width would show, in letters alone: no colour, no code."""
    console = Console(file=StringIO(), width=width, force_terminal=False, color_system=None, legacy_windows=False)
    with console.capture() as capture:
        console.print(table, soft_wrap=True)
    return [line.rstrip() for line in capture.get().splitlines()]


def budget_text(budget: HardwareBudget) -> str:
    """Return the budget as plain text, at most 100 columns wide.

    Parameters
    ----------
    budget : HardwareBudget
        The answers.

    Returns
    -------
    str
        The answer in words, two tables, and what their words mean.
    """
    parts = [textwrap.fill(sentence, WIDTH) for sentence in budget_answer(budget)]
    parts += [drawn(table.title, table.heads, table.rows) for table in budget_tables(budget)]
    parts.append("\n".join(textwrap.fill(note, WIDTH, subsequent_indent="  ") for note in budget_notes(budget)))
    return "\n\n".join(parts) + "\n"


def budget_answer(budget: HardwareBudget) -> tuple[str, ...]:
    """Return question and answer of a hardware budget, one paragraph each.

    Parameters
    ----------
    budget : HardwareBudget
        The answers.

    Returns
    -------
    tuple of str
        Plain text.
    """
    needs, last, tau = budget.together["closed"], budget.rows[-1].closed, budget.tau_s
    bits = "more than 24 bits" if needs.bits is None else f"{needs.bits} bits"
    n = budget.units
    devices = f"{2 * n * n:,} devices in pairs" if budget.sides == "two" else f"{n * n + n:,} devices with references"
    asked = (
        f"{one_line(budget.name)}: {n} units, {devices}, min Re λ(R) = {format_number(budget.margin)} "
        f"per τ, τ = {si(tau, 's')}. Errors are rms over outputs and inputs, relative to the output."
    )
    answer = (
        f"For an error of {_percent(budget.wanted)} the circuit R needs devices of {bits} with a mismatch of at most "
        f"{_percent(needs.mismatch)}, amplifiers with a gain of {needs.gain:,.0f}, {si(budget.bandwidth_hz, 'Hz')} and "
        f"offsets of {si(needs.offset_v, 'V')}; it settles in {format_number(budget.waiting.modal)} τ = "
        f"{si(budget.waiting.modal * tau, 's')}. Of {last.chips} chips built so, {last.chips - last.unstable} settle; "
        f"their median error is {_percent(last.median)}."
    )
    return asked, answer


def budget_tables(budget: HardwareBudget) -> tuple[BudgetTable, BudgetTable]:
    """Return the tables of requirements and of the errors of each imperfection.

    Parameters
    ----------
    budget : HardwareBudget
        The answers.

    Returns
    -------
    tuple of two BudgetTable
        Cells are texts of sensible precision.
    """
    kinds = [needs[form] for form in ("closed", "open") for needs in (budget.alone, budget.together)]
    wanted, tau = _percent(budget.wanted), budget.tau_s
    waiting = budget.waiting
    needed = BudgetTable(
        f"What an error of {wanted} takes",
        ("", "R: alone", "together", "M: alone", "together"),
        (
            ("bits of a device, at least", *(_bits(needs) for needs in kinds)),
            ("mismatch of devices, at most", *(_percent(needs.mismatch) for needs in kinds)),
            ("gain of amplifiers, at least", *(f"{needs.gain:,.0f}" for needs in kinds)),
            ("offset of amplifiers, at most", *(si(needs.offset_v, "V") for needs in kinds)),
            (f"time to settle to {wanted}", si(waiting.modal * tau, "s"), "", si(budget.open_s, "s"), ""),
            ("  no input takes longer than", si(waiting.worst * tau, "s"), "", "", ""),
            ("bandwidth of amplifiers, about", si(budget.bandwidth_hz, "Hz"), "", si(budget.bandwidth_hz, "Hz"), ""),
            ("energy for one input, about", si(budget.joules["closed"], "J"), "", si(budget.joules["open"], "J"), ""),
        ),
    )
    errors = BudgetTable(
        f"What error imperfections make, in closed form and on {budget.chips} chips",
        (
            "",
            "R: formula",
            "median",
            f"{MOST_CHIPS} % below",
            "unstable",
            "M: formula",
            "median",
            f"{MOST_CHIPS} % below",
        ),
        tuple((row.label, *_cells(row.closed), *_cells(row.open)[:3]) for row in budget.rows),
    )
    return needed, errors


def budget_notes(budget: HardwareBudget) -> tuple[str, ...]:
    """Return the explanations of the words in the tables.

    Parameters
    ----------
    budget : HardwareBudget
        The answers.

    Returns
    -------
    tuple of str
        Plain text.
    """
    volts = si(budget.volts_per_unit, "V")
    notes = [
        "R: closed loop, τ dx̄/dt = x − R x̄. M: open loop, x̄ = M x, on the same devices and amplifiers.",
        "alone: as the only imperfection. together: bits, mismatch, gain and offset each take half of the error.",
        f"all together: devices and amplifiers just as good as “together” says. One unit of x̄ is {volts}.",
        "bandwidth: keeps nine tenths of min Re λ(R); M gets the same amplifiers.",
        f"energy: heat in the conductances, and {2 * budget.units} amplifiers of {si(BIAS_A, 'A')} at {SUPPLY_V:g} V; "
        "no converters.",
        f"inputs: {one_line(budget.samples)}." if budget.samples else "",
    ]
    if not all(cell.holds for row in budget.rows for cell in (row.closed, row.open)):
        notes.append(
            "*: outside the range of the formula, the second order in errors that look random: R is near singularity, "
            "or most weights are smaller than half a level. Trust the chips."
        )
    return tuple(note for note in notes if note)


def si(value: float, unit: str) -> str:
    """Format a number with three digits and an SI prefix.

    Parameters
    ----------
    value : float
        ≥ 0, in the unit.
    unit : str
        "s", "V", "Hz", …

    Returns
    -------
    str

    Examples
    --------
    >>> si(1.4e-6, "s"), si(2.5e8, "Hz"), si(0.0, "s")
    ('1.4 µs', '250 MHz', '0 s')
    """
    if value == 0 or value != value or value == float("inf"):
        return f"{value:g} {unit}"
    for factor, prefix in (*((1e9, "G"), (1e6, "M"), (1e3, "k")), *PREFIXES):
        if value >= 0.9995 * factor:
            return f"{value / factor:.3g} {prefix}{unit}"
    return f"{value:.3g} {unit}"


def _cells(cell: BudgetCell) -> tuple[str, str, str, str]:
    mark = "" if cell.holds else "*"
    share = f"{cell.unstable}/{cell.chips}"
    if cell.chips == 1:
        return _percent(cell.predicted) + mark, _percent(cell.median), "", share
    return _percent(cell.predicted) + mark, _percent(cell.median), _percent(cell.most), share


def _bits(needs: Needs) -> str:
    return "> 24" if needs.bits is None else str(needs.bits)


def display_text(cell: str) -> str:
    """Return a cell as one line of harmless text; blanks at its beginning indent it."""
    return printable(cell, keep="")


def _percent(value: float) -> str:
    """Return a share in per cent, two or three digits."""
    if value == float("inf"):
        return "unstable"
    return f"{100 * value:.3g} %"
