"""The attacks of tests/security against a deployment: a real coordinator, nodes, custodians, TLS.

One coordinator and seven institutions, each its own processes. What a hostile coordinator does, it
does with its own keys, as the server of a run at its own SuperLink; strangers and thieves have what
such people have: the address, the authority, a node's key, what they saw on the wire.
"""

import hashlib
import io
import json
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from tests.support.attacks.lies import STRANGER, Lie, nudged, with_participants, without
from tests.support.federations.beds import NAMES, check_whole, small_bed
from tests.support.network.coordinator import RunningSuperlink, new_node, running_superlink
from tests.support.network.served import serving
from tests.support.network.superlink import new_node_key
from tests.support.system.processes import until

from fieldfare.client.custodian.ports import HelloAnswer
from fieldfare.client.home.layout import Home
from fieldfare.client.institution.ledger_checks import open_ledger
from fieldfare.client.ledger.budget import LedgerEntry, Position
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.home.public_keys import roster_public
from fieldfare.server.members.enrolment import members
from fieldfare.server.members.node_registration import settle_nodes
from fieldfare.server.run.channel import UNLISTED
from fieldfare.server.run.conduct import carry_out
from fieldfare.server.store.rows import RunRow, RunStatus
from fieldfare.server.superlink.control import control_target, read_token
from fieldfare.server.superlink.superlink import control, server_task, tasks
from fieldfare.shared.audit.audit import audit
from fieldfare.shared.audit.opening import Trust
from fieldfare.shared.audit.verdict import AuditVerdict
from fieldfare.shared.errors import FieldfareError, RefusalCode, RunError
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.flower_record import RECORD, refusal_in
from fieldfare.shared.protocol.messages import (
    NO_LAST_SUM,
    IdentitySigner,
    LastSum,
    Refusal,
    ReleaseKind,
    Request,
    open_envelope,
    sign_envelope,
)
from fieldfare.shared.protocol.roster import COORDINATOR
from fieldfare.shared.protocol.signed_files import open_roster, read_roster
from fieldfare.shared.system.key_files import read_signing_key
from fieldfare.shared.system.sockets import UnixSocket
from fieldfare.simulations.demo.testbed import COMMAND, Bed, edit, in_this_process

# A minute and more, on few cores: too long for the gate.
# One bed of seven institutions: a second worker would found another beside it.
pytestmark = [pytest.mark.faults, pytest.mark.xdist_group("attacks")]

HONEST: Final = NAMES
POSITIONS: Final = 200
SECONDS: Final = 120.0  # for a process to start or end, on a busy machine
ALL: Final = (*HONEST, "bank-d", "bank-e", "bank-f", "bank-g")


@dataclass(frozen=True)
class Told:
    """Who is lied to, in the first attempt of which step, and what it has to say."""

    lie: Lie
    step: int
    code: RefusalCode


# Each leaves three honest institutions, which are enough for another attempt.
LIES: Final = {
    "bank-d": Told(Lie(parameters=nudged), 1, RefusalCode.NOT_RECOMPUTED),
    "bank-e": Told(
        with_participants(lambda found: [*found, STRANGER]), 3, RefusalCode.BAD_PARTICIPANTS
    ),
    "bank-f": Told(Lie(lambda r: {"step": r.step + 1}), 2, RefusalCode.NOT_RECOMPUTED),
}
# Fewer, but enough by the study: it commits, and nobody can use what it says.
MISLED: Final = "bank-g"
FEWER: Final = without("bank-f")


