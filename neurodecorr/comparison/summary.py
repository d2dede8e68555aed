"""The comparison in words and numbers: findings in sentences, blocks of texts, each column explained in one line."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr._texts import short_repr
from neurodecorr._validation import count, number
from neurodecorr.comparison.comparison import SPREAD, Comparison, Entry, interval, require_comparison

LEVELS = 4  # levels of mismatch side by side
NONE = "–"
FAILED = " †"


@short_repr
@dataclass(frozen=True)
class TableColumn:
    """Column of a table: its head, and one line that explains it."""

    head: str
    meaning: str


@short_repr
@dataclass(frozen=True)
class TableBlock:
    """Table with a title, columns, and one row per form."""

    title: str
    columns: tuple[TableColumn, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def legend(self) -> tuple[TableColumn, ...]:
        """Every column once; what several have in common comes last."""
        return tuple(dict.fromkeys(reversed(self.columns)))[::-1]


def headline(comparison: Comparison) -> str:
    """Describe in two sentences the compared inputs and how correlated they were.

    Parameters
    ----------
    comparison : Comparison
        What was found.

    Returns
    -------
    str
        Plain text; of the data's name only printable characters are kept.
    """
    require_comparison(comparison)
    # The name may be that of a user's file; what a terminal would obey is not shown.
    name = "".join(character if character.isprintable() else "�" for character in comparison.dataset)
    stream = f"{comparison.config['samples']:,} samples to learn from{_repeats(comparison)}"
    split = f", held out {comparison.config['split']}" if "split" in comparison.config else ""
    seeds = "" if comparison.seeds is None else f" Shown is seed {comparison.seeds[0]}, one of {len(comparison.seeds)}."
    return (
        f"{name}: {comparison.features} units{_left_out(comparison)}, {stream}{split}. {judged(comparison)} "
        f"Before: rms correlation {format_number(comparison.correlation)}, "
        f"‖off‖/‖diag‖ {format_number(comparison.relative)}.{seeds}"
    )


def judged(comparison: Comparison) -> str:
    """Describe the held-out samples and the correlation that chance alone leaves.

    Parameters
    ----------
    comparison : Comparison
        What was found.

    Returns
    -------
    str
        One sentence.
    """
    require_comparison(comparison)
    if comparison.exact:
        return f"Judged by the exact covariance of {comparison.config.get('judged_on', 'what was held out')}."
    return (
        f"Judged on {comparison.held_out:,} held-out samples: independent units would show a correlation of "
        f"{format_number(comparison.scatter)} (1/√n), differences below it are scatter."
    )


def _left_out(comparison: Comparison) -> str:
    """Return a sentence with the number of units that carry no signal of their own."""
    parts = []
    for name, words in (("silent", "silent"), ("dependent", "following from others")):
        units = comparison.config.get(name) or []
        if units:
            few = f" ({', '.join(map(str, units))})" if len(units) <= 4 else ""
            parts.append(f"{len(units)} {words}{few}")
    return f" ({' and '.join(parts)}, left out of correlations)" if parts else ""


def _repeats(comparison: Comparison) -> str:
    """Return a sentence with the number of times that a short stream was presented."""
    times = max(entry.learnt for entry in comparison.entries) / comparison.config["samples"]
    return f" (presented {times:.3g} times)" if times > 1 else ""


def failures(comparison: Comparison) -> tuple[str, ...]:
    """Return one note per form that stopped before the end of the stream.

    Parameters
    ----------
    comparison : Comparison
        What was found.

    Returns
    -------
    tuple of str
        Plain text: the form, the sample its numbers belong to, and the message of the error.
    """
    require_comparison(comparison)
    return tuple(
        f"† {entry.name} stopped early; its numbers are those at sample {entry.learnt:,}. Why: {entry.failure}"
        for entry in comparison.entries
        if entry.failure
    )


def blocks(comparison: Comparison) -> tuple[TableBlock, ...]:
    """Return the tables of a comparison: quality of each form, its cost, and its error under mismatch.

    Parameters
    ----------
    comparison : Comparison
        What was found.

    Returns
    -------
    tuple of TableBlock
        Cells are texts of sensible precision; "unstable" where a circuit does not settle, "–" where a form has no such
        number.
    """
    require_comparison(comparison)
    levels = range(len(comparison.mismatch_levels))
    return (
        *_seeds_block(comparison),
        _block("How well it decorrelates what was held out", QUALITY, comparison),
        _block("How fast, how stable, at what cost", COST, comparison),
        *(_mismatch_block(comparison, levels[first : first + LEVELS]) for first in levels[::LEVELS]),
    )


def format_number(value: float, digits: int = 3) -> str:
    """Return a number with this many significant digits; "unstable" for ∞, "–" for NaN.

    Parameters
    ----------
    value : float
        The number.
    digits : int, default 3
        Significant digits. Whole numbers with more digits are kept whole up to a million.

    Returns
    -------
    str
        Powers of ten from a million on and below a thousandth.

    Examples
    --------
    >>> format_number(0.01899), format_number(138.28), format_number(8.2e-14, 2), format_number(math.inf)
    ('0.0190', '138', '8.2e-14', 'unstable')
    """
    if type(digits) is not int or not 1 <= digits <= 17:
        digits = count(digits, "digits", most=17)
    if not isinstance(value, float | np.floating):  # those may be no finite numbers
        value = number(value, "value")
    if math.isnan(value):
        return NONE
    if math.isinf(value):
        return "unstable"
    if value != 0 and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.{digits - 1}e}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")
    return f"{value:#.{digits}g}".rstrip(".") if abs(value) < 10**digits else f"{value:,.0f}"


def _count(value: float) -> str:
    return f"{value:,.0f}" if abs(value) < 1e7 else format_number(value)


def _settled(read: Callable[[Entry], str]) -> Callable[[Entry], str]:
    """Show a number of circuits only: a matrix answers at once."""
    return lambda entry: read(entry) if entry.settles else NONE


def _lowest(entry: Entry) -> str:
    return format_number(float(entry.margins.min())) if len(entry.margins) else NONE


QUALITY = (
    (
        TableColumn("rms corr.", "root mean square correlation coefficient between units"),
        lambda e: format_number(e.correlation),
    ),
    (
        TableColumn("‖off‖/‖diag‖", "covariance: size off the diagonal over size on it"),
        lambda e: format_number(e.relative),
    ),
    (TableColumn("power", "variance of the output over that of the input"), lambda e: f"{e.power:.3f}"),
    (
        TableColumn("to M*", "rms distance of the output from that of the closed form, relative to it"),
        lambda e: NONE if e.form == "offline" else format_number(e.distance),
    ),
    (
        TableColumn("‖RM−I‖/√n", "how far R and M are from being each other's inverse"),
        lambda e: format_number(e.twin_error, 2),
    ),
    (
        TableColumn("limited", "learning steps shortened by the limiter"),
        lambda e: NONE if e.form == "offline" else _count(e.limited),
    ),
)
COST = (
    (
        TableColumn("error", "worst certified distance to the fixed point, relative to the output"),
        _settled(lambda e: format_number(e.settling_error)),
    ),
    (
        TableColumn("median τ", "settling time, median over samples, in τ"),
        _settled(lambda e: format_number(e.settling_time)),
    ),
    (
        TableColumn("predicted", "the median, predicted from the modes of R"),
        _settled(lambda e: format_number(e.predicted_time)),
    ),
    (
        TableColumn("worst τ", "settling time, slowest sample, in τ"),
        _settled(lambda e: format_number(e.settling_time_worst)),
    ),
    (
        TableColumn("products", "matrix–vector products per sample (Chebyshev-scheduled; counted up to 5,000)"),
        lambda e: _count(e.products),
    ),
    (TableColumn("mult-adds", "multiply-adds per sample"), lambda e: _count(e.operations)),
    (TableColumn("synapses", "weights to store"), lambda e: _count(e.synapses)),
    (
        TableColumn("margin", "min Re λ(R) at the end, in 1/τ; of R = M⁻¹ for a matrix"),
        lambda e: format_number(e.margin),
    ),
    (TableColumn("lowest", "smallest min Re λ(R) met while learning, in 1/τ"), _lowest),
)


# Of a block over seeds: name in SPREAD, column, and whether only circuits have it.
SEEDS = (
    (
        "correlation",
        TableColumn("rms corr.", "root mean square correlation coefficient between units, held out"),
        False,
    ),
    ("power", TableColumn("power", "variance of the output over that of the input"), False),
    ("settling_time", TableColumn("median τ", "settling time, median over samples, in τ"), True),
    ("lowest", TableColumn("lowest", "smallest min Re λ(R) met while learning, in 1/τ"), False),
    (
        "mismatched",
        TableColumn("mismatch", "relative output error at the largest mismatch, median of the draws"),
        False,
    ),
)


def _block(
    title: str, columns: tuple[tuple[TableColumn, Callable[[Entry], str]], ...], comparison: Comparison
) -> TableBlock:
    rows = tuple((_name(entry), tuple(read(entry) for _, read in columns)) for entry in comparison.entries)
    return TableBlock(title, tuple(column for column, _ in columns), rows)


def _seeds_block(comparison: Comparison) -> Iterator[TableBlock]:
    """Return mean and standard deviation over the seeds, if there are several."""
    if comparison.seeds is None:
        return
    rows = []
    for entry in comparison.entries:
        values = dict(zip(SPREAD, np.empty((0, 0)) if entry.over_seeds is None else entry.over_seeds.T, strict=False))
        cells = (
            _over(values[name]) if name in values and (entry.settles or not circuits) else NONE
            for name, _, circuits in SEEDS
        )
        rows.append((_name(entry), tuple(cells)))
    before = "" if comparison.before_over_seeds is None else f"; before: {_over(comparison.before_over_seeds)}"
    count = len(comparison.seeds)
    yield TableBlock(
        f"Over {count} seeds: mean ± standard deviation{before}", tuple(c for _, c, _ in SEEDS), tuple(rows)
    )


def _over(values: npt.NDArray[np.floating[Any]]) -> str:
    mean, deviation = interval(values)
    if not np.isfinite(mean):
        return f"unstable in {int((~np.isfinite(values)).sum())}"
    return f"{format_number(mean)} ± {format_number(deviation, 2)}"


def _mismatch_block(comparison: Comparison, chosen: range) -> TableBlock:
    """Return the median error and the share of stable draws, for some of the levels."""
    draws = comparison.entries[0].mismatch_error.shape[1]
    columns = []
    for level in comparison.mismatch_levels[chosen.start : chosen.stop]:
        off = f"{100 * level:g} %"
        columns.append(
            TableColumn(off, f"relative output error, median of {draws} draws, with every weight off by σ = {off}")
        )
        columns.append(TableColumn("settle", f"circuits out of {draws} that settle with it"))
    rows = tuple((_name(entry), tuple(_mismatch_cells(entry, chosen))) for entry in comparison.entries)
    return TableBlock("What synaptic mismatch does to the output", tuple(columns), rows)


def _mismatch_cells(entry: Entry, chosen: range) -> Iterator[str]:
    for index in chosen:
        errors = entry.mismatch_error[index]
        yield format_number(float(np.median(errors)))
        yield f"{np.isfinite(errors).sum()}/{len(errors)}" if entry.settles else NONE


def _name(entry: Entry) -> str:
    return entry.name + FAILED if entry.failure else entry.name


# ‖RM − I‖/√n below which R and M are each other's inverse but for rounding.
ROUNDING = 1e-9


def findings(comparison: Comparison) -> tuple[str, ...]:
    """Return the main findings of a comparison in sentences, the most important first.

    Every claim is decided by the numbers of this comparison; forms that stopped early are named, and left out of the
    claims about the others.

    Parameters
    ----------
    comparison : Comparison
        What was found.

    Returns
    -------
    tuple of str
        Plain text.
    """
    require_comparison(comparison)
    online = [entry for entry in comparison.entries if entry.form != "offline" and not entry.failure]
    parts = [*_decorrelation(comparison, online), *_stopped(comparison), *_twins(online), *_price(comparison, online)]
    return (*parts, *_stability(online), *_robustness(comparison, online))


def _decorrelation(comparison: Comparison, online: list[Entry]) -> Iterator[str]:
    before = format_number(comparison.correlation)
    if not online:
        yield f"No form learnt to the end of the stream. The rms correlation of the input is {before}."
        return
    units = comparison.features - sum(len(comparison.config.get(name) or []) for name in ("silent", "dependent"))
    power = f"The output has {_percent([entry.power for entry in online])} of the input's power."
    reference = [entry for entry in comparison.entries if entry.form == "offline"]
    limit = f"; the closed form M* reaches {format_number(reference[0].correlation)}" if reference else ""
    change = max(comparison.correlation - entry.correlation for entry in online)
    if abs(change) <= comparison.scatter:
        yield (
            f"Nothing can be said about decorrelation: the rms correlation between {units} units was {before} and is "
            f"{_range([entry.correlation for entry in online])}, but {comparison.held_out:,} held-out samples of "
            f"independent units show {format_number(comparison.scatter)} by chance. Use more samples. {power}"
        )
        return
    after = _after([entry.correlation for entry in online], comparison.scatter)
    down = " down" if max(entry.correlation for entry in online) < comparison.correlation else ""
    yield (
        f"{_subject(comparison, online)} brought the rms correlation between {units} units from {before}{down} to "
        f"{after}{limit}. {judged(comparison)} {power}"
    )
    yield from _generalisation(comparison)
    yield from _over_seeds(comparison, online)


def _after(values: list[float], scatter: float) -> str:
    """Return the range of what is left; what lies within the scatter is said to."""
    if max(values) <= 1.5 * scatter:
        return f"{_range(values)}, which may be scatter alone"
    return f"{_range(values)} with no difference beyond scatter" if _alike(values, scatter) else _range(values)


def _alike(values: list[float], scatter: float) -> bool:
    return len(values) > 1 and max(values) != min(values) and max(values) - min(values) <= scatter


def _generalisation(comparison: Comparison) -> Iterator[str]:
    """Return a sentence on how to read the number if stream and held-out part differ."""
    reference = [entry for entry in comparison.entries if entry.form == "offline"]
    split = str(comparison.config.get("split", ""))
    if reference and split.startswith(("by region", "by picture", "by set")) and reference[0].correlation > 1e-6:
        yield (
            f"Held out {split}. On what it was computed from, M* leaves no correlation at all; that it leaves "
            f"{format_number(reference[0].correlation)} here is mostly the difference between the two parts, which "
            "no rule can learn. So is a power other than 100 %: gains are those of the part that was learnt from."
        )


def _over_seeds(comparison: Comparison, online: list[Entry]) -> Iterator[str]:
    if comparison.seeds is None:
        return
    values = np.concatenate([e.over_seeds[:, 0] for e in online if e.over_seeds is not None] or [np.empty(0)])
    if len(values):
        yield (
            f"Over {len(comparison.seeds)} seeds the online forms leave {format_number(float(values.min()))} to "
            f"{format_number(float(values.max()))}."
        )


def _subject(comparison: Comparison, online: list[Entry]) -> str:
    tried = sum(entry.form != "offline" for entry in comparison.entries)
    if len(online) == tried > 1:
        return "Both online forms" if tried == 2 else f"All {tried} online forms"
    names = [entry.name for entry in online]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _stopped(comparison: Comparison) -> Iterator[str]:
    for entry in comparison.entries:
        if entry.failure:
            yield f"{entry.name} stopped early; its numbers are those at sample {entry.learnt:,}. Why: {entry.failure}"


def _twins(online: list[Entry]) -> Iterator[str]:
    circuits = [entry for entry in online if entry.settles]
    if not circuits:
        return
    worst = max(entry.twin_error for entry in circuits)
    size = f"‖RM\u00a0−\u00a0I‖/√n\u00a0≤\u00a0{format_number(worst, 2)}"  # not to be broken into two lines
    if worst <= ROUNDING:
        yield f"Circuit and matrix compute the same: R stays the inverse of M to rounding, {size}."
    else:
        yield f"Circuit and matrix drift apart: R is the inverse of M up to {size}."


def _price(comparison: Comparison, online: list[Entry]) -> Iterator[str]:
    circuits = [entry for entry in online if entry.settles]
    if not circuits:
        return
    work = [entry.operations / comparison.features**2 for entry in circuits]
    yield (
        f"The price of a circuit is time: to settle to within a certified "
        f"{format_number(comparison.config['tol'], 1)} of its output "
        f"it takes {_range([entry.settling_time for entry in circuits])} τ (median over samples) and "
        f"{_range(work, 2)} times the multiply-adds of the matrix."
    )


def _stability(online: list[Entry]) -> Iterator[str]:
    circuits = [entry for entry in online if entry.settles]
    if circuits:
        lowest, where = min((float(entry.margins.min()), entry.name) for entry in circuits)
        verdict = (
            "Every circuit that learnt to the end stayed stable" if lowest > 0 else "Stability was lost while learning"
        )
        yield f"{verdict}: the smallest min Re λ(R) was {format_number(lowest)} 1/τ ({where})."
    for entry in online:
        if not entry.settles and len(entry.margins) and entry.margins.min() <= 0:
            yield (
                f"Built as a circuit, {entry.name} would have lost stability while learning: min Re λ of R = M⁻¹ went "
                f"down to {format_number(float(entry.margins.min()))} 1/τ."
            )


def _robustness(comparison: Comparison, online: list[Entry]) -> Iterator[str]:
    """Compare the median errors at the largest mismatch, and count the circuits that survive it."""
    if not online or not len(comparison.mismatch_levels):
        return
    at = int(np.argmax(comparison.mismatch_levels))
    level = f"{100 * comparison.mismatch_levels[at]:g} %"
    parts = []
    for form, words in (("feedforward", "matrices"), ("recurrent", "circuits")):
        medians = [float(np.median(entry.mismatch_error[at])) for entry in online if entry.form == form]
        finite = [median for median in medians if np.isfinite(median)]
        if finite:
            some = "" if len(finite) == len(medians) else f"{len(finite)} of {len(medians)} "
            parts.append(f"{_range(finite)} for {some or 'the '}{words}")
    error = f"the median output error is {' and '.join(parts)}" if parts else "no form has a median output error"
    yield f"With {level} synaptic mismatch {error}{_survival(online, at)}."


def _survival(online: list[Entry], at: int) -> str:
    circuits = [entry for entry in online if entry.settles]
    if not circuits:
        return ""
    draws = circuits[0].mismatch_error.shape[1]
    alive = [int(np.isfinite(entry.mismatch_error[at]).sum()) for entry in circuits]
    if min(alive) == draws:
        return f"; all {draws} mismatched copies of every circuit still settle"
    counts = ", ".join(f"{entry.name} {count}" for entry, count in zip(circuits, alive, strict=True))
    return f"; of {draws} mismatched copies of each circuit these still settle: {counts}"


def _range(values: Iterable[float], digits: int = 3) -> str:
    """Return "a–b", or "a" if both are spelt alike."""
    values = list(values)
    low, high = format_number(min(values), digits), format_number(max(values), digits)
    return low if low == high else f"{low}–{high}"


def _percent(values: Iterable[float]) -> str:
    values = list(values)
    low, high = f"{100 * min(values):.0f}", f"{100 * max(values):.0f}"
    return f"{low} %" if low == high else f"{low}–{high} %"
