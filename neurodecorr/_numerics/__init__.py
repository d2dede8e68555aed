"""Kernels, products, norms and memory that every room computes with."""

__all__ = []
