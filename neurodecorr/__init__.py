"""Decorrelating circuits you can simulate, learn with, and map to hardware."""
