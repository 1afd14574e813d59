"""Federations with real custodians, for every test here."""

from tests.support.federations.bench import bench, make_bench
from tests.support.network.served import room
from tests.support.runs.transcripts import recorded

__all__ = ["bench", "make_bench", "recorded", "room"]
