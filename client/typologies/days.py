"""A file of features for each day, in one folder: what is there already is not computed again.

Of the entries a day's numbers hang on those of its windows alone, so a new day reads the files
that hold those; a day that was computed stays as it is, with the customers and accounts of that
night. Beside the files stands what they were computed from: digests, no records. An entry that
comes late, or changes, makes its days another thing than what stands there: the run is refused,
and a person decides.
"""

import shutil
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from hashlib import sha256
from importlib import resources
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fieldfare.client.typologies.partitions import Room
from fieldfare.client.typologies.running import RunReport, RunTask, run_pack
from fieldfare.client.typologies.windows import content_digest, needed_files
from fieldfare.shared.errors import RecordsError, UsageError
from fieldfare.shared.system.private_files import PRIVATE_FOLDER, read_at_most, replace_private
from fieldfare.shared.terminal.stderr import Said

FORMAT: Final = "fieldfare.typology-days.v1"
STATE: Final = "days.json"
MOST_DAYS: Final = 400  # at once
MAX_STATE: Final = 16 << 20  # bytes: two hundred years of days

_Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class DoneDay(BaseModel):
    """A day that was computed.

    Attributes:
        entries: what the files of entries that it needs held.
        features: the SHA-256 of its file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    entries: _Digest
    features: _Digest


class DoneDays(BaseModel):
    """What the files of a folder were computed by, and from.

    Attributes:
        pack: the SHA-256 of the pack; `ledger` of what its queries read.
        indicators: of the pack, those that were computed.
        lacking: canonical columns that hold nothing.
        banks: whose customers' payments are left out.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["fieldfare.typology-days.v1"] = FORMAT
    pack: _Digest
    ledger: _Digest
    indicators: tuple[str, ...]
    lacking: tuple[str, ...]
    banks: tuple[str, ...]
    days: dict[date, DoneDay]


@dataclass
class DayFiles:
    """The folder with a file for each day.

    Attributes:
        folder: this user's (`own_folder`), and this run's alone.
        known: digests of files of entries that were read in this run.
    """

    folder: Path
    known: dict[Path, str] = field(default_factory=dict)

    def file(self, day: date) -> Path:
        """Return where a day's features stand."""
        return self.folder / f"{day.isoformat()}.parquet"

    def done(self, task: RunTask) -> DoneDays:
        """Return what was computed here before.

        Raises:
            UsageError: by another pack, or with other columns or banks; says which.
            RecordsError: the file that says so is damaged.
        """
        asked = _asked(task)
        path = self.folder / STATE
        if not path.exists():
            return asked
        try:
            found = DoneDays.model_validate_json(read_at_most(path, MAX_STATE))
        except ValidationError:
            raise RecordsError(
                f"{path}: expected what the days beside it were computed from, found another "
                "form; remove it and the days, and all are computed again"
            ) from None
        if not found.days:  # the run that began here wrote none
            return asked
        for name in ("pack", "ledger", "indicators", "lacking", "banks"):
            if getattr(found, name) != getattr(asked, name):
                raise UsageError(
                    f"{self.folder}: expected days of the same {name}, found others; choose "
                    "another folder, or remove this one's files"
                )
        return found

    def begin(self, done: DoneDays, days: Iterable[date]) -> None:
        """Say what days are computed by before the first one stands here.

        Raises:
            UsageError: a file stands where a day goes, and nothing says that a run wrote it.
        """
        if (self.folder / STATE).exists():
            return
        for day in days:
            if self.file(day).exists():
                raise UsageError(
                    f"{self.file(day)}: expected no file of a day without {STATE} beside it, "
                    "found one: another program may have written it; choose another folder, or "
                    "remove it"
                )
        self.write(done)

    def write(self, done: DoneDays) -> None:
        """Write down what stands here."""
        replace_private(self.folder / STATE, done.model_dump_json(indent=1).encode())

    def entries(self, task: RunTask, day: date) -> str:
        """Return a digest of all files of entries that a day needs, whatever their names."""
        files = needed_files(task.canonical, day).files
        for one in files:
            if one not in self.known:
                self.known[one] = content_digest(one)
        return sha256("\n".join(sorted(self.known[one] for one in files)).encode()).hexdigest()


def _asked(task: RunTask) -> DoneDays:
    ledger = resources.files("fieldfare.client.typologies").joinpath("ledger.sql").read_bytes()
    return DoneDays(
        pack=task.pack.sha256,
        ledger=sha256(ledger).hexdigest(),
        indicators=tuple(one.id for one in task.pack.indicators),
        lacking=tuple(sorted(task.lacking)),
        banks=task.banks,
        days={},
    )


def days_between(since: date, last: date) -> tuple[date, ...]:
    """Return the days from one to another, both included.

    Raises:
        UsageError: there are none, or too many.
    """
    many = (last - since).days + 1
    if not 1 <= many <= MOST_DAYS:
        raise UsageError(
            f"--since: expected a day at most {MOST_DAYS - 1} before --as-of, found {since}"
        )
    return tuple(since + timedelta(index) for index in range(many))


def run_days(
    task: RunTask, since: date, room: Room, files: DayFiles, said: Said | None = None
) -> Iterator[tuple[date, RunReport | None]]:
    """Compute each day that is not there yet; yields it, or None for one that is.

    A day that is done is written down at once: whoever is interrupted goes on behind it.

    Args:
        task: of the last day.
        since: the first day.
        room: beside the folder's files, for the whole run.
        files: where they go.
        said: takes what is done, of how much.

    Raises:
        RecordsError: the records do not fit, or days that stand there were computed from others.
        UsageError: days of another pack stand there, or files that no run wrote.
    """
    done = files.done(task)
    days = days_between(since, task.as_of)
    files.begin(done, days)
    kept = {day for day in days if day in done.days and files.file(day).exists()}
    refuse_changed(task, files, done, kept)
    for day in days:
        if day in kept:
            yield day, None
            continue
        report, record = _computed(replace(task, as_of=day), room, files, said)
        done = done.model_copy(update={"days": {**done.days, day: record}})
        files.write(done)
        yield day, report


def _computed(
    task: RunTask, room: Room, files: DayFiles, said: Said | None
) -> tuple[RunReport, DoneDay]:
    day = task.as_of
    before = files.entries(task, day)
    inner = replace(room, folder=room.folder / day.isoformat())
    inner.folder.mkdir(mode=PRIVATE_FOLDER)
    try:
        report = run_pack(task, inner, files.file(day), said=said)
    finally:
        shutil.rmtree(inner.folder, ignore_errors=True)
    files.known.clear()
    if files.entries(task, day) != before:
        files.file(day).unlink()
        raise RecordsError(
            f"{task.canonical}: expected files that stay as they are while {day} is computed, "
            "found others at its end; run it again"
        )
    return report, DoneDay(entries=before, features=content_digest(files.file(day)))


def refuse_changed(task: RunTask, files: DayFiles, done: DoneDays, days: Collection[date]) -> None:
    """Refuse days that stand there but would be others now.

    Raises:
        RecordsError: says which, first to last.
    """
    changed = sorted(
        day
        for day in days
        if content_digest(files.file(day)) != done.days[day].features
        or files.entries(task, day) != done.days[day].entries
    )
    if changed:
        raise RecordsError(
            f"{files.folder}: expected {len(changed)} days from {changed[0]} to {changed[-1]} as "
            "they were computed, found other entries in their windows (late ones?) or another "
            "file; remove the files of the days that are to be computed again, or leave them "
            "out (--since)"
        )
