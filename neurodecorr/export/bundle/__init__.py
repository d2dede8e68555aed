"""One folder or zip file with everything that a circuit's hardware needs, which verifies itself when it is read."""

from neurodecorr.export.bundle.bundle import Bundle, export_bundle, load_bundle
from neurodecorr.export.bundle.contents import Contents, Formats, read_topology, topology_text
from neurodecorr.export.bundle.fixed_point import FixedPoint, to_fixed_point
from neurodecorr.export.bundle.reference_response import ReferenceResponse, reference_response

__all__ = [
    "Bundle",
    "Contents",
    "FixedPoint",
    "Formats",
    "ReferenceResponse",
    "export_bundle",
    "load_bundle",
    "read_topology",
    "reference_response",
    "to_fixed_point",
    "topology_text",
]
