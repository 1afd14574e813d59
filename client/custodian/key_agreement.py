"""From `hello` to pair keys: an institution's part in an opening of a run.

Keys are fresh for each opening (docs/design.md, "The secure sum"). Nothing here is ever written
to a disk: `HeldKeys` is a custodian's memory of it, and one that was started again has none.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from pydantic import ValidationError

from fieldfare.client.custodian.party import Party
from fieldfare.client.custodian.recall import RecallProgress
from fieldfare.shared.errors import PolicyRefusal, ProtocolError, RefusalCode
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.messages import (
    Approval,
    KeyOffer,
    Participant,
    RunAnswer,
    RunOpening,
    offers_hash,
)
from fieldfare.shared.protocol.secure_sum import (
    EphemeralKeys,
    RunKeys,
    check_answer_keys,
    decapsulate,
    encapsulate,
    pair_key,
)

MOST_AGREED: Final = 8  # runs of one study whose keys are held at once; an older one is opened anew

Heed = Callable[[Mapping[str, KeyOffer]], None]


def _nothing(offers: Mapping[str, KeyOffer]) -> None:
    """Heed no offer."""


@dataclass(frozen=True)
class ApprovedStudy:
    """An institution's own approval of a study."""

    approval: Approval
    envelope: bytes

    @classmethod
    def make(cls, party: Party, study: str, *, number: int, epoch: int) -> "ApprovedStudy":
        """Approve a study, signed."""
        approval = Approval(
            study=study,
            roster=party.roster.hash,
            institution=party.institution,
            number=number,
            epoch=epoch,
        )
        return cls(approval, party.sign(approval))

    @classmethod
    def from_bytes(cls, content: bytes, party: Party) -> "ApprovedStudy":
        """Parse the kept bytes; the institution's own signature on them is checked again."""
        return cls(party.from_member(content, Approval, party.institution).body, content)


@dataclass(frozen=True, repr=False)
class FreshAnswer:
    """An answer to `hello` and the private keys behind it; None in simulations."""

    answer: RunAnswer
    envelope: bytes
    keys: EphemeralKeys | None


@dataclass(frozen=True, repr=False)
class OpenedRun:
    """A run between its opening and the agreement on pair keys."""

    opening: RunOpening
    answers: Mapping[str, RunAnswer]
    own: FreshAnswer
    offer: bytes
    secrets: Mapping[str, bytes]  # ML-KEM secrets, by peer with a higher id


@dataclass(frozen=True, repr=False)
class AgreedKeys:
    """The pair keys of one opening, and the values that bind a message to it."""

    opening: str  # its hash
    answer: RunAnswer
    envelope: bytes
    offer: bytes
    keys: RunKeys
    private: EphemeralKeys | None  # until a step is answered: a failed rehearsal needs them
    offers: str  # hash of all that were shown


