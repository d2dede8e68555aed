"""The library's own rules of credit assignment as the locality audit sees them, with what each declares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurodecorr.learning import feedback
from neurodecorr.learning.alignment import DirectFeedbackAlignment, FeedbackAlignment, FeedbackAssigner
from neurodecorr.learning.backprop import Backprop
from neurodecorr.learning.credit import Assigner
from neurodecorr.learning.locality import AuditedRule, CreditAudit, audit_credit
from neurodecorr.learning.noise import Gaussian
from neurodecorr.learning.optimisers import Adam
from neurodecorr.learning.perturbation import NodePerturbation
from neurodecorr.network import Decorrelation
from neurodecorr.plasticity import Audit, Signal, SynapticRule, audit

__all__ = ["CREDIT_RULES", "FEEDBACK_RULES", "audit_all_credit", "audit_all_feedback"]

Floats = np.ndarray[Any, np.dtype[np.floating[Any]]]


@dataclass
class _AsFound:
    """Feedback weights as a batch finds them: what they do before it is audited by itself."""

    path: feedback.Pathway

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
        found = NodePerturbation(noise=Gaussian(0.1), **options).start(network, 1)
        found.source = network.noisy(found.source)
        found.arrays["baseline"][...] = 1.0  # as after the first batch
        return found

    return start


_ERROR = ("pre", "post", "output error")
_FEEDBACK = (*_ERROR, "own feedback")
_NOISE = ("pre", "loss", "own noise")
_SETTLED = Decorrelation("recurrent", "implicit", 0.05, "node", settling="direct", tol=1e-10)
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
    feedback.mirror_step(B, s["response"], s["noise"])
    return np.asarray(B - s["B"])


def _reciprocal(s: Any) -> Floats:
    B = s["B"].copy()
    # The change of W_ij is what both directions can compute: postsynaptic error times presynaptic activity.
    feedback.kolen_pollack_step(B, s["delta"].T @ s["xbar"])
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
    """Audit what the forward synapses of every rule of credit assignment read.

    Parameters
    ----------
    seed : int, default 0
        Chooses network and sample.
    """
    return tuple(audit_credit(rule, seed) for rule in CREDIT_RULES)


def audit_all_feedback(seed: int = 0) -> tuple[Audit, ...]:
    """Audit what feedback weights that learn read; W_ij counts as the synapse B_ij itself.

    Parameters
    ----------
    seed : int, default 0
        Chooses the signals.
    """
    return tuple(audit(rule, seed) for rule in FEEDBACK_RULES)
