"""Runs that a coordinator's home conducts over exact custodians in this process, cut or whole."""

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Message
from tests.support.federations.bench import hear
from tests.support.federations.settings import BANKS, Clock, Setting
from tests.support.homes.coordinators import found
from tests.support.runs.asking import asking, made_up, sums_of

from fieldfare.client.sums.study_sums import StudySums
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.run.conduct import carry_out
from fieldfare.server.run.later_questions import keep_questions
from fieldfare.server.store.export import export_transcript
from fieldfare.server.store.rows import RunRow
from fieldfare.server.store.store import run_store
from fieldfare.server.upkeep.publication import head_signer
from fieldfare.shared.audit.audit import AuditReport, audit
from fieldfare.shared.audit.opening import Trust
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.messages import IdentitySigner, sign_envelope
from fieldfare.shared.protocol.plan import Plan
from fieldfare.shared.protocol.roster import COORDINATOR
from fieldfare.shared.protocol.signed_files import offer_roster, offer_study
from fieldfare.shared.ring import decode
from fieldfare.shared.run.replay import decoded_sum
from fieldfare.shared.study.questions import QuestionGroup
from fieldfare.shared.study.study import Study
from fieldfare.shared.system.key_files import signing_pem
from fieldfare.shared.system.private_files import replace_private
from fieldfare.shared.transcript.file import write_transcript
from fieldfare.shared.transcript.leaves import (
    Leaf,
    tree_head,
)
from fieldfare.simulations.federation.federation import FIRST_NODE, LocalFederation

RUN = "run-1"
NODES = {FIRST_NODE + index: name for index, name in enumerate(BANKS)}


class Coordinator:
    """A coordinator's home over an in-process federation of exact custodians."""

    def __init__(self, folder: Path, setting: Setting) -> None:
        self.setting = setting
        self.home = found(folder / "coordinator")
        identities, study = setting.federation.identities, setting.federation.study
        signer = identities.coordinator
        assert isinstance(signer, IdentitySigner)
        public = signer.key.public_key().public_bytes_raw().hex()
        replace_private(self.home.signing_key, signing_pem(signer.key, None))
        replace_private(self.home.signing_public, public.encode())
        replace_private(self.home.roster_public, identities.roster.roster_key.encode())
        replace_private(self.home.roster, offer_roster(identities.roster, identities.roster_key))
        replace_private(self.home.study(study.id), offer_study(study, signer))
        settings = self.home.settings.read_text()
        self.home.settings.write_text(settings.replace("wait_seconds = 90.0", "wait_seconds = 0"))
        with self.store() as store:
            store.create(RUN, study.id, datetime.now(UTC))

    def store(self) -> Any:
        return run_store(self.home.runs_database)

    def carry_out(self, run: str = RUN, drop: Callable[[Message], bool] | None = None) -> None:
        federation = self.setting.federation
        carry_out(self.home, federation.grid(drop=drop), federation.study.id, run, nodes_of=_nodes)

    def row(self) -> RunRow:
        with self.store() as store:
            found: RunRow = store.row(RUN)
        return found

    def kinds(self) -> list[str]:
        with self.store() as store:
            return [leaf.kind.value for leaf in store.leaves(RUN)]


def _nodes(home: CoordinatorHome) -> Mapping[int, str]:
    return NODES


class Killed(BaseException):
    """The process dies; nothing is caught and nothing more is written."""


def audited(coordinator: Coordinator, folder: Path) -> AuditReport:
    report = exported(coordinator, folder)
    assert report.misfit is None, report.misfit
    return report


def exported(coordinator: Coordinator, folder: Path) -> AuditReport:
    """What an audit of the transcript says, whether it fits or not."""
    file = folder / "run.transcript"
    file.unlink(missing_ok=True)
    with coordinator.store() as store:
        export_transcript(store, RUN, head_signer(coordinator.home, None), file)
    trust = Trust.in_roster(coordinator.home.roster.read_bytes())
    return audit(io.BytesIO(file.read_bytes()), trust)


def kill_at_release(coordinator: Coordinator, release: int) -> None:
    """Let the process die when the last institution is asked for this release, from 1 on."""
    asked, institutions = 0, len(coordinator.setting.federation.custodians)

    def die(message: Message) -> bool:
        nonlocal asked
        asked += message.metadata.message_type == "query.release"
        if asked == release * institutions:
            raise Killed
        return False

    with pytest.raises(Killed):
        coordinator.carry_out(drop=die)


