"""The end of a run whose rehearsal failed: its keys are published, so that it shows who lied.

Two stops, always in this order. First the run is marked dead on disk, for good: in the same
transaction lies what is published, and after it this institution answers nothing of the run, also
after a restart. Then the signed keys leave. They open masks over zeros and nothing else: this
institution has neither opened nor committed to anything that reads records in the run, and nobody's
answer is ever opened without a commitment of every participant, so nobody else's will be. Nor does
a peer commit to a step under these keys: it waits to be shown that the rehearsal came to zeros, and
the last one that both opened is the same one (attempts go up, and each opens for one list).

That the rehearsal failed is nobody's word: the custodian adds up what all participants signed.
"""

from dataclasses import dataclass
from typing import Final

from fieldfare.client.custodian.admission import ApprovedRun
from fieldfare.client.custodian.key_agreement import HeldKeys
from fieldfare.client.custodian.party import Party
from fieldfare.client.custodian.recomputation import Recomputation, last_rehearsal, may_blame
from fieldfare.client.custodian.release import Door
from fieldfare.client.ledger.ledger import Ledger
from fieldfare.client.ledger.run_states import LEDGER_STATE
from fieldfare.shared.canonical import claimed
from fieldfare.shared.errors import PolicyRefusal, ProtocolError, RefusalCode
from fieldfare.shared.protocol.messages import (
    LastSum,
    RehearsalKeys,
    ReleaseKind,
    Request,
    VerifiedMessage,
)

DEAD_STATE: Final = "dead:"  # what was published, by study and run; outlives the study


@dataclass(frozen=True)
class BlamePublisher:
    """One institution's dead runs."""

    party: Party
    ledger: Ledger
    door: Door

    def check_alive(self, study: str, run: str) -> None:
        """Check that a run was not ended by its rehearsal.

        Raises:
            PolicyRefusal: REHEARSAL_FAILED.
            LedgerError: the ledger cannot be read.
        """
        if run and self._kept(study, run) is not None:
            raise PolicyRefusal(
                RefusalCode.REHEARSAL_FAILED,
                "expected a run that may go on, found one whose keys were published here: the "
                "coordinator starts another one",
            )

    def published(self, request: Request) -> bytes | None:
        """Return what was published for this very rehearsal, if anything was.

        Raises:
            LedgerError: the ledger cannot be read.
        """
        kept = self._kept(request.study, request.run)
        return kept if kept is not None and claimed(kept, "request") == request.hash else None

    def publish(
        self, run: ApprovedRun, asked: VerifiedMessage[Request], rehearsal: LastSum, held: HeldKeys
    ) -> bytes:
        """Mark a run dead, and return its private keys, signed.

        Args:
            run: as it was opened here.
            asked: R of the rehearsal.
            rehearsal: what everybody signed as the answer to it.
            held: this institution's keys.

        Formal Guarantees:
            Keys leave only of an opening under which this institution masked nothing but zeros, of
            a rehearsal that it opened last, whose sum, added up from everybody's signed vectors
            and seeds for that one L, is not zero. After it the run is over here, on disk.

        Raises:
            PolicyRefusal, ProtocolError: the run may go on as it was; nothing leaves.
            LedgerError: the ledger cannot be read or written; nothing leaves.
        """
        request = asked.body
        self._check_may(run, request)
        if last_rehearsal(self.ledger, request).reply not in rehearsal.replies:
            raise ProtocolError("expected the rehearsal that was opened here last", _CODE)
        terms = run.plan.terms(request.kind)
        recomputation = Recomputation(self.party, self.ledger, run)
        if not recomputation.words(asked, rehearsal, terms).any():
            raise PolicyRefusal(_CODE, "expected a rehearsal that failed, found masks that cancel")
        keys, offers = held.private(request.study, request.run, request.opening)
        x25519, mlkem768 = keys.private
        answers = {named.institution: named.answer for named in request.participants}
        body = RehearsalKeys(
            study=request.study,
            run=request.run,
            opening=request.opening,
            request=request.hash,
            institution=self.party.institution,
            answer=answers[self.party.institution],
            offers=offers,
            x25519=x25519,
            mlkem768=mlkem768,
        )
        envelope = self.party.sign(body)
        self.ledger.put_run_state(LEDGER_STATE, _name(request.study, request.run), envelope)
        return envelope

    def _check_may(self, run: ApprovedRun, request: Request) -> None:
        """Check that a request's keys may ever be published.

        Raises:
            PolicyRefusal: it is no rehearsal of a run in which nothing was released.
        """
        run.admit(request)
        if not may_blame(self.party, run):
            raise PolicyRefusal(
                RefusalCode.NOT_IN_PLAN, "expected vectors that fit into one message"
            )
        if request.kind is not ReleaseKind.REHEARSAL or request.n != len(run.opening.participants):
            raise PolicyRefusal(
                RefusalCode.NOT_IN_PLAN, "expected a rehearsal of all who opened the run"
            )
        self.door.before_steps(request)

    def _kept(self, study: str, run: str) -> bytes | None:
        return self.ledger.run_state(LEDGER_STATE, _name(study, run))


_CODE: Final = RefusalCode.NOT_RECOMPUTED


def _name(study: str, run: str) -> str:
    return f"{DEAD_STATE}{study}:{run}"
