"""The hardware budget as one self-contained page."""

from __future__ import annotations

import base64
import dataclasses
import os
from importlib.resources import files
from pathlib import Path

from neurodecorr import plots
from neurodecorr._texts import html_text as escape
from neurodecorr.recording import Claim, run_id, write_bytes, write_json, write_text
from neurodecorr.report.page import POLICY
from neurodecorr.workbench.budget_table import BudgetTable, budget_answer, budget_notes, budget_tables
from neurodecorr.workbench.budgeting import HardwareBudget
from neurodecorr.workbench.claiming import claim_budget

__all__ = ["budget_page", "publish_budget"]

ALTERNATIVE = "Error of the output over mismatch and over bits: curves of the closed form, and chips."


def publish_budget(
    budget: HardwareBudget,
    folder: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    mine: Claim | None = None,
) -> Path:
    """Write budget.html, budget.svg, budget.png and budget.json into a folder, and return the path of the page.

    Parameters
    ----------
    budget : HardwareBudget
        The answers.
    folder : path-like
        Where to; made if missing.
    overwrite : bool, default False
        Whether another budget that is there may be replaced.
    mine : Claim, optional
        The claim to the folder, from `claim_budget`; by default it is made here, from the question.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    CheckpointError
        If the folder holds another budget or files of somebody else, or a file cannot be written.
    """
    place = Path(folder)
    facts = {name: _finite(value) for name, value in dataclasses.asdict(budget).items()}
    if mine is None:
        mine = claim_budget(place, {"answers": run_id(facts)}, run_id({"circuit": budget.name}), overwrite=overwrite)
    drawn = plots.rendered(plots.hardware_budget(budget))
    text = budget_page(budget, drawn["svg"])
    mine.begin()
    written = [write_bytes(place / f"budget.{kind}", content) for kind, content in drawn.items()]
    written.append(write_json(place / "budget.json", {"schema": "neurodecorr-budget", "version": 1, **facts}))
    written.append(write_text(place / "budget.html", text))
    mine.finish(written)
    return place / "budget.html"


def budget_page(budget: HardwareBudget, svg: bytes) -> str:
    """Return the page as HTML; everything that came from outside is escaped.

    Parameters
    ----------
    budget : HardwareBudget
        The answers.
    svg : bytes
        The figure.

    Returns
    -------
    str
        A whole HTML document, without scripts.
    """
    asked, answer = budget_answer(budget)
    style = files("neurodecorr.report").joinpath("page.css").read_text("utf-8")
    needed, errors = (_table(table) for table in budget_tables(budget))
    notes = "\n".join(f"<li>{escape(' '.join(note.split()))}</li>" for note in budget_notes(budget))
    picture = base64.b64encode(svg).decode("ascii")
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en-GB">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            f"<title>Hardware budget of {escape(budget.name)}</title>\n<style>\n{style}</style>\n</head>\n<body>",
            f'<header>\n<h1>Hardware budget</h1>\n<p class="quiet">{escape(asked)}</p>',
            f'<p class="lede">{escape(answer)}</p>\n</header>\n<main>',
            needed,
            f'<figure><img alt="{ALTERNATIVE}" src="data:image/svg+xml;base64,{picture}"></figure>',
            errors,
            f'<ul class="quiet">\n{notes}\n</ul>\n</main>',
            f"<footer><p>{escape(budget.source)}</p></footer>\n</body>\n</html>\n",
        ]
    )


def _table(table: BudgetTable) -> str:
    heads = "".join(f'<th scope="col">{escape(head)}</th>' for head in table.heads)
    rows = "\n".join(
        f'<tr><th scope="row">{escape(name)}</th>' + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
        for name, *cells in table.rows
    )
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(table.title)}">\n<table>\n'
        f"<caption>{escape(table.title)}</caption>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n"
        "</table>\n</div>"
    )


def _finite(value: object) -> object:
    """Return plain values in which infinity is spelt out, as JSON has none."""
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return "inf" if value == float("inf") else value