@dataclass
class Deployment:
    """A coordinator's SuperLink and institutions that run; the runs' server is this process."""

    bed: Bed
    superlink: RunningSuperlink

    @property
    def home(self) -> CoordinatorHome:
        return self.superlink.home

    def agreed(self, **changes: object) -> str:
        """Change the study, and let every institution approve it; returns its id."""
        self.change(**changes)
        return self.bed.agree()

    def change(self, **changes: object) -> str:
        """Write another study; returns its id."""
        path = self.bed.study.with_name("changed.toml")
        shutil.copy(self.bed.study, path)
        for name, value in changes.items():
            line = next(x for x in path.read_text().splitlines() if x.startswith(f"{name} = "))
            edit(path, f"\n{line}\n", f"\n{name} = {json.dumps(value)}\n")
        self.bed.study = path.rename(path.with_name(f"study-{len(list(path.parent.iterdir()))}"))
        return self.bed.loaded_study.id

    def carried_out(self, study: str, meddle: Callable[[Any], Any] = lambda grid: grid) -> RunRow:
        """Start a run and be its server until it ends, over a grid that somebody meddles with."""
        run, target = self.bed.run(study), control_target(self.home)
        secret = read_token(self.home.runtime_token).encode()
        with tasks(target.address, target.authority, secret) as source:
            acquired = source.acquire()
        assert acquired is not None
        with server_task(target.address, target.authority, acquired.token) as task:
            try:
                carry_out(self.home, meddle(task.grid), study, run)
            except FieldfareError as error:
                task.finish(str(error))
            else:
                task.finish(None)
        return self.bed.row(run)

    def nodes(self) -> dict[int, str]:
        with control(control_target(self.home)) as link:
            return {node.node: node.name for node in link.nodes()}

    def statuses(self) -> dict[str, str]:
        with control(control_target(self.home)) as link:
            return {node.name: node.status for node in link.nodes()}

    def positions(self) -> dict[str, Position]:
        """Where everybody's ledger stands."""
        found = {}
        for name in self.bed.names:
            with open_ledger(Home(self.bed.home(name))) as ledger:
                found[name] = ledger.position()
        return found

    def entries(self, name: str, run: str) -> list[LedgerEntry]:
        """What an institution paid for in a run."""
        with open_ledger(Home(self.bed.home(name))) as ledger:
            return [entry for entry in ledger.entries() if entry.debit.run == run]

    def verified(self, name: str, transcript: Path) -> dict[str, Any]:
        """What an institution's own check says: four of seven left, so too few co-signed it."""
        home = str(self.bed.home(name))
        done = self.bed.command(
            ["institution", "verify", str(transcript), "--json", "--home", home]
        )
        found: dict[str, Any] = json.loads(done.stdout)
        assert done.returncode == found["exit_status"] == AuditVerdict.NOT_COSIGNED.value
        assert found["own"]["cosigned"] == found["leaves"]
        return found

    @contextmanager
    def node(self, folder: Path, custodian: Path) -> Iterator[Path]:
        """Run a node over the key in a folder; gives its log."""
        (folder / "authority.pem").write_bytes(self.home.authority.read_bytes())
        (folder / "node.toml").write_text(
            f'superlink = "{self.superlink.public}"\n'
            f'bundles = ["{self.home.bundle_hash.read_text().strip()}"]\n'
            f'custodian = "{custodian}"\n'
        )
        log = folder / "node.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [COMMAND, "institution", "node", "--settings", folder / "node.toml"],
                stdout=out,
                stderr=out,
            )
        try:
            yield log
        finally:
            process.terminate()
            process.wait(SECONDS)


@pytest.fixture(scope="module")
def deployment() -> Iterator[Deployment]:
    folder = Path(tempfile.mkdtemp(prefix="ff-"))  # a short path: sockets lie below it
    bed = replace(small_bed(folder / "b", names=ALL), command=in_this_process)
    # Attempts that end before their list cost nothing: a second run finds no budget all the same.
    edit(bed.study, "[privacy]\nepsilon = 1.0\n", "[privacy]\nspare_releases = 0\nepsilon = 0.4\n")
    bed.found()
    home = CoordinatorHome(bed.coordinator_home)
    try:
        with running_superlink(home) as superlink:
            with control(control_target(home)) as link:
                settle_nodes(members(home), link)
            for name in bed.names:
                bed.start_institution(name)
            bed.until_connected()
            yield Deployment(bed, superlink)
            bed.stop()
    finally:
        bed.stop()
        shutil.rmtree(folder)


