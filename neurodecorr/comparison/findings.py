"""Findings of a comparison in words, derived from its numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from neurodecorr.comparison.comparison import Comparison, Entry, require_comparison
from neurodecorr.comparison.summary import format_number, judged

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
