"""What a synapse may do: decorrelation rules for R and for M, their gains and guards."""

from neurodecorr.plasticity.baselines import (
    Easi,
    Foldiak,
    OffDiagonal,
    Oja,
    Rule,
    SimilarityMatching,
    Vogels,
    Whitening,
)
from neurodecorr.plasticity.benchmark import Distance, RelativeRule, RuleHistory, distances, format_distances, run_rule
from neurodecorr.plasticity.closed_form import decorrelating_circuit, decorrelating_matrix, whitening_matrix
from neurodecorr.plasticity.continuous import FLOW_RULES, ContinuousResult, learn_continuously
from neurodecorr.plasticity.learn import RECORDED, learn, record_learning
from neurodecorr.plasticity.sparse import SparseLearningRule, SparseState, initial_sparse_state, learn_sparse
from neurodecorr.plasticity.spec import GAINS, MEANS, RULES, Constant, Decay, LearningRule
from neurodecorr.plasticity.state import State, initial_state

__all__ = [
    "FLOW_RULES",
    "GAINS",
    "MEANS",
    "RECORDED",
    "RULES",
    "Constant",
    "ContinuousResult",
    "Decay",
    "Distance",
    "Easi",
    "Foldiak",
    "LearningRule",
    "OffDiagonal",
    "Oja",
    "RelativeRule",
    "Rule",
    "RuleHistory",
    "SimilarityMatching",
    "SparseLearningRule",
    "SparseState",
    "State",
    "Vogels",
    "Whitening",
    "decorrelating_circuit",
    "decorrelating_matrix",
    "distances",
    "format_distances",
    "initial_sparse_state",
    "initial_state",
    "learn",
    "learn_continuously",
    "learn_sparse",
    "record_learning",
    "run_rule",
    "whitening_matrix",
]
