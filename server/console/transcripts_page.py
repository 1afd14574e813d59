"""Transcripts: what each log holds, the file that auditors get, and the project's own verification.

The file is what the coordinator signed at the end of the run, so no key is needed. It is written
here and checked by a process, both in limited time, one at a time; an auditor, who trusts no
coordinator, does the same on another machine.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from io import BufferedWriter, FileIO
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from time import monotonic
from typing import IO, Any, Final

from starlette.responses import Response, StreamingResponse

from fieldfare.server.console.done import checked_run
from fieldfare.server.console.place import CoordinatorPlace
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.store.rows import RunRow
from fieldfare.server.store.store import RunStore, run_store_to_read
from fieldfare.server.store.tables import OWN_HEAD
from fieldfare.shared.console.frame import Page, Visit
from fieldfare.shared.console.rights import Right
from fieldfare.shared.console.shield import PageRefusal
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.system.late import late
from fieldfare.shared.terminal.texts import plain, utc_text
from fieldfare.shared.transcript.leaves import LeafKind

TRANSCRIPTS: Final = "/transcripts"
SECONDS: Final = 60.0  # for the file, and again for the check
LONG: Final = 2_000
MOST_KEPT: Final = 200  # outcomes
JSON_LINES: Final = "application/jsonl"
write_signed: Final = late("fieldfare.server.store.export", "write_signed")
_PREFIX: Final = "transcript-"  # of a folder
_PIECE: Final = 256 * 1024
_BUSY: Final = "Another transcript is written or verified at this moment: try again in a minute."
_GOOD: Final = frozenset({"fits", "as_far_as_kept"})
_VERDICTS: Final = {  # words of the audit's verdicts, as its own screen says them
    "fits": "Fits: every signature, sum, step, figure and debit.",
    "does_not_fit": "Does not fit.",
    "as_far_as_kept": "Fits as far as it is kept: signatures, order, debits. Sums are deleted.",
    "not_cosigned": "Not co-signed: too few institutions signed the end of this log.",
}
_LINES: Final = (  # of the report that `fieldfare audit transcript --json` gives
    ("name", "study"),
    ("state", "the run"),
    ("reason", "because"),
    ("leaves", "leaves"),
    ("steps", "steps"),
    ("planned_steps", "planned steps"),
    ("attempts", "requests"),
    ("failed_attempts", "of them without a sum"),
    ("sums", "sums"),
    ("recomputed_sums", "of them added up again, bit for bit"),
    ("cosigners", "institutions that co-signed the whole log"),
    ("cosigners_needed", "of them needed"),
    ("cosigners_leave_open", "which leaves open"),
    ("model", "model"),
    ("questions", "questions"),
    ("planned_epsilon", "epsilon planned"),
    ("spent_epsilon", "epsilon spent"),
    ("delta", "at delta"),
)


@dataclass(frozen=True)
class LogFacts:
    """A run's log as the list shows it.

    Attributes:
        row: the run's.
        leaves: how many of each kind.
        signed: how many leaves the coordinator signed; 0: none.
        cosigned: how many each institution signed.
        vectors: how many masked vectors are beside it.
    """

    row: RunRow
    leaves: dict[LeafKind, int]
    signed: int
    cosigned: dict[str, int]
    vectors: int

    @property
    def size(self) -> int:
        """How many leaves there are."""
        return sum(self.leaves.values())

    @property
    def whole(self) -> bool:
        """Whether it was signed to its end, so that there is a file of it."""
        return 0 < self.size == self.signed


@dataclass(frozen=True)
class LogVerdict:
    """What a verification found.

    Attributes:
        at, person: when, and who asked for it.
        word: the verdict; empty where there was none.
        lines: what was found, each with its title.
        institutions: what the log says of each: releases, epsilon, leaves that it signed.
    """

    at: datetime
    person: str
    word: str
    lines: tuple[tuple[str, str], ...]
    institutions: tuple[tuple[str, str, str, str], ...] = ()

    @property
    def said(self) -> str:
        """The verdict as a sentence."""
        return _VERDICTS.get(self.word, "Not verified.")

    @property
    def good(self) -> bool:
        """Whether everything that could be checked fits."""
        return self.word in _GOOD


class TranscriptDesk:
    """Writes and verifies one transcript at a time, and keeps in mind what was found."""

    def __init__(self, place: CoordinatorPlace) -> None:
        """Begin with nothing verified."""
        self.place = place
        self.found: dict[str, LogVerdict] = {}
        self._one = Lock()

    @contextmanager
    def written(self, run: str) -> Iterator[Path]:
        """Write a run's signed transcript into a file that is gone afterwards.

        Raises:
            Refused: another one is being written, or it takes too long.
            UsageError: no such run, or a log that was not signed to its end.
        """
        if not self._one.acquire(blocking=False):
            raise PageRefusal(HTTPStatus.SERVICE_UNAVAILABLE, _BUSY)
        try:
            for left in self.place.folder.glob(f"{_PREFIX}*"):  # by a process that was killed
                shutil.rmtree(left)
            with TemporaryDirectory(dir=self.place.folder, prefix=_PREFIX) as folder:
                path = Path(folder) / "transcript.jsonl"
                with (
                    run_store_to_read(self.place.opened.runs_database) as store,
                    BufferedWriter(_LimitedFile(path, monotonic() + SECONDS)) as out,
                ):
                    write_signed(store, run, out)
                yield path
        finally:
            self._one.release()

    def verify(self, run: str, person: str) -> LogVerdict:
        """Let the project's own verification look at a transcript; raises as `written`."""
        key = str(self.place.opened.roster_public)
        with self.written(run) as path:
            audit = ["fieldfare", "audit", "transcript", str(path), "--coordinator-key", key]
            said, trouble = _process([*audit, "--json"])
        found = _verdict(said, trouble, person)
        facts = {"run": run, "verdict": found.word or "none"}
        self.place.write_down("transcript verified", person, {**facts})
        self.found.pop(run, None)
        self.found[run] = found
        if len(self.found) > MOST_KEPT:
            del self.found[next(iter(self.found))]
        return found


