"""A simulation in memory: the same figures as with files, from tables too, and nothing written."""

import os
from pathlib import Path

import pyarrow as pa
import pytest
from tests.simulations.conftest import BANKS, SimulationFolder, make_table

from fieldfare.client.records.sources.source import table_in_memory
from fieldfare.shared.errors import RecordsError
from fieldfare.shared.privacy.protection import Protection
from fieldfare.simulations.federation.in_memory import (
    MEMORY,
    Experiment,
    SimulationOutcome,
    simulated,
)
from fieldfare.simulations.federation.population import RecordsChoice
from fieldfare.simulations.federation.simulate import simulate


def of(work: SimulationFolder, choice: RecordsChoice, **more: object) -> SimulationOutcome:
    task = {"study": work.write_study(), "choice": choice, "baselines": (), **more}
    return simulated(Experiment(**task))  # type: ignore[arg-type]


def in_memory(table: pa.Table) -> RecordsChoice:
    return RecordsChoice({"": table_in_memory("records", table)}, institution_column="bank")


def test_a_table_gives_what_its_file_gives(work: SimulationFolder) -> None:
    written = simulate(work.task(report=False))
    found = of(work, in_memory(work.read_records()))
    assert {**found.results, "files": 0, "timing": 0} == {**written, "files": 0, "timing": 0}
    assert set(found.clock.timing()) == set(written["timing"])


def test_tables_by_institution_give_what_one_of_all_gives(work: SimulationFolder) -> None:
    table = work.read_records()
    named = {
        bank: table_in_memory(bank, table.filter(pa.compute.equal(table["bank"], bank)))
        for bank in BANKS
    }
    together = of(work, in_memory(table))
    assert of(work, RecordsChoice(named)).results == together.results


def test_a_hold_out_may_be_in_memory_too(work: SimulationFolder) -> None:
    other = make_table(90, seed=5)
    path = work.write_records(other, "other.parquet")
    files = simulate(work.task(holdout_files=(str(path),), report=False))
    held = {"": table_in_memory("other", other)}
    found = of(work, in_memory(work.read_records()), holdout_files=held)
    assert found.results["models"] == files["models"]
    assert found.results["institutions"] == files["institutions"]


def test_nothing_is_written(work: SimulationFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(work.folder)
    of(work, in_memory(work.read_records()), protection=Protection.EXACT)
    ledgers = f".ledgers-{os.getpid()}-*"
    places = (work.folder, MEMORY, Path(os.environ.get("TMPDIR", "/tmp")))  # noqa: S108
    assert [path for place in places for path in place.glob(ledgers)] == []
    names = [path.name for path in work.folder.iterdir()]
    assert sorted(names) == ["records.parquet", "study.toml"]


def test_a_table_is_refused_as_a_file_is(work: SimulationFolder) -> None:
    table = work.read_records()
    twice = table.append_column("AMOUNT", table["amount"])
    with pytest.raises(RecordsError, match="records: expected different column names, found one"):
        of(work, in_memory(twice))
    nested = table.set_column(3, "amount", pa.array([{"a": 1}] * len(table)))
    with pytest.raises(RecordsError, match=r"records: .*expected"):
        of(work, in_memory(nested))
