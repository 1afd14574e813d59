"""Homes with something on every page, among it what would run if a page let it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from tests.client.alerts.test_card import STATEMENT
from tests.support.browsers.crawled import FoundForm
from tests.support.homes.consoles import ConsoleBench, coordinator_desk, desk, kept_alerts
from tests.support.homes.coordinator_desks import DeskBench
from tests.support.homes.institutions import NOW, Coordinator, OpenCustody, home_study, loaded
from tests.support.homes.keyed_coordinators import KeyedCoordinator
from tests.support.homes.reported import reported_alert
from tests.support.runs.asking import asking
from tests.support.runs.finished import kept_delivery
from tests.support.runs.joining import answered_here
from tests.support.runs.written_runs import NAMES, RUN, WrittenRun

from fieldfare.client.alerts.acts import CaseAct, CaseActKind
from fieldfare.client.alerts.alert_queue import HomeQueue, open_queue
from fieldfare.client.alerts.feedback import Confidence, Disposition, Feedback, PartyRole
from fieldfare.client.approvals import approval
from fieldfare.client.approvals.rejection import Rejecter
from fieldfare.client.console.pages import pages_of
from fieldfare.client.console.place import ConsolePlace
from fieldfare.client.home.layout import Home
from fieldfare.client.home.models import keep_joining
from fieldfare.server.answers.sets import AnswerSet, kept_answers
from fieldfare.server.console import answers_page
from fieldfare.server.console.pages import pages_of as coordinator_pages
from fieldfare.server.console.place import CoordinatorPlace
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.store.rows import RunRow, RunStatus
from fieldfare.server.store.store import RunStore
from fieldfare.server.studies.proposals import proposals
from fieldfare.server.studies.proposing import propose
from fieldfare.shared.console.frame import FORM_TOKEN, Page
from fieldfare.shared.console.rights import ConsoleRole
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.transcript.leaves import tree_head

SCRIPT: Final = "<script>window.ran = 1</script>"
RAN: Final = f"{SCRIPT}<img src=x onerror='window.ran = 1'>"
FILED: Final = "aaaa1111bbbb2222"
NOTE: Final = "MARKER-NOTE"
UNIT: Final = "MARKER-CUSTOMER"
WAITS: Final = home_study(purpose=SCRIPT, prohibited_uses=[SCRIPT])


@dataclass(frozen=True)
class FilledConsole:
    """A console in memory on a filled home.

    Attributes:
        roles: those who may have an account there.
        starts: addresses from which links lead to every page.
        unlinked: forms that a page shows to some persons only.
        values: of records and notes, which belong on pages of alerts and nowhere else.
    """

    home: Path
    pages: Sequence[Page]
    app: Any
    roles: tuple[ConsoleRole, ...]
    starts: tuple[str, ...]
    values: tuple[str, ...]
    unlinked: tuple[FoundForm, ...] = ()


def fill_institution(coordinator: Coordinator, custody_of: OpenCustody) -> Home:
    """Fill a home: studies of each standing, alerts of each state, a statement, comments."""
    home, custody = coordinator.homes["bank-a"], custody_of("bank-a")
    approved = coordinator.receive(home_study(privacy__epsilon=0.25), now=NOW)
    approval.approve(custody, approved, loaded(custody, approved.study), "tester", utc_now())
    no = coordinator.receive(home_study(name="second"), now=NOW)
    Rejecter(home, custody.ledger, custody.journal, "tester", utc_now()).reject(no.study.id, RAN)
    coordinator.receive(WAITS, now=NOW + timedelta(days=1))
    model = kept_delivery(home, WAITS, coordinator.signer)
    keep_joining(model, answered_here(WAITS), utc_now())
    _fill_alerts(home)
    return home


def _fill_alerts(home: Home) -> None:
    kept_alerts(home, 40)
    queue = open_queue(home.path)
    assert isinstance(queue, HomeQueue)
    alert = reported_alert(study_name=RAN, families=3, unit=UNIT)
    day = utc_now().date() + timedelta(days=1)
    closed = queue.entry_keys.close(STATEMENT.packed(), FILED, day)
    with queue.store() as store:
        store.put([alert])
        store.keep_entries({FILED: closed}, day)
    said = (Disposition.FILE, PartyRole.CONTROLLER, Confidence.HIGH, f"{NOTE} {SCRIPT}")
    for one in (
        CaseAct(FILED, utc_now(), "ana", CaseActKind.COMMENT, f"{NOTE} {SCRIPT}"),
        Feedback(FILED, utc_now(), "ana", *said),
    ):
        assert not queue.act(one).problem


def institution_console(home: Home, console: ConsoleBench) -> FilledConsole:
    """Put the institution's console together on a filled home."""
    pages = pages_of(ConsolePlace(home.path, home.path, console.book))
    starts, values = (f"/alerts/{FILED}", "/"), (NOTE, UNIT, "MARKER-")
    app, roles = desk(home.path, console), (*ConsoleRole,)
    page = f"/studies/{WAITS.id}"
    said = {"say": "approve", "seen": "", "safety": "1", "code": "123456", "columns": "1"}
    decide = FoundForm("post", f"{page}/decide", page, {FORM_TOKEN: "", **said})
    own = _with_entrance(console, pages)
    return FilledConsole(home.path, own, app, roles, starts, values, (decide,))


