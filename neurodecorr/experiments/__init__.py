"""Sweeps over settings, on one machine or a cluster, and learning curves."""

__all__ = []
