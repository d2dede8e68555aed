"""Locality audit: run a learning rule on perturbed signals and report what each synapse reads.

A rule hands over the signals it may use, each with the place where it can be measured, and declares what a synapse
reads. The audit changes one element of one signal at a time and looks which synapses change otherwise than before.
Synapse (i, j) leads from unit j to unit i.

====================  ==========================================================================================
read                  what it is to synapse (i, j)
====================  ==========================================================================================
`pre`                 anything that lives in unit j: its activity, its running power
`post`                anything that lives in unit i
`drive`               total lateral input of unit i, R x̄, which the unit receives as one current
`pre drive`           the same of unit j
`own weight`          W_ij
`global scalar`       one number for the whole brain, such as the rate
`layer scalar`        one number for the layer, such as x̄ᵀx̄: must be broadcast
`reciprocal weight`   W_ji: both directions must agree
`transported weight`  any other synapse's weight, such as the column sum x̄ᵀM
`other units`         activity of a third unit
====================  ==========================================================================================
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from neurodecorr._numerics.memory import require_memory
from neurodecorr._texts import short_repr
from neurodecorr._typing import Floats
from neurodecorr._validation import (
    checked_names,
    checked_text,
    choice,
    count,
    flag,
    function,
    instance,
    positive,
    several,
    whole_seed,
)
from neurodecorr.errors import ConfigError, InputError

Signals = Mapping[str, Any]

LOCAL = ("pre", "post", "drive", "pre drive", "own weight", "global scalar")
BROADCAST = ("layer scalar", "reciprocal weight")
READS = (*LOCAL, *BROADCAST, "transported weight", "other units")
PLACES = ("unit", "sender", "receiver", "drive", "weight", "layer", "global")

# Independent settings of the signals: a dependence may vanish at one by accident.
DRAWS = 3
# A change smaller than this, relative to the largest, is rounding.
ROUNDING = 1e-9


@short_repr
@dataclass(frozen=True)
class Signal:
    """Signal that a rule reads, and the place where it can be measured.

    Parameters
    ----------
    name : str
        Key under which the rule finds it.
    place : {"unit", "sender", "receiver", "drive", "weight", "layer", "global"}
        One number per unit, where senders and receivers are one population; per presynaptic unit; per postsynaptic
        unit; total input of each postsynaptic unit; per synapse; one for the layer; one for all.
    positive : bool, default False
        The signal is never negative, such as a power.
    size : float, default 1
        Typical value.
    symmetric : bool, default False
        Weights that start out with W_ij = W_ji.
    running : bool, default False
        One number per unit even for a batch, such as a running power.
    """

    name: str
    place: str
    positive: bool = False
    size: float = 1.0
    symmetric: bool = False
    running: bool = False

    def __post_init__(self) -> None:
        checked_text(self.name, "name")
        choice(self.place, "place", PLACES)
        positive(self.size, "size")
        for name in ("positive", "symmetric", "running"):
            flag(getattr(self, name), name)


@short_repr
@dataclass(frozen=True)
class SynapticRule:
    """Learning rule in the form that the audit needs: its function, its signals and its declaration.

    ::

        ΔW = f(s₁, s₂, …),    s_k the signals

    Parameters
    ----------
    name : str
        How the table calls it.
    signals : tuple of Signal
        All it is handed.
    change : callable
        From the signals, by name, to the change of the weights (receivers, senders).
    declared : collection of str
        What a synapse is said to read, from `READS`.
    receivers, senders : int, default 5
        Units on either side; equal where a signal lives in a "unit".
    rows : int, default 0
        Samples per signal of a unit, (rows, units); 0 for a single sample, (units,).
    """

    name: str
    signals: tuple[Signal, ...]
    change: Callable[[Signals], Floats]
    declared: Iterable[str]
    receivers: int = 5
    senders: int = 5
    rows: int = 0

    def __post_init__(self) -> None:
        checked_text(self.name, "name")
        several(self.signals, Signal, "signals", least=1)
        function(self.change, "change")
        object.__setattr__(
            self,
            "declared",
            tuple(choice(read, "declared", READS) for read in checked_names(self.declared, "declared")),
        )
        for name, least in {"receivers": 1, "senders": 1, "rows": 0}.items():
            require_memory(8 * (count(getattr(self, name), name, least) ** 2), name)
        if self.receivers != self.senders and any(s.place == "unit" for s in self.signals):
            raise ConfigError(
                f"signals that live in a 'unit' need as many receivers as senders; got {self.receivers} and "
                f"{self.senders}. Call them 'sender' or 'receiver'."
            )


@short_repr
@dataclass(frozen=True)
class Audit:
    """Signals that a rule declares, and signals that it reads according to the test.

    ::

        (i, j) reads s_k   iff   ΔW_ij(s + ε e_k) ≠ ΔW_ij(s)   beyond rounding

    Parameters
    ----------
    rule : str
        Name of the rule.
    declared, observed : frozenset of str
        Reads, from `READS`.
    violations : tuple of str
        Each read that is undeclared, with a synapse that shows it, and each that is declared and never happens.
    """

    rule: str
    declared: frozenset[str]
    observed: frozenset[str]
    violations: tuple[str, ...]

    known: ClassVar[tuple[str, ...]] = READS  # everything that a rule of this kind may read

    @classmethod
    def of(cls, rule: str, declared: Iterable[str], reads: Iterable[tuple[str, str]]) -> Self:
        """Return the audit of a rule from the reads that were seen, each with a sentence of evidence."""
        seen: dict[str, str] = {}
        for read, evidence in reads:
            seen.setdefault(read, evidence)
        said = frozenset(declared)
        undeclared = [f"reads {read!r} undeclared: {seen[read]}" for read in cls.known if read in seen.keys() - said]
        unread = [f"declares {read!r} and does not read it" for read in cls.known if read in said - seen.keys()]
        return cls(rule, said, frozenset(seen), (*undeclared, *unread))

    @property
    def passed(self) -> bool:
        """True if the rule reads exactly what it declares."""
        return not self.violations

    @property
    def local(self) -> bool:
        """True if a synapse reads only its two units, itself, and global scalars."""
        return self.observed <= set(LOCAL)

    @property
    def verdict(self) -> str:
        """The word for it: "local", "broadcast" (needs a layer scalar or reciprocity besides), or "not local"."""
        if self.local:
            return "local"
        return "broadcast" if self.observed <= {*LOCAL, *BROADCAST} else "not local"


def audit(rule: SynapticRule, seed: int = 0) -> Audit:
    """Perturb every element of every signal and report what the synapses read.

    ::

        (i, j) reads s_k   iff   ΔW_ij(s + ε e_k) ≠ ΔW_ij(s)   beyond rounding

    Parameters
    ----------
    rule : SynapticRule
        The rule.
    seed : int, default 0
        Chooses the signals.

    Returns
    -------
    Audit
        Declared and observed reads, and where they differ.

    Raises
    ------
    InputError
        If the change is not a finite (receivers, senders) matrix.

    Examples
    --------
    >>> hebb = SynapticRule(
    ...     name="Hebb",
    ...     signals=(Signal("x", "sender"), Signal("y", "receiver")),
    ...     change=lambda s: np.outer(s["y"], s["x"]),
    ...     declared=("pre", "post"),
    ... )
    >>> audit(hebb).verdict
    'local'
    """
    instance(rule, SynapticRule, "rule")
    rng = np.random.default_rng(whole_seed(seed))
    return Audit.of(rule.name, rule.declared, itertools.chain.from_iterable(_reads(rule, rng) for _ in range(DRAWS)))


def _reads(rule: SynapticRule, rng: np.random.Generator) -> Iterator[tuple[str, str]]:
    """Yield each read of one draw, with a sentence of evidence."""
    signals = {signal.name: _drawn(signal, rule, rng) for signal in rule.signals}
    before = _change(rule, signals)
    floor = ROUNDING * max(1.0, float(np.abs(before).max()))
    for signal in rule.signals:
        for place in _places(signal, signals[signal.name]):
            after = _change(rule, {**signals, signal.name: _perturbed(signal, signals[signal.name], place, rng)})
            for i, j in np.argwhere(np.abs(after - before) > floor):
                read = _classify(signal, place, int(i), int(j))
                if read:
                    yield read, f"synapse ({i}, {j}) changes with {signal.name}{list(place) if place else ''}"


def _change(rule: SynapticRule, signals: Signals) -> Floats:
    copies = {name: np.array(value) if np.ndim(value) else value for name, value in signals.items()}
    change = np.asarray(rule.change(copies))
    shape = (rule.receivers, rule.senders)
    if change.shape != shape or not np.isfinite(change).all():
        raise InputError(f"the change of {rule.name!r} must be a finite {shape} matrix; got shape {change.shape}.")
    return change


def _drawn(signal: Signal, rule: SynapticRule, rng: np.random.Generator) -> Any:
    if signal.place in ("layer", "global"):
        return signal.size * float(rng.uniform(0.5, 1.5))
    shape: tuple[int, ...] = (rule.receivers, rule.senders)
    if signal.place != "weight":
        units = rule.senders if signal.place == "sender" else rule.receivers
        shape = (rule.rows, units) if rule.rows and not signal.running else (units,)
    value = signal.size * (rng.uniform(0.5, 1.5, shape) if signal.positive else rng.standard_normal(shape))
    return value + value.T if signal.symmetric else value


def _places(signal: Signal, value: Any) -> Iterator[tuple[int, ...]]:
    """Yield what can be perturbed: each weight, each unit (over all samples), or the scalar, ()."""
    shape = np.shape(value)
    return itertools.product(*map(range, shape if signal.place == "weight" else shape[-1:]))


def _perturbed(signal: Signal, value: Any, place: tuple[int, ...], rng: np.random.Generator) -> Any:
    if not place:
        return value * 1.4
    changed: Floats = np.array(value)
    element = changed[place] if signal.place == "weight" else changed[..., place[0]]
    moved = element + signal.size * rng.uniform(0.2, 0.4, np.shape(element))
    changed[place if signal.place == "weight" else (..., place[0])] = moved
    return changed


def _classify(signal: Signal, place: tuple[int, ...], i: int, j: int) -> str:
    """Name what this element is to synapse (i, j); "" where sender and receiver are the same unit."""
    if signal.place in ("layer", "global"):
        return f"{signal.place} scalar"
    if signal.place == "weight":
        if place == (i, j):
            return "own weight"
        return "reciprocal weight" if place == (j, i) else "transported weight"
    unit = place[0]
    post = {"unit": "post", "receiver": "post", "drive": "drive"}.get(signal.place)
    pre = {"unit": "pre", "sender": "pre", "drive": "pre drive"}.get(signal.place)
    names = {name for name, index in ((post, i), (pre, j)) if name and index == unit}
    if not names:
        return "other units"
    return names.pop() if len(names) == 1 else ""


def format_audit(audits: Sequence[Audit], reads: Sequence[str] = READS) -> str:
    """Format audits as a text table: + read, ! read but undeclared, ? declared but not read.

    Parameters
    ----------
    audits : sequence of Audit
        From `audit`.
    reads : sequence of str
        The columns.

    Returns
    -------
    str
        One rule a line, one read a column.
    """
    several(audits, Audit, "audits", "an Audit", least=1)
    checked_names(reads, "reads", dict.fromkeys(read for found in audits for read in found.known))
    width = max(len(found.rule) for found in audits)
    lines = [f"{'':{width}}  " + "  ".join(reads) + "  verdict"]
    for found in audits:
        marks = "  ".join(f"{_mark(found, read):^{len(read)}}" for read in reads)
        lines.append(f"{found.rule:{width}}  {marks}  {found.verdict}{'' if found.passed else ', FAILED'}")
    return "\n".join(lines)


def _mark(found: Audit, read: str) -> str:
    if read in found.observed:
        return "+" if read in found.declared else "!"
    return "?" if read in found.declared else "·"
