"""Traces streamed to disk, results with their provenance, safe readers and atomic writers."""

from neurodecorr.io import atomic as atomic
from neurodecorr.io import claims as claims
from neurodecorr.io import manifest as manifest
from neurodecorr.io import trees as trees
from neurodecorr.io.hdf5 import Variable
from neurodecorr.io.npz import Result, load_result
from neurodecorr.io.observer import Recorder, RecordingTimes
from neurodecorr.io.provenance import provenance
from neurodecorr.io.traces import read_traces

__all__ = ["Recorder", "RecordingTimes", "Result", "Variable", "load_result", "provenance", "read_traces"]
