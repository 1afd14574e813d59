"""The evidence of a transcript: header, signed head, co-signatures, vectors and ledgers.

Leaves carry signatures or are computed again; a statement of the coordinator alone (why a run
ended) is bound by the head only. Masked vectors are found by the hashes that replies sign.

Spending is followed through the positions that institutions signed: a ledger only goes forward,
from reply to reply its sequence and its sum of debits grow by the reply's debit, and by the debits
of other runs in between. Its total grows by no more, and by what the study's sides say where it has
no other debit (docs/protocol.md, "The ledger").
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from fieldfare.shared.audit.opening import Trust
from fieldfare.shared.canonical import bytes_hash, claimed
from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.privacy.sides import Side, SideCosts
from fieldfare.shared.protocol.messages import Reply, open_envelope
from fieldfare.shared.protocol.roster import COORDINATOR, Roster
from fieldfare.shared.protocol.signed_files import open_roster
from fieldfare.shared.transcript import merkle
from fieldfare.shared.transcript.file import Misfit, MisfitError, TranscriptFile, expect
from fieldfare.shared.transcript.heads import CosignedHead
from fieldfare.shared.transcript.leaves import LeafKind, TreeHead


def check_header(transcript: TranscriptFile, trust: Trust) -> None:
    """Blame the header where it names another run than the file's own signed parts do.

    Raises:
        MisfitError: the header is the odd one out.
    """
    found = (transcript.header.study, transcript.header.run)
    try:
        head = _opened_head(transcript, trust)
        signed = (head.study, head.run)
    except ProtocolError:
        signed = None
    if signed == found:
        return
    for study, run in filter(None, (_claimed(transcript), signed)):
        if (study, run) != found:
            reason = f"expected run {run} of study {study}; found: run {found[1]} of {found[0]}"
            raise MisfitError(Misfit(line=1, kind="header", reason=reason))
        return


def check_head(transcript: TranscriptFile, trust: Trust, hashes: Sequence[bytes]) -> TreeHead:
    """Check the coordinator's head over all leaves, and the list of their hashes.

    Args:
        transcript: whose leaves were verified.
        trust: the roster key, or a roster.
        hashes: of the leaves as they are.

    Raises:
        MisfitError: the head, or the leaf that is not the one that was signed.
    """
    try:
        head = _opened_head(transcript, trust)
        expect("a head of the study", transcript.header.study, head.study)
        expect("a head of the run", transcript.header.run, head.run)
        expect("a head over every leaf", len(hashes), head.size)
    except ProtocolError as error:
        _misfit(transcript.head_line, "head", str(error))
    root = merkle.root(hashes).hex()
    if root != head.root:
        _blame(transcript, hashes, head)
        _misfit(transcript.head_line, "head", f"expected root {root}, found {head.root}")
    if list(transcript.hashes) != list(hashes):
        _misfit(transcript.hashes_line, "hashes", "expected the hashes of the leaves")
    return head


def check_cosignatures(
    transcript: TranscriptFile, roster: Roster | None, head: TreeHead, hashes: Sequence[bytes]
) -> dict[str, CosignedHead]:
    """Check that each co-signature is of this log, at its end or at an earlier size.

    Args:
        transcript: whose head was verified.
        roster: as the log states it; None where it does not.
        head: the coordinator's.
        hashes: of the leaves.

    Returns:
        What each institution co-signed.

    Raises:
        MisfitError: the first one that is not.
    """
    found: dict[str, CosignedHead] = {}
    roots = {head.size: head.root}

    def root_of(size: int) -> str:
        """Return the root of the first so many leaves, computed once for each."""
        if size not in roots:  # most co-sign the same size
            roots[size] = merkle.root(hashes[:size]).hex()
        return roots[size]

    for index, content in enumerate(transcript.cosignatures):
        try:
            signer, signed = _check_cosignature(content, roster, head, root_of)
            _check_after(signer, found)
        except ProtocolError as error:
            _misfit(transcript.head_line + 1 + index, "cosignature", str(error))
        found[signer] = signed
    return found


def _check_cosignature(
    content: bytes, roster: Roster | None, head: TreeHead, root_of: Callable[[int], str]
) -> tuple[str, CosignedHead]:
    if roster is None:
        raise ProtocolError("expected a roster that names who co-signs, found none")
    opened = open_envelope(content, CosignedHead, roster, Protection.EXACT)
    body = opened.body
    if opened.signer == COORDINATOR:
        raise ProtocolError("expected an institution's signature, found the coordinator's")
    expect("a head of the study", head.study, body.study)
    expect("a head of the run", head.run, body.run)
    if body.size > head.size:
        raise ProtocolError(f"expected a head of at most {head.size} leaves, found {body.size}")
    what = f"{opened.signer}'s head over the first {body.size} leaves"
    expect(what, root_of(body.size), body.root)
    return opened.signer, body


def _check_after(signer: str, found: Mapping[str, CosignedHead]) -> None:
    if found and signer <= max(found):
        raise ProtocolError("expected institutions in order, one co-signature each")


def _opened_head(transcript: TranscriptFile, trust: Trust) -> TreeHead:
    opened = open_envelope(transcript.head, TreeHead, _signers(transcript, trust), Protection.EXACT)
    expect("the coordinator's signature", COORDINATOR, opened.signer)
    return opened.body


def _signers(transcript: TranscriptFile, trust: Trust) -> Roster:
    """Return the roster that names the key of heads: the given one, or the log's own."""
    if trust.roster is not None:
        return trust.roster
    for leaf in transcript.leaves:
        if leaf.kind is LeafKind.ROSTER:
            return open_roster(leaf.content, trust.roster_key)
    raise ProtocolError(
        "expected a roster in the log, which names the key of its head, found none: say which one "
        "you trust with --roster"
    )


