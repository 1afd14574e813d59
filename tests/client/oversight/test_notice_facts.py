"""What an institution's people are told of, and that no record is in it."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pytest
from tests.support.homes.administrations import administration_of, status_with
from tests.support.homes.coordinators import an_authority
from tests.support.homes.institutions import NAMES, NOW, Coordinator, clock, home_study
from tests.support.network.receivers import mail_server, web_server

from fieldfare.client.home.layout import Home
from fieldfare.client.home.studies import State, StudyDecision, write_decision
from fieldfare.client.journal.entries import Event
from fieldfare.client.journal.journal import Journal
from fieldfare.client.node.state import NodeReport
from fieldfare.client.oversight.notice_facts import InstitutionFacts
from fieldfare.client.oversight.notices_process import notices_home
from fieldfare.shared.system.private_files import create_private
from fieldfare.shared.watch.dispatch import Dispatcher
from fieldfare.shared.watch.outbox import KEPT, Fact, open_outbox
from fieldfare.shared.watch.sentences import NoticeKind

NAME: Final = NAMES[0]
STUDY: Final = home_study()
MARKER: Final = "Maria-Lopez"


@pytest.fixture
def home(coordinator: Coordinator) -> Home:
    return coordinator.homes[NAME]


def facts(home: Home, now: datetime = NOW) -> set[Fact]:
    seen = InstitutionFacts(home, home.admin_socket).look(now)
    assert seen.troubles == ()
    return set(seen.facts)


def node_file(home: Home) -> None:
    (home.path / "authority.pem").write_text(an_authority(NOW))
    (home.path / "node.toml").write_text(
        f'superlink = "127.0.0.1:1"\nauthority = "authority.pem"\nbundles = ["{"ab" * 32}"]\n'
    )


def model(home: Home, run: str) -> None:
    folder = home.models / STUDY.id / run
    folder.mkdir(mode=0o700, parents=True)
    (folder / "delivery.signed").write_bytes(b"{}")


def test_a_new_home_has_nothing_to_tell(home: Home) -> None:
    assert facts(home) == set()


def test_a_study_waits_until_somebody_decides(coordinator: Coordinator, home: Home) -> None:
    coordinator.receive(STUDY)
    assert facts(home) == {Fact(NoticeKind.STUDY_WAITS, STUDY.id)}
    write_decision(home, StudyDecision(study=STUDY.id, state=State.APPROVED))
    assert facts(home) == set()
    write_decision(home, StudyDecision(study=STUDY.id, state=State.REJECTED, reason=MARKER))
    assert facts(home) == {Fact(NoticeKind.STUDY_REJECTED, STUDY.id)}


def test_a_run_ends_with_its_model(coordinator: Coordinator, home: Home) -> None:
    coordinator.receive(STUDY)
    write_decision(home, StudyDecision(study=STUDY.id, state=State.APPROVED))
    model(home, "run-1")
    (home.models / STUDY.id / "half-written").mkdir()
    model(home, "a\nSubject: b")
    assert facts(home) == {Fact(NoticeKind.RUN_ENDED, STUDY.id, "run-1")}


def test_a_failed_rehearsal_is_read_from_the_log_once(home: Home) -> None:
    seen = InstitutionFacts(home, home.admin_socket)
    journal = Journal.open(home.log_folder, clock=clock)
    for run in ("run-1", "run-2"):
        journal.append(Event.PUBLISHED, "coordinator", study=STUDY.id, run=run, request="b" * 64)
        found = seen.look(NOW).facts
        assert found[-1] == Fact(NoticeKind.RUN_FAILED, STUDY.id, run)
    assert len(found) == 2
    assert found == seen.look(NOW).facts
    assert seen.look(NOW + KEPT + timedelta(days=1)).facts == ()  # they cost nothing


def test_a_node_that_is_not_connected_is_gone_after_a_while(home: Home) -> None:
    node_file(home)
    gone = {Fact(NoticeKind.NODE_GONE, holds=timedelta(minutes=15))}
    assert facts(home) == set()  # none ever ran
    report = NodeReport(home.run / "node.json", "127.0.0.1:1", clock=clock)
    assert facts(home) == gone
    report.connected(7)
    assert facts(home) == set()
    assert facts(home, NOW + timedelta(minutes=3)) == gone  # it lives, and hears nothing
    report.ended("the SuperLink says no")
    assert facts(home) == gone


def test_a_certificate_that_ends_soon_is_told_of(home: Home) -> None:
    node_file(home)
    ends = NOW.replace(year=NOW.year + 10)
    soon = facts(home, ends - timedelta(days=20))
    assert [fact.kind for fact in soon] == [NoticeKind.CERTIFICATE_ENDS]
    assert facts(home, ends - timedelta(days=60)) == set()


def test_the_custodian_is_asked_for_its_budget_and_nothing_else_is_read(home: Home) -> None:
    with administration_of(home.admin_socket, status_with(MARKER, yearly_left=1)):
        assert facts(home) == {Fact(NoticeKind.BUDGET_ENDS)}
    with administration_of(home.admin_socket, status_with(MARKER)):
        assert facts(home) == set()
    seen = InstitutionFacts(home, home.admin_socket).look(NOW)
    assert NoticeKind.BUDGET_ENDS not in seen.looked  # nobody is there: nothing is concluded


def test_of_a_ledger_that_cannot_be_read_nothing_is_concluded(home: Home) -> None:
    unread = status_with().model_copy(update={"ledger": None})
    with administration_of(home.admin_socket, unread):
        seen = InstitutionFacts(home, home.admin_socket).look(NOW)
    assert (seen.troubles, NoticeKind.BUDGET_ENDS in seen.looked) == ((), False)


def test_a_file_that_cannot_be_read_hides_no_other(coordinator: Coordinator, home: Home) -> None:
    coordinator.receive(STUDY)
    (home.path / "node.toml").write_text("superlink = ")
    seen = InstitutionFacts(home, home.admin_socket).look(NOW)
    assert Fact(NoticeKind.STUDY_WAITS, STUDY.id) in seen.facts
    assert {NoticeKind.NODE_GONE, NoticeKind.CERTIFICATE_ENDS}.isdisjoint(seen.looked)
    assert len(set(seen.troubles)) == 1


# -- two databases --------------------------------------------------------------------------------


def received(coordinator: Coordinator, _: Home) -> None:
    coordinator.receive(STUDY)


HISTORY: Final[tuple[Callable[[Coordinator, Home], None], ...]] = (
    lambda _, home: node_file(home),
    received,
    lambda _, home: write_decision(home, StudyDecision(study=STUDY.id, state=State.APPROVED)),
    lambda _, home: model(home, "run-1"),
    lambda _, home: write_decision(home, StudyDecision(study=STUDY.id, state=State.REJECTED)),
)


def told_of(folder: Path, records: str) -> tuple[list[bytes], list[bytes], list[str]]:
    """The same history over some records: every mail, every posted body, every line said."""
    coordinator, said = Coordinator(folder), list[str]()
    for name in NAMES:
        coordinator.found(name)
    coordinator.pin()
    coordinator.compare()
    home = coordinator.homes[NAME]
    (home.path / "records.csv").write_text(records)
    create_private(home.keys / "hook", b"c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0")
    now = [NOW]
    with mail_server() as box, web_server() as hook:
        home.notices.write_text(
            f"""
            [mail]
            host = "127.0.0.1"
            port = {box.port}
            tls = "none"
            sender = "fieldfare@bank-a.example"
            to = ["office@bank-a.example"]
            [[webhook]]
            name = "tickets"
            url = "{hook.url}"
            secret_file = "keys/hook"
            """
        )
        look = InstitutionFacts(home, home.admin_socket).look
        with open_outbox(home.outbox) as outbox:
            rounds = Dispatcher(notices_home(home), look, said.append, lambda: now[0])
            for step in (lambda *_: None, *HISTORY):
                step(coordinator, home)
                rounds.round(outbox)
                now[0] += timedelta(minutes=1)
            NodeReport(home.run / "node.json", "127.0.0.1:1", clock=clock).ended(records[:200])
            for _ in range(3):
                now[0] += timedelta(minutes=10)
                rounds.round(outbox)
        content = [one.original_content or b"" for one in box.envelopes]
    return content, [body for _, _, body in hook.posted], said


def test_two_databases_give_equal_bytes() -> None:
    """Other people, other sizes, none at all, or a file that is none: not one byte differs."""
    header = "customer,reported,amount,channel\n"
    rows = "".join(f"{MARKER}-{n},1,{n % 10},branch\n" for n in range(5000))
    found = []
    for records in (header + rows, header, "\x00 no table"):
        with TemporaryDirectory(prefix="ff-") as folder:
            found.append(told_of(Path(folder), records))
    mails, posted, _ = found[0]
    assert [len(each) for each in (mails, posted)] == [4, 4]
    assert found == [found[0]] * 3
    assert MARKER.encode() not in b"".join(mails + posted)
    assert MARKER not in "".join(found[0][2])
