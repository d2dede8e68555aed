"""The library's own rules of credit assignment as the locality audit sees them, with what each declares."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from neurodecorr._typing import Floats
from neurodecorr.credit import feedback_weights
from neurodecorr.credit.backprop import Backprop
from neurodecorr.credit.base import Assigner
from neurodecorr.credit.feedback_alignment import DirectFeedbackAlignment, FeedbackAlignment, FeedbackAssigner
from neurodecorr.credit.node_perturbation import NodePerturbation
from neurodecorr.credit.noise import GaussianNoise
from neurodecorr.credit.optimisers import Adam, Optimiser
from neurodecorr.errors import InputError
from neurodecorr.locality.audit import ROUNDING, Audit, Signal, SynapticRule, audit
from neurodecorr.network import Decorrelation, Dense, Network
from neurodecorr.network.losses import Loss
from neurodecorr.network.network import ForwardResult
from neurodecorr.network.weights import LayerSignals, Signals, WeightedLayer

Record = dict[str, Floats]
FIELDS = ("x", "drive", "xbar", "h")


class Tape:
    """Records in the order in which they were made; once wound back, they are handed out in that order.

    Each is a dictionary of arrays, named by what they are and the layer: "xbar1", "noise0", "loss".
    """

    def __init__(self) -> None:
        self.records: list[Record] = []
        self._position: int | None = None
        self._shapes: list[Any] = []

    def wind_back(self) -> None:
        """Replay from the beginning."""
        self._position = 0

    def play(self, make: Callable[[], Any], apart: Callable[[Any], Record], whole: Callable[[Any, Record], Any]) -> Any:
        """Return what `make` makes, and record it; or what was recorded in its place.

        Parameters
        ----------
        make : callable
            Makes the value.
        apart, whole : callable
            Value → arrays by name, and (value, arrays) → value with these arrays.
        """
        if self._position is None:
            found = make()
            self._shapes.append(found)
            self.records.append({name: np.array(array) for name, array in apart(found).items()})
            return found
        found, record = self._shapes[self._position], self.records[self._position]
        self._position += 1
        return whole(found, {name: np.array(array) for name, array in record.items()})


class _ReplayedLayer(WeightedLayer):
    """A layer that responds from the tape; its weights, and how it passes errors back, are its own."""

    def __init__(self, layer: WeightedLayer, index: int, tape: Tape) -> None:
        super().__init__(layer.W, layer.b, layer.activation, layer.decorrelator, layer.routes, layer.shape)
        self._layer, self._index, self._tape = layer, index, tape

    def respond(self, activity: Floats, training: bool) -> LayerSignals:
        """Return what the layer did when the tape was made."""
        found: LayerSignals = self._tape.play(
            lambda: self._layer.respond(activity, training),
            lambda made: _apart(made, self._index),
            lambda made, record: _whole(made, record, self._index),
        )
        return found


class ReplayedNetwork(Network):
    """Network whose passes, losses and noise are read from a tape; weights and lateral matrices are its own.

    Parameters
    ----------
    network : Network
        Copied.
    tape : Tape
        Where they lie.
    """

    def __init__(self, network: Network, tape: Tape) -> None:
        self._network, self._tape = network.copy(), tape
        self.layers = [_ReplayedLayer(layer, i, tape) for i, layer in enumerate(self._network.layers)]
        self.inputs, self.dtype, self.loss = network.inputs, network.dtype, Loss(network.loss.name, self._measure)

    def forward(
        self, X: Floats, *, training: bool = False, noise: Sequence[Floats | None] | None = None
    ) -> ForwardResult:
        """Return the pass of the tape."""
        found: ForwardResult = self._tape.play(
            lambda: self._network.forward(X, training=training, noise=noise),
            lambda made: {k: a for i, s in enumerate(made.signals) for k, a in _apart(s, i).items()},
            lambda made, record: replace(
                made, signals=tuple(_whole(signals, record, i) for i, signals in enumerate(made.signals))
            ),
        )
        return found

    def weights(self) -> dict[str, Floats]:
        """Return weights and lateral matrices by name: "W1", "M2"."""
        own = [{"W": layer.W, "b": layer.b, **layer.decorrelator.arrays} for layer in self.layers]
        return {f"{name}{i}": array for i, arrays in enumerate(own) for name, array in arrays.items()}

    def noisy(self, source: Any) -> Any:
        """Return a source of noise that draws from the tape."""
        return _ReplayedNoise(source, self._tape)

    def _measure(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        found: tuple[Floats, Floats] = self._tape.play(
            lambda: self._network.loss.measure(x, y),
            lambda made: {"loss": made[0], "error": made[1]},
            lambda made, record: (record["loss"], record["error"]),
        )
        return found


class _ReplayedNoise:
    def __init__(self, source: Any, tape: Tape) -> None:
        self._source, self._tape, self.arrays = source, tape, source.arrays

    def draw(self, layer: int, shape: tuple[int, int], rng: np.random.Generator, dtype: Any) -> Floats:
        """Return the noise of the tape."""
        drawn: Floats = self._tape.play(
            lambda: self._source.draw(layer, shape, rng, dtype),
            lambda made: {f"noise{layer}": made},
            lambda made, record: record[f"noise{layer}"],
        )
        return drawn


def _apart(signals: LayerSignals, index: int) -> Record:
    return {f"{field}{index}": getattr(signals, field) for field in FIELDS}


def _whole(signals: LayerSignals, record: Record, index: int) -> Signals:
    fields: dict[str, Any] = {field: record[f"{field}{index}"] for field in FIELDS}
    return Signals(**fields, memos=signals.memos, training=signals.training)


LOCAL = ("pre", "post", "own weight", "own feedback", "output error", "loss", "own noise")
# What each read beyond these means, in a word for the verdict.
FOREIGN = {
    "layer scalar": "layer scalar",
    "other units": "other units",
    "other feedback": "error units",
    "sign of W": "signs of Wᵀ",
    "forward weights": "Wᵀ",
    "lateral weights": "Mᵀ",
}
CREDIT_READS = (*LOCAL, *FOREIGN)
LAYER = 1  # the audited one, of three
SYNAPSE = (2, 3)
# Factors that a weight is altered by, and what reading it then means.
_LATERAL = ((1.1, "lateral weights"),)
_FORWARD = (1.1, "forward weights")
_ALTERED = {"W": (_FORWARD, (-1.0, "sign of W")), "b": (_FORWARD,)}
USUAL = 0.1  # size of a gradient
SCALE = 1e-7  # how well ratios must agree to be one number


@dataclass(frozen=True)
class AuditedRule:
    """Credit rule in the form that the audit needs.

    ::

        ΔW = f(numbers of one batch)

    Parameters
    ----------
    name : str
        How the table calls it.
    start : callable
        `ReplayedNetwork` → the rule at work on it. A rule with a source of noise takes it from `network.noisy`.
    declared : tuple of str
        What a synapse is said to read, from `CREDIT_READS`.
    feedback : tuple of str
        Names of the arrays of the rule whose columns lead onto the units of the audited layer.
    optimiser : Optimiser, optional
        What turns the gradient into a change; without one the gradient itself is audited.
    plan : Decorrelation
        Of every layer.
    """

    name: str
    start: Callable[[Any], Assigner]
    declared: tuple[str, ...]
    feedback: tuple[str, ...] = ()
    optimiser: Optimiser | None = None
    plan: Decorrelation = field(
        default_factory=lambda: Decorrelation("feedforward", "implicit", 0.05, "node", rate_is="absolute")
    )


@dataclass(frozen=True)
class CreditAudit(Audit):
    """Signals that a credit rule declares, and signals that it reads; see `locality.Audit`.

    ::

        (j, k) reads s   iff   ΔW_jk(s + ε) ≠ ΔW_jk(s)   beyond rounding
    """

    known: ClassVar[tuple[str, ...]] = CREDIT_READS  # everything that a rule of credit may read

    @property
    def local(self) -> bool:
        """True if a synapse reads only its two units, itself, their feedback, and global numbers."""
        return self.observed <= set(LOCAL)

    @property
    def verdict(self) -> str:
        """Signals that must be transported or broadcast; "local" if there are none."""
        needs = [word for read, word in FOREIGN.items() if read in self.observed]
        return "needs " + ", ".join(needs) if needs else "local"


def audit_credit(rule: AuditedRule, seed: int = 0) -> CreditAudit:
    """Alter every number that a rule could read and report which ones change a synapse.

    ::

        (j, k) reads s   iff   ΔW_jk(s + ε) ≠ ΔW_jk(s)   beyond rounding

    Parameters
    ----------
    rule : AuditedRule
        The rule.
    seed : int, default 0
        Chooses network, sample and feedback weights.

    Returns
    -------
    CreditAudit
        Declared and observed reads, and where they differ.

    Raises
    ------
    InputError
        If the change of the synapses is not finite.

    Examples
    --------
    >>> from neurodecorr.credit import Backprop
    >>> reads = ("pre", "post", "output error", "forward weights", "lateral weights")
    >>> audit_credit(AuditedRule("BP", lambda network: Backprop().start(network), reads)).verdict
    'needs Wᵀ, Mᵀ'
    """
    return CreditAudit.of(rule.name, rule.declared, _Bench(rule, seed).reads())


class _Bench:
    """A rule on a tape, and its change of the audited layer when nothing is altered."""

    def __init__(self, rule: AuditedRule, seed: int) -> None:
        self._rng, self._tape = np.random.default_rng(seed), Tape()
        network = _network(rule.plan, self._rng)
        self._X, self._Y = self._rng.standard_normal((1, 6)), np.eye(4)[:1]
        self._network, self._rule = ReplayedNetwork(network, self._tape), rule
        self._assigner = rule.start(self._network)
        self._run()  # makes the tape
        self._before = self._run()
        self._floor = ROUNDING * float(np.abs(self._before).max())

    def reads(self) -> Iterator[tuple[str, str]]:
        """Yield each read with a sentence of evidence."""
        for record in self._tape.records:
            yield from self._of_units(record)
        for name, array in self._network.weights().items():
            yield from self._of_weights(name, array)
        for name, array in self._assigner.arrays.items():
            yield from self._of_arrays(name, array)

    def _run(self) -> Floats:
        """Return the change of W, with whatever has been altered; the state of the rule stays as it was."""
        kept = {name: np.array(array) for name, array in self._assigner.arrays.items()}
        credit = self._assigner.assign(self._X, self._Y, np.random.default_rng(0))
        for name, array in kept.items():
            self._assigner.arrays[name][...] = array
        self._tape.wind_back()
        change = self._descended(np.asarray(credit.gradients[LAYER][0]))
        if not np.isfinite(change).all():
            raise InputError(f"the change of {self._rule.name!r} must be finite; got NaN or infinity.")
        return change

    def _descended(self, gradient: Floats) -> Floats:
        """Return what the optimiser makes of a gradient that follows another one."""
        if self._rule.optimiser is None:
            return gradient
        W = self._network.layers[LAYER].W.copy()
        before, state = W.copy(), self._rule.optimiser.start([W])
        state.step([USUAL * np.cos(np.arange(W.size)).reshape(W.shape)])
        state.step([gradient])
        return np.asarray(W - before)

    def _changed(self, array: Floats, place: Any, value: Any) -> Floats | None:
        """Return the change with one number altered, or None if the synapse does not notice."""
        kept = array[place].copy()
        array[place] = value
        after = self._run()
        array[place] = kept
        return after if abs(after[SYNAPSE] - self._before[SYNAPSE]) > self._floor else None

    def _of_units(self, record: Record) -> Iterator[tuple[str, str]]:
        """Alter a signal unit by unit."""
        for name, array in record.items():
            for unit in range(array.shape[-1]):
                place = (..., unit)
                after = self._changed(array, place, array[place] + 0.3 * self._rng.uniform(0.5, 1))
                if after is not None:
                    yield self._unit(name, unit, after), f"synapse {SYNAPSE} changes with unit {unit} of {name}"

    def _unit(self, name: str, unit: int, after: Floats) -> str:
        """Name what a unit's signal is to the synapse."""
        whole = {"loss": "loss", "error": "output error"}.get(name)
        own = whole or _OWN.get((name, unit))
        if own:
            return own
        rest = np.arange(len(after)) != unit
        ratios = after[rest] / self._before[rest]
        return "layer scalar" if np.ptp(ratios) < SCALE * abs(ratios.mean()) else "other units"

    def _of_weights(self, name: str, array: Floats) -> Iterator[tuple[str, str]]:
        """Alter a weight by its size alone; where that changes nothing, by the sign of W."""
        for place in np.ndindex(array.shape):
            for factor, read in _ALTERED.get(name[0], _LATERAL):
                if self._changed(array, place, factor * array[place]) is not None:
                    own = name == f"W{LAYER}" and place == SYNAPSE
                    yield "own weight" if own else read, f"synapse {SYNAPSE} changes with {name}{list(place)}"
                    break

    def _of_arrays(self, name: str, array: Floats) -> Iterator[tuple[str, str]]:
        """Alter what the rule itself keeps: feedback weights, and the mean loss."""
        for place in np.ndindex(array.shape):
            if self._changed(array, place, array[place] + 0.3) is None:
                continue
            onto = name in self._rule.feedback and place[-1] == SYNAPSE[0]
            read = "loss" if name == "baseline" else "own feedback" if onto else "other feedback"
            yield read, f"synapse {SYNAPSE} changes with {name}{list(place)}"


