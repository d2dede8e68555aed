"""Rules of credit assignment, the noise they use, and optimisers."""

from neurodecorr.credit.backprop import Backprop
from neurodecorr.credit.base import Credit
from neurodecorr.credit.feedback_alignment import LATERAL, DirectFeedbackAlignment, FeedbackAlignment
from neurodecorr.credit.node_perturbation import NodePerturbation
from neurodecorr.credit.noise import BernoulliNoise, GaussianNoise, OrnsteinUhlenbeck, RecordedNoise
from neurodecorr.credit.optimisers import SGD, Adam, RMSprop

__all__ = [
    "LATERAL",
    "SGD",
    "Adam",
    "Backprop",
    "BernoulliNoise",
    "Credit",
    "DirectFeedbackAlignment",
    "FeedbackAlignment",
    "GaussianNoise",
    "NodePerturbation",
    "OrnsteinUhlenbeck",
    "RMSprop",
    "RecordedNoise",
]
