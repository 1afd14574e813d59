"""One run's process: it opens or resumes the run, trains, closes it, and stores every step.

Everything that must outlive the process is in the run store before anything depends on it, so
that a process that was killed is followed by another one that goes on.

The questions of a later run are stored in the coordinator's home before the run starts.
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from flwr.serverapp import Grid

from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.home.public_keys import roster_public, signing_public
from fieldfare.server.home.settings import load_settings
from fieldfare.server.run.channel import GridChannel
from fieldfare.server.run.closing import ComposedDelivery, Nodes, RunCloser, compose, keep_delivery
from fieldfare.server.run.hello import HelloAnswers, RunTerms, hello
from fieldfare.server.run.later_questions import read_questions
from fieldfare.server.run.record import RunCheckpoint
from fieldfare.server.run.rounds import Federation
from fieldfare.server.run.server_app import Job, RunStoppedError
from fieldfare.server.run.store_record import HelloRecord, RunFacts, RunRecord
from fieldfare.server.store.rows import RunStatus
from fieldfare.server.store.store import RunStore, run_store
from fieldfare.server.superlink.control import control_target
from fieldfare.server.superlink.superlink import control
from fieldfare.shared.errors import (
    FieldfareError,
    NeedsPersonError,
    ProtocolError,
    RunError,
    UsageError,
)
from fieldfare.shared.models import check_module
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.messages import (
    IdentitySigner,
    Reply,
    open_envelope,
    parameters_to_bytes,
)
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.protocol.roster import Roster
from fieldfare.shared.protocol.signed_files import open_roster, open_study, read_roster, read_signed
from fieldfare.shared.run.card_facts import card_facts
from fieldfare.shared.system.key_files import read_signing_key
from fieldfare.shared.transcript.leaves import TreeHead

log = logging.getLogger(__name__)

CLOSING_SECONDS: Final = 30.0  # for a co-signature or a delivery; later ones come at the next run
NodesOf = Callable[[CoordinatorHome], Mapping[int, str]]

SIGNED: Final = "delivery.signed"  # written last


def registered_nodes(home: CoordinatorHome) -> dict[int, str]:
    """Return the institution of each node that the SuperLink knows.

    Raises:
        RunError: the SuperLink cannot be reached.
    """
    with control(control_target(home)) as superlink:
        return {node.node: node.name for node in superlink.nodes()}


def carry_out(
    home: CoordinatorHome,
    grid: Grid,
    study: str,
    run: str,
    *,
    passphrase: bytes | None = None,
    nodes_of: NodesOf = registered_nodes,
) -> None:
    """Carry out a run, or with no run say hello: the study goes out, approvals come back.

    Args:
        home: the coordinator's.
        grid: the nodes.
        study: the study's id.
        run: the run's id; empty for a hello.
        passphrase: of the signing key, where it has one.
        nodes_of: whose nodes are whose.

    Raises:
        FieldfareError: why it could not be finished; the run store says so too.
    """
    with run_store(home.runs_database) as store:
        conduct = _conduct(home, grid, store, study, run, passphrase, nodes_of)
        if run:
            conduct.run()
        else:
            conduct.greet()


def _conduct(
    home: CoordinatorHome,
    grid: Grid,
    store: RunStore,
    study: str,
    run: str,
    passphrase: bytes | None,
    nodes_of: NodesOf,
) -> "_Conduct":
    """Read what a run stands on.

    Raises:
        FieldfareError: a file is missing or does not fit; the run store says so.
    """
    try:
        roster_offer, study_offer = read_roster(home.roster), read_signed(home.study(study))
        roster = open_roster(roster_offer, roster_public(home))
        _check_online_key(home, roster)
        plan = plan_for(open_study(study_offer, roster, Protection.EXACT))
        check_module(plan.study)  # before anybody is asked: its first parameters are needed soon
        later = read_questions(home.questions(run)) if run else ()
        signer = IdentitySigner(read_signing_key(home.signing_key, passphrase))
    except FieldfareError as error:
        if run:
            store.set_state(run, RunStatus.FAILED, str(error), _now())
            store.note_needs_person(run)
        raise
    facts = RunFacts(run, plan, roster, roster_offer, study_offer, later)
    return _Conduct(home, GridChannel(grid), store, facts, signer, nodes_of)


def _check_online_key(home: CoordinatorHome, roster: Roster) -> None:
    if roster.coordinator != signing_public(home):
        raise UsageError(
            f"{home.roster}: expected a roster that names this online key, found one with "
            "another: fieldfare coordinator roster, and let every member accept it"
        )


@dataclass(frozen=True)
class _Conduct:
    """One process's work on one run."""

    home: CoordinatorHome
    channel: GridChannel
    store: RunStore
    facts: RunFacts
    signer: IdentitySigner
    nodes_of: NodesOf

    def greet(self) -> None:
        """Send the study out, take approvals in, and deliver models that were not delivered yet."""
        record = HelloRecord(self.store, self.facts.plan.study_id, _now)
        heard = hello(self.channel, self._terms(), record)
        self._closing().deliver(_nodes_of(heard), self.home.model)

    def run(self) -> None:
        """Go on from where the run stands to its end, or to where it can be resumed."""
        run = self.facts.run
        record = RunRecord(self.store, self.facts, _now, time.monotonic)
        try:
            self.store.set_state(run, RunStatus.RUNNING, "", _now())
            self._carry_on(record)
            self.store.set_state(run, RunStatus.FINISHED, "", _now())
        except RunStoppedError as error:
            self._interrupt(record, RunStatus.STOPPED, str(error))
        except FieldfareError as error:
            if isinstance(error, NeedsPersonError) or not isinstance(error, RunError):
                self.store.note_needs_person(run)  # first: it is not resumed by itself
            self._interrupt(record, RunStatus.FAILED, str(error))
            raise

    def _carry_on(self, record: RunRecord) -> None:
        self._check_roster(record.checkpoint())
        left: frozenset[str] = frozenset()
        if record.done:
            nodes = _nodes_of(hello(self.channel, replace(self._terms(), run=""), record))
        else:
            opened: list[Federation] = []
            job = Job(
                self._terms(),
                record,
                on_open=lambda found: self._cosign_opening(found, opened),
                later=self.facts.later,
            )
            outcome = job.run(self.channel)
            record.keep_model(parameters_to_bytes(outcome.parameters))
            nodes = opened[0].nodes
            left = frozenset(nodes) - frozenset(outcome.participants)
        self._hand_over(nodes, left)

    def _cosign_opening(self, federation: Federation, opened: list[Federation]) -> None:
        """Have the first leaves co-signed, so that every institution sees the same beginning."""
        opened.append(federation)
        closing = self._closing()
        closing.cosign(closing.sign(self.facts.plan.study_id, self.facts.run), federation.nodes)
        closing.deliver(federation.nodes, self.home.model)

    def _hand_over(self, nodes: Nodes, left: frozenset[str]) -> None:
        """Close a finished run: head, co-signatures, model; finished steps are kept."""
        run = self.facts.run
        # Read anew: what is handed over is what the store holds, also after a crash.
        kept = RunRecord(self.store, self.facts, _now, time.monotonic)
        kept.checkpoint()
        closing = replace(self._closing(), left=left)
        head = closing.sign(self.facts.plan.study_id, run)
        closing.cosign(head, nodes)
        if not self.facts.trains:  # answers are in the transcript; there is no model
            return
        if not self.home.model(run).joinpath(SIGNED).is_file():
            with self.store.together():
                for institution in self.facts.roster.ids:
                    self.store.put_undelivered(institution, run)
            keep_delivery(self.home.model(run), self._compose_delivery(kept, head))
        closing.deliver(nodes, self.home.model)

    def _compose_delivery(self, kept: RunRecord, head: TreeHead) -> ComposedDelivery:
        model = kept.run.results.plain_model
        if model is None:
            raise RunError(f"run {self.facts.run}: expected a finished model, found no step")
        facts = card_facts(kept.run, size=head.size, root=head.root)
        return compose(self.facts.plan, model, facts, self.signer, _now())

    def _interrupt(self, record: RunRecord, state: RunStatus, reason: str) -> None:
        """Say why this part of the run ended, in its transcript too where that can be written."""
        run = self.facts.run
        try:
            record.interrupted(stopped=state is RunStatus.STOPPED, reason=reason)
            self._closing().sign(self.facts.plan.study_id, run)
        except RunError as error:
            log.warning("run %s: its end is not in the transcript: %s", run, error)
        self.store.set_state(run, state, reason, _now())

    def _check_roster(self, checkpoint: RunCheckpoint) -> None:
        openings = checkpoint.openings
        opening = openings and (openings.sent or openings.agreed)
        if opening and opening.roster != self.facts.roster.hash:
            raise NeedsPersonError(
                f"run {self.facts.run}: expected the roster that it was opened under, found a "
                "newer one: start another run"
            )

    def _terms(self) -> RunTerms:
        return RunTerms(
            self.facts.plan,
            self.facts.roster,
            self.signer,
            Protection.EXACT,
            self.facts.run,
            _verify_replies(self.store.last_replies(), self.facts.roster),
            self.facts.study_offer,
            load_settings(self.home).wait_seconds,
            self.nodes_of(self.home),
        )

    def _closing(self) -> RunCloser:
        closing = RunCloser(
            self.channel, self.store, self.facts.roster, self.signer, CLOSING_SECONDS
        )
        return replace(closing, log=load_settings(self.home).witnesses.log)


def _nodes_of(heard: HelloAnswers) -> Nodes:
    return {name: approved.node for name, approved in heard.approvals.items()}


def _verify_replies(replies: Mapping[str, bytes], roster: Roster) -> dict[str, bytes]:
    """Return the replies that an institution's present key signed: it believes no others."""
    kept = {}
    for institution, envelope in replies.items():
        try:
            open_envelope(envelope, Reply, roster, Protection.EXACT)
        except ProtocolError:
            continue
        kept[institution] = envelope
    return kept


def _now() -> datetime:
    return datetime.now(UTC)
