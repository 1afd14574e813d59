"""What holds at a coordinator that its people are told of: its own rows, nodes and certificates.

A coordinator holds no record; what it knows of one left through a door and was paid for. Reasons,
names, figures and members stay out all the same.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.members.roster import published_roster
from fieldfare.server.store.rows import RunRow, RunStatus
from fieldfare.server.store.store import RunStore, run_store
from fieldfare.server.studies.proposals import Proposal, proposals
from fieldfare.server.studies.run_control import RunControl
from fieldfare.server.studies.run_life import Life, inspect_run
from fieldfare.server.studies.study_answers import StudyAnswer, given, heard_of
from fieldfare.server.superlink.control import control_target
from fieldfare.server.superlink.superlink import ControlClient, control
from fieldfare.shared.system.certificates import valid_until
from fieldfare.shared.system.private_files import read_public
from fieldfare.shared.watch.notice_settings import CERTIFICATE_ENDS, NODE_AWAY
from fieldfare.shared.watch.outbox import KEPT, Fact, Observation, seen_by
from fieldfare.shared.watch.sentences import NoticeKind

SETTLED: Final = timedelta(minutes=2)  # a run that begins again by itself is no failure
OFFLINE: Final = "offline"


@dataclass(frozen=True)
class CoordinatorFacts:
    """Looks at a coordinator's home and SuperLink."""

    home: CoordinatorHome

    def look(self, now: datetime) -> Observation:
        """Return everything that holds."""
        kind = NoticeKind
        with (
            run_store(self.home.runs_database) as store,
            control(control_target(self.home)) as link,
        ):
            studies = frozenset({kind.STUDY_READY, kind.STUDY_REJECTED})
            return seen_by(
                (
                    (studies, partial(self._studies, store)),
                    (frozenset({kind.RUN_ENDED}), partial(_ended_runs, store, now)),
                    (frozenset({kind.RUN_FAILED}), partial(_failed_runs, store, link, now)),
                    (frozenset({kind.NODE_GONE}), partial(_nodes, link)),
                    (frozenset({kind.CERTIFICATE_ENDS}), partial(self._ending, now)),
                    (frozenset({kind.BUDGET_ENDS}), partial(self._budgets, store)),
                )
            )

    def _studies(self, store: RunStore) -> list[Fact]:
        roster, started = published_roster(self.home), {row.study for row in store.rows()}
        found: list[Fact] = []
        for one in proposals(self.home):
            heard = heard_of(roster, one.id, store.approvals(one.id))
            found += _of_study(one, heard, started=one.id in started)
        return found

    def _ending(self, now: datetime) -> list[Fact]:
        ends = [
            valid_until(read_public(path))
            for path in (self.home.server_certificate, self.home.authority)
        ]
        return [
            Fact(NoticeKind.CERTIFICATE_ENDS, subject=f"{end:%Y-%m-%d}")
            for end in ends
            if end - now < CERTIFICATE_ENDS
        ]

    def _budgets(self, store: RunStore) -> list[Fact]:
        """Return the studies with an unfinished run whose spare releases are used up."""
        open_runs = {row.study for row in store.rows() if row.state is not RunStatus.FINISHED}
        return [
            Fact(NoticeKind.BUDGET_ENDS, one.id)
            for one in proposals(self.home)
            if one.id in open_runs
            and store.paid_in_vain(one.id) >= max(1, one.study.spare_releases)
        ]


def _of_study(one: Proposal, heard: dict[str, StudyAnswer], *, started: bool) -> Iterator[Fact]:
    for name, said in heard.items():
        if said.no:
            yield Fact(NoticeKind.STUDY_REJECTED, one.id, subject=name)
    if not started and given(heard) >= one.study.aggregation.minimum_institutions:
        yield Fact(NoticeKind.STUDY_READY, one.id)


def _is_news(row: RunRow, now: datetime) -> bool:
    """Tell whether a run goes on, or ended so lately that the outbox remembers it."""
    return row.ended is None or now - row.ended <= KEPT


def _ended_runs(store: RunStore, now: datetime) -> list[Fact]:
    return [
        Fact(NoticeKind.RUN_ENDED, row.study, row.run)
        for row in store.rows()
        if row.state is RunStatus.FINISHED and _is_news(row, now)
    ]


def _failed_runs(store: RunStore, link: RunControl, now: datetime) -> list[Fact]:
    """Return the runs that failed or were interrupted; not those that a person stopped."""
    found = []
    for row in store.rows():
        if not _is_news(row, now):
            continue
        failed = row.state is RunStatus.FAILED
        if not row.state.ended:
            failed = inspect_run(store, link, row.run).life is Life.INTERRUPTED
        if failed:
            found.append(Fact(NoticeKind.RUN_FAILED, row.study, row.run, holds=SETTLED))
    return found


def _nodes(link: ControlClient) -> list[Fact]:
    return [
        Fact(NoticeKind.NODE_GONE, subject=node.name, holds=NODE_AWAY)
        for node in link.nodes()
        if node.status == OFFLINE
    ]
