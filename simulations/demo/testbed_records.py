"""Records and a study for a federation of real processes: invented payments, or AMLSim's."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import tomlkit

from fieldfare.shared.study.file import parse_study
from fieldfare.simulations.demo.five_banks import MONTHS, PEOPLE, PREVALENCE, banks_study_text
from fieldfare.simulations.published.amlsim import SIMULATIONS, derive_amlsim
from fieldfare.simulations.world.making import WorldPlan
from fieldfare.simulations.world.studies import AGE_BAND, PERSONA, bank_units, pack_of
from fieldfare.simulations.world.writing import write_world

STUDY_FILE: Final = "study.toml"
INVENTED: Final = ("bank-a", "bank-b", "bank-c")  # the three larger banks of the invented world
INVENTED_UNITS: Final = 35_000  # public, and round
AMLSIM_BANKS: Final = 3  # of each simulation


@dataclass(frozen=True)
class BedRecords:
    """The inputs of a bed: a Parquet file for each institution, and the study's file."""

    records: Mapping[str, Path]
    study: Path


def invented_records(folder: Path, *, seed: int, people: int = PEOPLE) -> BedRecords:
    """Write the records of three banks of the invented world, and a study over them.

    Everything about these people is drawn from `seed`; they exist nowhere. What kind of life
    somebody leads stays out of the files: no institution knows it.
    """
    study = tomlkit.parse(banks_study_text())
    study["name"] = "three-banks"
    _section(study, "records")["units"] = round(INVENTED_UNITS * people / PEOPLE)
    _section(study, "evaluation").pop("groups")  # the bed's policies open no protected column
    text = tomlkit.dumps(study)
    pack = pack_of(parse_study(text))
    plan = WorldPlan.of(people=people, months=MONTHS, seed=seed, prevalence=PREVALENCE, version=1)
    with TemporaryDirectory(prefix="fieldfare-world-") as world:
        write_world(plan, Path(world))
        parts = {name: bank_units(Path(world), name, pack) for name in INVENTED}
    parts = {name: table.drop_columns([PERSONA, AGE_BAND]) for name, table in parts.items()}
    return _written(folder, parts, text)


def amlsim_records(folder: Path, data: Path, study: Path) -> BedRecords:
    """Write AMLSim's accounts as three banks, each a third of both simulations.

    Args:
        folder: where the files go.
        data: holds AMLSim's two simulations.
        study: over them, shipped as studies/amlsim-3.toml.

    Raises:
        RecordsError: files are missing or none of AMLSim's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    everything = folder / "accounts.parquet"
    derive_amlsim(data, everything)
    table = pq.read_table(everything)
    everything.unlink()
    parts = {}
    for index in range(AMLSIM_BANKS):
        own = pa.array([f"{name}_{index}" for name in SIMULATIONS])
        parts[f"bank-{index + 1}"] = table.filter(pc.is_in(table["institution"], own))
    return _written(folder, parts, study.read_text("utf-8"))


def _section(study: tomlkit.TOMLDocument, name: str) -> Any:
    return study[name]


def _written(folder: Path, parts: Mapping[str, Any], study: str) -> BedRecords:
    folder.mkdir(parents=True, exist_ok=True)
    records = {}
    for name, table in parts.items():
        records[name] = folder / f"{name}.parquet"
        pq.write_table(table.drop_columns(["institution"]), records[name])
    path = folder / STUDY_FILE
    path.write_text(study, "utf-8")
    return BedRecords(records, path)
