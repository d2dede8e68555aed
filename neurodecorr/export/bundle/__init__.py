"""One folder or zip file with everything that a circuit's hardware needs, which verifies itself when it is read."""

from neurodecorr.export.bundle import fixed_point as fixed_point
from neurodecorr.export.bundle.bundle import export_bundle, load_bundle
from neurodecorr.export.bundle.contents import Formats
from neurodecorr.export.bundle.reference_response import reference_response

__all__ = ["Formats", "export_bundle", "load_bundle", "reference_response"]
