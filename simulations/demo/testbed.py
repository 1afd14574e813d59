"""A federation of real processes on this machine: a coordinator, institutions, TLS between them.

Everything is done by the commands that people type, each with its own home, keys and ledger;
only the records are invented, or a public simulation's. Tests and `make federation` use it.

    folder/coordinator/     the coordinator's home
    folder/<institution>/   an institution's home, its records beside it in records/
    folder/processes.json   what was left running
"""

import io
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, Final

import tomlkit

from fieldfare.client.console.place import console_place
from fieldfare.client.home.layout import Home
from fieldfare.client.home.policy_objections import study_columns
from fieldfare.server.console.place import coordinator_place
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.store.rows import RunRow
from fieldfare.server.store.store import run_store
from fieldfare.server.superlink.control import control_target
from fieldfare.server.superlink.superlink import control
from fieldfare.shared.cli.root import run
from fieldfare.shared.console.accounts import ConsoleAct
from fieldfare.shared.console.rights import ConsoleRole
from fieldfare.shared.errors import RunError
from fieldfare.shared.protocol.identity import fingerprint
from fieldfare.shared.study.allowed_packages import VARIABLE
from fieldfare.shared.study.file import load_study
from fieldfare.shared.study.model_sections import MlpSection, named_class
from fieldfare.shared.study.study import Study
from fieldfare.shared.system.private_files import os_user

COMMAND: Final = Path(sys.executable).parent / "fieldfare"
COORDINATOR: Final = "coordinator"
START_SECONDS: Final = 180.0
STOP_SECONDS: Final = 40.0
SHOWN: Final = 2000  # characters of a failed command's own words
LOGGED: Final = 6000  # characters of each log, where something does not come

Say = Callable[[str], None]
Command = Callable[[Sequence[str]], "subprocess.CompletedProcess[str]"]


def _nothing(line: str) -> None:
    del line


