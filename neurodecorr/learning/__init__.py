"""Credit assignment, optimisers, and training."""

from neurodecorr.learning.alignment import LATERAL, DirectFeedbackAlignment, FeedbackAlignment
from neurodecorr.learning.backprop import Backprop
from neurodecorr.learning.credit import Credit
from neurodecorr.learning.history import History
from neurodecorr.learning.noise import Bernoulli, Gaussian, OrnsteinUhlenbeck, Recorded
from neurodecorr.learning.optimisers import SGD, Adam, RMSprop
from neurodecorr.learning.perturbation import NodePerturbation
from neurodecorr.learning.traces import Recording, training_traces
from neurodecorr.learning.trainer import Trainer, evaluate
from neurodecorr.learning.watch import WATCHES

__all__ = [
    "LATERAL",
    "SGD",
    "WATCHES",
    "Adam",
    "Backprop",
    "Bernoulli",
    "Credit",
    "DirectFeedbackAlignment",
    "FeedbackAlignment",
    "Gaussian",
    "History",
    "NodePerturbation",
    "OrnsteinUhlenbeck",
    "RMSprop",
    "Recorded",
    "Recording",
    "Trainer",
    "evaluate",
    "training_traces",
]
