"""How the room `plasticity` is called."""

import numpy as np
import scipy.sparse
from bad_values import (
    Call,
    Choice,
    Flag,
    Number,
    Numbers,
    Place,
    Seed,
    Several,
    Sparse,
    Table,
    Text,
    Valid,
    Whole,
)

from neurodecorr import locality, plasticity
from neurodecorr.locality import Signal, SynapticRule
from neurodecorr.plasticity import LearningRule, SparseLearningRule
from neurodecorr.plasticity.benchmark import RelativeRule
from neurodecorr.plasticity.learn import record_learning

X = np.random.default_rng(0).standard_normal((20, 3))
SIGMA = np.array([[2.0, 0.5, 0.0], [0.5, 1.0, 0.1], [0.0, 0.1, 1.5]])
PLAN = LearningRule()
STATE = plasticity.initial_state(X, PLAN)
MASK = scipy.sparse.csr_array(np.ones((3, 3)))
MASKED = plasticity.initial_sparse_state(MASK)
RULES = (
    plasticity.baselines.Easi,
    plasticity.baselines.Foldiak,
    plasticity.baselines.OffDiagonal,
    plasticity.baselines.Oja,
    plasticity.baselines.SimilarityMatching,
    plasticity.baselines.Vogels,
    plasticity.baselines.Whitening,
)
COURSE = plasticity.benchmark.run_rule(plasticity.baselines.Easi(), [X], SIGMA)
HEBB = SynapticRule("Hebb", (Signal("x", "unit"),), lambda s: np.outer(s["x"], s["x"]), ("pre", "post"))
RATE, GAIN = Number(1e-2, above=0), Choice("none")
TOL = Number(None, low=0, high=1, none=True)
RECORDS = "a record of results, filled by the library"

EXEMPT = {
    "locality.Audit": RECORDS,
    **{f"plasticity.{name}": RECORDS for name in ()},
    "plasticity.State": "made by `initial_state`, and by learning at every step",
}

