"""A day reads the files that its windows need: the same bytes as if it had read them all."""

from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.properties import examples

from fieldfare.client.typologies.checking import AS_OF, probe_records
from fieldfare.client.typologies.pack import Pack, own_pack
from fieldfare.client.typologies.partitions import room_beside
from fieldfare.client.typologies.running import RunTask, run_pack
from fieldfare.client.typologies.windows import WINDOW_DAYS, needed_files
from fieldfare.shared.errors import RecordsError

MEMORY = 600 << 20
PACK = own_pack().chosen(["R01", "R03", "R14", "R35"])
RECORDS = probe_records(11)


def written(folder: Path, days: Any, records: dict[str, Any] = RECORDS) -> Path:
    """Write records, entries in a file for each of `days`, which says one for each entry."""
    (folder / "transactions").mkdir(parents=True)
    for name in ("accounts", "customers"):
        pq.write_table(records[name], folder / f"{name}.parquet")
    entries = records["transactions"]
    for day in pc.unique(days).to_pylist():
        rows = entries.filter(pc.equal(days, day))
        pq.write_table(rows, folder / "transactions" / f"{day}.parquet")
    return folder


def features(
    folder: Path, as_of: date, out: Path, parts: int | None = None, pack: Pack = PACK
) -> tuple[bytes, Any]:
    with room_beside(out, MEMORY, 2) as room:
        report = run_pack(RunTask(folder, pack, as_of, parts=parts), room, out)
    return out.read_bytes(), report.files


