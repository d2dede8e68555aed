"""What a synapse may do: decorrelation rules for R and for M, their gains and guards."""

from neurodecorr.plasticity import baselines as baselines
from neurodecorr.plasticity import benchmark as benchmark
from neurodecorr.plasticity.closed_form import decorrelating_circuit, decorrelating_matrix, whitening_matrix
from neurodecorr.plasticity.continuous import learn_continuously
from neurodecorr.plasticity.learn import learn
from neurodecorr.plasticity.sparse import SparseLearningRule, initial_sparse_state, learn_sparse
from neurodecorr.plasticity.spec import Constant, Decay, LearningRule
from neurodecorr.plasticity.state import State, initial_state

__all__ = [
    "Constant",
    "Decay",
    "LearningRule",
    "SparseLearningRule",
    "State",
    "decorrelating_circuit",
    "decorrelating_matrix",
    "initial_sparse_state",
    "initial_state",
    "learn",
    "learn_continuously",
    "learn_sparse",
    "whitening_matrix",
]