@dataclass(repr=False)
class HeldKeys:
    """Everything secret about runs: in this object's memory, and nowhere else.

    Attributes:
        boot: 32 bytes that are fresh with every start, hex.
        hearing: what all members remember, as far as this start was told.
    """

    boot: str = field(default_factory=lambda: secrets.token_hex(32))
    hearing: RecallProgress = field(init=False)
    _fresh: dict[str, FreshAnswer] = field(default_factory=dict)  # by study: `hello` is no flood
    _opened: dict[str, OpenedRun] = field(default_factory=dict)  # by study
    _agreed: dict[tuple[str, str], AgreedKeys] = field(default_factory=dict)  # by study and run

    def __post_init__(self) -> None:
        """Have heard nothing yet."""
        self.hearing = RecallProgress(self.boot)

    def hear_anew(self) -> None:
        """Forget keys and what was heard, as after a start: this ledger is an older one."""
        self.keep_only(lambda *_: False)
        self.boot = secrets.token_hex(32)
        self.hearing = RecallProgress(self.boot)

    def answer(self, party: Party, own: ApprovedStudy, run: str, nonce: str) -> bytes:
        """Answer `hello` with fresh keys; the same one again where nothing came in between.

        Raises:
            ProtocolError: no run's id, or no nonce.
        """
        study = own.approval.study
        wanted = (own.approval.hash, run, nonce)
        for known in self._answers(study, run):
            if (known[0].approval, known[0].run, known[0].nonce) == wanted:
                return known[1]
        self._fresh[study] = fresh_answer(party, own, run, nonce, self.boot)
        return self._fresh[study].envelope

    def _answers(self, study: str, run: str) -> list[tuple[RunAnswer, bytes]]:
        fresh, opened = self._fresh.get(study), self._opened.get(study)
        agreed = self._agreed.get((study, run))
        held = [fresh, opened and opened.own, agreed]
        return [(one.answer, one.envelope) for one in held if one]

    def offer(self, opening: RunOpening) -> bytes | None:
        """Return the offer that was made for this very opening, if its keys are held."""
        opened = self._opened.get(opening.study)
        if opened is not None and opened.opening == opening:
            return opened.offer
        agreed = self._agreed.get((opening.study, opening.run))
        return agreed.offer if agreed and agreed.opening == opening.hash else None

    def fresh(self, study: str, run: str) -> FreshAnswer:
        """Return the unopened answer of a run.

        Raises:
            PolicyRefusal: KEYS_GONE.
        """
        found = self._fresh.get(study)
        if found is None or found.answer.run != run:
            raise keys_gone()
        return found

    def opened(self, run: OpenedRun) -> None:
        """Keep an opening's data until all agree."""
        self._fresh.pop(run.opening.study, None)
        self._opened[run.opening.study] = run

    def agree(
        self, party: Party, study: str, run: str, offers: Sequence[bytes], heed: Heed = _nothing
    ) -> None:
        """Derive the pair keys; those of an older opening and its private keys are erased.

        Args:
            party: this institution.
            study: its id.
            run: that was opened.
            offers: of all participants, in order.
            heed: takes the peers' offers before any key is kept; not at a repeat, nor in
                simulations. What it raises leaves everything as it was.

        Raises:
            PolicyRefusal: KEYS_GONE.
            ProtocolError: as `agree`.
        """
        opened, agreed = self._opened.get(study), self._agreed.get((study, run))
        if opened is None or opened.opening.run != run:
            if agreed is None or agreed.offer not in offers:
                raise keys_gone()
            return  # agreed once; a repeat changes nothing
        keys, own = agree(party, opened, offers), opened.own
        received = received_offers(party, opened, offers)
        if own.keys is not None:
            heed({name: one for name, one in received.items() if name != party.institution})
        self._agreed.pop((study, run), None)  # the newest comes last
        self._agreed[study, run] = AgreedKeys(
            opened.opening.hash,
            own.answer,
            own.envelope,
            opened.offer,
            keys,
            own.keys,
            offers_hash(received.values()),
        )
        del self._opened[study]
        runs = [place for place in self._agreed if place[0] == study]
        for place in runs[:-MOST_AGREED]:
            del self._agreed[place]

    def live(self, study: str) -> frozenset[str]:
        """Return the openings of a study whose pair keys are held: no other process has them."""
        return frozenset(one.opening for place, one in self._agreed.items() if place[0] == study)

    def run_keys(self, study: str, run: str, opening: str) -> RunKeys:
        """Return the pair keys of an opening, at the step that they have reached.

        Raises:
            PolicyRefusal: KEYS_GONE.
        """
        agreed = self._agreed.get((study, run))
        if agreed is None or agreed.opening != opening:
            raise keys_gone()
        return agreed.keys

    def private(self, study: str, run: str, opening: str) -> tuple[EphemeralKeys, str]:
        """Return the private keys behind an opening, before any step of it was answered.

        Returns:
            The keys, and the hash of the offers that they were used with.

        Raises:
            PolicyRefusal: KEYS_GONE.
        """
        agreed = self._agreed.get((study, run))
        if agreed is None or agreed.opening != opening or agreed.private is None:
            raise keys_gone()
        return agreed.private, agreed.offers

    def advance(self, study: str, run: str, keys: RunKeys) -> None:
        """Keep the keys of a later step in place of those before."""
        held = self._agreed.get((study, run))
        if held is not None:
            private = None if keys.step > 0 else held.private
            self._agreed[study, run] = replace(held, keys=keys, private=private)

    def pass_by(self, study: str, run: str, opening: str, step: int) -> None:
        """Erase the keys of an opening up to a step that was answered, where they are held."""
        held = self._agreed.get((study, run))
        if held is not None and held.opening == opening and held.keys.step <= step:
            self.advance(study, run, held.keys.at(step + 1))

    def passed(self, study: str, run: str, step: int) -> bool:
        """Tell whether the pair keys of a run have been used for a step."""
        held = self._agreed.get((study, run))
        return held is not None and held.keys.step > step

    def keep_only(self, stays: Callable[[RunAnswer, str], bool]) -> None:
        """Erase all keys but some.

        Args:
            stays: tells of its own answer and its opening's hash, empty before the opening, whether
                their keys are kept.
        """
        self._fresh = {k: one for k, one in self._fresh.items() if stays(one.answer, "")}
        self._opened = {
            k: one for k, one in self._opened.items() if stays(one.own.answer, one.opening.hash)
        }
        self._agreed = {k: one for k, one in self._agreed.items() if stays(one.answer, one.opening)}

    def erase(self, study: str, run: str | None = None) -> None:
        """Forget a run's pair keys; with no run, every key of a study."""
        if run is not None:
            self._agreed.pop((study, run), None)
            return
        self._fresh.pop(study, None)
        self._opened.pop(study, None)
        self._agreed = {place: one for place, one in self._agreed.items() if place[0] != study}


