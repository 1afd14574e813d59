"""What a run between real custodians would send, where sums are added up without any messages.

Every message is written in its own form, with hashes of nothing: hashes, nonces and vectors are of
fixed lengths, and all other fields follow from the plan. So a run in which nobody leaves and nobody
is late is counted to the byte as `faults.CountedGrid` counts it.
"""

from collections.abc import Sequence
from typing import Final

import rfc8785

from fieldfare.server.run.rounds import written_request
from fieldfare.shared.privacy.sides import SideCosts
from fieldfare.shared.protocol.messages import (
    Approval,
    Commitment,
    KeyOffer,
    MessageBody,
    NoSigner,
    Participant,
    ReleaseKind,
    Reply,
    RunAnswer,
    RunOpening,
    sign_envelope,
)
from fieldfare.shared.protocol.plan import Plan, ReleaseTerms, carries_last_sum
from fieldfare.shared.protocol.roster import COORDINATOR
from fieldfare.shared.run.kinds import Release
from fieldfare.shared.run.kinds.kind import Content
from fieldfare.shared.run.request_check import AgreedRun

_HASH: Final = "0" * 64  # as long as any
_RUN: Final = "0" * 16
_NOW: Final = 2 * 10**9  # a time with as many digits as any of these centuries
_FIRST: Final = 1  # number and epoch of an approval in a new ledger


class CountedRun:
    """Counts the messages of a run without faults, release after release.

    Attributes:
        rounds: times that the coordinator asks.
        down, up: bytes of contents to institutions and from them, without a transport's own.
    """

    def __init__(self, plan: Plan, names: Sequence[str]) -> None:
        """Count the opening of a run.

        Args:
            plan: of the study.
            names: of all institutions, sorted.
        """
        self.rounds = self.down = self.up = 0
        self._plan, self._names = plan, names
        self._longer = sum(_length(name) - _length(names[0]) for name in names)
        named = tuple(Participant(institution=name, answer=_HASH) for name in names)
        opening = RunOpening(
            study=plan.study_id, roster=_HASH, run=_RUN, number=0, participants=named
        )
        self._run = AgreedRun(plan=plan, roster_hash=_HASH, opening=opening)
        self._costs, self._debits = SideCosts(), list[int]()
        self._sums = self._last = 0  # bytes of the last one, as it travels
        self._moved = False
        self._opened()

    def _opened(self) -> None:
        plan, name = self._plan, self._names[0]
        study, run = len(plan.study_id), len(_RUN)
        approval = Approval(
            study=plan.study_id, roster=_HASH, institution=name, number=_FIRST, epoch=_FIRST
        )
        answer = RunAnswer(
            approval=_HASH,
            study=plan.study_id,
            roster=_HASH,
            run=_RUN,
            institution=name,
            nonce=_HASH,
            boot=_HASH,
            x25519="",
            mlkem768="",
        )
        offer = self._all(KeyOffer(opening=_HASH, institution=name, ciphertexts={}, time=_NOW))
        both = self._all(approval) + self._all(answer)
        self._asks(study + run + len(_HASH), both)
        self._asks(_by_coordinator(self._run.opening) + both, offer)
        self._asks(study + run + offer, 0)

    def asked(self, release: Release, content: Content) -> None:
        """Count one release.

        Args:
            release: that is due.
            content: what its request binds.
        """
        terms = release.terms
        trains = terms.kind is ReleaseKind.TRAINING
        geometry = content.results.geometry if trains else None
        asked = _by_coordinator(
            written_request(
                self._run,
                self._run.opening.participants,
                terms,
                (release.step, 0),
                content.hash,
                "" if geometry is None else geometry.hash,
            )
        )
        sent = asked + len(content.data)
        if geometry is not None and not self._moved:
            sent += len(geometry.to_bytes())  # once: whoever takes this step keeps them
        if release.kind.follows or self._sums == 1:
            sent += self._last
        vectors = terms.vectors.entries * terms.word_bits.value // 8 * len(self._names)
        promised, reply = self._all(self._promise()), self._replies(terms)
        self._asks(sent, vectors + promised)
        self._asks(asked + promised, reply)
        if release.kind.leads(self._plan):
            travels = carries_last_sum(self._plan, terms.kind, len(self._names))
            self._last = asked + reply + (vectors + promised if travels else 0)
        self._sums, self._moved = self._sums + 1, self._moved or trains

    def _promise(self) -> Commitment:
        return Commitment(
            request=_HASH, institution=self._names[0], answer=_HASH, vector=_HASH, seed=_HASH
        )

    def _replies(self, terms: ReleaseTerms) -> int:
        """Return bytes of everybody's reply, whose ledger has one more debit."""
        if terms.kind is not ReleaseKind.REHEARSAL:
            self._costs = self._costs.plus(terms.side, terms.cost)
            self._debits.append(terms.cost)
        reply = Reply(
            request=_HASH,
            institution=self._names[0],
            answer=_HASH,
            vector=_HASH,
            statements=_HASH,
            seed=_HASH,
            debit=terms.cost,
            ledger_sequence=len(self._debits),
            ledger_head=_HASH,
            cumulative=self._costs.total,
            debited=sum(self._debits),
            epoch=_FIRST,
        )
        return self._all(reply)

    def _asks(self, each: int, answers: int) -> None:
        """Count one round: bytes to each institution, and from all of them."""
        self.rounds += 1
        self.down += each * len(self._names)
        self.up += answers

    def _all(self, body: MessageBody) -> int:
        """Return bytes of everybody's message like the first one's: names stand in it twice."""
        one = len(sign_envelope(body, self._names[0], NoSigner()))
        return one * len(self._names) + 2 * self._longer


def _by_coordinator(body: MessageBody) -> int:
    return len(sign_envelope(body, COORDINATOR, NoSigner()))


def _length(name: str) -> int:
    return len(rfc8785.dumps(name))
