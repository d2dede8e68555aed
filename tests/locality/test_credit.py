"""The locality audit of credit assignment: what each rule needs, and that nobody gets away with needing more."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from neurodecorr.credit import SGD, Adam, DirectFeedbackAlignment, FeedbackAlignment, NodePerturbation, RMSprop
from neurodecorr.credit.feedback_weights import PATHWAYS
from neurodecorr.credit.node_perturbation import VARIANTS
from neurodecorr.errors import InputError
from neurodecorr.locality import format_audit
from neurodecorr.locality.credit import (
    CREDIT_READS,
    CREDIT_RULES,
    FOREIGN,
    LAYER,
    LOCAL,
    SYNAPSE,
    AuditedRule,
    audit_all_credit,
    audit_all_feedback,
    audit_credit,
)

AUDITS = {found.rule: found for found in audit_all_credit()}
DFA = next(rule for rule in CREDIT_RULES if rule.name == "DFA")
VERDICTS = {
    "BP": "needs Wᵀ, Mᵀ",
    "FA": "local",
    "FA, Adam": "local",
    "FA, exact lateral": "needs error units, Mᵀ",
    "FA, adjoint circuit": "needs error units, Mᵀ",
    "FA, random lateral": "needs error units",
    "FA, B = W": "needs Wᵀ",
    "uSF": "needs signs of Wᵀ",
    "frSF": "needs signs of Wᵀ",
    "brSF": "needs signs of Wᵀ",
    "Kolen–Pollack": "local",
    "weight mirror": "local",
    "DFA": "local",
    "NP": "local",
    "NP, antithetic": "local",
    "NP, no clean pass": "local",
    "NP, activity": "needs layer scalar",
    "NP, iterative": "needs layer scalar",
}


def test_every_rule_has_the_verdict_that_its_formula_says():
    assert {name: found.verdict for name, found in AUDITS.items()} == VERDICTS


@pytest.mark.parametrize("found", AUDITS.values(), ids=lambda found: found.rule)
def test_every_rule_reads_exactly_what_it_declares(found):
    assert found.violations == ()
    assert found.observed == found.declared


def test_every_pathway_and_every_variant_of_perturbation_is_audited():
    assert len(PATHWAYS) == 7
    assert len(VARIANTS) == 3
    assert {"FA", "FA, B = W", "uSF", "frSF", "brSF", "Kolen–Pollack", "weight mirror"} <= AUDITS.keys()
    assert {"NP", "NP, activity", "NP, iterative"} <= AUDITS.keys()


def test_the_verdict_does_not_hang_on_the_network_that_was_drawn():
    for rule in CREDIT_RULES:
        if rule.plan.form == "feedforward":
            assert audit_credit(rule, seed=1).observed == AUDITS[rule.name].observed, rule.name


def test_the_feedback_of_kolen_pollack_and_of_the_mirror_learns_from_its_own_two_units():
    for found in audit_all_feedback():
        assert found.passed
        assert found.verdict == "local"


@pytest.mark.parametrize("optimiser", [SGD(0.1, momentum=0.9), RMSprop(0.01), Adam(0.01)], ids=str)
def test_optimisers_work_synapse_by_synapse(optimiser):
    assert audit_credit(replace(DFA, optimiser=optimiser)).verdict == "local"


# Cheating ------------------------------------------------------------------------------------------------------------


@dataclass
class _Clipped:
    """Clips the gradient by its norm: a number of the whole layer."""

    rate: float = 0.1

    def start(self, parameters):
        self.parameters, self.arrays = parameters, {}
        return self

    def step(self, gradients):
        for w, g in zip(self.parameters, gradients, strict=True):
            w -= self.rate * g / np.linalg.norm(g)


def test_clipping_by_the_norm_of_the_gradient_is_found_and_named():
    found = audit_credit(replace(DFA, optimiser=_Clipped()))
    assert not found.passed
    assert {"other units", "other feedback"} <= found.observed
    assert any("undeclared: synapse (2, 3) changes with unit" in line for line in found.violations)


class _Cheat:
    """Direct feedback whose gradient of the audited layer is tampered with."""

    def __init__(self, network, tamper):
        self.inner, self.network, self.tamper = DirectFeedbackAlignment().start(network, 1), network, tamper
        self.arrays = self.inner.arrays

    def assign(self, X, Y, rng):
        credit = self.inner.assign(X, Y, rng)
        W, b = credit.gradients[LAYER]
        credit.gradients[LAYER] = self.tamper(W, credit, self.network, self.arrays), b
        return credit

    def follow(self):
        pass


j, k = SYNAPSE
CHEATS = {
    "own weight": lambda W, credit, net, arrays: W + net.layers[LAYER].W,
    "loss": lambda W, credit, net, arrays: W + credit.loss[0],
    "layer scalar": lambda W, credit, net, arrays: W * np.sum(credit.forward.signals[0].h ** 2),
    "other units": lambda W, credit, net, arrays: W + np.roll(credit.forward.signals[LAYER].h, 2),
    "other feedback": lambda W, credit, net, arrays: W + np.roll(arrays["B1"], 2, axis=1)[0],
    "sign of W": lambda W, credit, net, arrays: W * np.sign(net.layers[LAYER + 1].W[0, 0]),
    "forward weights": lambda W, credit, net, arrays: W + net.layers[LAYER + 1].W.sum(),
    "lateral weights": lambda W, credit, net, arrays: W + net.layers[LAYER + 1].decorrelator.arrays["M"],
}


@pytest.mark.parametrize("read", CHEATS)
def test_reading_anything_undeclared_is_found_and_named(read):
    cheat = AuditedRule("cheat", lambda network: _Cheat(network, CHEATS[read]), DFA.declared, DFA.feedback)
    found = audit_credit(cheat)
    assert read in found.observed
    assert any(repr(read) in line and "undeclared" in line for line in found.violations)
    assert found.local == (read in LOCAL)
    assert read in LOCAL or FOREIGN[read] in found.verdict


def test_declaring_what_is_never_read_fails_the_audit_too():
    found = audit_credit(replace(DFA, declared=(*DFA.declared, "lateral weights")))
    assert found.violations == ("declares 'lateral weights' and does not read it",)
    assert "?" in format_audit([found], CREDIT_READS)
    assert format_audit([found], CREDIT_READS).endswith("local, FAILED")


def test_a_rule_whose_change_is_not_finite_is_refused():
    with pytest.raises(InputError, match="finite"):
        audit_credit(replace(DFA, start=lambda net: _Cheat(net, lambda W, *_: W * np.nan)))


def test_the_audit_leaves_rule_and_network_as_they_were():
    """Altered numbers are put back: two audits of the same rule see the same."""
    rules = {"brSF": FeedbackAlignment("brSF"), "NP": NodePerturbation()}
    for name in rules:
        (rule,) = [found for found in CREDIT_RULES if found.name == name]
        assert audit_credit(rule) == audit_credit(rule)