LATER: Final = '[[queries]]\nname = "later"\nkind = "count"\n'
RUNS: Final = {
    "failed-1": (RunStatus.FAILED, SCRIPT),
    "finished-1": (RunStatus.FINISHED, ""),
    "running-1": (RunStatus.RUNNING, ""),
}


def fill_coordinator(bench: DeskBench, monkeypatch: pytest.MonkeyPatch) -> CoordinatorHome:
    """Fill a coordinator's home: runs of each state, a study that asks, answers of every kind."""
    keyed, now = bench.keyed, utc_now()
    allowed = {"kinds": ["count", "mean"], "columns": ["hours"], "groups": 4}
    asks = asking({"name": "units", "kind": "count"}, allowance=allowed, privacy={"epsilon": 1.0})
    propose(keyed.home, asks, keyed.signer)
    with keyed.store() as store:
        for run, (state, why) in RUNS.items():
            of = asks if state is RunStatus.RUNNING else keyed.study
            store.create(run, of.id, now)
            store.set_state(run, state, why, now)
    _keep_transcript(keyed)
    monkeypatch.setattr(answers_page, "kept_answers", _named)
    return keyed.home


def _named(store: RunStore, home: CoordinatorHome, row: RunRow) -> tuple[AnswerSet, ...]:
    """The kept answers, of a study whose name no study may have; in this process only."""
    found = kept_answers(store, home, row)
    return tuple(replace(one, name=f"answers {SCRIPT}") for one in found)


def _keep_transcript(keyed: KeyedCoordinator) -> None:
    """A finished run that trained and asked, and whose signed log is there whole."""
    written = WrittenRun(asking(names=NAMES, steps=2, purpose=SCRIPT)).finish()
    propose(keyed.home, written.study, keyed.signer)
    head = tree_head(written.study.id, RUN, [leaf.hash for leaf in written.leaves])
    with keyed.store() as store:
        store.create(RUN, written.study.id, utc_now())
        blobs = {name: written.blobs[name] for name in written.summed}
        store.append(RUN, written.leaves, blobs=blobs)
        store.set_state(RUN, RunStatus.FINISHED, "", utc_now())
        store.put_head(RUN, written.signed(head), head.size)


def coordinator_console(home: CoordinatorHome, console: ConsoleBench) -> FilledConsole:
    """Put the coordinator's console together on a filled home."""
    pages = coordinator_pages(CoordinatorPlace(home.path, home.path, console.book))
    roles = (ConsoleRole.OPERATOR, ConsoleRole.EXAMINER)
    app, own = coordinator_desk(home, console), _with_entrance(console, pages)
    page = f"/ask/{next(one.id for one in proposals(home) if one.study.allowance)}"
    said = {"questions": LATER, "cost": "1", "run": "2026-11-28-asking-00aa11"}
    ask = FoundForm("post", f"{page}/now", page, {FORM_TOKEN: "", **said})
    return FilledConsole(home.path, own, app, roles, ("/",), ("MARKER",), (ask,))


def _with_entrance(console: ConsoleBench, pages: Sequence[Page]) -> Sequence[Page]:
    return console.parts(*pages).pages
