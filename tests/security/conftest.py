"""Federations with real custodians, for every test here."""

from tests.bench import bench, make_bench
from tests.served import room
from tests.transcripts import recorded

__all__ = ["bench", "make_bench", "recorded", "room"]