@dataclass
class Wire:
    """The coordinator's end of the wire, with its key: lies at some releases, and listens."""

    grid: Any
    home: CoordinatorHome
    nodes: Mapping[int, str]
    told: dict[str, Request] = field(default_factory=dict)
    heard: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    since: dict[str, int] = field(default_factory=dict)  # answers before the lie

    def __getattr__(self, name: str) -> Any:
        return getattr(self.grid, name)

    def push_messages(self, messages: Sequence[Any]) -> Any:
        for message in messages:
            self._meddle(self.nodes[message.metadata.dst_node_id], message.content[RECORD])
        return self.grid.push_messages(messages)

    def pull_messages(self, ids: Sequence[str]) -> Any:
        found = self.grid.pull_messages(ids)
        for message in found:
            if message.has_content():
                name = self.nodes[message.metadata.src_node_id]
                self.heard.setdefault(name, []).append(dict(message.content[RECORD]))
        return found

    def _meddle(self, name: str, record: Any) -> None:
        if "request" not in record or (name not in LIES and name != MISLED):
            return
        roster = open_roster(read_roster(self.home.roster), roster_public(self.home))
        request = open_envelope(record["request"], Request, roster, Protection.EXACT).body
        lie, step = (LIES[name].lie, LIES[name].step) if name in LIES else (FEWER, 0)
        if (request.kind, request.step) != (ReleaseKind.TRAINING, step):
            return
        told, content = lie.told(request, record["parameters"])
        self.since.setdefault(name, len(self.heard[name]))
        self.told[name] = told
        signer = IdentitySigner(read_signing_key(self.home.signing_key, None))
        record["request"], record["parameters"] = sign_envelope(told, COORDINATOR, signer), content


@dataclass(frozen=True)
class LiedTo:
    """A run in which four institutions were lied to."""

    row: RunRow
    wire: Wire
    report: Mapping[str, Any]
    transcript: Path


@pytest.fixture(scope="module")
def lied_to(deployment: Deployment) -> LiedTo:
    wires: list[Wire] = []

    def meddle(grid: Any) -> Wire:
        wires.append(Wire(grid, deployment.home, deployment.nodes()))
        return wires[0]

    row = deployment.carried_out(deployment.agreed(), meddle)
    report = check_whole(deployment.bed, row)
    path = deployment.bed.folder / f"{row.run}.transcript"
    return LiedTo(row, wires[0], report, path)


# -- a coordinator that lies to one institution ----------------------------------------------


def test_the_run_ends_with_those_who_were_told_the_truth(lied_to: LiedTo) -> None:
    assert lied_to.row.state is RunStatus.FINISHED
    assert sorted(lied_to.wire.told) == sorted([*LIES, MISLED])
    assert lied_to.report["failed_attempts"] == 4
    assert lied_to.report["verified"]


@pytest.mark.parametrize("name", LIES)
def test_who_is_lied_to_refuses_and_pays_nothing(
    name: str, deployment: Deployment, lied_to: LiedTo
) -> None:
    told, wire = LIES[name], lied_to.wire
    after = wire.heard[name][wire.since[name] :]
    assert refusal_in(after[0]) == Refusal(told.code)
    assert not [record for record in after if "reply" in record]
    # It paid for attempts that failed before, with somebody else; for nothing from the lie on.
    paid = [entry.debit for entry in deployment.entries(name, lied_to.row.run)]
    assert {debit.step for debit in paid} == set(range(told.step))
    # What it signed is in the transcript, and nothing else in its name.
    own = deployment.verified(name, lied_to.transcript)["own"]
    assert (own["recorded"], own["unseen"]) == (len(paid), [])


