"""The custodian: the only process part that reads records, and how it is spoken to.

Its data plane takes bytes and gives bytes: `describe`, `open_run`, `agree`, `release`.
Every failure becomes a fixed code here; what went wrong is told to the institution's
own log. Approving is administration and is not reachable from the data plane.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from fieldfare.client.admission import ApprovedRun
from fieldfare.client.key_agreement import ApprovedStudy, OpenedRun, agree, open_run
from fieldfare.client.ledger import Ledger, Position
from fieldfare.client.release import Door, Released, RunAtDoor
from fieldfare.client.site import Site
from fieldfare.client.sums import StudySums
from fieldfare.shared.errors import (
    LedgerError,
    PolicyRefusal,
    ProtocolError,
    RefusalCode,
    StudyError,
)
from fieldfare.shared.messages import Assurance, Refusal, Reply, Request, RunOpening
from fieldfare.shared.noise import NoiseSource
from fieldfare.shared.plan import Plan, plan_for
from fieldfare.shared.study import Study

log = logging.getLogger(__name__)

APPROVAL_STATE = "approval"  # run ids of a study never hold a colon, these names do
OPENING_STATE = "opening:"


@dataclass(frozen=True)
class _Prepared:
    plan: Plan
    sums: StudySums


class Custodian:
    """One institution's custodian for the studies that it approved."""

    def __init__(self, site: Site, ledger: Ledger, noise: NoiseSource) -> None:
        """Guard the records of `site`.

        Raises:
            PolicyRefusal: noise of another kind than the site runs with. A deployed
                custodian cannot be given simulated noise.
        """
        if noise.assurance is not site.assurance:
            raise PolicyRefusal(
                RefusalCode.WRONG_TERMS,
                f"{site.assurance.value} noise expected, {noise.assurance.value} found",
            )
        self._site = site
        self._ledger = ledger
        self._door = Door(site, ledger, noise)
        self._prepared: dict[str, _Prepared] = {}
        self._runs: dict[str, RunAtDoor] = {}

    # -- administration -----------------------------------------------------------------

    def approve(self, study: Study, sums: Callable[[], StudySums]) -> bytes:
        """Approve a study: load its records and make its keys, or load both again.

        Returns:
            The sealed approval.

        Raises:
            StudyError: the study's M is not the roster's (design section 2: one constant).
            RecordsError: the records do not fit; settled here, never at a release.
            AccountingError: no privacy claim can be made for the smallest admitted sum.
        """
        if study.privacy.multiplicity != self._site.roster.multiplicity:
            raise StudyError(
                f"privacy.multiplicity: the roster's {self._site.roster.multiplicity} expected, "
                f"{study.privacy.multiplicity} found"
            )
        plan = plan_for(study)
        plan.check_noise(study.aggregation.minimum_institutions)
        self._prepared[study.id] = _Prepared(plan, sums())
        state = self._ledger.run_state(study.id, APPROVAL_STATE)
        if state is not None:
            return ApprovedStudy.from_bytes(state, self._site).envelope
        epoch = self._ledger.position().epoch
        approved = ApprovedStudy.make(self._site, study.id, number=1, epoch=epoch)
        self._ledger.put_run_state(study.id, APPROVAL_STATE, approved.to_bytes())
        return approved.envelope

    def finish(self, study: str) -> None:
        """End a study: its private keys and pair keys are destroyed; the ledger stays."""
        self._ledger.forget_runs(study)
        self._prepared.pop(study, None)
        self._runs = {k: run for k, run in self._runs.items() if run.sums.study.id != study}

    # -- data plane: bytes in, bytes out ------------------------------------------------

    def describe(self, study: str, last_reply: bytes = b"") -> bytes | Refusal:
        """Answer `hello` with the sealed approval.

        Args:
            study: the study's id.
            last_reply: the last signed reply that the coordinator holds, if any. A ledger
                that does not contain it was restored from an older copy: nothing runs.
        """
        return self._answer(partial(self._describe, study, last_reply))

    def open_run(self, opening: bytes, approvals: Sequence[bytes]) -> bytes | Refusal:
        """Check a run's opening and answer with this institution's key offer."""
        return self._answer(partial(self._open_run, opening, approvals))

    def agree(self, study: str, run: str, offers: Sequence[bytes]) -> bytes | Refusal:
        """Derive the run's pair keys from all offers; answers with no content."""
        return self._answer(partial(self._agree, study, run, offers))

    def release(self, request: bytes, parameters: bytes) -> Released | Refusal:
        """Answer one signed request through the door."""
        try:
            return self._release(request, parameters)
        except (PolicyRefusal, ProtocolError) as refusal:
            return self._refused(refusal.code, refusal)
        except LedgerError as error:
            return self._refused(RefusalCode.LEDGER_UNAVAILABLE, error)

    def _answer(self, action: Callable[[], bytes]) -> bytes | Refusal:
        try:
            return action()
        except (PolicyRefusal, ProtocolError) as refusal:
            return self._refused(refusal.code, refusal)
        except LedgerError as error:
            return self._refused(RefusalCode.LEDGER_UNAVAILABLE, error)

    def _refused(self, code: RefusalCode, reason: Exception) -> Refusal:
        log.warning("%s refused: %s (%s)", self._site.institution, code.value, reason)
        return Refusal(code)

    def _describe(self, study: str, last_reply: bytes) -> bytes:
        own = self._own(study)
        if last_reply and self._site.assurance is Assurance.EXACT:
            reply = self._site.from_member(last_reply, Reply, self._site.institution).body
            shown = Position(
                sequence=reply.ledger_sequence,
                head=reply.ledger_head,
                cumulative=reply.cumulative,
                epoch=reply.epoch,
            )
            if not self._ledger.contains(shown):
                raise LedgerError(
                    "a ledger that holds this institution's last signed reply expected, an older "
                    "one found: a backup was restored; accept it as a new epoch or bring the "
                    "newer ledger back"
                )
        return own.envelope

    def _open_run(self, content: bytes, approvals: Sequence[bytes]) -> bytes:
        opening = self._site.from_coordinator(content, RunOpening)
        body = opening.body
        own = self._own(body.study)
        if body.roster != self._site.roster.hash:
            raise PolicyRefusal(RefusalCode.WRONG_ROSTER, "the pinned roster expected")
        key = OPENING_STATE + body.run
        state = self._ledger.run_state(body.study, key)
        if state is not None:
            known = OpenedRun.from_bytes(state, self._site)
            if known.opening.body != body:
                raise PolicyRefusal(
                    RefusalCode.REPLAY_CHANGED, "the opening that this run began with expected"
                )
            return known.offer
        opened = open_run(self._site, own, opening, approvals)
        self._ledger.put_run_state(body.study, key, opened.to_bytes())
        return opened.offer

    def _agree(self, study: str, run: str, offers: Sequence[bytes]) -> bytes:
        own = self._own(study)
        opened = self._opened(study, run)
        if self._ledger.run_state(study, run) is None:  # agreed once; a repeat changes nothing
            keys = agree(self._site, own, opened, offers)
            self._ledger.put_run_state(study, run, keys.to_bytes())
            forgotten = opened.without_secrets().to_bytes()
            self._ledger.put_run_state(study, OPENING_STATE + run, forgotten)
        return b""

    def _release(self, content: bytes, parameters: bytes) -> Released:
        request = self._site.from_coordinator(content, Request).body
        return self._door.release(self._at_door(request), request, parameters)

    def _at_door(self, request: Request) -> RunAtDoor:
        key = f"{request.study}:{request.run}"
        if key not in self._runs:
            own = self._own(request.study)
            opened = self._opened(request.study, request.run)
            prepared = self._prepared[request.study]
            approved = ApprovedRun(
                self._site.institution,
                prepared.plan,
                self._site.roster.hash,
                opened.opening.body,
            )
            self._runs[key] = RunAtDoor(approved, own.approval.hash, prepared.sums)
        return self._runs[key]

    def _own(self, study: str) -> ApprovedStudy:
        state = self._ledger.run_state(study, APPROVAL_STATE)
        if state is None or study not in self._prepared:
            raise PolicyRefusal(
                RefusalCode.UNKNOWN_STUDY, "a study that was approved here expected"
            )
        return ApprovedStudy.from_bytes(state, self._site)

    def _opened(self, study: str, run: str) -> OpenedRun:
        state = self._ledger.run_state(study, OPENING_STATE + run)
        if state is None:
            raise PolicyRefusal(RefusalCode.UNKNOWN_RUN, "a run that was opened here expected")
        return OpenedRun.from_bytes(state, self._site)
