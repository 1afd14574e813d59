"""What every command of the tree writes over homes that are full, each on a copy of them.

A folder of homes is made once, under stillness: an institution's and a coordinator's with something
of everything, papers, a transcript, and what the demo leaves of a small world. Each call is a
process of its own, forked from one that has loaded all commands, in that folder as it was made.
What it wrote, its status and the names of files that it made, changed or removed are kept.
"""

import os
import re
import shutil
import signal
import sys
import tempfile
import time
import tomllib
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from tests.recorded.stillness import NOW, stillness
from tests.security.screens.places import made_place
from tests.support.browsers.filled import FILED, WAITS, fill_coordinator, fill_institution
from tests.support.homes.coordinator_desks import DeskBench
from tests.support.homes.institutions import NAMES, Coordinator, first_answer, home_study
from tests.support.homes.keyed_coordinators import KeyedCoordinator
from tests.support.records.imports import SAMPLES

from fieldfare.client.home.layout import Home
from fieldfare.client.institution.open import open_custody
from fieldfare.server.home.initial_setup import keep_bundle
from fieldfare.server.studies.proposing import propose
from fieldfare.shared.cli.root import commands, run
from fieldfare.simulations.demo import five_banks

ROOT: Final = Path(__file__).parents[2]
TABLE: Final = Path(__file__).with_name("commands.toml")
MEMORY: Final = Path("/dev/shm")  # noqa: S108 -- in it a folder is made that others cannot read
SECONDS: Final = 900  # of one call
STOP: Final = 30  # that a process which serves has to end
PEOPLE: Final = 4_000  # of the demo's world
DEFECT: Final = 70  # the status of a call that ended by an error which no command knows
_TODAY: Final = datetime.now(UTC).date()
# What no argument decides, by name: what it looks like, and what stands for it.
MASKS: Final[Mapping[str, tuple[str, str]]] = {
    "seconds": (r"\b\d+(\.\d+)? (s|ms|seconds)\b", "<seconds>"),
    "figure of seconds": (r"(_seconds\w*\": )[\d.e-]+", r"\1<seconds>"),
    "port": (r"\b(127\.0\.0\.1|localhost):\d{4,5}\b", "<address>"),
    "process": (r"\b(pid|process) \d+\b", "<process>"),
    # A backup is sealed by what OpenSSL draws, and its size follows.
    "backup": (r"backup, [\d,]+ bytes\n  SHA-256 [0-9a-f]{64}", "<backup>"),
    "unit": (r"(what follows: )[0-9a-f]{64}", r"\1<hash>"),  # of a file that names the folder
    "room": (r"\b[\d.]+ GiB free", "<room> free"),
    # A file's own time is the machine's: that of a recording, which may go over midnight.
    "today": (rf"\b({_TODAY}|{_TODAY + timedelta(1)})([ T]\d\d:\d\d(:\d\d)?)?", "<today>"),
}


# What people did in the homes before, in the order of work.
PREPARED: Final = (
    "recovery key {recovery}",
    "recovery take {recovery}.pub --home {home}",
    "recovery take {recovery}.pub --home {hub}",
    "console account add ana --role analyst --home {home}",
    "console account add ana --role operator --home {hub}",
    "institution desk person add ana --home {home}",
)


@dataclass
class Masks:
    """Puts words for what differs between two recordings of one tree, and counts where."""

    folder: Path
    found: Counter[str] = field(default_factory=Counter)

    def masked(self, text: str) -> str:
        for name, path in (("folder", self.folder), ("tree", ROOT), ("python", Path(sys.prefix))):
            self.found[name] += text.count(str(path))
            text = text.replace(str(path), f"<{name}>")
        for name, (pattern, word) in MASKS.items():
            text, count = re.subn(pattern, word, text)
            self.found[name] += count
        return text


@dataclass(frozen=True)
class Call:
    """A command as it is called.

    Attributes:
        words: after its name.
        until: what one that serves writes once it does.
        slow: it simulates whole runs.
    """

    words: str
    until: str = ""
    slow: bool = False

    def part(self, name: str) -> str:
        """Of the recording: what needs the demo's home, what is slow, and who types the rest."""
        if "{demo}" in self.words or "{bank}" in self.words:
            return "demo"
        side = name.partition(".")[0]
        return "runs" if self.slow else side if side in SIDES else "screens"

    @classmethod
    def of(cls, line: Any) -> "Call":
        return cls(line) if isinstance(line, str) else cls(**line)


HELP: Final = Call("--help")
SIDES: Final = ("coordinator", "institution")  # each with so many commands that they are a part


