"""The locality audit: what each rule of the room reads, and that nobody gets away with reading more."""

from dataclasses import replace

import numpy as np
import pytest

from neurodecorr.errors import ConfigError, InputError
from neurodecorr.locality import Signal, SynapticRule, audit, audit_all, format_audit
from neurodecorr.locality.audit import READS
from neurodecorr.locality.rules import RIVAL_RULES, TWIN_RULES
from neurodecorr.plasticity import LearningRule, initial_state, learn, steps

AUDITS = {found.rule: found for found in audit_all()}
ONE_OF_EACH = (
    Signal("x", "unit"),
    Signal("drive", "drive"),
    Signal("W", "weight"),
    Signal("layer", "layer"),
    Signal("global", "global"),
)


def rule(change, declared, signals=ONE_OF_EACH, **options):
    return SynapticRule("test", tuple(signals), change, declared, **options)


# The library's rules -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("found", AUDITS.values(), ids=lambda found: found.rule)
def test_every_rule_reads_exactly_what_it_declares(found):
    assert found.violations == ()
    assert found.passed
    assert found.observed == found.declared


def test_the_local_rule_reads_its_two_units_its_own_weight_and_the_rate():
    assert AUDITS["R implicit"].observed == {"pre", "drive", "own weight", "global scalar"}
    assert AUDITS["R implicit, no gain"].observed == {"pre", "drive", "global scalar"}
    assert AUDITS["R implicit"].local
    assert AUDITS["R implicit"].verdict == "local"


def test_the_explicit_circuit_needs_a_layer_scalar_and_the_congruent_one_reciprocity_too():
    assert AUDITS["R explicit"].observed - AUDITS["R implicit"].observed == {"layer scalar"}
    more = AUDITS["R congruent"].observed - AUDITS["R implicit"].observed
    assert more == {"post", "pre drive", "layer scalar", "reciprocal weight"}
    assert AUDITS["R congruent"].verdict == AUDITS["R explicit"].verdict == "broadcast"


def test_every_feedforward_decorrelation_rule_transports_weights():
    for name, found in AUDITS.items():
        transports = {"transported weight", "other units"} <= found.observed
        assert transports == (name.startswith(("M ", "COPI", "EASI", "Oja", "ZCA", "PCA"))), name
        assert transports == (found.verdict == "not local")


def test_hebbian_rivals_are_local():
    for name in ("Földiák", "Vogels, feedforward", "similarity matching, W", "off-diagonal, absolute"):
        assert AUDITS[name].verdict == "local"


def sample(features=4, seed=5):
    rng = np.random.default_rng(seed)
    A = 0.3 * rng.standard_normal((features, features))
    R = np.eye(features) + A @ A.T
    return R, np.linalg.inv(R), rng.standard_normal(features)


@pytest.mark.parametrize("name", ["R implicit", "R explicit", "R congruent", "M implicit", "M explicit", "M congruent"])
def test_the_audited_change_is_the_change_of_one_step_of_learning(name):
    """Hand the audited function the signals of one settled sample: it must do what `learn` does with that sample."""
    R, M, x = sample()
    form = "recurrent" if name.startswith("R") else "feedforward"
    options = {"schedule": "constant", "mean": "none", "limit": None, "rate_is": "absolute", "engine": "plain"}
    plan = LearningRule(form=form, rule=name[2:], rate=0.03, **options)
    state = initial_state(np.ones((1, 4)), plan)
    counters = state.counters + 10**9 * (np.arange(steps.COUNTERS) == steps.SAMPLES)  # late: the power hardly moves
    state = replace(
        state, M=M, R=R if plan.recurrent else state.R, power=np.array([0.4, 0.9, 1.3, 2.0]), counters=counters
    )
    after = learn(state, x[None], plan)
    xbar = M @ x
    signals = {"R": R, "M": M, "drive": x, "xbar": xbar, "power": after.power, "rate": 0.03, "x̄ᵀx̄": xbar @ xbar}
    (audited,) = [r for r in TWIN_RULES if r.name == name]
    change = audited.change({**signals, "overlap": xbar @ x if plan.recurrent else xbar @ M @ xbar})
    learnt = after.R - R if plan.recurrent else after.M - M
    np.testing.assert_allclose(change, learnt, atol=1e-14)
    assert np.abs(change).max() > 1e-3


def test_all_rules_of_the_room_are_audited():
    names = {r.name for r in (*TWIN_RULES, *RIVAL_RULES)}
    assert set(AUDITS) == names
    assert len(names) == len(TWIN_RULES) + len(RIVAL_RULES)


# Cheating ------------------------------------------------------------------------------------------------------------

CHEATS = {
    "pre": lambda s: np.outer(np.ones(5), s["x"]),
    "post": lambda s: np.outer(s["x"], np.ones(5)),
    "drive": lambda s: np.outer(s["drive"], np.ones(5)),
    "pre drive": lambda s: np.outer(np.ones(5), s["drive"]),
    "own weight": lambda s: s["W"] ** 2,
    "global scalar": lambda s: np.full((5, 5), s["global"]),
    "layer scalar": lambda s: np.full((5, 5), s["layer"]),
    "reciprocal weight": lambda s: s["W"].T - np.diag(np.diag(s["W"])),
    "transported weight": lambda s: np.roll(s["W"], 1, axis=0),
    "other units": lambda s: np.array([[s["x"][third(i, j)] for j in range(5)] for i in range(5)]),
}


def third(i, j):
    return min({0, 1, 2} - {i, j})


@pytest.mark.parametrize("read", CHEATS)
def test_reading_anything_undeclared_is_found_and_named(read):
    found = audit(rule(CHEATS[read], declared=()))
    assert found.observed == {read}
    assert not found.passed
    assert found.violations[0].startswith(f"reads {read!r} undeclared: synapse (")


