"""What a synapse may do: decorrelation rules for R and for M, their gains and guards."""

from neurodecorr.plasticity.closed_form import decorrelating_matrix, whitening_matrix
from neurodecorr.plasticity.learning import learn
from neurodecorr.plasticity.plan import FEEDFORWARD_RULES, GAINS, MEANS, RECURRENT_RULES, Plan
from neurodecorr.plasticity.schedules import Constant, Decay
from neurodecorr.plasticity.state import State, start

__all__ = [
    "FEEDFORWARD_RULES",
    "GAINS",
    "MEANS",
    "RECURRENT_RULES",
    "Constant",
    "Decay",
    "Plan",
    "State",
    "decorrelating_matrix",
    "learn",
    "start",
    "whitening_matrix",
]