def table() -> dict[str, Call]:
    """How each command is called.

    Raises:
        LookupError: a command has no line, or a line no command.
    """
    found = {name: Call.of(line) for name, line in tomllib.loads(TABLE.read_text("utf-8")).items()}
    if odd := {name.partition("@")[0] for name in found} ^ {*commands()}:
        raise LookupError(f"{TABLE.name}: expected a line for each command, found: {sorted(odd)}")
    return found


@dataclass
class Screens:
    """Calls of commands in a folder of homes, each in the folder as it was made."""

    folder: Path
    given: dict[str, str] = field(default_factory=dict)
    masks: Masks = field(init=False)

    def __post_init__(self) -> None:
        self.masks = Masks(self.folder)

    @property
    def place(self) -> Path:
        return self.folder / "place"

    def make(self, make: Callable[[Path], Mapping[str, str]]) -> bytes:
        """Make the homes, in a process of its own; return what that wrote."""
        self.place.mkdir()
        told = self.folder / "given"

        def made() -> int:
            lines = [f"{name}={value}" for name, value in make(self.place).items()]
            told.write_text("\n".join(lines), "utf-8")
            return 0

        status, written = self._forked("homes", made, "")
        if status:
            raise RuntimeError(f"expected homes, found:\n{written.decode()}")
        self.given = dict(line.split("=", 1) for line in told.read_text("utf-8").splitlines())
        date_files(self.place)
        shutil.copytree(self.place, self.folder / "kept", symlinks=True)
        return written

    def call(self, name: str, call: Call, *more: str) -> bytes:
        """Call a command; return what it wrote, its status and which files it touched."""
        if call is not HELP:  # which touches nothing
            shutil.rmtree(self.place)
            shutil.copytree(self.folder / "kept", self.place, symlinks=True)
        before = _files(self.place)
        told = call.words.format(**self.given).split()
        words = [*name.partition("@")[0].split("."), *told, *more]
        status, written = self._forked(name, lambda: run(words), call.until)
        after = _files(self.place)
        touched = sorted(one for one in {*before, *after} if before.get(one) != after.get(one))
        files = "".join(f"file: {one}\n" for one in touched)
        text = f"$ fieldfare {' '.join(words)}\n{written.decode()}status: {status}\n{files}"
        return self.masks.masked(text).encode()

    def _forked(self, label: str, act: Callable[[], int], until: str) -> tuple[int, bytes]:
        out, err = self.folder / "stdout", self.folder / "stderr"
        sys.stdout.flush()
        child = os.fork()
        if not child:
            _act(label, act, out, err, self.place)
        status = _ended(child, (out, err), until)
        return status, out.read_bytes() + b"-- stderr\n" + err.read_bytes()