def _claimed(transcript: TranscriptFile) -> tuple[str | None, str | None] | None:
    """Return the study and the run that the opening names, unverified."""
    for leaf in transcript.leaves:
        if leaf.kind is LeafKind.OPENING:
            return claimed(leaf.content, "study"), claimed(leaf.content, "run")
    return None


def _blame(transcript: TranscriptFile, hashes: Sequence[bytes], head: TreeHead) -> None:
    """Find the leaf that was changed: the one whose hash is not among those that were signed."""
    listed = transcript.hashes
    if len(listed) != len(hashes) or merkle.root(listed).hex() != head.root:
        return
    for index, (signed, found) in enumerate(zip(listed, hashes, strict=True)):
        if signed != found:
            kind = transcript.leaves[index].kind.value
            reason = f"expected the leaf that the head signs, {signed.hex()}; found: {found.hex()}"
            raise MisfitError(Misfit(line=index + 2, leaf=index, kind=kind, reason=reason))


def _misfit(line: int, kind: str, reason: str) -> NoReturn:
    raise MisfitError(Misfit(line=line, kind=kind, reason=reason))


# -- audit vectors --------------------------------------------------------------------------------


class KeptVectors:
    """Vectors by their hash; remembers which ones were asked for.

    Vectors are deleted after a date, all of a run at once, so either all of them are there or
    none (`holds`).
    """

    def __init__(self, transcript: TranscriptFile) -> None:
        """Find the vectors of a transcript in its file."""
        self._transcript = transcript
        self._places = {place.hash: place for place in transcript.vectors}
        self._used: set[str] = set()

    def holds(self, name: str) -> bool:
        """Say whether a vector has to be there: all are, or none."""
        del name
        return bool(self._places)

    def vector(self, name: str) -> bytes:
        """Return the vector of this SHA-256.

        Raises:
            MisfitError: it is missing, and another one is there that no reply signs.
            ProtocolError: it is missing.
        """
        place = self._places.get(name)
        if place is None:
            self._check_signed()
            raise ProtocolError(f"expected the vector {name} that the reply signs, found none")
        self._used.add(name)
        return self._transcript.read_vector(place)

    def check_used(self) -> None:
        """Check that there is nothing but the vectors of sums, sorted and once each.

        Raises:
            MisfitError: the first line that is not.
        """
        before = ""
        for place in self._transcript.vectors:
            if place.hash not in self._used:
                raise _vector_misfit(
                    place.line, "expected a vector of a verified sum, found another"
                )
            if place.hash <= before:
                raise _vector_misfit(place.line, "expected vectors in the order of their hashes")
            before = place.hash

    def _check_signed(self) -> None:
        """Blame a vector that no reply names, where there is one: it was changed."""
        replies = (leaf for leaf in self._transcript.leaves if leaf.kind is LeafKind.REPLY)
        signed = {claimed(leaf.content, "vector") for leaf in replies}
        for place in self._transcript.vectors:
            if place.hash not in signed:
                raise _vector_misfit(place.line, "expected a vector whose hash a reply signs")


def _vector_misfit(line: int, reason: str) -> MisfitError:
    return MisfitError(Misfit(line=line, kind="blob", reason=reason))


