"""Fixtures of several processes."""

from tests.several.processes import cluster

__all__ = ["cluster"]