def keys_gone() -> PolicyRefusal:
    """Return the refusal of an institution that does not hold an opening's keys (any more)."""
    return PolicyRefusal(
        RefusalCode.KEYS_GONE,
        "expected an opening whose keys are in memory: this custodian was started again, or a "
        "newer opening came; the coordinator opens the run anew",
    )


def fresh_answer(party: Party, own: ApprovedStudy, run: str, nonce: str, boot: str) -> FreshAnswer:
    """Answer `hello` with keys that nobody has seen.

    Raises:
        ProtocolError: no run's id, or no nonce.
    """
    keys = EphemeralKeys.generate() if party.protection is Protection.EXACT else None
    x25519, mlkem768 = keys.public if keys else ("", "")
    try:
        answer = RunAnswer(
            approval=own.approval.hash,
            study=own.approval.study,
            roster=own.approval.roster,
            run=run,
            institution=party.institution,
            nonce=nonce,
            boot=boot,
            x25519=x25519,
            mlkem768=mlkem768,
        )
    except ValidationError:
        raise ProtocolError("expected a run's id and 32 bytes of nonce in hex") from None
    return FreshAnswer(answer, party.sign(answer), keys)


def open_run(
    party: Party,
    own: FreshAnswer,
    opening: RunOpening,
    answers: Sequence[bytes],
    approvals: Sequence[bytes],
    time: int,
    remembered: str = "",
) -> OpenedRun:
    """Check an opening and everybody's answer and approval, and offer one ciphertext per pair.

    Args:
        party: this institution.
        own: its unopened answer.
        opening: signed by the coordinator.
        answers: signed, in the opening's order.
        approvals: signed, in the same order.
        time: the present, whole seconds since 1970.
        remembered: what this institution lists of the study for its peers.

    Raises:
        PolicyRefusal: KEYS_GONE: the opening names another answer of this institution.
        ProtocolError: participants, approvals or keys that do not fit the signed opening.
    """
    found = _check_answers(party, opening, answers, approvals)
    if party.institution not in found:
        raise ProtocolError("expected this institution itself", RefusalCode.BAD_PARTICIPANTS)
    if found[party.institution] != own.answer:
        raise keys_gone()
    fresh: dict[str, tuple[bytes, str]] = {}
    try:
        if party.protection is Protection.EXACT:  # simulations have no keys
            check_answer_keys(found)
            higher = [peer for peer in sorted(found) if peer > party.institution]
            fresh = {peer: encapsulate(found[peer]) for peer in higher}
    except ProtocolError as error:
        raise ProtocolError(str(error), RefusalCode.BAD_KEYS) from None
    offer = KeyOffer(
        opening=opening.hash,
        institution=party.institution,
        ciphertexts={peer: ciphertext for peer, (_, ciphertext) in fresh.items()},
        time=time,
        remembered=remembered,
    )
    kept = {peer: secret for peer, (secret, _) in fresh.items()}
    return OpenedRun(opening, found, own, party.sign(offer), kept)


