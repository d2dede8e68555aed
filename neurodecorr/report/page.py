"""One self-contained page: words, tables and figures, without scripts and without anything fetched from elsewhere."""

from __future__ import annotations

import base64
import dataclasses
import os
import re
import shlex
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from neurodecorr import plots
from neurodecorr._texts import html_text as escape
from neurodecorr._validation import choice, instance, mapping
from neurodecorr.comparison import Block, Comparison, blocks, failures, headline
from neurodecorr.comparison.comparison import require_comparison
from neurodecorr.comparison.findings import findings
from neurodecorr.export.budget import HardwareBudget
from neurodecorr.io import Claim, run_id, write_bytes, write_json, write_text
from neurodecorr.report.captions import CAPTIONS, alternative
from neurodecorr.report.output_folder import claim_budget
from neurodecorr.report.tables import BudgetTable, budget_answer, budget_notes, budget_tables

# No script, no font, no picture from elsewhere: a browser enforces it.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


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
    title = f"Decorrelation by a matrix and by a circuit: {comparison.dataset}"
    body = [
        _header(comparison),
        _numbers(comparison),
        _section("Figures", *(_figure(name, svg, comparison) for name, svg in pictures.items())),
        _reproduction(comparison),
        _footer(comparison),
    ]
    style = files("neurodecorr.report").joinpath("page.css").read_text("utf-8")
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en-GB">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>",
            *body,
            "</body>\n</html>\n",
        ]
    )


def _header(comparison: Comparison) -> str:
    first, *others = findings(comparison)
    items = "\n".join(f"<li>{escape(sentence)}</li>" for sentence in others)
    return (
        "<header>\n<h1>Decorrelation by a matrix and by a circuit</h1>\n"
        f'<p class="quiet">{escape(headline(comparison))}</p>\n'
        f'<p class="lede">{escape(first)}</p>\n<ul>\n{items}\n</ul>\n</header>\n<main>'
    )


def _section(title: str, *parts: str) -> str:
    name = title.lower().replace(" ", "-")
    return (
        f'<section aria-labelledby="{name}">\n<h2 id="{name}">{escape(title)}</h2>\n'
        + "\n".join(parts)
        + "\n</section>"
    )


def _numbers(comparison: Comparison) -> str:
    notes = (f'<p class="quiet">{escape(note)}</p>' for note in failures(comparison))
    parts = (_table(block) for block in blocks(comparison))
    return _section("Numbers", *parts, *notes)


def _table(block: Block) -> str:
    heads = "".join(f'<th scope="col">{escape(column.head)}</th>' for column in block.columns)
    rows = "\n".join(
        f'<tr><th scope="row">{escape(name)}</th>' + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
        for name, cells in block.rows
    )
    terms = "\n".join(f"<dt>{escape(column.head)}</dt><dd>{escape(column.meaning)}</dd>" for column in block.legend)
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(block.title)}">\n<table>\n'
        f'<caption>{escape(block.title)}</caption>\n<thead><tr><th scope="col">form</th>{heads}</tr></thead>\n'
        f"<tbody>\n{rows}\n</tbody>\n</table>\n</div>\n<dl>\n{terms}\n</dl>"
    )


def _figure(name: str, svg: bytes, comparison: Comparison) -> str:
    # As a picture of its own the SVG keeps its names to itself, and nothing in it can run.
    caption, data = CAPTIONS[name], base64.b64encode(svg).decode("ascii")
    return (
        f'<figure id="{name}">\n<h3>{escape(caption.title)}</h3>\n'
        f'<img alt="{escape(alternative(name, comparison))}" src="data:image/svg+xml;base64,{data}">\n'
        f'<figcaption>{escape(caption.look)} <span class="equation">{_equation(caption.equation)} '
        f'<span class="source">({escape(caption.source)})</span></span></figcaption>\n</figure>'
    )


def _equation(text: str) -> str:
    """Return an equation in which _{…} is low and ^{…} is high."""
    low = re.sub(r"_\{(.*?)\}", r"<sub>\1</sub>", escape(text))
    return re.sub(r"\^\{(.*?)\}", r"<sup>\1</sup>", low)


def _reproduction(comparison: Comparison) -> str:
    record = comparison.provenance
    versions = {name: version for name, version in sorted(record.get("versions", {}).items()) if version}
    facts = {
        "seed": comparison.config.get("seed"),
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "git commit": record.get("git_commit"),
        "machine": _machine(record),
        "wall time": _seconds(record.get("wall_seconds")),
        "run": record.get("run_id"),
    }
    options = {name: value for name, value in sorted(comparison.config.items()) if name != "command"}
    return _section(
        "How to reproduce",
        f"<pre><code>{escape(_command(comparison))}</code></pre>",
        "<p>The same seed, versions and machine give the same numbers. Beside this page lie <code>result.npz</code> "
        "(every matrix and number), <code>traces.h5</code> (learning curves), each figure as SVG and PNG, and "
        "<code>manifest.json</code> (checksums).</p>",
        _facts("Options", options),
        _facts("Provenance", facts),
    )


def _command(comparison: Comparison) -> str:
    """Return the command that was run; for a comparison made in Python, the call."""
    if "command" in comparison.config:
        return shlex.join(comparison.config["command"])
    names = ("rules", "rate", "schedule", "gain", "batch", "limit", "tol", "mismatch", "draws", "seed")
    options = "".join(f"\n    {name}={comparison.config[name]!r}," for name in names if name in comparison.config)
    return f"import neurodecorr as nd\n\nnd.compare(\n    dataset,  # {comparison.dataset}{options}\n)"


def _facts(title: str, values: Mapping[str, Any]) -> str:
    rows = "\n".join(
        f'<tr><th scope="row">{escape(str(name))}</th><td>{escape(_words(value))}</td></tr>'
        for name, value in values.items()
        if value is not None
    )
    table = f'<table class="facts">\n<caption>{title}</caption>\n<tbody>\n{rows}\n</tbody>\n</table>'
    return f'<div class="scroll">{table}</div>'


def _words(value: Any) -> str:
    if isinstance(value, str) or not isinstance(value, Iterable):
        return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    return ", ".join(map(str, value))


def _machine(record: Mapping[str, Any]) -> str:
    platform = record.get("platform", {})
    blas = ", ".join(f"{library['name']} {library['version']}" for library in record.get("blas", []))
    system = f"{platform.get('system')} {platform.get('machine')}"
    return f"{system}, {record.get('cpus')} processors, {blas or 'no BLAS found'}"


def _seconds(value: float | None) -> str | None:
    return None if value is None else f"{value:.1f} s"


def _footer(comparison: Comparison) -> str:
    record = comparison.provenance
    version = record.get("versions", {}).get("neurodecorr")
    return (
        f"</main>\n<footer><p>neurodecorr {escape(str(version))}, {escape(str(record.get('written_utc')))}</p></footer>"
    )


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
    needed, errors = (_budget_table(table) for table in budget_tables(budget))
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


def _budget_table(table: BudgetTable) -> str:
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