def _network(plan: Decorrelation, rng: np.random.Generator) -> Network:
    """Return a network of three layers whose decorrelators have learnt from a few batches."""
    layers = [Dense(5, "tanh"), Dense(5, "tanh"), Dense(4, "identity")]
    # Not cross-entropy: its errors sum to zero, which hides a feedback of equal signs.
    network = Network(layers, 6, loss="mse", decorrelation=plan, dtype="float64", seed=rng)
    mixing = rng.standard_normal((6, 6))
    for _ in range(10):
        network.decorrelate(network.forward(rng.standard_normal((20, 6)) @ mixing, training=True).signals)
    return network


def _own_signals() -> Mapping[tuple[str, int], str]:
    """Return what lives in the two units of the synapse."""
    j, k = SYNAPSE
    above, here = [("x", LAYER + 1), ("drive", LAYER + 1), ("h", LAYER)], [f for f in FIELDS if f != "h"]
    own = {(f"{name}{layer}", j): "post" for name, layer in above}
    return own | {(f"{name}{LAYER}", k): "pre" for name in here} | {(f"noise{LAYER}", j): "own noise"}


_OWN = _own_signals()


@dataclass
class _AsFound:
    """Feedback weights as a batch finds them: what they do before it is audited by itself."""

    path: feedback_weights.Pathway

    def __post_init__(self) -> None:
        self.path.begin(np.random.default_rng(0))
        self.arrays, self.matrix = self.path.arrays, self.path.matrix

    def begin(self, rng: np.random.Generator) -> None:
        """It is done."""

    def follow(self) -> None:
        """Nothing changes."""