@dataclass
class RunSpending:
    """One institution's spending in the run.

    Attributes:
        releases: replies that cost something; a repeat of the same bytes counts once.
        costs: their debits, by whose units the releases read.
        asked: the same, had it answered every request that named it: an answer that was lost on
            its way is in its ledger, but in no transcript.
        elsewhere: debits of its ledger between two of its replies that are in neither: other
            runs, answers that were lost, or an attempt that the coordinator hides.
    """

    releases: int = 0
    costs: SideCosts = field(default_factory=SideCosts)
    asked: SideCosts = field(default_factory=SideCosts)
    elsewhere: int = 0

    @property
    def debits(self) -> int:
        """What they cost together, in 1e-12 mu^2: no unit lost more."""
        return self.costs.total


@dataclass
class LedgerTrail:
    """Every institution's ledger as its replies show it; takes replies in order.

    Attributes:
        study_limit: 1e-12 mu^2 that all runs of the study may spend together.
        spent: by institution.
    """

    study_limit: int
    spent: dict[str, RunSpending] = field(default_factory=dict)
    _last: dict[str, Reply] = field(default_factory=dict)
    _answers: dict[tuple[str, str], str] = field(default_factory=dict)

    def ask(self, institution: str, side: Side, cost: int) -> None:
        """Note that a new request names an institution."""
        spent = self._of(institution)
        spent.asked = spent.asked.plus(side, cost)

    def take(self, reply: Reply, envelope: bytes, side: Side, cost: int) -> None:
        """Follow one reply; the same bytes for the same request again change nothing.

        Raises:
            ProtocolError: another answer to an answered request, another debit, a ledger that
                went back, stood still or lost count, or more than the study allows.
        """
        key, content = (reply.institution, reply.request), bytes_hash(envelope)
        known = self._answers.get(key)
        if known is not None and cost:  # a rehearsal is free, and answered anew each time
            expect("the same answer to the same request", known, content)
            return
        expect("the plan's debit", cost, reply.debit)
        spent = self._of(reply.institution)
        between = self._check_position(reply, side, spent)
        self._answers[key] = content
        self._last[reply.institution] = reply
        spent.releases += int(cost > 0)
        spent.costs = spent.costs.plus(side, cost)
        spent.elsewhere += between
        if spent.debits > self.study_limit:
            raise ProtocolError(
                f"expected at most {self.study_limit}e-12 of mu^2 for the study, found "
                f"{spent.debits}e-12"
            )

    def _check_position(self, reply: Reply, side: Side, spent: RunSpending) -> int:
        """Compare with the last position; returns what was debited in between."""
        last = self._last.get(reply.institution)
        entries = int(reply.debit > 0)
        sequence, total = (last.ledger_sequence, last.debited) if last else (0, 0)
        if reply.ledger_sequence < sequence + entries:
            raise ProtocolError(
                f"expected a ledger at entry {sequence + entries} or later, found entry "
                f"{reply.ledger_sequence}: it went back"
            )
        if reply.debited < total + reply.debit:
            raise ProtocolError(
                f"expected debits of {total + reply.debit}e-12 of mu^2 or more, found "
                f"{reply.debited}e-12: a debit is missing"
            )
        self._check_total(reply, side, spent)
        if last is None:
            return 0
        if reply.ledger_sequence == sequence + entries:  # nothing came in between
            expect("the last debits and this one", total + reply.debit, reply.debited)
        if reply.ledger_sequence == sequence:
            expect("the ledger's head where it did not move", last.ledger_head, reply.ledger_head)
        else:
            moved = reply.ledger_head != last.ledger_head
            expect("another head of a ledger that moved", True, moved)
        return reply.debited - total - reply.debit

    def _check_total(self, reply: Reply, side: Side, spent: RunSpending) -> None:
        """Compare the ledger's total with the last one.

        It holds all that the study spent here, and rises by a debit that read all units in full;
        by one on a side by at most its debit, and exactly where these are all the ledger's debits.
        """
        last = self._last.get(reply.institution)
        debited, total = (last.debited, last.cumulative) if last else (0, 0)
        after = spent.costs.plus(side, reply.debit)
        least = total + (reply.debit if side is Side.ALL else 0)
        if reply.debited == after.all + after.training + after.holdout:  # no other debit ever
            expect("the study's total", after.total, reply.cumulative)
        if reply.cumulative < max(least, after.total):
            raise ProtocolError(
                f"expected a total of {max(least, after.total)}e-12 of mu^2 or more, found "
                f"{reply.cumulative}e-12: a debit is missing"
            )
        if reply.cumulative - total > reply.debited - debited:
            raise ProtocolError(
                f"expected a total that rose by {reply.debited - debited}e-12 of mu^2 at most, "
                f"found {reply.cumulative - total}e-12: more than was debited"
            )

    def _of(self, institution: str) -> RunSpending:
        return self.spent.setdefault(institution, RunSpending())
