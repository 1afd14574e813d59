"""Finished runs of every shape, written once."""

from collections.abc import Callable

import pytest
from tests.support.runs.written_runs import COUNT, LATER, STUDIES, WrittenRun, group_of

MakeRun = Callable[[str], WrittenRun]


@pytest.fixture(scope="session")
def written() -> MakeRun:
    """Return finished runs by name; change copies only."""
    made: dict[str, WrittenRun] = {}

    def make(name: str) -> WrittenRun:
        if name not in made:
            later = [group_of(*LATER), group_of(COUNT)] if name == "later" else []
            lost = {2: ["bank-b"]} if name == "lost" else {}
            study = STUDIES.get(name, STUDIES["questions" if later else "training"])()
            made[name] = WrittenRun(study).finish(lost=lost, later=later)
        return made[name]

    return make
