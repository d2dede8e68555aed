"""Rules of credit assignment, the noise they use, and optimisers."""

from neurodecorr.credit import base as base
from neurodecorr.credit.backprop import Backprop
from neurodecorr.credit.feedback_alignment import DirectFeedbackAlignment, FeedbackAlignment
from neurodecorr.credit.node_perturbation import NodePerturbation
from neurodecorr.credit.noise import BernoulliNoise, GaussianNoise, OrnsteinUhlenbeck, RecordedNoise
from neurodecorr.credit.optimisers import SGD, Adam, RMSprop

__all__ = [
    "SGD",
    "Adam",
    "Backprop",
    "BernoulliNoise",
    "DirectFeedbackAlignment",
    "FeedbackAlignment",
    "GaussianNoise",
    "NodePerturbation",
    "OrnsteinUhlenbeck",
    "RMSprop",
    "RecordedNoise",
]
