"""How the room `hardware.insitu` is called."""

import numpy as np
from bad_values import Call, Choice, Flag, Number, Numbers, Seed, Valid, Whole

from neurodecorr.hardware import in_situ
from neurodecorr.hardware.devices import Devices
from neurodecorr.hardware.in_situ import InSituRule, IntegerLearningRule, PulsedSynapse
from neurodecorr.plasticity import Decay

ROOM = "hardware.in_situ"
R = np.array([[1.2, 0.3], [0.2, 0.9]])
X = np.random.default_rng(0).standard_normal((6, 2))
SIGMA = np.array([[1.0, 0.3], [0.3, 0.8]])
PLAN, WHOLE, SYNAPSE = InSituRule(), IntegerLearningRule(bits=12), PulsedSynapse()
STATE = in_situ.initial_integer_state(R, X, WHOLE)
MADE = in_situ.learning_chips(R, Devices(), SYNAPSE, 2, 0, 1e-5, 0.0)
HEALED = in_situ.compare_in_situ(R, X, SIGMA, Devices(mismatch=0.1), chips=3)
EXEMPT = {
    f"{ROOM}.InSituComparison": "a record of results, filled by the library",
}
STREAM = Numbers(X)
DEVICES, SYNAPSES, PLANS = Valid(Devices(mismatch=0.1)), Valid(SYNAPSE), Valid(PLAN)
SMALL = Number(0.1, low=0, high=1e6)


def learn(**arguments):
    chips = arguments.pop("chips", None)
    if chips is MADE:
        chips = in_situ.learning_chips(R, Devices(), SYNAPSE, 2, 0, 1e-5, 0.0)
    in_situ.learn_in_situ(chips, **arguments)


def named(**calls):
    """Return calls by name, dots for double underscores."""
    return [Call(f"{ROOM}.{name.replace('__', '.', 1)}", *call) for name, call in calls.items()]


CALLS = named(
    InSituRule=(
        InSituRule,
        {
            "rate": Number(1e-3, above=0),
            "schedule": Valid(Decay()),
            "gain": Choice("layer"),
            "sense_mismatch": Number(0.0, low=0),
            "sample_s": Number(0.0, low=0),
            "test_every": Whole(256, low=0, high=2**62),
            "margin": Number(0.02, above=0),
            "test_tau": Number(400.0, above=0),
            "rail": Number(10.0, above=0),
            "leak_step": Number(0.05, above=0),
        },
    ),
    InSituRule__rates=(PLAN.rates, {"samples": Whole(4, low=0, high=10**6)}),
    InSituRule__powers=(PLAN.powers, {"X": Numbers(X, also={"longer": "more units"})}),
    IntegerLearningRule=(
        IntegerLearningRule,
        {
            "bits": Whole(16, low=3, high=24),
            "whole": Whole(1, low=0, high=14),
            "activity": Whole(8, low=1, high=13),
            "guard": Whole(6, low=0, high=19),
            "pace": Whole(2, low=0, high=62),
            "most": Whole(512, low=1, high=2**62),
            "rail": Whole(4, low=0, high=62),
            "rate": Whole(9, low=0, high=62),
            "hold": Whole(1024, low=1, high=2**62),
            "batch": Whole(1, low=1, high=2**16),
            "stochastic": Flag(True),
        },
    ),
    IntegerLearningRule__shifts=(
        WHOLE.shifts,
        {"samples": Whole(4, low=0, high=10**6), "first": Whole(0, low=0, high=2**62)},
    ),
    IntegerState__weights=(STATE.weights, {"plan": Valid(WHOLE)}),
    LearningChips__weights=(MADE.weights, {"time_s": Number(1.0, low=0)}),
    LearningChips__factors=(MADE.factors, {"time_s": Number(1.0, low=0)}),
    PulsedSynapse=(
        PulsedSynapse,
        {
            "step": Number(1e-3, above=0, high=1),
            "bits": Whole(None, low=1, high=24, none=True),
            "noise": Number(0.1, low=0),
            "spread": Number(0.1, low=0),
            "asymmetry": Number(0.1, above=-1, below=1),
            "asymmetry_spread": Number(0.1, low=0),
            "slope": Number(0.5, low=0, high=1),
            "bound_spread": Number(0.1, low=0),
            "one_way": Flag(False),
            "refresh_above": Number(0.75, above=0.25, high=1),
            "refresh_below": Number(0.25, low=0, below=0.75),
            "reset_spread": Number(0.01, low=0, high=1),
            "most": Whole(31, low=1, high=2**31),
            "programming": Choice("verified"),
            "additive": Flag(False),
        },
    ),
    PulsedSynapse__limits=(
        SYNAPSE.limits,
        {"top": Number(2.0, above=0), "n": Whole(3, low=1, high=10**4), "rng": Seed(0)},
    ),
    PulsedSynapse__pulses=(SYNAPSE.pulses, {"unit": Number(1e-3, above=0)}),
    InSituRule__stability_test=(PLAN.stability_test, {"size": Number(1.0, above=0)}),
    compare_in_situ=(
        in_situ.compare_in_situ,
        {
            "R": Numbers(R),
            "X": STREAM,
            "covariance": Numbers(SIGMA),
            "devices": DEVICES,
            "synapse": Valid(SYNAPSE, also={"None": "the usual one"}),
            "plan": Valid(PLAN, also={"None": "the usual one"}),
            "chips": Whole(2, low=1, high=10**5),
            "seed": Seed(0),
            "time_s": Number(0.0, low=0),
            "headroom": Number(2.0, low=1),
            "records": Whole(1, low=1, high=6),
        },
    ),
    initial_integer_state=(
        in_situ.initial_integer_state,
        {"R": Numbers(R), "X": STREAM, "plan": Valid(WHOLE), "seed": Whole(1, low=1, high=2**32 - 1)},
    ),
    learn_in_situ=(
        learn,
        {
            "chips": Valid(MADE),
            "X": STREAM,
            "synapse": SYNAPSES,
            "plan": PLANS,
            "time_s": Number(0.0, low=0),
            "begin": Whole(0, low=0, high=6),
            "end": Whole(6, low=0, high=6, none=True),
        },
    ),
    learn_integers=(in_situ.learn_integers, {"state": Valid(STATE), "X": STREAM, "plan": Valid(WHOLE)}),
    learning_chips=(
        in_situ.learning_chips,
        {
            "R": Numbers(R),
            "devices": DEVICES,
            "synapse": SYNAPSES,
            "chips": Whole(2, low=1, high=10**5),
            "seed": Seed(0),
            "scale": Number(1e-5, above=0, high=2e-5),
            "sense_mismatch": Number(0.0, low=0),
            "reference": Valid(None, also={"None": "the lowest one"}),
        },
    ),
)
