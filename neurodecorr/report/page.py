"""One self-contained page: words, tables and figures, without scripts and without anything fetched from elsewhere."""

from __future__ import annotations

import base64
import dataclasses
import os
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from neurodecorr import plots
from neurodecorr._texts import printable_unless_markup
from neurodecorr._validation import choice, instance, mapping
from neurodecorr.comparison import Comparison
from neurodecorr.comparison.comparison import require_comparison
from neurodecorr.comparison.summary import TableBlock, blocks, failures, findings, format_number, headline
from neurodecorr.export.budget import HardwareBudget
from neurodecorr.io.atomic import write_bytes, write_json, write_text
from neurodecorr.io.claims import Claim, claim
from neurodecorr.io.manifest import content_hash, read_manifest
from neurodecorr.io.provenance import run_id
from neurodecorr.report.tables import budget_answer, budget_notes, budget_tables

PAPER = "Correlations are ruining your gradient descent"


@dataclass(frozen=True)
class Caption:
    """Title and text of one figure; `shows` is the text for those who cannot see it."""

    title: str
    look: str
    equation: str
    source: str
    shows: str


CAPTIONS = {
    "correlations": Caption(
        "Correlations before and after",
        "Every panel shares one colour scale. A decorrelated output leaves nothing but the diagonal; the rms value "
        "above each panel leaves the diagonal out.",
        "ρᵢⱼ = Cᵢⱼ / √(Cᵢᵢ Cⱼⱼ),   C = ⟨x̄ x̄ᵀ⟩",
        f"{PAPER}, §3.2",
        "Heat maps of the correlation coefficients between all pairs of units, for the input and for each form's "
        "output.",
    ),
    "cost": Caption(
        "What is left, and what it takes",
        "All forms are judged alike; correlations in a shaded region may be scatter of the held-out samples, and a "
        "line through a marker spans all seeds. A matrix answers in one product, so its settling time is zero; "
        "the line from a circuit's marker ends at its slowest sample.",
        "τ dx̄/dt = x − R x̄,   at rest x̄ = R⁻¹x = M x",
        f"{PAPER}, §3.2",
        "Three dot plots over the list of forms: rms correlation left, settling time in τ, multiply-adds per sample.",
    ),
    "spectra": Caption(
        "Eigenvalues of the covariance",
        "Decorrelation flattens the spectrum. With one gain per unit, each unit keeps its own power, so the "
        "output's spectrum is as flat as the units' powers are equal; with one gain per layer it is flat but for "
        "noise.",
        "C vₖ = λₖ vₖ,   at rest C = diag(⟨x²⟩) (gain per unit) or γ I (gain per layer)",
        f"{PAPER}, §3.2 and Algorithm 1",
        "Eigenvalues against rank on logarithmic axes, for the input and each output; at the right the outputs "
        "magnified.",
    ),
    "receptive_fields": Caption(
        "Receptive fields: rows of M",
        "Each small picture is what one output unit reads from the input. Look for a centre with a surround of "
        "opposite sign: it subtracts what the neighbours predict. Inputs that are no images are drawn as whole "
        "matrices.",
        "x̄ᵢ = Σⱼ Mᵢⱼ (xⱼ − μⱼ)",
        f"{PAPER}, §3.2",
        "For each form, a grid of receptive fields, or the matrix M as a heat map.",
    ),
    "lateral_fields": Caption(
        "Lateral fields: columns of R",
        "Each small picture is what one unit sends to all others. Positive weights inhibit: each unit is held down "
        "by what the others already say.",
        "ΔRᵢⱼ = η (R x̄)ᵢ x̄ⱼ  (local rule: total lateral drive × presynaptic activity)",
        f"{PAPER}, §3.2 and Appendix D",
        "For each circuit, a grid of lateral fields, or the matrix R as a heat map.",
    ),
    "learning": Caption(
        "Correlation and stability while learning",
        "Broad lines are matrices, thin lines the circuits that are their twins: where they coincide, the two rules"
        " are one. In the shaded region a circuit would not settle. A cross marks where learning was stopped.",
        "M ← (I + η x̄x̄ᵀ)⁻¹ M   ⇔   R ← R + η (R x̄)x̄ᵀ;   stable iff min Re λ(R) > 0",
        f"after {PAPER}, Appendix D",
        "Two panels over the samples learnt from, logarithmic: rms correlation, and the smallest real part of R's "
        "eigenvalues with the stability line at zero.",
    ),
    "eigenvalues": Caption(
        "Eigenvalues of R",
        "The slowest mode is the point nearest to the stability line Re λ = 0: it decays with time constant τ/Re λ."
        " Points off the real axis oscillate while they settle. Beyond the first tick the real axis is logarithmic.",
        "x̄(t) − x̄* = e^{−R t/τ} (x̄(0) − x̄*)",
        f"{PAPER}, §3.2",
        "For each circuit, the eigenvalues of R in the complex plane with the unstable half-plane shaded.",
    ),
    "settling": Caption(
        "Trajectories to the fixed point",
        "The dashed bound needs only what the circuit can measure, its own residual. It never lies below the true "
        "distance; a sample counts as settled where the bound meets the dotted tolerance.",
        "‖x̄ − x̄*‖ ≤ ‖x − R x̄‖ / σ_{min}(R)",
        "exact for a linear circuit",
        "For each circuit, distance to the fixed point of some held-out samples against time in τ, on a logarithmic"
        " axis, with the certified bound and the tolerance.",
    ),
    "mismatch": Caption(
        "Synaptic mismatch",
        "Every synapse is off by a random factor, the same for all forms. Markers are medians, bars reach from the "
        "best to the worst draw. A mismatched matrix is only inaccurate; a mismatched circuit can lose stability.",
        "Wᵢⱼ ← Wᵢⱼ (1 + σ ξᵢⱼ),   ξᵢⱼ ~ N(0, 1),   W = M or R",
        "model of device mismatch",
        "Left, relative output error against mismatch in per cent, median and range over draws; right, the share of"
        " mismatched circuits that still settle.",
    ),
}