def _aligned(weights: str, lateral: str = "none") -> Callable[[Any], Assigner]:
    def start(network: Any) -> Assigner:
        found: FeedbackAssigner = FeedbackAlignment(weights, lateral).start(network, 1)
        found.path = _AsFound(found.path)
        return found

    return start


def _direct(network: Any) -> Assigner:
    return DirectFeedbackAlignment().start(network, 1)


def _perturbing(**options: Any) -> Callable[[Any], Assigner]:
    def start(network: Any) -> Assigner:
        found = NodePerturbation(noise=GaussianNoise(0.1), **options).start(network, 1)
        found.source = network.noisy(found.source)
        found.arrays["baseline"][...] = 1.0  # as after the first batch
        return found

    return start


_ERROR = ("pre", "post", "output error")
_FEEDBACK = (*_ERROR, "own feedback")
_NOISE = ("pre", "loss", "own noise")
_SETTLED = Decorrelation("recurrent", "implicit", 0.05, "node", settling="direct", tol=1e-10, rate_is="absolute")
_B, _L = ("B2",), ("B2", "L2")

CREDIT_RULES: tuple[AuditedRule, ...] = (
    AuditedRule("BP", lambda network: Backprop().start(network), (*_ERROR, "forward weights", "lateral weights")),
    AuditedRule("FA", _aligned("random"), _FEEDBACK, _B),
    AuditedRule("FA, Adam", _aligned("random"), _FEEDBACK, _B, Adam(0.01)),
    AuditedRule(
        "FA, exact lateral", _aligned("random", "exact"), (*_FEEDBACK, "other feedback", "lateral weights"), _B
    ),
    AuditedRule(
        "FA, adjoint circuit",
        _aligned("random", "adjoint"),
        (*_FEEDBACK, "other feedback", "lateral weights"),
        _B,
        plan=_SETTLED,
    ),
    AuditedRule("FA, random lateral", _aligned("random", "random"), (*_FEEDBACK, "other feedback"), _L),
    AuditedRule("FA, B = W", _aligned("transport"), (*_ERROR, "forward weights")),
    AuditedRule("uSF", _aligned("uSF"), (*_ERROR, "sign of W")),
    AuditedRule("frSF", _aligned("frSF"), (*_FEEDBACK, "sign of W"), _B),
    AuditedRule("brSF", _aligned("brSF"), (*_FEEDBACK, "sign of W"), _B),
    AuditedRule("Kolen–Pollack", _aligned("kolen_pollack"), _FEEDBACK, _B),
    AuditedRule("weight mirror", _aligned("mirror"), _FEEDBACK, _B),
    AuditedRule("DFA", _direct, _FEEDBACK, ("B1",)),
    AuditedRule("NP", _perturbing(), _NOISE),
    AuditedRule("NP, antithetic", _perturbing(antithetic=True), _NOISE),
    AuditedRule("NP, no clean pass", _perturbing(clean_pass=False), _NOISE),
    AuditedRule("NP, activity", _perturbing(variant="activity"), (*_NOISE, "post", "layer scalar")),
    AuditedRule("NP, iterative", _perturbing(variant="iterative"), (*_NOISE, "layer scalar")),
)


