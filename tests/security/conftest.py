"""Federations with real custodians, for every test here."""

from tests.support.bench import bench, make_bench
from tests.support.served import room
from tests.support.transcripts import recorded

__all__ = ["bench", "make_bench", "recorded", "room"]