def _check_answers(
    party: Party, opening: RunOpening, answers: Sequence[bytes], approvals: Sequence[bytes]
) -> dict[str, RunAnswer]:
    """Match envelopes to the opening's participants, one to one, each signed by its member."""
    if not len(opening.participants) == len(answers) == len(approvals):
        raise ProtocolError(
            "expected one answer and one approval for each participant", RefusalCode.BAD_KEYS
        )
    found = {}
    for participant, envelope, approved in zip(
        opening.participants, answers, approvals, strict=True
    ):
        name = participant.institution
        answer = party.from_member(envelope, RunAnswer, name).body
        approval = party.from_member(approved, Approval, name).body
        expected = Participant(institution=answer.institution, answer=answer.hash)
        place = (opening.study, opening.roster, opening.run, approval.hash)
        here = (answer.study, answer.roster, answer.run, answer.approval)
        approves = (approval.study, approval.roster, approval.institution)
        if participant != expected or here != place or approves != (*place[:2], name):
            raise ProtocolError(
                "expected answers for this run, under approvals of this study, by the participants",
                RefusalCode.BAD_PARTICIPANTS,
            )
        found[name] = answer
    return found


def received_offers(
    party: Party, run: OpenedRun, offers: Sequence[bytes]
) -> Mapping[str, KeyOffer]:
    """Return everybody's offer, by institution; none in simulations.

    Raises:
        ProtocolError: a missing, foreign or malformed offer.
    """
    return {} if run.own.keys is None else _offers_by_sender(party, run, offers)


def agree(party: Party, run: OpenedRun, offers: Sequence[bytes]) -> RunKeys:
    """Derive one chain key for each peer from the signed offers of all participants.

    Raises:
        ProtocolError: a missing, foreign or malformed offer, or a key of small order.
    """
    own = run.own
    if own.keys is None:
        return RunKeys(0, {})
    received = _offers_by_sender(party, run, offers)
    opening, keys = run.opening.hash, {}
    for peer, answer in run.answers.items():
        if peer == party.institution:
            continue
        low, high = sorted((peer, party.institution))
        ciphertext = received[low].ciphertexts.get(high)
        if ciphertext is None:
            raise ProtocolError("expected a ciphertext for each pair", RefusalCode.BAD_KEYS)
        mine = low == party.institution
        try:
            secret = run.secrets[peer] if mine else decapsulate(own.keys, ciphertext)
            keys[peer] = pair_key(
                own.keys, secret, own.answer, answer, opening=opening, ciphertext=ciphertext
            )
        except ProtocolError as error:
            raise ProtocolError(str(error), RefusalCode.BAD_KEYS) from None
    return RunKeys(0, keys)


def _offers_by_sender(party: Party, run: OpenedRun, offers: Sequence[bytes]) -> dict[str, KeyOffer]:
    """Parse one offer from each participant; one's own must come back unchanged."""
    if len(offers) != len(run.answers) or run.offer not in offers:
        raise ProtocolError("expected one offer from each participant", RefusalCode.BAD_KEYS)
    parsed, opening = {}, run.opening.hash
    for sender, envelope in zip(sorted(run.answers), offers, strict=True):
        offer = party.from_member(envelope, KeyOffer, sender).body
        if offer.institution != sender or offer.opening != opening:
            raise ProtocolError("expected offers for this opening", RefusalCode.BAD_KEYS)
        parsed[sender] = offer
    return parsed