def _mirrored(s: Any) -> Floats:
    B = s["B"].copy()
    feedback_weights.mirror_step(B, s["response"], s["noise"])
    return np.asarray(B - s["B"])


def _reciprocal(s: Any) -> Floats:
    B = s["B"].copy()
    # The change of W_ij is what both directions can compute: postsynaptic error times presynaptic activity.
    feedback_weights.kolen_pollack_step(B, s["delta"].T @ s["xbar"])
    return np.asarray(B - s["B"])


FEEDBACK_RULES: tuple[SynapticRule, ...] = (
    SynapticRule(
        "Kolen–Pollack, B",
        (Signal("B", "weight"), Signal("xbar", "sender"), Signal("delta", "receiver")),
        _reciprocal,
        ("pre", "post", "own weight"),
        rows=8,
    ),
    SynapticRule(
        "weight mirror, B",
        (Signal("B", "weight"), Signal("noise", "sender"), Signal("response", "receiver")),
        _mirrored,
        ("pre", "post", "own weight"),
        rows=8,
    ),
)


def audit_all_credit(seed: int = 0) -> tuple[CreditAudit, ...]:
    """Audit the signals that the forward synapses of every credit rule read.

    ::

        (j, k) reads s   iff   ΔW_jk(s + ε) ≠ ΔW_jk(s)   beyond rounding

    Parameters
    ----------
    seed : int, default 0
        Chooses network and sample.
    """
    return tuple(audit_credit(rule, seed) for rule in CREDIT_RULES)


def audit_all_feedback(seed: int = 0) -> tuple[Audit, ...]:
    """Audit the signals that learning feedback weights read; W_ij counts as the synapse B_ij itself.

    ::

        (i, j) reads s   iff   ΔB_ij(s + ε) ≠ ΔB_ij(s)   beyond rounding

    Parameters
    ----------
    seed : int, default 0
        Chooses the signals.
    """
    return tuple(audit(rule, seed) for rule in FEEDBACK_RULES)
