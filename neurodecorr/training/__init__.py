"""Networks trained in batches: checkpoints, history, monitors and traces."""

from neurodecorr.training import history as history
from neurodecorr.training import monitors as monitors
from neurodecorr.training.traces import RecordingOptions, training_traces
from neurodecorr.training.trainer import Trainer, evaluate

__all__ = ["RecordingOptions", "Trainer", "evaluate", "training_traces"]
