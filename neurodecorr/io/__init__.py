"""Traces streamed to disk, results with their provenance, safe readers and atomic writers."""

from neurodecorr.io.atomic import atomic_path, require_writable, write_atomically, write_bytes, write_json, write_text
from neurodecorr.io.claims import Claim, claim, reclaim
from neurodecorr.io.hdf5 import Variable
from neurodecorr.io.manifest import RunManifest, content_hash, read_manifest
from neurodecorr.io.npz import Result, load_result
from neurodecorr.io.observer import EverySamples, LogSpaced, Recorder, RecordingTimes, spans
from neurodecorr.io.provenance import provenance, run_id
from neurodecorr.io.traces import Trace, Traces, read_traces
from neurodecorr.io.trees import Branch, graft, read_tree, write_tree

__all__ = [
    "Branch",
    "Claim",
    "EverySamples",
    "LogSpaced",
    "Recorder",
    "RecordingTimes",
    "Result",
    "RunManifest",
    "Trace",
    "Traces",
    "Variable",
    "atomic_path",
    "claim",
    "content_hash",
    "graft",
    "load_result",
    "provenance",
    "read_manifest",
    "read_traces",
    "read_tree",
    "reclaim",
    "require_writable",
    "run_id",
    "spans",
    "write_atomically",
    "write_bytes",
    "write_json",
    "write_text",
    "write_tree",
]
