"""How a run is opened, and opened anew: answers, an opening, offers, each time.

The same leaves come before the first release and wherever a custodian lost its keys or the
coordinator was started again (`shared/transcript/leaves.py`). An opening that not all agreed on
is followed by another one. RunOpenings count up from 0, and nobody joins for a later one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.messages import (
    KeyOffer,
    RunAnswer,
    RunOpening,
    VerifiedMessage,
    decode_key,
    open_envelope,
)
from fieldfare.shared.protocol.remembered import RememberedMessages
from fieldfare.shared.protocol.roster import COORDINATOR, Roster
from fieldfare.shared.protocol.secure_sum import MLKEM_CIPHERTEXT_BYTES, check_answer_keys
from fieldfare.shared.run.mismatch import MismatchError, expect
from fieldfare.shared.transcript.leaves import Leaf, LeafKind


@dataclass(frozen=True, eq=False, kw_only=True)
class RunOpenings:
    """The openings of a run so far. A value: `after` returns a new one.

    Attributes:
        study: its id.
        run: its id.
        roster: who signs.
        protection: whether signatures and keys are there at all, and not verified before.
        least: the fewest participants.
        approvals: hash of the approval of everybody who may take part.
        answers: to the `hello` of the opening that comes next, by institution.
        sent: an opening that not everybody has offered to yet.
        offered: who has, in order.
        agreed: the newest opening that all offered to.
        opened_by: participants of the first one; 0 before it.
        number: of the next opening.
    """

    study: str
    run: str
    roster: Roster
    protection: Protection
    least: int
    approvals: Mapping[str, str]
    answers: Mapping[str, RunAnswer] = field(default_factory=dict)
    sent: RunOpening | None = None
    offered: tuple[str, ...] = ()
    agreed: RunOpening | None = None
    opened_by: int = 0
    number: int = 0

    @property
    def pending(self) -> bool:
        """Whether an opening is under way."""
        return bool(self.answers) or self.sent is not None

    @property
    def allowed(self) -> frozenset[LeafKind]:
        """The kinds of which the next leaf of an opening must be."""
        if self.answers:
            return frozenset({LeafKind.HELLO, LeafKind.OPENING})
        if self.sent is None:
            return frozenset({LeafKind.HELLO})
        # An opening that failed is followed by another one.
        again = frozenset() if self.offered else frozenset({LeafKind.HELLO})
        return frozenset({LeafKind.OFFER}) | again

    def after(self, leaf: Leaf) -> "RunOpenings":
        """Return the openings with one more leaf.

        Raises:
            MismatchError: no honest run has this leaf here.
            ProtocolError: it is not well-formed, or not signed by whom it names.
        """
        take = {
            LeafKind.HELLO: self._answered,
            LeafKind.OPENING: self._opened,
            LeafKind.OFFER: self._offered,
        }
        if leaf.kind not in take:
            raise MismatchError("a leaf of an opening", found=leaf.kind.value)
        return take[leaf.kind](leaf.content)

    def agreed_on(self, opening: RunOpening) -> "RunOpenings":
        """Return the openings after one that all offered to."""
        by = self.opened_by or len(opening.participants)
        return replace(self, sent=None, offered=(), agreed=opening, opened_by=by)

    def interrupted(self) -> "RunOpenings":
        """Return the openings after an END: the opening that it cut short comes once more."""
        return replace(self, answers={}, offered=())

    def _answered(self, content: bytes) -> "RunOpenings":
        opened = open_envelope(content, RunAnswer, self.roster, self.protection)
        answer, name = opened.body, opened.body.institution
        _expect_own(opened, name)
        self._check_place(answer)
        approval = self.approvals.get(name, "no approval")
        expect("an answer under the approval", approval, answer.approval)
        if self.answers and name <= max(self.answers):
            raise MismatchError(
                f"institutions in order, found {name} after {max(self.answers)}", institution=name
            )
        return replace(self, answers={**self.answers, name: answer})

    def _check_place(self, body: RunAnswer | RunOpening) -> None:
        expect("a run of the study", self.study, body.study)
        expect("a run under the roster", self.roster.hash, body.roster)
        expect("the run", self.run, body.run)

    def _opened(self, content: bytes) -> "RunOpenings":
        opened = open_envelope(content, RunOpening, self.roster, self.protection)
        opening, newest = opened.body, self.sent or self.agreed
        expect("the coordinator's signature", COORDINATOR, opened.signer)
        self._check_place(opening)
        expect("the next opening", self.number, opening.number)
        self._check_participants(opening)
        if len(opening.participants) < self.least:
            raise MismatchError(
                f"at least {self.least} participants", found=len(opening.participants)
            )
        names = {named.institution for named in opening.participants}
        if newest is not None and not names <= {p.institution for p in newest.participants}:
            raise MismatchError("nobody who joins a run that was opened")
        if self.protection is Protection.EXACT:
            check_answer_keys(self.answers)
        return replace(self, answers={}, sent=opening, offered=(), number=self.number + 1)

    def _check_participants(self, opening: RunOpening) -> None:
        found = {named.institution: named.answer for named in opening.participants}
        for name in sorted(set(found) | set(self.answers)):
            known = self.answers.get(name)
            wanted = "no answer" if known is None else known.hash
            if found.get(name, "no participant") != wanted:
                raise MismatchError(
                    f"a participant with the answer that stands before the opening, {wanted}",
                    found=found.get(name, "no participant"),
                    institution=name,
                )

    def _offered(self, content: bytes) -> "RunOpenings":
        opened = open_envelope(content, KeyOffer, self.roster, self.protection)
        offer, opening = opened.body, self._sent()
        names = [named.institution for named in opening.participants]
        expect("an offer by the next participant", names[len(self.offered)], offer.institution)
        _expect_own(opened, offer.institution)
        expect("an offer for the run's opening", opening.hash, offer.opening)
        RememberedMessages.from_text(
            offer.remembered
        )  # what it says is for custodians to believe or not
        if self.protection is Protection.EXACT:
            _check_ciphertexts(offer, names)
        offered = (*self.offered, offer.institution)
        if len(offered) < len(names):
            return replace(self, offered=offered)
        return self.agreed_on(opening)

    def _sent(self) -> RunOpening:
        if self.sent is None:
            raise MismatchError("an opening before it")
        return self.sent


def _check_ciphertexts(offer: KeyOffer, names: Sequence[str]) -> None:
    if sorted(offer.ciphertexts) != [name for name in names if name > offer.institution]:
        raise ProtocolError("expected a ciphertext for each participant with a higher id")
    for ciphertext in offer.ciphertexts.values():
        decode_key(ciphertext, MLKEM_CIPHERTEXT_BYTES)


def _expect_own(
    opened: VerifiedMessage[RunAnswer] | VerifiedMessage[KeyOffer], institution: str
) -> None:
    expect("a signature by its institution", institution, opened.signer)
