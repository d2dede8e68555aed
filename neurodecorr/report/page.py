"""One self-contained page: words, tables and figures, without scripts and without anything fetched from elsewhere."""

from __future__ import annotations

import base64
import dataclasses
import os
import re
import shlex
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from neurodecorr import plots
from neurodecorr._texts import printable
from neurodecorr._validation import choice, instance, mapping
from neurodecorr.comparison import Comparison
from neurodecorr.comparison.comparison import require_comparison
from neurodecorr.comparison.findings import findings
from neurodecorr.comparison.summary import TableBlock, blocks, failures, headline
from neurodecorr.export.budget import HardwareBudget
from neurodecorr.io.atomic import write_bytes, write_json, write_text
from neurodecorr.io.claims import Claim
from neurodecorr.io.provenance import run_id
from neurodecorr.report.captions import CAPTIONS, alternative
from neurodecorr.report.output_folder import claim_budget
from neurodecorr.report.tables import budget_answer, budget_notes, budget_tables


def page(comparison: Comparison, pictures: Mapping[str, bytes]) -> str:
    """Return the report as HTML; everything that came from outside is escaped.

    Parameters
    ----------
    comparison : Comparison
        What was found.
    pictures : mapping of str to bytes
        SVG figures by name, in the order of the page.

    Returns
    -------
    str
        A whole HTML document.
    """
    for name, picture in mapping(pictures, "pictures").items():
        choice(name, "each name of pictures", CAPTIONS)
        instance(picture, bytes, f"pictures[{name!r}]", "the bytes of an SVG figure")
    require_comparison(comparison)
    return render_page(
        "comparison.html",
        title=f"Decorrelation by a matrix and by a circuit: {comparison.dataset}",
        headline=headline(comparison),
        findings=findings(comparison),
        blocks=[_block(block) for block in blocks(comparison)],
        failures=failures(comparison),
        figures={name: _figure(name, svg, comparison) for name, svg in pictures.items()},
        **_reproduction(comparison),
    )


def render_page(template: str, **values: Any) -> str:
    """Return a template of this room filled with values.

    Every text is escaped, and what would act on a reader's screen, such as a mark of direction, is spelt out.

    Parameters
    ----------
    template : str
        Name of a file in `templates`.
    **values
        What its expressions name; all must be there.
    """
    style = Markup(files("neurodecorr.report").joinpath("templates/page.css").read_text("utf-8"))
    return _environment().get_template(template).render(style=style, **values)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("neurodecorr.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["equation"] = _equation
    return environment


def _printable(value: Any) -> Any:
    return value if isinstance(value, Markup) else printable(str(value))


def _equation(text: str) -> Markup:
    """Return an equation in which _{…} is low and ^{…} is high."""
    low = re.sub(r"_\{(.*?)\}", r"<sub>\1</sub>", str(escape(text)))
    return Markup(re.sub(r"\^\{(.*?)\}", r"<sup>\1</sup>", low))


def _block(block: TableBlock) -> dict[str, Any]:
    return {
        "title": block.title,
        "heads": ("form", *(column.head for column in block.columns)),
        "cells": [(name, *cells) for name, cells in block.rows],
        "legend": block.legend,
    }


def _figure(name: str, svg: bytes, comparison: Comparison) -> dict[str, Any]:
    return {"caption": CAPTIONS[name], "alternative": alternative(name, comparison), "svg": picture(svg)}


def picture(svg: bytes) -> str:
    """Return a figure as the data of an address in a page."""
    return base64.b64encode(svg).decode("ascii")


def _reproduction(comparison: Comparison) -> dict[str, Any]:
    """Return the command, the options and the provenance."""
    record = comparison.provenance
    versions = {name: version for name, version in sorted(record.get("versions", {}).items()) if version}
    seconds = record.get("wall_seconds")
    facts = {
        "seed": comparison.config.get("seed"),
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "git commit": record.get("git_commit"),
        "machine": _machine(record),
        "wall time": None if seconds is None else f"{seconds:.1f} s",
        "run": record.get("run_id"),
    }
    options = {name: value for name, value in sorted(comparison.config.items()) if name != "command"}
    return {
        "command": _command(comparison),
        "options": _facts(options),
        "provenance": _facts(facts),
        "version": record.get("versions", {}).get("neurodecorr"),
        "written": record.get("written_utc"),
    }


def _command(comparison: Comparison) -> str:
    """Return the command that was run; for a comparison made in Python, the call."""
    if "command" in comparison.config:
        return shlex.join(comparison.config["command"])
    names = ("rules", "rate", "schedule", "gain", "batch", "limit", "tol", "mismatch", "draws", "seed")
    options = "".join(f"\n    {name}={comparison.config[name]!r}," for name in names if name in comparison.config)
    return f"import neurodecorr as nd\n\nnd.compare(\n    dataset,  # {comparison.dataset}{options}\n)"


def _facts(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: _words(value) for name, value in values.items() if value is not None}


def _words(value: Any) -> str:
    if isinstance(value, str) or not isinstance(value, Iterable):
        return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    return ", ".join(map(str, value))


def _machine(record: Mapping[str, Any]) -> str:
    platform = record.get("platform", {})
    blas = ", ".join(f"{library['name']} {library['version']}" for library in record.get("blas", []))
    system = f"{platform.get('system')} {platform.get('machine')}"
    return f"{system}, {record.get('cpus')} processors, {blas or 'no BLAS found'}"


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
    drawn = plots.files.rendered(plots.monte_carlo.budget_panels(budget))
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
    needed, errors = budget_tables(budget)
    return render_page(
        "budget.html",
        title=f"Hardware budget of {budget.name}",
        asked=asked,
        answer=answer,
        needed=needed,
        errors=errors,
        svg=picture(svg),
        notes=[" ".join(note.split()) for note in budget_notes(budget)],
        source=budget.source,
    )


def _finite(value: object) -> object:
    """Return plain values in which infinity is spelt out, as JSON has none."""
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return "inf" if value == float("inf") else value