def transcripts_pages(place: CoordinatorPlace) -> tuple[Page, ...]:
    """Return the pages about transcripts."""
    one, desk = f"{TRANSCRIPTS}/{{run}}", TranscriptDesk(place)
    return (
        Page(TRANSCRIPTS, Right.WATCH, lambda visit: _transcripts(visit, place)),
        Page(one, Right.WATCH, lambda visit: _transcript(visit, desk)),
        Page(f"{one}/file", Right.WATCH, lambda visit: _file(visit, desk)),
        Page(f"{one}/verify", Right.VERIFY, lambda visit: _verify(visit, desk), "POST"),
    )


def _transcripts(visit: Visit, place: CoordinatorPlace) -> Response:
    with run_store_to_read(place.opened.runs_database) as store:
        found = [_describe_log(store, row) for row in reversed(store.rows())]
    return visit.page("transcripts.html", found=[one for one in found if one.size], plain=plain)


def _transcript(visit: Visit, desk: TranscriptDesk) -> Response:
    home = desk.place.opened
    with run_store_to_read(home.runs_database) as store:
        found = _describe_log(store, store.row(visit.places["run"]))
    return visit.page(
        "transcript.html",
        one=found,
        outcome=desk.found.get(found.row.run),
        verifies=Right.VERIFY in visit.rights,
        key=_key(home),
        plain=plain,
        long=LONG,
        time=utc_text,
    )


def _describe_log(store: RunStore, row: RunRow) -> LogFacts:
    signed = dict(store.signed_sizes(row.run))
    own = signed.pop(OWN_HEAD, 0)
    vectors = len(store.blob_names(row.run))
    return LogFacts(row, dict(store.leaf_counts(row.run)), own, signed, vectors)


def _key(home: CoordinatorHome) -> str:
    return home.roster_public.read_text(encoding="ascii").strip()


def _verify(visit: Visit, desk: TranscriptDesk) -> Response:
    run = checked_run(visit.places["run"])
    desk.verify(run, visit.person.name)
    return visit.go(f"{TRANSCRIPTS}/{run}")


def _file(visit: Visit, desk: TranscriptDesk) -> Response:
    run = checked_run(visit.places["run"])
    with desk.written(run) as path:
        file = path.open("rb")  # its name is gone below, its content when it was sent
    return StreamingResponse(
        _pieces(file),
        media_type=JSON_LINES,
        headers={"content-disposition": f'attachment; filename="{run}.jsonl"'},
    )


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while piece := file.read(_PIECE):
            yield piece


class _LimitedFile(FileIO):
    """A new file that takes nothing more after its time."""

    def __init__(self, path: Path, end: float) -> None:
        super().__init__(path, "x")
        self._end = end

    def write(self, content: Any) -> int:
        """Write bytes; return how many.

        Raises:
            PageRefusal: the time is over.
        """
        if monotonic() > self._end:
            raise _too_long()
        return super().write(content)


def _too_long() -> PageRefusal:
    return PageRefusal(
        HTTPStatus.SERVICE_UNAVAILABLE,
        f"It took more than {SECONDS:.0f} seconds and was ended: export the transcript on the "
        "terminal, and verify it there with `fieldfare audit transcript`.",
    )


def _process(module: list[str]) -> tuple[bytes, bytes]:
    """Run a module of the project to its end; return what it said, and what went wrong.

    Raises:
        Refused: it took too long; it is ended.
    """
    command = [sys.executable, "-I", "-m", *module]
    try:
        done = subprocess.run(  # noqa: S603 -- our own modules, no shell
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _too_long() from None
    return done.stdout, done.stderr


def _verdict(said: bytes, trouble: bytes, person: str) -> LogVerdict:
    """Read the verification's report; where there is none, say what it complained about."""
    try:
        report = json.loads(said)
    except ValueError:
        return LogVerdict(utc_now(), person, "", (("not verified", _last_line(trouble)),))
    misfit = report.get("misfit")
    lines = [] if misfit is None else [("what does not fit", _place(misfit))]
    lines += [
        (title, _text(report[key])) for key, title in _LINES if report.get(key) not in (None, "")
    ]
    of_each = tuple(
        (name, str(one["releases"]), _text(one["epsilon"]), _text(one["cosigned_leaves"] or 0))
        for name, one in report["institutions"].items()
    )
    return LogVerdict(utc_now(), person, report["verdict"], tuple(lines), of_each)


def _place(misfit: dict[str, Any]) -> str:
    parts = [f"{key} {misfit[key]}" for key in ("line", "leaf", "step") if misfit[key] is not None]
    whose = f" of {misfit['institution']}" if misfit["institution"] else ""
    return f"{misfit['kind']}{whose} ({', '.join(parts)}): {misfit['reason']}"


def _text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _last_line(said: bytes) -> str:
    lines = said.decode(errors="replace").strip().splitlines()
    return plain(lines[-1], LONG) if lines else "no reason was given: see the terminal"