def alternative(name: str, comparison: Comparison) -> str:
    """Return the text alternative of a figure, with its main numbers."""
    shows = CAPTIONS[name].shows
    if name in ("correlations", "cost", "learning"):
        rms = ", ".join(f"{entry.name} {format_number(entry.correlation)}" for entry in comparison.entries)
        return f"{shows} Rms correlation: input {format_number(comparison.correlation)}, {rms}."
    if name in ("eigenvalues", "settling"):
        circuits = [entry for entry in comparison.entries if entry.settles]
        facts = ", ".join(
            f"{entry.name} min Re λ {format_number(entry.margin)}, "
            f"median settling time {format_number(entry.settling_time)} τ"
            for entry in circuits
        )
        return f"{shows} {facts}."
    return f"{shows} The numbers are in the tables."


KIND = "comparison"
# Spelt out here, as they must be known before the figures' library is loaded; a test compares them with the figures.
_FIGURES = (
    "correlations",
    "cost",
    "spectra",
    "receptive_fields",
    "lateral_fields",
    "learning",
    "eigenvalues",
    "settling",
    "mismatch",
)
FILES = ("report.html", "result.npz", "traces.h5", *(f"{name}.{kind}" for name in _FIGURES for kind in ("svg", "png")))
BUDGET_FILES = ("budget.html", "budget.json", "budget.svg", "budget.png")


def claim_folder(folder: str | os.PathLike[str], settings: Mapping[str, Any], *, overwrite: bool = False) -> Claim:
    """Claim a folder for a comparison; see `io.claim`.

    Parameters
    ----------
    folder : path-like
        Where to write.
    settings : mapping
        What decides the numbers.
    overwrite : bool, default False
        Whether another run that is there may be replaced.

    Returns
    -------
    Claim
        Its state says whether this very comparison is there already.

    Raises
    ------
    CheckpointError
        If the folder cannot be written, or holds what would be replaced.
    """
    return claim(folder, KIND, settings, makes=FILES, overwrite=overwrite)


def claim_budget(
    folder: str | os.PathLike[str], settings: Mapping[str, Any], source: str, *, overwrite: bool = False
) -> Claim:
    """Claim a folder for a hardware budget, in the folder of its run or elsewhere.

    Parameters
    ----------
    folder : path-like
        Where to write.
    settings : mapping
        What was asked.
    source : str
        From `source_of`: when that run is replaced, its budget goes, too.
    overwrite : bool, default False
        Whether another budget may be replaced.

    Returns
    -------
    Claim
        Its state says whether this very budget is there already.

    Raises
    ------
    CheckpointError
        As `claim_folder`.
    """
    return claim(folder, "budget", settings, makes=BUDGET_FILES, source=source, overwrite=overwrite)


def source_of(folder: str | os.PathLike[str]) -> str:
    """Return the identity of the run in a folder, or a hash of its files if it has no manifest.

    Parameters
    ----------
    folder : path-like
        The folder of a run, or a file of it.

    Returns
    -------
    str
        Names the run as a source of what is made from it.

    Raises
    ------
    CheckpointError, InputError
        If the manifest is damaged, or there is nothing to hash.
    """
    given = Path(folder)
    place = given if given.is_dir() else given.parent
    known = [run for run in read_manifest(place) if run.source is None]
    if known and known[0].identity:
        return known[0].identity
    whole = [place / name for name in ("result.npz", "checkpoint.npz") if (place / name).is_file()]
    return content_hash(given if given.is_file() else whole[0] if whole else given)


def page(comparison: Comparison, pictures: Mapping[str, bytes]) -> str:
    """Return the report as HTML, with every text from outside escaped.

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
        finalize=printable_unless_markup,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["equation"] = _equation
    return environment


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
    """Return a figure as a data address for a page."""
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
    drawn = plots.files.rendered(plots.hardware.budget_panels(budget))
    text = budget_page(budget, drawn["svg"])
    mine.begin()
    written = [write_bytes(place / f"budget.{kind}", content) for kind, content in drawn.items()]
    written.append(write_json(place / "budget.json", {"schema": "neurodecorr-budget", "version": 1, **facts}))
    written.append(write_text(place / "budget.html", text))
    mine.finish(written)
    return place / "budget.html"


def budget_page(budget: HardwareBudget, svg: bytes) -> str:
    """Return the page of a hardware budget as HTML, with every text from outside escaped.

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