def test_who_is_told_of_fewer_participants_commits_and_pays_nothing(
    deployment: Deployment, lied_to: LiedTo
) -> None:
    """It is asked to open nothing: its commitment is to another request than the others'."""
    wire = lied_to.wire
    after = wire.heard[MISLED][wire.since[MISLED] :]
    assert [record for record in after if "commitment" in record]
    assert not [record for record in after if "reply" in record]
    assert deployment.entries(MISLED, lied_to.row.run) == []
    assert deployment.verified(MISLED, lied_to.transcript)["own"]["unseen"] == []


def test_one_byte_of_its_transcript_changed_anywhere_is_found_and_named(
    deployment: Deployment, lied_to: LiedTo
) -> None:
    content, dice = lied_to.transcript.read_bytes(), np.random.default_rng(4)
    trust = Trust(roster_public(deployment.home))
    assert audit(io.BytesIO(content), trust).misfit is None
    for at in dice.choice(len(content), POSITIONS, replace=False).tolist():
        other = (content[at] + int(dice.integers(1, 256))) % 256
        changed = content[:at] + bytes([other]) + content[at + 1 :]
        misfit = audit(io.BytesIO(changed), trust).misfit
        assert misfit is not None, at
        assert misfit.line == content.count(b"\n", 0, at) + 1, (at, misfit)


# -- a coordinator that runs something else ----------------------------------------------------


def test_a_changed_study_is_answered_by_nobody(deployment: Deployment, lied_to: LiedTo) -> None:
    """Under the same name, with more epsilon: it waits for a person at every institution."""
    before, approved = deployment.positions(), lied_to.row.study
    study = deployment.change(epsilon=0.8)
    deployment.bed.coordinator("propose", str(deployment.bed.study), "--no-hello")
    row = deployment.carried_out(study)
    assert row.state is RunStatus.FAILED
    for name in ALL:
        assert f"{name}: expected an approval, found a refusal with unknown_study" in row.reason
        rows = json.loads(deployment.bed.institution(name, "studies", "--json"))
        standings = {each["id"]: each["standing"] for each in rows}
        assert standings[study] != standings[approved]
    assert deployment.positions() == before


def test_a_changed_bundle_is_answered_by_nobody(deployment: Deployment, lied_to: LiedTo) -> None:
    before, home = deployment.positions(), deployment.home
    kept, listed = home.bundle_file.read_bytes(), home.bundle_hash.read_bytes()
    changed = with_another_text(kept)
    home.bundle_file.write_bytes(changed)
    home.bundle_hash.write_text(hashlib.sha256(changed).hexdigest())
    try:
        row = deployment.carried_out(lied_to.row.study)
    finally:
        home.bundle_file.write_bytes(kept)
        home.bundle_hash.write_bytes(listed)
    assert row.state is RunStatus.FAILED
    assert row.reason.count(UNLISTED) == len(ALL)
    assert deployment.positions() == before


def with_another_text(bundle: bytes) -> bytes:
    """A bundle that Flower takes, with one text changed."""
    with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
        texts = {name: archive.read(name) for name in archive.namelist() if ".info" not in name}
    texts["README.md"] += b"\n"
    lines = [f"{n},{hashlib.sha256(c).hexdigest()},{len(c) * 8}" for n, c in texts.items()]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in {**texts, ".info/CONTENT": "\n".join(lines).encode()}.items():
            archive.writestr(name, content)
    return out.getvalue()


# -- strangers and thieves ---------------------------------------------------------------------


@pytest.mark.parametrize("token", ["", "wrong"])
@pytest.mark.parametrize("place", ["public", "local"])
def test_nobody_steers_the_coordinator_without_its_token(
    token: str, place: str, deployment: Deployment
) -> None:
    before = deployment.statuses()
    address = getattr(deployment.superlink, place)
    target = replace(control_target(deployment.home), address=address, token=token)
    with control(target) as link:
        for attempt in (
            link.nodes,
            lambda: link.start_run(deployment.home.bundle_file.read_bytes(), {}),
            lambda: link.register_node(new_node()[1], "bank-x"),
            lambda: link.unregister_node(next(iter(deployment.nodes()))),
        ):
            with pytest.raises(RunError):
                attempt()
    assert deployment.statuses() == before


