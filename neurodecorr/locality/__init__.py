"""Which signals a rule reads: audits of learning rules and of credit assignment."""

from neurodecorr.locality.audit import Audit, Signal, SynapticRule, audit, format_audit
from neurodecorr.locality.rules import audit_all

__all__ = ["Audit", "Signal", "SynapticRule", "audit", "audit_all", "format_audit"]
