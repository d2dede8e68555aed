"""One folder or zip file with everything that a circuit's hardware needs, which verifies itself when it is read."""

from neurodecorr.hardware.bundle.bundle import Bundle, export_bundle, load_bundle
from neurodecorr.hardware.bundle.contents import Contents, Formats
from neurodecorr.hardware.bundle.fixed_point import FixedPoint, to_fixed_point
from neurodecorr.hardware.bundle.golden import Golden, golden_response
from neurodecorr.hardware.bundle.topology import read_topology, topology_text

__all__ = [
    "Bundle",
    "Contents",
    "FixedPoint",
    "Formats",
    "Golden",
    "export_bundle",
    "golden_response",
    "load_bundle",
    "read_topology",
    "to_fixed_point",
    "topology_text",
]
