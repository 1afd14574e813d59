"""A finished run's transcript, for tests of what reads it."""

from tests.support.federations.bench import bench, make_bench
from tests.support.runs.transcripts import recorded

__all__ = ["bench", "make_bench", "recorded"]