@given(
    ago=st.integers(-3, 150),
    late=st.lists(st.integers(1, 300), min_size=1, max_size=3),
    wide=st.sampled_from([7, 30, 90]),
    parts=st.sampled_from([None, 3]),
)
@settings(max_examples=examples(2, 4), deadline=None)
def test_files_of_days_give_the_bytes_of_one_file(
    ago: int, late: list[int], wide: int, parts: int | None,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:  # fmt: skip
    home = tmp_path_factory.mktemp("days")
    as_of = AS_OF - timedelta(ago)
    times = RECORDS["transactions"].column("ts_utc").to_pylist()
    days = [one.date().toordinal() // wide for one in times]
    for index, delay in enumerate(late):  # some come later than their day
        days[37 * index] += delay // wide + 1
    whole = written(home / "whole", pa.array([0] * len(times)))
    cut = written(home / "cut", pa.array(days))
    expected, files = features(whole, as_of, home / "whole.parquet")
    assert files == (1, 1)
    found, (read, of) = features(cut, as_of, home / "cut.parquet", parts)
    assert found == expected
    assert of == len(set(days))
    assert read <= (WINDOW_DAYS + 1) // wide + 3 + len(late)


def entries_at(folder: Path, name: str, times: list[Any], ahead: list[int | None] | None) -> None:
    columns = {"ts_utc": pa.array(times, pa.timestamp("us"))}
    if ahead is not None:
        columns["tz_offset_min"] = pa.array(ahead, pa.int64())
    pq.write_table(pa.table(columns), folder / "transactions" / name)


@pytest.mark.parametrize(
    ("moment", "ahead", "needed"),
    [
        (datetime.fromisoformat("2026-03-31T23:59"), None, True),
        (datetime.fromisoformat("2026-04-01T00:00"), None, False),
        (datetime.fromisoformat("2026-04-01T00:00"), [None], False),
        (datetime.fromisoformat("2026-04-01T04:00"), [-300], True),
        (datetime.fromisoformat("2026-03-31T23:30"), [60], False),
        (datetime.fromisoformat("2025-07-04T23:59"), [0], False),
        (datetime.fromisoformat("2025-07-04T23:59"), [1], True),
        (datetime.fromisoformat("2025-07-05T00:00"), [0], True),
        (datetime.fromisoformat("2026-04-01T13:00"), [9_999], True),  # none such: refused when read
        (datetime.fromisoformat("2026-04-01T02:00"), [60, -300], True),  # two in one file
        (datetime.fromisoformat("2026-04-01T06:00"), [60, -300], False),
        (datetime.fromisoformat("0001-01-01T00:00"), [-60], True),
    ],
)  # fmt: skip
def test_local_days_decide(
    moment: datetime, ahead: list[int | None] | None, needed: bool, tmp_path: Path
) -> None:
    (tmp_path / "transactions").mkdir()
    entries_at(tmp_path, "0.parquet", [moment] * len(ahead or [0]), ahead)
    entries_at(tmp_path, "1.parquet", [datetime.fromisoformat("2026-03-01T00:00")], [0])
    found = needed_files(tmp_path, date(2026, 3, 31))
    assert [one.name for one in found.files] == ["0.parquet"] * needed + ["1.parquet"]
    assert found.of == 2


def test_what_a_file_does_not_say_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "transactions"
    folder.mkdir()
    old = pa.array([datetime.fromisoformat("2020-01-01T00:00")], pa.timestamp("us"))
    for name, column in {"text": old.cast(pa.string()), "plain": old}.items():
        pq.write_table(pa.table({"ts_utc": column}), folder / f"{name}.parquet",
                       write_statistics=name != "plain")  # fmt: skip
    (folder / "broken.parquet").write_bytes(b"PAR1")
    found = needed_files(tmp_path, date(2026, 3, 31))
    assert len(found.files) == 3
    for one in folder.iterdir():
        one.unlink()
    entries_at(tmp_path, "old.parquet", old.to_pylist(), None)
    entries_at(tmp_path, "older.parquet", old.to_pylist(), None)
    found = needed_files(tmp_path, date(2026, 3, 31))
    assert [one.name for one in found.files] == ["older.parquet"]  # it says the columns


def test_partitions_by_day_are_read_and_those_of_a_column_are_refused(tmp_path: Path) -> None:
    days = pa.array([0] * RECORDS["transactions"].num_rows)
    folder = written(tmp_path / "canonical", days) / "transactions"
    expected = features(folder.parent, AS_OF, tmp_path / "f.parquet")
    (folder / "day=2026-03-31").mkdir()
    (folder / "0.parquet").rename(folder / "day=2026-03-31" / "part-0.parquet")
    assert features(folder.parent, AS_OF, tmp_path / "f.parquet") == expected
    (folder / "day=2026-03-31").rename(folder / "booking_date=2026-03-31")
    with pytest.raises(RecordsError, match=r"not a column of an entry, .* found booking_date="):
        needed_files(folder.parent, AS_OF)


@pytest.mark.parametrize(
    ("moment", "refused"),
    [(2**63 - 1, True), (-(2**63) + 1, True), (569_000_000_000_000_000, False)],
)
def test_a_time_of_no_year_is_left_to_whoever_reads_it(
    moment: int, refused: bool, tmp_path: Path
) -> None:
    """PostgreSQL exports `infinity` as the last of all numbers: Python has no such date."""
    folder = written(tmp_path / "canonical", pa.array([0] * RECORDS["transactions"].num_rows))
    before = features(folder, AS_OF, tmp_path / "f.parquet")[0]
    row = pq.read_table(folder / "transactions" / "0.parquet").slice(0, 1)
    place, moments = row.column_names.index("ts_utc"), pa.array([moment], pa.int64())
    row = row.set_column(place, "ts_utc", moments.cast(pa.timestamp("us")))
    pq.write_table(row, folder / "transactions" / "odd.parquet")
    assert needed_files(folder, AS_OF).of == 2
    if refused:
        with pytest.raises(RecordsError, match=r"odd.parquet, row 1: expected a canonical ts_utc"):
            features(folder, AS_OF, tmp_path / "f.parquet")
    else:
        assert features(folder, AS_OF, tmp_path / "f.parquet")[0] == before
