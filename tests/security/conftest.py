"""Federations with real custodians, for every test here."""

from tests.bench import bench, make_bench

__all__ = ["bench", "make_bench"]
