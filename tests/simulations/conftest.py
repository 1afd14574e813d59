"""Small records and a study on disk, as somebody who runs `fieldfare simulate` has them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fieldfare.shared.study.file import load_study
from fieldfare.shared.study.study import Study
from fieldfare.simulations.federation.population import RecordsChoice
from fieldfare.simulations.federation.simulate import Simulation

BANKS: Final = ("bank-a", "bank-b", "bank-c")
ROWS: Final = 300
SECTIONS: Final[dict[str, dict[str, str]]] = {
    "records": {"unit": '"id"', "label": '"reported"', "units": "300", "prevalence": "0.3"},
    "training": {"steps": "6"},
    "evaluation": {"score_bins": "8", "alert_budget": "0.1"},
    "privacy": {"epsilon": "4.0", "delta": "1e-4"},
    "aggregation": {"deadline_seconds": "0.2"},
}
FEATURES: Final = """
[[features]]
name = "amount"
kind = "numeric"
lower = 0
upper = 10
knots = [0, 2, 5, 10]

[[features]]
name = "channel"
kind = "categorical"
levels = ["branch", "online"]
"""


def study_text(**changes: dict[str, str]) -> str:
    """A small study as TOML; keyword arguments change values inside its sections."""
    lines = ['name = "small"', 'purpose = "tests"']
    for name, section in SECTIONS.items():
        lines.append(f"[{name}]")
        lines += [f"{key} = {value}" for key, value in (section | changes.get(name, {})).items()]
    return "\n".join(lines) + FEATURES


def make_table(rows: int = ROWS, *, seed: int = 0, banks: tuple[str, ...] = BANKS) -> pa.Table:
    """Records whose label follows the amount; units are dealt to the banks in turn."""
    random = np.random.default_rng(seed)
    amounts = random.uniform(0, 10, rows)
    return pa.table(
        {
            "id": [f"unit-{row}" for row in range(rows)],
            "bank": [banks[row % len(banks)] for row in range(rows)],
            "persona": random.choice(["student", "nurse"], rows),
            "amount": amounts,
            "channel": random.choice(["branch", "online", "post"], rows),
            "reported": (random.uniform(0, 14, rows) < amounts).astype(np.int64),
        }
    )


@dataclass(frozen=True)
class SimulationFolder:
    """A folder with a study and records in it."""

    folder: Path

    @property
    def study_file(self) -> Path:
        return self.folder / "study.toml"

    @property
    def records_file(self) -> Path:
        return self.folder / "records.parquet"

    def write_study(self, **changes: dict[str, str]) -> Study:
        self.study_file.write_text(study_text(**changes), encoding="utf-8")
        return load_study(self.study_file)

    def write_records(self, table: pa.Table, name: str = "records.parquet") -> Path:
        pq.write_table(table, self.folder / name)
        return self.folder / name

    def read_records(self) -> pa.Table:
        return pq.read_table(self.records_file)

    def task(self, out: str = "out", **given: Any) -> Simulation:
        """A simulation of the three banks, without baselines unless they are asked for."""
        settings: dict[str, Any] = {"baselines": (), **given}
        choice = settings.pop(
            "choice", RecordsChoice((str(self.records_file),), institution_column="bank")
        )
        study = settings.pop("study", None) or load_study(self.study_file)
        return Simulation(study=study, choice=choice, out=self.folder / out, **settings)


MakeTable = Callable[..., pa.Table]


@pytest.fixture
def work(tmp_path: Path) -> SimulationFolder:
    made = SimulationFolder(tmp_path)
    made.write_study()
    made.write_records(make_table())
    return made
