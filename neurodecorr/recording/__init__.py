"""Recording: traces streamed to disk, results with their provenance, safe readers and atomic writers."""

from neurodecorr.recording.atomic import atomic_path, write_atomically, write_bytes, write_json, write_text
from neurodecorr.recording.claims import Claim, claim, reclaim
from neurodecorr.recording.contents import content_hash
from neurodecorr.recording.folders import require_writable
from neurodecorr.recording.manifest import Made, made_in
from neurodecorr.recording.provenance import provenance, run_id
from neurodecorr.recording.recorder import Recorder
from neurodecorr.recording.result import Result, load_result
from neurodecorr.recording.schedule import EverySamples, LogSpaced, Schedule, spans
from neurodecorr.recording.traces import Trace, Traces, read_traces
from neurodecorr.recording.tree import Branch, graft, read_tree, write_tree
from neurodecorr.recording.variable import Variable

__all__ = [
    "Branch",
    "Claim",
    "EverySamples",
    "LogSpaced",
    "Made",
    "Recorder",
    "Result",
    "Schedule",
    "Trace",
    "Traces",
    "Variable",
    "atomic_path",
    "claim",
    "content_hash",
    "graft",
    "load_result",
    "made_in",
    "provenance",
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
