"""What a synapse may do: decorrelation rules for R and for M, their gains and guards."""

from neurodecorr.plasticity.audited import audit_all
from neurodecorr.plasticity.closed_form import decorrelating_circuit, decorrelating_matrix, whitening_matrix
from neurodecorr.plasticity.continuous import FLOW_RULES, Flow, learn_continuously
from neurodecorr.plasticity.course import Course, Distance, Twins, distances, follow, format_distances
from neurodecorr.plasticity.learning import learn
from neurodecorr.plasticity.locality import Audit, Signal, SynapticRule, audit, format_audit
from neurodecorr.plasticity.masked import MASKED_RULES, MaskedPlan, MaskedState, learn_masked, start_masked
from neurodecorr.plasticity.plan import FEEDFORWARD_RULES, GAINS, MEANS, RECURRENT_RULES, Plan
from neurodecorr.plasticity.recorded import RECORDED, record_learning
from neurodecorr.plasticity.rivals import Foldiak, Oja, Rule, SimilarityMatching, Vogels
from neurodecorr.plasticity.schedules import Constant, Decay
from neurodecorr.plasticity.state import State, start
from neurodecorr.plasticity.whitening import Easi, OffDiagonal, Whitening

__all__ = [
    "FEEDFORWARD_RULES",
    "FLOW_RULES",
    "GAINS",
    "MASKED_RULES",
    "MEANS",
    "RECORDED",
    "RECURRENT_RULES",
    "Audit",
    "Constant",
    "Course",
    "Decay",
    "Distance",
    "Easi",
    "Flow",
    "Foldiak",
    "MaskedPlan",
    "MaskedState",
    "OffDiagonal",
    "Oja",
    "Plan",
    "Rule",
    "Signal",
    "SimilarityMatching",
    "State",
    "SynapticRule",
    "Twins",
    "Vogels",
    "Whitening",
    "audit",
    "audit_all",
    "decorrelating_circuit",
    "decorrelating_matrix",
    "distances",
    "follow",
    "format_audit",
    "format_distances",
    "learn",
    "learn_continuously",
    "learn_masked",
    "record_learning",
    "start",
    "start_masked",
    "whitening_matrix",
]
