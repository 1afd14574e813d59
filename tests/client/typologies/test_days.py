"""A file for each day: the bytes of a run of that day, and refused where it would be others now."""

from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.client.typologies.test_windows import written

from fieldfare.client.typologies import days as days_module
from fieldfare.client.typologies.checking import AS_OF, probe_records
from fieldfare.client.typologies.days import DayFiles, days_between, run_days
from fieldfare.client.typologies.pack import Pack, own_pack
from fieldfare.client.typologies.partitions import room_beside
from fieldfare.client.typologies.running import RunTask, run_pack
from fieldfare.shared.cli.root import run
from fieldfare.shared.errors import RecordsError, UsageError

MEMORY = 600 << 20
PACK = own_pack().chosen(["R01"])
FIRST = AS_OF - timedelta(2)


@pytest.fixture
def canonical(tmp_path: Path) -> Path:
    """Entries in a file for each month up to the first day, and one for each day after it."""
    entries = probe_records(11)["transactions"].select(["ts_utc", "tz_offset_min"]).to_pylist()
    local = [(row["ts_utc"] + timedelta(minutes=row["tz_offset_min"] or 0)).date()
             for row in entries]  # fmt: skip
    days = [f"m{one:%Y%m}" if one <= FIRST else one.isoformat() for one in local]
    return written(tmp_path / "canonical", pa.array(days))


def task(canonical: Path, pack: Pack = PACK, last: date = AS_OF) -> RunTask:
    return RunTask(canonical, pack, last)


def ran(asked: RunTask, folder: Path, since: date = FIRST) -> list[tuple[int, bool]]:
    """Run the days; returns each one's number and whether it was computed."""
    folder.mkdir(exist_ok=True)
    with room_beside(folder / "days", MEMORY, 2) as room:
        found = run_days(asked, since, room, DayFiles(folder))
        return [((day - since).days, report is not None) for day, report in found]


def add(canonical: Path, name: str, moment: datetime) -> None:
    """Add an entry like another one, of a moment, in a file of its own."""
    folder = canonical / "transactions"
    row = pq.read_table(next(iter(sorted(folder.iterdir())))).slice(0, 1)
    place = row.column_names.index("ts_utc")
    row = row.set_column(place, row.schema.field("ts_utc"), pa.array([[moment]]).flatten())
    pq.write_table(row, folder / name)


def test_a_day_is_a_run_of_that_day_and_is_computed_once(canonical: Path, tmp_path: Path) -> None:
    folder = tmp_path / "features"
    late = canonical / "transactions" / f"{AS_OF}.parquet"
    later = late.rename(tmp_path / late.name)
    assert ran(task(canonical, last=AS_OF - timedelta(1)), folder) == [(0, True), (1, True)]
    later.rename(late)  # the last day's file comes
    assert ran(task(canonical), folder) == [(0, False), (1, False), (2, True)]
    names = [f"{FIRST + timedelta(index)}.parquet" for index in range(3)]
    assert sorted(one.name for one in folder.iterdir()) == [*names, "days.json"]
    assert {one.stat().st_mode & 0o777 for one in folder.iterdir()} == {0o600}
    for index, name in enumerate(names):
        out = tmp_path / "one.parquet"
        asked = RunTask(canonical, PACK, FIRST + timedelta(index))
        with room_beside(out, MEMORY) as room:
            run_pack(asked, room, out)
        assert (folder / name).read_bytes() == out.read_bytes()
    add(canonical, "old.parquet", datetime.fromisoformat("2025-03-01"))  # no window's
    assert ran(task(canonical), folder) == [(0, False), (1, False), (2, False)]


