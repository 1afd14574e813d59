"""Small worlds, made once."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from fieldfare.simulations.world.making import Society, WorldPlan, make_society
from fieldfare.simulations.world.writing import write_world


@dataclass(frozen=True)
class Written:
    """A world in memory, and the same as files."""

    society: Society
    folder: Path
    found: dict[str, Any]

    def read(self, name: str) -> Any:
        return pq.read_table(self.folder / f"{name}.parquet")


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    plan = WorldPlan.of(people=4_000, months=2, seed=5, prevalence=0.05, version=1)
    folder = tmp_path_factory.mktemp("world") / "made"
    return Written(make_society(plan), folder, write_world(plan, folder))