@pytest.mark.parametrize("read", CHEATS)
def test_an_honest_declaration_passes(read):
    found = audit(rule(CHEATS[read], declared=(read,)))
    assert found.passed, found.violations


def test_a_small_peep_at_a_third_unit_is_found():
    """One synapse of twenty-five reads one unit too many, with a weight of a millionth."""

    def change(s):
        hebb = np.outer(s["x"], s["x"])
        hebb[1, 3] += 1e-6 * s["x"][4]
        return hebb

    found = audit(rule(change, declared=("pre", "post")))
    assert found.violations == ("reads 'other units' undeclared: synapse (1, 3) changes with x[4]",)


def test_normalising_by_the_activity_of_the_layer_is_not_local_unless_it_is_broadcast():
    def silently(s):
        return np.outer(s["x"], s["x"]) / (s["x"] @ s["x"])

    def by_broadcast(s):
        return np.outer(s["x"], s["x"]) / (1 + s["layer"] ** 2)

    assert audit(rule(silently, ("pre", "post"))).violations[0].startswith("reads 'other units' undeclared")
    declared = ("pre", "post", "layer scalar")
    assert audit(rule(by_broadcast, declared)).passed
    assert audit(rule(by_broadcast, declared)).verdict == "broadcast"


def test_declaring_what_is_not_read_is_flagged():
    found = audit(rule(CHEATS["pre"], declared=("pre", "reciprocal weight")))
    assert found.violations == ("declares 'reciprocal weight' and does not read it",)
    assert not found.passed
    assert found.local


def test_a_rule_that_changes_its_signals_in_place_gains_nothing():
    def change(s):
        s["x"][:] = 7.0
        return np.outer(s["x"], s["x"])

    assert audit(rule(change, ())).passed  # it reads a constant


# Rules between two layers --------------------------------------------------------------------------------------------


def feedback_alignment(s):
    return -s["rate"] * np.outer(s["feedback"], s["x"])


def backpropagation(s):
    return -s["rate"] * np.outer(s["upper"].T @ s["error"], s["x"])


def node_perturbation(s):
    return -s["rate"] * s["reward"] * np.outer(s["noise"], s["x"])


BETWEEN = {"receivers": 4, "senders": 6}
RATE, INPUT = Signal("rate", "global", positive=True), Signal("x", "sender")


def test_rules_between_layers_are_described_in_the_same_words():
    fa = rule(
        feedback_alignment, ("pre", "drive", "global scalar"), (RATE, INPUT, Signal("feedback", "drive")), **BETWEEN
    )
    np_rule = rule(
        node_perturbation,
        ("pre", "post", "global scalar"),
        (RATE, INPUT, Signal("noise", "receiver"), Signal("reward", "global")),
        **BETWEEN,
    )
    # Backpropagation reads the weights above it, W[k, i], as if they were its own: 4 × 4, so square here.
    bp = rule(
        backpropagation,
        ("pre", "post", "own weight", "reciprocal weight", "transported weight", "other units", "global scalar"),
        (RATE, INPUT, Signal("upper", "weight"), Signal("error", "receiver")),
    )
    assert audit(fa).passed, audit(fa).violations
    assert audit(np_rule).passed, audit(np_rule).violations
    assert audit(fa).local
    assert audit(np_rule).local
    assert audit(bp).verdict == "not local"


def test_the_other_layers_unit_with_the_same_number_is_another_unit():
    found = audit(rule(lambda s: np.outer(s["x"][:4], np.ones(6)), (), (INPUT,), **BETWEEN))
    assert found.observed == {"pre", "other units"}  # x_i is the sender of synapse (i, j) only where i = j


def test_batches_are_perturbed_unit_by_unit():
    found = audit(rule(lambda s: s["x"].T @ s["x"] / 3, ("pre", "post"), (Signal("x", "unit"),), rows=3))
    assert found.passed
    running = Signal("p", "unit", positive=True, running=True)
    assert audit(rule(lambda s: np.outer(np.ones(5), s["p"]), ("pre",), (running,), rows=3)).passed


# Bad input and the table ---------------------------------------------------------------------------------------------


def test_bad_descriptions_are_refused():
    with pytest.raises(ConfigError, match=r"place .*'units'.* 'unit'\?"):
        Signal("x", "units")
    with pytest.raises(ConfigError, match=r"declared .*'own weights'.* 'own weight'\?"):
        rule(CHEATS["pre"], declared=("own weights",))
    with pytest.raises(ConfigError, match=r"3 and 5\..*'sender'"):
        rule(CHEATS["pre"], (), receivers=3)
    with pytest.raises(InputError, match=r"'test' .*\(5, 5\).* \(5,\)"):
        audit(rule(lambda s: s["x"], ()))
    with pytest.raises(InputError, match="must be a finite"):
        audit(rule(lambda s: np.full((5, 5), np.nan), ()))


def test_the_table_shows_every_read_and_every_failure():
    audits = [AUDITS["R implicit"], audit(rule(CHEATS["post"], declared=("pre",)))]
    head, local, cheat = format_audit(audits).splitlines()
    assert head.split() == " ".join((*READS, "verdict")).split()
    assert local.split() == ["R", "implicit", "+", "·", "+", "·", "+", "+", "·", "·", "·", "·", "local"]
    assert cheat.split() == ["test", "?", "!", *"········", "local,", "FAILED"]


def test_the_audit_is_repeatable():
    assert audit(TWIN_RULES[0], seed=3) == audit(TWIN_RULES[0], seed=3)
    for seed in range(1, 4):
        assert all(found.passed for found in audit_all(seed))