@pytest.mark.promises
def test_days_that_would_be_others_now_are_refused(canonical: Path, tmp_path: Path) -> None:
    folder = tmp_path / "features"
    last = AS_OF - timedelta(1)
    ran(task(canonical, last=last), folder)
    before = (folder / f"{last}.parquet").read_bytes()
    with pytest.raises(UsageError, match="days of the same indicators"):
        ran(task(canonical, own_pack().chosen(["R02"])), folder)
    with pytest.raises(UsageError, match="days of the same pack"):
        ran(task(canonical, replace(PACK, sha256="0" * 64)), folder)
    with pytest.raises(UsageError, match="days of the same lacking"):
        ran(replace(task(canonical), lacking=["transactions.mcc"]), folder)
    add(canonical, "late.parquet", datetime.combine(last, datetime.min.time()))
    with pytest.raises(RecordsError, match=rf"1 days from {last} to {last} .*late ones") as told:
        ran(task(canonical), folder)
    assert "t0" not in str(told.value)
    assert (folder / f"{last}.parquet").read_bytes() == before
    assert not (folder / f"{AS_OF}.parquet").exists()
    (folder / f"{last}.parquet").unlink()  # the person's decision
    assert ran(task(canonical), folder) == [(0, False), (1, True), (2, True)]
    (folder / f"{FIRST}.parquet").write_bytes(b"another")
    with pytest.raises(RecordsError, match="or another file"):
        ran(task(canonical), folder)
    assert ran(task(canonical), folder, last) == [(0, False), (1, False)]
    (folder / "days.json").write_text('{"format": "fieldfare.typology-days.v2"}')
    with pytest.raises(RecordsError, match="another form"):
        ran(task(canonical), folder)


@pytest.mark.promises
def test_whoever_is_interrupted_goes_on_behind_what_is_done(
    canonical: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "features"

    def interrupted(asked: RunTask, *other: Any, **named: Any) -> Any:
        if asked.as_of == AS_OF:
            raise KeyboardInterrupt
        return run_pack(asked, *other, **named)

    def meanwhile(asked: RunTask, *other: Any, **named: Any) -> Any:
        add(canonical, "meanwhile.parquet", datetime.combine(AS_OF, datetime.min.time()))
        return run_pack(asked, *other, **named)

    with monkeypatch.context() as patch:
        patch.setattr(days_module, "run_pack", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ran(task(canonical), folder, AS_OF - timedelta(1))
    assert not [one for one in folder.iterdir() if one.name.startswith(".")]
    with monkeypatch.context() as patch:
        patch.setattr(days_module, "run_pack", meanwhile)
        with pytest.raises(RecordsError, match="stay as they are"):
            ran(task(canonical), folder, AS_OF - timedelta(1))
    assert not (folder / f"{AS_OF}.parquet").exists()
    assert ran(task(canonical), folder, AS_OF - timedelta(1)) == [(0, False), (1, True)]


@pytest.mark.promises
def test_days_on_the_command_line(
    canonical: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["typologies", "run", str(canonical), "--as-of", AS_OF.isoformat(), "--only", "R01"]
    asked = [*call, "--out", str(tmp_path / "features"), "--since"]
    assert run([*asked, AS_OF.isoformat()]) == 0
    told = f"{AS_OF}: 16 customers, 10 of 11 files of entries read\n"
    assert capsys.readouterr().out == told
    assert (tmp_path / "features").stat().st_mode & 0o777 == 0o700
    assert run([*asked, AS_OF.isoformat()]) == 0
    assert capsys.readouterr().out == f"{AS_OF}: there already\n"
    assert run([*asked, "2026-04-02"]) == 2
    assert run([*asked, AS_OF.isoformat(), "--hits", str(tmp_path / "h.parquet")]) == 2


def test_so_many_days() -> None:
    assert days_between(FIRST, AS_OF) == (FIRST, FIRST + timedelta(1), AS_OF)
    for since in (AS_OF + timedelta(1), AS_OF - timedelta(400)):
        with pytest.raises(UsageError, match="at most 399 before"):
            days_between(since, AS_OF)


def test_a_file_that_no_run_wrote_is_not_overwritten(canonical: Path, tmp_path: Path) -> None:
    """Entries in a file for each day have the very names that days of features have."""
    entries = canonical / "transactions"
    before = {one.name: one.read_bytes() for one in entries.iterdir()}
    assert f"{AS_OF}.parquet" in before
    with pytest.raises(UsageError, match=rf"{AS_OF}\.parquet: expected no file of a day"):
        ran(task(canonical), entries, AS_OF)
    assert {one.name: one.read_bytes() for one in entries.iterdir()} == before
    own = tmp_path / "features"
    own.mkdir()
    other = task(canonical, own_pack().chosen(["R02"]))
    DayFiles(own).begin(DayFiles(own).done(other), ())  # killed before its first day
    assert ran(task(canonical), own, AS_OF) == [(0, True)]
