"""Circuits that settle each sample under the present weights, then learn from it."""

from neurodecorr.online.run import OnlineResult, run_online

__all__ = ["OnlineResult", "run_online"]
