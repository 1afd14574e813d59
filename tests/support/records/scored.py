"""Units to score: a study of indicators, made-up customers, and a home with a delivered model."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from tests.support.homes.institutions import NAMES, Coordinator, OpenCustody, approve_all
from tests.support.runs.finished import FINISHED, facts_of

from fieldfare.client.custodian.ports import ModelEvidence
from fieldfare.client.home.layout import Home
from fieldfare.client.own_model.own_grid import Grid, own_grid
from fieldfare.client.records.sources.source import table_at
from fieldfare.client.scoring.ranking import Ranking, rank_units
from fieldfare.client.scoring.selection import AlertBudget
from fieldfare.client.scoring.units import ScorableUnits, read_units
from fieldfare.server.run.closing import compose
from fieldfare.shared.cli.root import run
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.study.study import Study

FEATURES: Final[tuple[dict[str, Any], ...]] = (
    {"name": "R01", "kind": "numeric", "lower": 0, "upper": 80, "scale": "log1p"},
    {"name": "R04", "kind": "numeric", "lower": 0, "upper": 1},
    {"name": "R07", "kind": "numeric", "lower": 0, "upper": 10, "special": [0]},
    {"name": "R13", "kind": "numeric", "lower": 0, "upper": 20},
    {"name": "wages", "kind": "numeric", "lower": 0, "upper": 4},
    {"name": "channel", "kind": "categorical", "levels": ["branch", "online"]},
)
NUMBERS: Final = tuple(one["name"] for one in FEATURES if one["kind"] == "numeric")
COLUMNS: Final = ("customer", "reported", *NUMBERS, "channel", "group")
KEY: Final = b"k" * 32
LABELLED: Final = 2000


def scored_study(**changes: Any) -> Study:
    """Indicators of three families, one feature that nobody knows, one category."""
    data: dict[str, Any] = {
        "name": "scored",
        "purpose": "tests",
        "records": {"unit": "customer", "label": "reported", "units": 6000, "prevalence": 0.1},
        "features": list(FEATURES),
        "training": {"steps": 20},
        "evaluation": {"holdout": 0.3},  # whichever are held out, calibration finds its 20 cases
        "privacy": {"epsilon": 1, "delta": 1e-5},
    }
    return Study.model_validate(data | changes)


def quick_grid() -> Grid:
    """The grid of own models with few trees."""
    boosting = own_grid().boosting.model_copy(update={"rounds": (10, 30), "leaves": (4,)})
    forest = own_grid().forest.model_copy(update={"trees": 30})
    return own_grid().model_copy(update={"boosting": boosting, "forest": forest})


def customers(units: int = 300, *, seed: int = 0, name: str = "n") -> dict[str, list[Any]]:
    """Made-up customers; a tenth are cases, whose numbers are higher; some values are missing.

    No unit's name can stand in a hash by chance: "n" is no digit of one.
    """
    random = np.random.default_rng(seed)
    case = random.uniform(size=units) < 0.1
    up = np.where(case, 2.0, 0.0)
    columns = {
        "R01": np.rint(np.expm1(np.clip(random.normal(1 + 0.7 * up, 0.8), 0, 4.3))),
        "R04": np.clip(random.normal(0.3 + 0.2 * up, 0.25), 0, 1),
        "R07": np.where(random.uniform(size=units) < 0.6, 0, random.integers(1, 6, units)),
        "R13": random.poisson(0.5 + up),
        "wages": np.where(case, random.poisson(0.5, units), random.poisson(2, units)),
    }
    rows: dict[str, list[Any]] = {
        "customer": [f"{name}{row:05d}" for row in range(units)],
        "reported": case.astype(int).tolist(),
        **{key: values.astype(float).round(3).tolist() for key, values in columns.items()},
        "channel": random.choice(["branch", "online", "else"], units).tolist(),
        "group": random.choice(["x", "y"], units).tolist(),
    }
    rows["R04"][3] = None
    rows["channel"][4] = ""
    return rows


def write(path: Path, rows: dict[str, list[Any]], *, without: Sequence[str] = ()) -> Path:
    """Write customers as CSV or Parquet."""
    kept = {name: column for name, column in rows.items() if name not in without}
    if path.suffix == ".parquet":
        pq.write_table(pa.table(kept), path)
        return path
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(kept)
        writer.writerows(zip(*kept.values(), strict=True))
    return path


def parameters(study: Study, *, seed: int = 1) -> NDArray[np.float64]:
    """A model that finds the cases: more of every number but wages, fewer wages."""
    random = np.random.default_rng(seed)
    found = [np.array([-2.5])]
    for feature in study.features:
        slope = {"wages": -2.0, "channel": 0.0}.get(feature.name, 2.0)
        ramp = np.linspace(-slope / 2, slope / 2, feature.slots)
        found.append(ramp + random.normal(0, 0.1, feature.slots))
    return np.concatenate(found)


def units_of(tmp_path: Path, rows: dict[str, list[Any]], study: Study) -> ScorableUnits:
    path = write(tmp_path / f"units-{len(list(tmp_path.iterdir()))}.parquet", rows)
    return read_units([table_at(path)], study, ["group"])


def ranking_of(units: ScorableUnits, study: Study, **changes: Any) -> Ranking:
    terms: dict[str, Any] = {
        "budget": AlertBudget(units=20),
        "key": KEY,
        "random": np.random.default_rng(5),
    }
    return rank_units(study, parameters(study), units, **(terms | changes))


class Analyst:
    """An institution with a delivered model, and its commands as they are typed."""

    def __init__(
        self, coordinator: Coordinator, study: Study, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.coordinator, self.study = coordinator, study
        self.home: Home = coordinator.homes[NAMES[0]]
        self._capsys = capsys

    @property
    def folder(self) -> Path:
        return self.home.path

    def __call__(self, *arguments: str | Path) -> tuple[int, str, str]:
        return self._typed(*map(str, arguments), "--home", str(self.home.path))

    def check(self, form: str, path: Path) -> tuple[int, str, str]:
        """`institution report check`, which needs no home."""
        return self._typed("report", "check", "--format", form, str(path))

    def _typed(self, *arguments: str) -> tuple[int, str, str]:
        status = run(["institution", *arguments])
        out, err = self._capsys.readouterr()
        return status, out, err


def analyst_of(
    coordinator: Coordinator,
    custody_of: OpenCustody,
    capsys: pytest.CaptureFixture[str],
    units: int = LABELLED,
) -> Analyst:
    """Make one: records of 2,000 labelled customers, an approved study, its finished model."""
    study = scored_study(aggregation={"minimum_institutions": 3})
    home = coordinator.homes[NAMES[0]]
    write(home.path / "customers.csv", customers(units))
    coordinator.edit(home.settings, 'path = "records.csv"\n', 'path = "customers.csv"\n')
    listed = ", ".join(f'"{name}"' for name in (*NUMBERS, "group"))
    coordinator.edit(home.policy, '"customer", ', f'"customer", {listed}, ')
    custody = custody_of(NAMES[0])
    approve_all(coordinator, [custody], study)
    made = compose(
        plan_for(study), parameters(study), facts_of(study), coordinator.signer, FINISHED
    )
    custody.inbox.delivered(
        made.delivery, made.envelope, made.model, made.card, ModelEvidence.MEASURED
    )
    return Analyst(coordinator, study, capsys)