def free_ports(count: int) -> list[int]:
    """Return ports on the loopback address that are free now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def in_a_process(command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    """Run a command as people do, and return its output."""
    return subprocess.run(  # noqa: S603 -- our own
        [COMMAND, *command], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


_ALONE: Final = Lock()  # standard output is the process's


def in_this_process(command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    """Run a command here and return its output, one at a time: a process takes over a second."""
    out, errors = io.StringIO(), io.StringIO()
    with _ALONE, _permission_kept(), redirect_stdout(out), redirect_stderr(errors):
        status = run(command)
    return subprocess.CompletedProcess(list(command), status, out.getvalue(), errors.getvalue())


@contextmanager
def _permission_kept() -> Iterator[None]:
    """Let what one command allows reach no other, as if each were a process."""
    before = os.environ.get(VARIABLE)
    try:
        yield
    finally:
        os.environ.pop(VARIABLE, None)
        if before is not None:
            os.environ[VARIABLE] = before


def typed_command() -> str:
    """Return what to type for this very `fieldfare`: its name, or its path where that is another.

    Whoever made an environment and never activated it has no command of that name.
    """
    found = shutil.which("fieldfare")
    if found is not None and Path(found).resolve() == COMMAND.resolve():
        return "fieldfare"
    inside = COMMAND.is_relative_to(Path.cwd())
    return shlex.quote(str(COMMAND.relative_to(Path.cwd()) if inside else COMMAND))


@dataclass
class Bed:
    """A coordinator and institutions in one folder.

    Attributes:
        folder: where all of it is.
        records: a Parquet file of each institution's units, by its id.
        study: the study's TOML file.
        say: told what happens, a line each.
        command: runs a command; those that go on are always processes.
        program: the `fieldfare` that those processes are.
        ports: chooses the coordinator's; from then to its start nobody keeps them for it.
    """

    folder: Path
    records: Mapping[str, Path]
    study: Path
    say: Say = _nothing
    command: Command = in_a_process
    program: Path = COMMAND
    ports: Callable[[int], list[int]] = free_ports
    _processes: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    @property
    def coordinator_home(self) -> Path:
        """The coordinator's home."""
        return self.folder / COORDINATOR

    @property
    def names(self) -> list[str]:
        """The institutions, sorted."""
        return sorted(self.records)

    def home(self, institution: str) -> Path:
        """Return an institution's home."""
        return self.folder / institution

    def log(self, name: str) -> Path:
        """Return the log file of a process."""
        return self.folder / f"{name}.log"

    # -- founding ---------------------------------------------------------------------------

    def found(self) -> None:
        """Make the coordinator and the institutions, and let them know each other.

        Raises:
            RunError: a command failed; says which and with what words.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        port, local = self.ports(2)
        self.coordinator(
            "init",
            "Local coordinator",
            *("--address", f"127.0.0.1:{port}", "--bind", f"127.0.0.1:{port}"),
            *("--local-port", str(local)),
        )
        with ThreadPoolExecutor(len(self.names)) as pool:
            list(pool.map(self._found_institution, self.names))
        for name in self.names:
            self.coordinator("enrol", str(self.folder / f"{name}.enrolment"), "--yes")
        self.publish()

    def publish(self) -> None:
        """Publish the roster and let every institution accept it."""
        self.coordinator("roster", "--multiplicity", str(self.loaded_study.privacy.multiplicity))
        roster = str(self.coordinator_home / "roster.signed")
        for name in self.names:
            self.institution(name, "roster", "accept", roster, "--yes")
        self.meet()

    def meet(self) -> None:
        """Let everybody's people hear the roster's code from another's, in one meeting."""
        if len(self.names) == 1:
            return
        for name in self.names:
            others = [other for other in self.names if other != name]
            reader, *listening = others
            read = json.loads(self.institution(reader, "roster", "--json"))["roster"]
            there = [word for other in listening for word in ("--present", other)]
            heard = ("--how", "meeting", *there, "--code", read, "--yes")
            self.institution(name, "roster", "compare", reader, *heard)

    def _found_institution(self, name: str) -> None:
        self.institution(name, "init", "--id", name)
        self._allow(name)
        self.institution(
            name,
            "join",
            str(self.coordinator_home / "invitation.json"),
            *(
                "--fingerprint",
                self._fingerprint(),
                "--out",
                str(self.folder / f"{name}.enrolment"),
            ),
        )

    def _fingerprint(self) -> str:
        """Return what the coordinator would read aloud."""
        key = (self.coordinator_home / "keys" / "roster.pub").read_text("ascii").strip()
        return fingerprint(bytes.fromhex(key))

    def _allow(self, name: str) -> None:
        """Write what the institution's people would: its records, and what its policy allows."""
        study = self.loaded_study
        listed = json.dumps(study_columns(study))
        policy = self.home(name) / "policy.toml"
        edit(policy, "columns = []\n", f"columns = {listed}\n")
        if study.asks:
            edit(policy, "kinds = [", 'kinds = ["query", ')
        edit(policy, "packages = []\n", f"packages = {json.dumps(classes_of(study))}\n")
        with (self.home(name) / "institution.toml").open("a") as file:
            path, unit = str(self.records[name].absolute()), study.records.unit
            file.write(f"\n[[records]]\npath = {json.dumps(path)}\nunit = {json.dumps(unit)}\n")

    @property
    def loaded_study(self) -> Study:
        """The study."""
        return load_study(self.study)

    # -- processes --------------------------------------------------------------------------

    def start(self) -> None:
        """Start the coordinator and every institution, and wait until all nodes are connected."""
        self.start_coordinator()
        for name in self.names:
            self.start_institution(name)
        self.until_connected()

    def start_coordinator(self) -> None:
        """Start the SuperLink and the runner."""
        self._spawn(
            COORDINATOR,
            *self._allowing,
            "coordinator",
            "start",
            "--home",
            str(self.coordinator_home),
        )
        self.until(self._coordinator_answers, "the coordinator")

    def start_institution(self, name: str) -> None:
        """Start an institution's custodian and node."""
        self._spawn(name, "institution", "start", "--home", str(self.home(name)))

    def until_connected(self, names: Sequence[str] | None = None) -> None:
        """Wait until the nodes of these institutions are connected."""
        wanted = set(names or self.names)
        self.until(lambda: wanted <= self.connected(), "connected nodes")

    def connected(self) -> set[str]:
        """Return the institutions whose nodes the SuperLink has."""
        with control(control_target(CoordinatorHome(self.coordinator_home))) as superlink:
            return {node.name for node in superlink.nodes() if node.status == "online"}

    def stop(self) -> None:
        """End every process of this bed, institutions first; those that do not end are killed."""
        for name in [*(n for n in self._processes if n != COORDINATOR), COORDINATOR]:
            self.stop_one(name)

    def stop_one(self, name: str) -> None:
        """End one process with its child processes."""
        process = self._processes.pop(name, None)
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def pid(self, name: str) -> int:
        """Return the id of a started process."""
        return self._processes[name].pid

    def _coordinator_answers(self) -> bool:
        try:
            self.connected()
        except RunError:
            return False
        return True

    def _spawn(self, name: str, *command: str) -> None:
        with self.log(name).open("ab") as log:
            self._processes[name] = subprocess.Popen(  # noqa: S603 -- our own
                [self.program, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a ctrl-C is for the command that made the bed
            )
        self.say(f"started {name}")

    def until(self, true: Callable[[], object], what: str, seconds: float = START_SECONDS) -> None:
        """Wait for something.

        Raises:
            RunError: it did not come, or a process ended meanwhile.
        """
        end = time.monotonic() + seconds
        while not true():
            for name, process in self._processes.items():
                if process.poll() is not None:
                    raise self._failed(
                        f"{name}: ended with {process.returncode}: see {self.log(name)}"
                    )
            if time.monotonic() > end:
                raise self._failed(
                    f"expected {what} within {seconds:g} s, found none: see the logs in "
                    f"{self.folder}"
                )
            time.sleep(0.2)

    def _failed(self, text: str) -> RunError:
        """Return an error with the end of every log in its notes: a test's folder goes away."""
        error = RunError(text)
        for name in (COORDINATOR, *self.names):
            if self.log(name).is_file():
                said = self.log(name).read_text(errors="replace")[-LOGGED:]
                error.add_note(f"--- the end of {self.log(name)}\n{said}")
        return error

    # -- studies and runs -------------------------------------------------------------------

    def agree(self) -> str:
        """Propose the study and let every institution approve it; returns its id."""
        study = self.loaded_study.id
        self.coordinator("propose", str(self.study), "--no-hello")
        signed = str(self.coordinator_home / "studies" / f"{study}.signed")
        with ThreadPoolExecutor(len(self.names)) as pool:
            list(pool.map(lambda name: self._approve(name, study, signed), self.names))
        return study

    def _approve(self, name: str, study: str, signed: str) -> None:
        self.institution(name, "import", signed)
        self.institution(name, "approve", study, "--yes")

    def run(self, study: str, *, force: bool = True) -> str:
        """Start a run; returns its id.

        By force unless told otherwise: a bed's study may be too small to measure anything, and
        its approvals came as files, so that no institution is asked first.
        """
        how = ["--force"] if force else []
        return str(json.loads(self.coordinator("run", "start", study, "--json", *how))["run"])

    def row(self, run: str) -> RunRow:
        """Return how a run stands."""
        with run_store(CoordinatorHome(self.coordinator_home).runs_database) as store:
            return store.row(run)

    def until_ended(self, run: str, seconds: float = 600.0) -> RunRow:
        """Wait for a run's end and return how it stands."""
        self.until(lambda: self.row(run).state.ended, f"the end of {run}", seconds)
        return self.row(run)

    def transcript(self, run: str) -> Path:
        """Export a run's transcript."""
        path = self.folder / f"{run}.transcript"
        self.coordinator("export", "transcript", run, "--out", str(path))
        return path

    def audit(self, transcript: Path, required: str = "none") -> dict[str, Any]:
        """Audit a transcript with nothing but the roster, and whoever has to have co-signed."""
        said = self.fieldfare(
            *self._allowing,
            "audit",
            "transcript",
            str(transcript),
            "--roster",
            str(self.coordinator_home / "roster.signed"),
            "--require-cosigned",
            required,
            "--json",
        )
        found: dict[str, Any] = json.loads(said)
        return found

    # -- people -----------------------------------------------------------------------------

    def offer_another(self, file: Path) -> str:
        """Propose the study again at half its epsilon, so that one waits; returns its id.

        Args:
            file: where the study is written.

        Raises:
            RunError: it did not arrive everywhere.
        """
        text: Any = tomlkit.parse(self.study.read_text("utf-8"))
        text["name"] = f"{self.loaded_study.name}-again"
        text["privacy"]["epsilon"] = self.loaded_study.privacy.epsilon / 2
        file.write_text(tomlkit.dumps(text), "utf-8")
        self.coordinator("propose", str(file))
        offered = load_study(file).id
        places = [Home(self.home(name)).study(offered) for name in self.names]
        self.until(lambda: all(one.exists() for one in places), "the study at all institutions")
        return offered

    def expect_people(self, *, lead: str, operator: str) -> None:
        """Add accounts of invented people, to whom consoles show links when they start.

        Args:
            lead: of the coordinator's operator.
            operator: of the first institution's.
        """
        with (
            coordinator_place(self.coordinator_home, None, os.urandom, make=True) as there,
            console_place(self.home(self.names[0]), None, os.urandom, make=True) as here,
        ):
            for place, person in ((there, lead), (here, operator)):
                tell = partial(place.tell, ConsoleAct.ADDED, os_user())
                place.book.expect(person, ConsoleRole.OPERATOR, tell)

    # -- commands ---------------------------------------------------------------------------

    def coordinator(self, *command: str) -> str:
        """Run a command of the coordinator; returns its output.

        Raises:
            RunError: it failed.
        """
        whole = [*self._allowing, "coordinator", *command, "--home", str(self.coordinator_home)]
        return _checked(self.command(whole), command)

    def institution(self, name: str, *command: str) -> str:
        """Run a command of an institution; returns its output.

        Raises:
            RunError: it failed.
        """
        whole = ["institution", *command, "--home", str(self.home(name))]
        return _checked(self.command(whole), command)

    def fieldfare(self, *command: str) -> str:
        """Run a command that needs no home.

        Raises:
            RunError: it failed.
        """
        return _checked(self.command([*command]), command)

    @property
    def _allowing(self) -> list[str]:
        """The options of every party but institutions that allow the study's package, if any."""
        return [word for one in packages_of(self.loaded_study) for word in ("--package", one)]


def _checked(done: "subprocess.CompletedProcess[str]", command: Sequence[str]) -> str:
    if done.returncode != 0:
        raise RunError(
            f"`{' '.join(command)}` ended with {done.returncode}: "
            f"{(done.stderr or done.stdout)[-SHOWN:]}"
        )
    return done.stdout


def packages_of(study: Study) -> list[str]:
    """Return the package of the module that a study names, if it does."""
    named = study.model.package if isinstance(study.model, MlpSection) else None
    return [] if named is None else [named]


def classes_of(study: Study) -> list[str]:
    """Return how a policy lists the module that a study names, if it does."""
    named = named_class(study.model)
    return [] if named is None else [named]


def edit(path: Path, old: str, new: str) -> None:
    """Change one place of a text file, as a person with an editor would.

    Raises:
        RunError: the place is not there, or there more than once.
    """
    text = path.read_text("utf-8")
    if text.count(old) != 1:
        raise RunError(f"{path}: expected {old!r} once, found it {text.count(old)} times")
    path.write_text(text.replace(old, new), "utf-8")