def resume(coordinator: Coordinator) -> None:
    with coordinator.store() as store:
        row = store.row(RUN)
        if row.state.ended:
            store.reopen(row, datetime.now(UTC))
    coordinator.carry_out()


UNITS = 200
QUESTIONS = (
    {"name": "units", "kind": "count"},
    {"name": "channels", "kind": "group_by", "by": ["channel", "band"]},
)
MakeCoordinator = Callable[..., Coordinator]


@contextmanager
def coordinator_maker(
    folder: Path, sums_at: Callable[[Study, str, int], StudySums]
) -> Iterator[MakeCoordinator]:
    """What founds coordinators over BANKS; their ledgers are closed in the end.

    Args:
        folder: for coordinator and ledgers.
        sums_at: sums of a study at a bank, from its name and number.
    """
    opened: list[LocalFederation] = []

    def make(study: Study) -> Coordinator:
        sums = {name: sums_at(study, name, seed) for seed, name in enumerate(BANKS)}
        ledgers = folder / "ledgers"
        ledgers.mkdir()
        federation = LocalFederation(study, sums, Protection.EXACT, seed=0, directory=ledgers)
        hear(*federation.custodians.values())
        opened.append(federation)
        return Coordinator(folder, Setting(federation, sums, Clock()))

    try:
        yield make
    finally:
        for federation in opened:
            federation.__exit__()


@pytest.fixture
def make_coordinator(tmp_path: Path) -> Iterator[MakeCoordinator]:
    def sums(study: Study, name: str, seed: int) -> StudySums:
        return sums_of(study, made_up(UNITS, institution=name, seed=seed))

    with coordinator_maker(tmp_path, sums) as make:
        yield make


def released(plan: Plan, report: AuditReport) -> np.ndarray:
    """The answers' sum, from the transcript alone."""
    (answers,) = report.answers
    words = decode(answers.content, plan.query.word_bits, plan.query.vectors.entries)
    return decoded_sum(words, plan.query, len(report.participants))


LATER = tuple(
    QuestionGroup.model_validate({"questions": [question]})
    for question in (
        {"name": "hours", "kind": "mean", "column": "hours"},
        {"name": "long hours", "kind": "count", "where": [{"column": "hours", "lower": 12.0}]},
    )
)


def with_allowance(*, steps: int = 0, declared: bool = True, groups: int = 3) -> Study:
    allowance = {
        "kinds": ["mean", "count"],
        "columns": ["hours"],
        "groups": groups,
        "spare_releases": 0,
    }
    return asking(
        *QUESTIONS[:1], steps=steps, names=BANKS, allowance=allowance,
        **({} if declared else {"queries": []}),
    )  # fmt: skip


def ask_later(
    coordinator: Coordinator,
    *groups: QuestionGroup,
    drop: Callable[[Message], bool] | None = None,
) -> None:
    keep_questions(coordinator.home.questions(RUN), groups)
    coordinator.carry_out(drop=drop)


def audited_with(coordinator: Coordinator, leaves: list[Leaf]) -> AuditReport:
    """Audit a transcript of which the coordinator has signed other leaves."""
    federation = coordinator.setting.federation
    identities, study = federation.identities, federation.study.id
    head = tree_head(study, RUN, [leaf.hash for leaf in leaves])
    with coordinator.store() as store:
        blobs = {name: store.blob(name) for name in store.blob_names(RUN)}
    file = io.BytesIO()
    write_transcript(
        file,
        study=study,
        run=RUN,
        leaves=leaves,
        blobs=blobs,
        head=sign_envelope(head, COORDINATOR, identities.coordinator),
        cosignatures={},
    )
    file.seek(0)
    return audit(file, Trust(identities.roster.roster_key))


def leaves_of(coordinator: Coordinator) -> list[Leaf]:
    """What its run wrote down."""
    with coordinator.store() as store:
        return list(store.leaves(RUN))


def assert_lies_are_found(
    coordinator: Coordinator, leaves: list[Leaf], lies: Mapping[str, list[Leaf]]
) -> None:
    """An audit accepts what was written down, and says of each lie what is wrong with it.

    Args:
        coordinator: that signs the lies, too.
        leaves: of the run as it was.
        lies: other leaves, by words of the reason.
    """
    assert audited_with(coordinator, leaves).misfit is None
    for reason, lie in lies.items():
        misfit = audited_with(coordinator, lie).misfit
        assert misfit is not None, reason
        assert reason in misfit.reason