@pytest.mark.parametrize("key", ["its own", "another's"])
def test_a_stranger_and_a_thief_are_not_admitted(
    key: str, deployment: Deployment, tmp_path: Path
) -> None:
    """A key that nobody registered; a member's key while that member is there."""
    before = deployment.statuses()
    if key == "its own":
        (tmp_path / "keys").mkdir()
        new_node_key(tmp_path / "keys" / "node")
    else:
        copied_key(deployment, HONEST[0], tmp_path)
    with deployment.node(tmp_path, tmp_path / "nobody") as log:
        until(lambda: "not admitted by" in log.read_text(), SECONDS)
    assert deployment.statuses() == before


def copied_key(deployment: Deployment, owner: str, folder: Path) -> None:
    (folder / "keys").mkdir()
    (folder / "keys" / "node").touch(0o600)
    (folder / "keys" / "node").write_bytes(
        (deployment.bed.home(owner) / "keys" / "node").read_bytes()
    )


@dataclass
class Thief:
    """In a custodian's place, with what was seen on the wire in its name, and no key of its own."""

    approval: bytes
    answer: bytes
    offer: bytes
    asked: list[str] = field(default_factory=list)

    def describe(self, **_: object) -> HelloAnswer:
        self.asked.append("hello")
        return HelloAnswer(self.approval, self.answer)

    def open_run(self, **_: object) -> bytes:
        self.asked.append("open")
        return self.offer

    def agree(self, **_: object) -> bytes:
        self.asked.append("agree")
        return b""

    def release(self, request: bytes, parameters: bytes, last: LastSum = NO_LAST_SUM) -> Refusal:
        del request, parameters, last
        self.asked.append("release")
        return Refusal(RefusalCode.MALFORMED)


def test_who_stole_a_nodes_key_and_repeats_what_its_owner_said_ends_no_run_with_it(
    deployment: Deployment, lied_to: LiedTo, tmp_path: Path
) -> None:
    """The owner is gone and the thief's node is admitted; its answer is to another nonce.

    So the run is opened without it. It is of a study whose budget the run before has used up.
    """
    name, study = MISLED, lied_to.row.study
    heard = lied_to.wire.heard[name]
    thief = Thief(
        next(record["approval"] for record in heard if "approval" in record),
        next(record["answer"] for record in heard if "answer" in record),
        next(record["offer"] for record in heard if "offer" in record),
    )
    deployment.bed.stop_one(name)
    before = deployment.positions()
    copied_key(deployment, name, tmp_path)
    folder = Path(tempfile.mkdtemp(prefix="ff-"))
    with (
        serving(thief, UnixSocket(folder / "s")),  # type: ignore[arg-type]
        deployment.node(tmp_path, folder / "s") as log,
    ):
        until(lambda: "admitted as node" in log.read_text(), SECONDS)
        row = deployment.carried_out(study)
    shutil.rmtree(folder)
    assert set(thief.asked) == {"hello"}
    content = deployment.bed.transcript(row.run).read_bytes()
    report = audit(io.BytesIO(content), Trust(roster_public(deployment.home)))
    assert report.misfit is None
    assert sorted(report.participants) == sorted(set(ALL) - {name})
    assert deployment.positions()[name] == before[name]
    assert row.progress is not None
    assert (row.progress.phase, "budget_exhausted" in row.reason) == ("training", True)
    assert row.state is RunStatus.FAILED
    assert name not in row.reason
    assert RefusalCode.BUDGET_EXHAUSTED.value in row.reason
