"""Records of every study, read once."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.simulations.engines.conftest import records_file, study_of
from tests.support.runs.every_release import whole_units

from fieldfare.client.records import read_records
from fieldfare.client.sums.partitioned_sums import WholeUnits
from fieldfare.shared.study.study import Study

__all__ = ["records_file"]

Whole = Callable[[str], tuple[Study, WholeUnits]]


@pytest.fixture(scope="session")
def whole(records_file: Path) -> Whole:
    """A study by its name, and one institution's 240 units."""
    kept: dict[str, tuple[Study, WholeUnits]] = {}

    def found(name: str) -> tuple[Study, WholeUnits]:
        if name not in kept:
            study = study_of(name)
            kept[name] = study, whole_units(study, read_records([records_file], study))
        return kept[name]

    return found
