"""Networks trained in batches: checkpoints, history, monitors and traces."""

from neurodecorr.training.history import History
from neurodecorr.training.monitors import MONITORS
from neurodecorr.training.traces import RecordingOptions, training_traces
from neurodecorr.training.trainer import Trainer, evaluate

__all__ = ["MONITORS", "History", "RecordingOptions", "Trainer", "evaluate", "training_traces"]