def _act(label: str, act: Callable[[], int], out: Path, err: Path, place: Path) -> None:
    """Do it, as a process whose chance follows from a label; never returns."""
    status = DEFECT
    try:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, path in ((1, out), (2, err)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
        for stream, number in (("stdin", 0), ("stdout", 1), ("stderr", 2)):
            mode = "w" if number else "r"
            setattr(sys, stream, os.fdopen(number, mode, encoding="utf-8", closefd=False))
        os.chdir(place)
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # nothing runs beside
        with stillness(label):
            status = act()
    except BaseException:  # noqa: BLE001 -- a defect is a recording, too
        traceback.print_exc(limit=-1)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _ended(child: int, written: tuple[Path, ...], until: str) -> int:
    """Wait for a process; end one that serves once it says so, and one that takes too long."""
    began, told, signals = time.monotonic(), False, iter((signal.SIGTERM, signal.SIGKILL))
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        passed = time.monotonic() - began
        serves = until and any(p.exists() and until in p.read_text("utf-8") for p in written)
        if passed > (STOP if told else SECONDS) or (serves and not told):
            os.killpg(child, next(signals, signal.SIGKILL))
            began, told = time.monotonic(), True
        time.sleep(0.02)


def date_files(folder: Path) -> None:
    """Let all files be of the one moment there is: some screens show when one was written."""
    for path in (folder, *folder.rglob("*")):
        os.utime(path, (NOW.timestamp(), NOW.timestamp()), follow_symlinks=False)


def _files(place: Path) -> dict[str, tuple[int, int]]:
    found = {one.relative_to(place).as_posix(): one.lstat() for one in place.rglob("*")}
    return {name: (one.st_size, one.st_mtime_ns) for name, one in found.items()
            if not name.endswith(("-wal", "-shm"))}  # fmt: skip


def made_homes(place: Path) -> dict[str, str]:
    """Make homes with something of everything; return what stands for each word in braces."""
    papers = made_place(place)
    given, folder = dict(papers.given), Path(papers.given["home"]).parent
    bank = Coordinator(folder, key=papers.keys["coordinator"])
    bank.roster_key = papers.keys["coordinator-roster"]
    bank.homes = {name: Home.open(folder / name) for name in NAMES}
    with ExitStack() as stack:
        custodies = dict[str, Any]()

        def custody_of(name: str = NAMES[0]) -> Any:
            opened = open_custody(bank.institution(name), None, lambda: NOW)
            return custodies.setdefault(name, stack.enter_context(opened))

        fill_institution(bank, custody_of)
        first_answer(custodies[NAMES[0]], home_study(privacy__epsilon=0.25))
    (place / "desk").mkdir()
    keyed = KeyedCoordinator.found(place / "desk")
    keep_bundle(keyed.home)
    propose(keyed.home, keyed.study, keyed.signer)
    keyed.approve()
    with pytest.MonkeyPatch.context() as patch:
        fill_coordinator(DeskBench(keyed), patch)
    given |= {"hub": str(keyed.home.path), "empty": given["hub"]}
    given |= {name: str(place / name) for name in ("new", "backup", "hub_backup", "enrolment")}
    (place / "enrolment").write_bytes(papers.papers["enrolment"])
    given |= {"recovery": str(place / "recovery.key"), "public": bank.public}
    for line in PREPARED:
        if status := run(line.format(**given).split()):
            raise RuntimeError(f"expected 0 of {line}, found {status}")
    # Of copies: what a backup is encrypted with is drawn inside OpenSSL, and logs hold its hash.
    for kept, name in (("home", "backup"), ("hub", "hub_backup")):
        copy = shutil.copytree(given[kept], place / "copy", symlinks=True)
        if run(["backup", given[name], "--home", str(copy)]):
            raise RuntimeError("expected a backup")
        shutil.rmtree(copy)
    shutil.copytree(given["empty"], place / "enrolled")
    if run(f"coordinator enrol {given['enrolment']} --yes --home {place / 'enrolled'}".split()):
        raise RuntimeError("expected an enrolment")
    return given | {
        "enrolled": str(place / "enrolled"), "signed": str(folder / "study"),
        "questions": str(folder / "questions.toml"), "invitation": str(folder / "invitation"),
        "vouching": str(folder / "vouching"), "alert": FILED, "waits": WAITS.id, "run": "run-1",
        "approved": home_study(privacy__epsilon=0.25).id, "paid": str(keyed.study.id),
        "payments": str(keyed.study_file), "paysim": str(SAMPLES / "paysim.csv"),
        "data": os.environ.get("FIELDFARE_DATA") or str(ROOT.parent / "shared" / "data"),
    }  # fmt: skip


def made_demo(place: Path) -> dict[str, str]:
    """What the demo leaves of a small world."""
    small: Any = five_banks  # in this process only
    small.PEOPLE = PEOPLE
    if run(["demo", "--out", "demo", "--seed", "13"]):
        raise RuntimeError("expected the demo to end well")
    (home,) = (one.parent for one in (place / "demo").glob("*/invented"))
    return {"bank": str(home), "demo": str(place / "demo"), "new": str(place / "new")}


def record_screens(part: str, counted: Counter[str]) -> Iterator[tuple[str, bytes]]:
    """Yield the recordings of a part's commands: their help, what they write, and their JSON."""
    calls = {name: call for name, call in table().items() if call.part(name) == part}
    loaded = {name: load() for name, load in commands().items()}
    os.environ.update(COLUMNS="80", LC_ALL="C.UTF-8", TZ="UTC", OMP_NUM_THREADS="1")
    with tempfile.TemporaryDirectory(prefix="ff-", dir=MEMORY) as folder:
        screens = Screens(Path(folder))
        made = screens.make(made_demo if part == "demo" else made_homes)
        yield f"{part}/made.txt", screens.masks.masked(made.decode()).encode()
        for name, call in calls.items():
            command = name.partition("@")[0]
            if name == command:
                counted["commands"] += 1
                yield f"{part}/{name}.help.txt", screens.call(name, HELP)
            counted["calls"] += 1
            yield f"{part}/{name}.txt", screens.call(name, call)
            if any("--json" in one.opts for one in loaded[command].params):
                counted["json"] += 1
                yield f"{part}/{name}.json.txt", screens.call(name, call, "--json")
    counted.update({f"masked {name}": count for name, count in screens.masks.found.items()})
