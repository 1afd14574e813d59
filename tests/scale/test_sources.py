"""Sources at size: a file, a folder, and a table by 1 and 4 connections, under one memory limit."""

import os
from typing import Final

import pytest
from tests.benchmarks.scale.sources import KINDS, measure

pytestmark = pytest.mark.promises

LONG: Final = bool(os.environ.get("FIELDFARE_SCALE_LONG"))
ROWS: Final = 1_000_000 if LONG else 50_000
LIMIT: Final = 1_000  # MB


def test_every_source_is_read_within_the_limit_and_says_the_same() -> None:
    found = measure(ROWS, LIMIT)
    assert [row["source"] for row in found] == list(KINDS)
    assert len({row["found"] for row in found}) == 1
    assert all(row["peak_mb"] <= LIMIT for row in found)
