"""The two forms of a decorrelating layer as scikit-learn transformers."""

from neurodecorr.estimators.feedforward import FeedforwardDecorrelator
from neurodecorr.estimators.recurrent import RecurrentDecorrelator

__all__ = ["FeedforwardDecorrelator", "RecurrentDecorrelator"]
