"""What the coordinator's desk does: the commands' own functions, after the commands' own checks.

Nothing that a page said counts: texts are parsed, prices computed and runs looked up here. An act
stands in the log of decisions before it happens, under the person's name; acts follow each other.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Final

from fieldfare.server.answers import asking
from fieldfare.server.answers.expected_error import parse_questions
from fieldfare.server.desk.calls import (
    ActNote,
    ActReceipt,
    AskForm,
    GreetForm,
    ProposeForm,
    ResumeForm,
    StartForm,
    StopForm,
)
from fieldfare.server.home.decision_log import DecisionKind, write_down
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.home.log_lines import Entry, newest_entries
from fieldfare.server.members.roster import published_roster
from fieldfare.server.studies import run_control
from fieldfare.server.studies.draft_check import read_draft
from fieldfare.server.studies.open_coordinator import OpenCoordinator
from fieldfare.server.studies.proposals import Proposal, proposal
from fieldfare.server.studies.proposing import check_proposal, propose
from fieldfare.server.studies.run_view import start_obstacles
from fieldfare.shared.errors import PolicyRefusal, RefusalCode, RunError, UsageError
from fieldfare.shared.protocol.messages import Signer
from fieldfare.shared.protocol.plan import plan_for

NO_ROSTER_YET: Final = "expected a published roster, found none: fieldfare coordinator roster"
GREET_SECONDS: Final = 10.0  # in which a study is sent out once, however often somebody presses


@dataclass
class CoordinatorDesk:
    """The acts of one coordinator.

    Attributes:
        home: its folder.
        signer: opens its online key, which may have been renewed since.
        opened: opens the coordinator for one act.
        now: the present, with a time zone.
        monotonic: seconds that only go forward.
    """

    home: CoordinatorHome
    signer: Callable[[], Signer]
    opened: Callable[[], AbstractContextManager[OpenCoordinator]]
    now: Callable[[], datetime]
    monotonic: Callable[[], float]
    _one: Lock = field(default_factory=Lock)
    _greeted: dict[str, float] = field(default_factory=dict)

    def propose(self, asked: ProposeForm) -> ActReceipt:
        """Sign a study, keep it and send it out; one that was proposed before is only sent.

        Raises:
            StudyError, PackageError, KeysError: as `coordinator propose`.
            UsageError: the text is another study than the page showed.
            RunError: the log cannot be written.
        """
        study = read_draft(asked.text)
        if study.id != asked.study:
            raise UsageError(
                "expected the study whose hash the page showed, found another text: nothing was "
                "signed; check it again"
            )
        with self._acting() as coordinator:
            new = not self.home.study(study.id).exists()
            if new:
                check_proposal(study, published_roster(self.home))
                self._write(asked.person, "study proposed", study=study.id)
            made = propose(self.home, study, self.signer())
            return ActReceipt(of=made.id, new=new, note=self._greet(coordinator, made.id))

    def greet(self, asked: GreetForm) -> ActReceipt:
        """Ask the institutions for their answers to a study.

        Raises:
            UsageError: it was not proposed here.
        """
        with self._acting() as coordinator:
            found = proposal(self.home, asked.study)
            return ActReceipt(of=found.id, new=True, note=self._greet(coordinator, found.id))

    def ask(self, asked: AskForm) -> ActReceipt:
        """Start the run that asks questions; the same run is started once.

        Raises:
            StudyError: questions with a mistake, or that the study does not allow.
            UsageError: another price than the page showed; no roster; the study's run goes on.
            PolicyRefusal: too little of the budget is left.
            RunError: the run could not be started, or the log cannot be written.
        """
        group = parse_questions(asked.questions, "questions")
        with self._acting() as coordinator:
            found = proposal(self.home, asked.study)
            if self._is_begun(coordinator, found, asked.run):
                return ActReceipt(of=asked.run, new=False, note=ActNote.BEFORE)
            later = asking.is_later(found, group)
            asking.check_asked(coordinator, found, group, later=later)
            cost = asking.cost_of(found, later=later)
            if cost != asked.cost:
                raise UsageError(
                    f"expected the price of mu^2 {cost}e-12, found a page that showed {asked.cost}"
                    "e-12: nothing was asked; look at the price again"
                )
            self._write(asked.person, "questions asked", study=found.id, run=asked.run, cost=cost)
            asking.begin(coordinator, found, group if later else None, asked.run, self.now())
            return ActReceipt(of=asked.run, new=True)

    def start(self, asked: StartForm) -> ActReceipt:
        """Start a run; the same run is started once.

        Raises:
            UsageError: no such study, no roster, or another run of it goes on.
            PolicyRefusal: it could not finish or give nothing, one line for each reason.
            RunError: it could not be started, or the log cannot be written.
        """
        with self._acting() as coordinator:
            found = proposal(self.home, asked.study)
            if self._is_begun(coordinator, found, asked.run):
                return ActReceipt(of=asked.run, new=False, note=ActNote.BEFORE)
            if published_roster(self.home) is None:
                raise UsageError(NO_ROSTER_YET)
            run_control.check_startable(coordinator.store, asked.run, found.id)
            reasons = start_obstacles(
                plan_for(found.study), coordinator.heard(found.id), coordinator.spent(found.id)
            )
            if reasons:
                raise PolicyRefusal(RefusalCode.POLICY, "\n".join(reasons))
            self._write(asked.person, "run started", study=found.id, run=asked.run)
            run_control.start(
                coordinator.store,
                coordinator.control,
                coordinator.bundle,
                asked.run,
                found.id,
                self.now(),
            )
            return ActReceipt(of=asked.run, new=True)

    def resume(self, asked: ResumeForm) -> ActReceipt:
        """Carry a run on at its next step; what was carried on since the page is left alone.

        Raises:
            UsageError: no such run, it is finished, or another one of its study goes on.
            RunError: whether it goes on is not known, or it could not be started.
        """
        with self._acting() as coordinator:
            row = coordinator.store.row(asked.run)
            if row.flower_run != asked.seen:
                return ActReceipt(of=row.run, new=False, note=ActNote.CARRIED_ON)
            after = row.flower_run or 0
            self._write(asked.person, "run carried on", study=row.study, run=row.run, after=after)
            run_control.resume(
                coordinator.store,
                coordinator.control,
                coordinator.bundle,
                row.run,
                self.now(),
            )
            return ActReceipt(of=row.run, new=True)

    def stop(self, asked: StopForm) -> ActReceipt:
        """Ask a run to end after its step, or end its process; what has ended is left alone.

        Raises:
            UsageError: no such run.
            RunError: the SuperLink does not answer; the wish to stop stays.
        """
        with self._acting() as coordinator:
            row = coordinator.store.row(asked.run)
            if row.state.ended:
                return ActReceipt(of=row.run, new=False, note=ActNote.ENDED)
            act = "run ended" if asked.force else "run stopped"
            tried = row.flower_run or 0
            self._write(asked.person, act, study=row.study, run=row.run, **{"try": tried})
            store, control = coordinator.store, coordinator.control
            if asked.force:
                after = run_control.stop(
                    store,
                    control,
                    row.run,
                    grace_seconds=0,
                    now=self.now,
                    monotonic=self.monotonic,
                    sleep=lambda _: None,
                )
            else:
                after = run_control.ask_to_stop(store, control, row.run, self.now())
            note = ActNote.STOPPED if after.state.ended else ActNote.STOPPING
            return ActReceipt(of=row.run, new=True, note=note)

    @contextmanager
    def _acting(self) -> Iterator[OpenCoordinator]:
        with self._one, self.opened() as coordinator:
            yield coordinator

    def _is_begun(self, coordinator: OpenCoordinator, found: Proposal, run: str) -> bool:
        """Tell whether this very run was begun before; refuse an id that no page of ours chose."""
        if coordinator.store.is_known(run):
            if coordinator.store.row(run).study != found.id:
                raise UsageError(f"run {run}: expected a run of {found.short}, found another's")
            return True
        days = {self.now().astimezone(UTC).date() - timedelta(days=one) for one in (0, 1)}
        name = re.escape(found.study.name[: run_control.MOST_OF_NAME])
        ids = "|".join(f"{day:%Y-%m-%d}" for day in days)
        if not re.fullmatch(rf"({ids})-{name}-[0-9a-f]{{{2 * run_control.SUFFIX_BYTES}}}", run):
            raise UsageError("expected a run that a page of today chose: open the page again")
        return False

    def _greet(self, coordinator: OpenCoordinator, study: str) -> ActNote:
        """Send a study out; without a SuperLink it is enough to say so."""
        if published_roster(self.home) is None:
            return ActNote.NO_ROSTER
        before = self._greeted.get(study)
        if before is not None and self.monotonic() - before < GREET_SECONDS:
            return ActNote.SENT
        try:
            run_control.say_hello(coordinator.control, coordinator.bundle, study)
        except RunError:
            return ActNote.LATER
        self._greeted[study] = self.monotonic()
        return ActNote.OUT

    def _write(self, person: str, act: str, **facts: str | int) -> None:
        """Write an act down; one that was, and was interrupted before it was done, stands there.

        What an act is of stands in it: the same line is the same act, until another key signs.
        """
        told = {"act": act, "person": person, **facts}

        def fits(line: Entry) -> bool:
            """Tell whether a line is of this act."""
            return (
                line.get("event") == DecisionKind.ONLINE_KEY.value or told.items() <= line.items()
            )

        if any("act" in one for one in newest_entries(self.home.decisions, fits, 1).entries):
            return
        try:
            write_down(self.home, DecisionKind.CONSOLE, told, self.now)
        except OSError as error:
            raise RunError(
                f"{self.home.decisions}: expected a log that can be written, found: "
                f"{error.strerror}: nothing was done; make room and repeat"
            ) from None