CALLS = [
    Call(
        "plasticity.Constant",
        plasticity.Constant,
        {"hold": Number(1.0, above=0, also={"inf": "for ever"}), "half": Number(1.0, above=0)},
    ),
    Call("plasticity.Decay", plasticity.Decay, {"hold": Number(1.0, above=0), "half": Number(1.0, above=0)}),
    Call("plasticity.Easi", plasticity.baselines.Easi, {"rate": RATE}),
    Call("plasticity.Foldiak", plasticity.baselines.Foldiak, {"rate": RATE, "gain": GAIN}),
    Call(
        "plasticity.OffDiagonal",
        plasticity.baselines.OffDiagonal,
        {"rate": RATE, "kappa": Number(0.5, low=0, high=1), "relative": Flag(True), "gain": GAIN},
    ),
    Call("plasticity.Oja", plasticity.baselines.Oja, {"rate": RATE}),
    Call("plasticity.SimilarityMatching", plasticity.baselines.SimilarityMatching, {"history": Number(100.0, above=0)}),
    Call(
        "plasticity.Vogels",
        plasticity.baselines.Vogels,
        {"rate": RATE, "target": Number(0.0), "inhibition": Choice("feedforward")},
    ),
    Call(
        "plasticity.Whitening",
        plasticity.baselines.Whitening,
        {"kind": Choice("zca"), "memory": Number(0.5, above=0, below=1, none=True)},
    ),
    *[
        Call(
            f"plasticity.{rule.__name__}.start",
            rule().start,
            {"features": Whole(3, low=1), "scale": Number(1.0, above=0)},
        )
        for rule in RULES
    ],
    Call("plasticity.RelativeRule", RelativeRule, {"plan": Valid(PLAN)}),
    Call(
        "plasticity.RelativeRule.start",
        RelativeRule(PLAN).start,
        {"features": Whole(3, low=1), "scale": Number(1.0, above=0)},
    ),
    Call(
        "plasticity.SparseLearningRule",
        SparseLearningRule,
        {
            "form": Choice("recurrent"),
            "rule": Choice("implicit"),
            "rate": RATE,
            "half": Number(1e3, above=0, also={"inf": "a constant rate"}),
            "limit": Number(0.1, above=0),
            "dominance": Number(0.9, low=0, below=1, none=True),
            "tol": Number(1e-6, above=0),
        },
    ),
    Call(
        "plasticity.LearningRule",
        LearningRule,
        {
            "form": Choice("recurrent"),
            "rule": Choice("implicit"),
            "rate": RATE,
            "schedule": Choice("decay"),
            "gain": Choice("node"),
            "mean": Choice("running"),
            "batch": Whole(2, low=1),
            "limit": Number(0.1, above=0, none=True),
            "rate_is": Choice("relative"),
            "strongest": Number(1e7, above=0, none=True),
            "engine": Choice("auto"),
        },
    ),
    Call("plasticity.LearningRule.visits", PLAN.visits, {"features": Whole(3, low=1)}),
    Call(
        "locality.Signal",
        Signal,
        {
            "name": Text("x"),
            "place": Choice("unit"),
            "positive": Flag(False),
            "size": Number(1.0, above=0),
            "symmetric": Flag(False),
            "running": Flag(False),
        },
    ),
    Call(
        "locality.SynapticRule",
        SynapticRule,
        {
            "name": Text("Hebb"),
            "signals": Several((Signal("x", "unit"),)),
            "change": Valid(HEBB.change, also={"function": "any function", "class": "any callable"}),
            "declared": Several(("pre", "post"), empty=True),
            "receivers": Whole(5, low=1),
            "senders": Whole(5, low=1),
            "rows": Whole(0, low=0),
        },
    ),
    Call(
        "locality.audit",
        locality.audit,
        {"rule": Valid(HEBB), "seed": Seed(0)},
    ),
    Call("locality.audit_all", locality.audit_all, {"seed": Seed(0)}),
    *[
        Call(
            f"plasticity.{function.__name__}",
            function,
            {"covariance": Numbers(SIGMA), "gain": Choice("node"), "tol": TOL},
        )
        for function in (plasticity.decorrelating_matrix, plasticity.decorrelating_circuit)
    ],
    Call(
        "plasticity.whitening_matrix",
        plasticity.whitening_matrix,
        {"covariance": Numbers(SIGMA), "kind": Choice("zca"), "tol": TOL},
    ),
    Call(
        "plasticity.distances",
        plasticity.benchmark.distances,
        {"courses": Several((COURSE,), empty=True), "covariance": Numbers(SIGMA)},
    ),
    Call(
        "plasticity.run_rule",
        plasticity.benchmark.run_rule,
        {
            "rule": Valid(plasticity.baselines.Easi()),
            "batches": Several((X, X), empty=True, also={"empty dict": "no batches", "generator": "no batches"}),
            "covariance": Numbers(SIGMA),
            "scale": Number(1.0, above=0),
            "every": Whole(1, low=1),
            "weights": Valid(None, also={"None": "the rule's own start"}),
        },
    ),
    Call(
        "locality.format_audit",
        locality.format_audit,
        {"audits": Several((locality.audit(HEBB),), empty=True), "reads": Several(("pre", "post"), empty=True)},
    ),
    Call(
        "plasticity.format_distances",
        plasticity.benchmark.format_distances,
        {"table": Several(plasticity.benchmark.distances((COURSE,), SIGMA))},
    ),
    Call("plasticity.learn", plasticity.learn, {"state": Valid(STATE), "X": Numbers(X), "plan": Valid(PLAN)}),
    Call(
        "plasticity.learn_continuously",
        plasticity.learn_continuously,
        {
            "R": Numbers(np.eye(3)),
            "X": Numbers(X),
            "dwell": Number(1.0, above=0),
            "tau_x": Number(1.0, above=0),
            "tau_R": Number(1e4, above=0),
            "rule": Choice("implicit"),
            "power": Numbers(np.ones(3), none=True),
            "tau_power": Number(None, above=0, none=True),
            "tau_input": Number(0.0, low=0),
            "xbar": Numbers(np.zeros(3), none=True),
            "dt": Number(None, above=0, none=True),
            "covariance": Numbers(SIGMA, none=True),
            "records": Whole(2, low=1),
        },
    ),
    Call(
        "plasticity.learn_sparse",
        plasticity.learn_sparse,
        {"state": Valid(MASKED), "X": Numbers(X), "plan": Valid(SparseLearningRule())},
    ),
    Call(
        "plasticity.record_learning",
        record_learning,
        {
            "X": Numbers(X, also={"longer": "a start from any number of units"}),
            "plan": Valid(PLAN),
            "path": Place("learnt.h5"),
            "every": Whole(10, low=1),
            "what": Several(("weights",), none=True),
            "state": Valid(None, also={"None": "the identity"}),
            "seed": Seed(0),
            "config": Table({"a": 1}, none=True, json=True),
        },
    ),
    Call(
        "plasticity.initial_state",
        plasticity.initial_state,
        {"X": Numbers(X, also={"longer": "a start from any number of units"}), "plan": Valid(PLAN)},
    ),
    Call(
        "plasticity.initial_sparse_state",
        plasticity.initial_sparse_state,
        {"mask": Sparse(MASK, also={"sparse": "a mask as well", "of another format": "it is converted"})},
    ),
]
