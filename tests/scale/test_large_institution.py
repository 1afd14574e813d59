"""A large institution within a memory limit: the same bytes in any cut, killed or not.

`make bench-large LINE=1` measures ten million.
"""

import os
from typing import Final

import pytest
from tests.benchmarks.scale.partitions import measure, promises, words

pytestmark = pytest.mark.promises

LONG: Final = bool(os.environ.get("FIELDFARE_SCALE_LONG"))
SIZES: Final = "2000000,1000000,500000" if LONG else "120000,60000"
LIMIT_MEGABYTES: Final = 1500


def test_one_institution_in_1_4_and_16_parts_within_its_limit() -> None:
    found = measure(units=SIZES, parts="1,4,16", limit=LIMIT_MEGABYTES)
    first = [row for row in found["rows"] if row["units"] == found["rows"][0]["units"]]
    assert [(row["parts"], row["killed"]) for row in first] == [
        (1, False),
        (4, False),
        (16, False),
        (16, True),
    ]
    assert len({(row["sums"], row["model"]) for row in first}) == 1
    assert len({row["sums"] for row in found["rows"]}) == len(SIZES.split(","))
    assert all(row["anonymous_megabytes"] < LIMIT_MEGABYTES for row in found["rows"])
    assert "Extrapolated, not measured" in words(found)[-1]
    same, memory, *_ = promises(found)
    assert same.holds
    assert memory.holds
