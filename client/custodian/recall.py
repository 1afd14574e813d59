"""What a start has to hear before it opens anything: what every member remembers of this home.

A home that was restored whole knows nothing of what was lost, and the participants of its next run
are the coordinator's choice. So a custodian whose ledger no witness elsewhere vouches for asks,
under a nonce that is fresh with its start, every member that a roster of its home or of an answer
names (docs/protocol.md, "What every member remembers").
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from fieldfare.client.custodian.party import Party
from fieldfare.client.custodian.peers import Peers, peer_claim
from fieldfare.client.custodian.ports import RunEvent
from fieldfare.client.ledger.budget import Position
from fieldfare.client.ledger.kept_states import (
    RecallStanding,
    decision_in,
    position_of,
    standing_in,
)
from fieldfare.client.ledger.ledger import Ledger
from fieldfare.client.ledger.peers import PeerClaim, PeerRows
from fieldfare.client.ledger.run_states import (
    DECISION_STATE,
    LEDGER_STATE,
    OPENING_STATE,
    RECALL_STATE,
)
from fieldfare.shared.errors import PolicyRefusal, ProtocolError, RefusalCode
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.messages import Request, RunOpening, open_envelope, read_unverified
from fieldfare.shared.protocol.plan import Plan
from fieldfare.shared.protocol.remembered import (
    LAST_ANSWER_ROOM,
    Memory,
    RecallQuestion,
    RememberedMessages,
    room_beside,
)
from fieldfare.shared.protocol.roster import COORDINATOR, Roster
from fieldfare.shared.protocol.signed_files import open_roster
from fieldfare.shared.run.remembered_check import names, signed_reply
from fieldfare.shared.run.request_check import check_answerable

VOUCHED_STATE: Final = ":vouched"  # where the witness elsewhere lies that began with this ledger
ANYWHERE: Final = b"*"  # of a ledger that an earlier version wrote: where it is found first


@dataclass(frozen=True)
class HeardMemory:
    """A member's memory, its signature verified, and the roster that it pinned, if it has one."""

    remembered: RememberedMessages
    roster: Roster | None


@dataclass
class RecallProgress:
    """What one start has heard so far; in a custodian's memory alone.

    Attributes:
        boot: 32 bytes that are fresh with the start, hex.
        memories: by member.
        heeded: members that left, whose last answer was taken in this start.
        at: where the ledger stood when anybody was heard last.
        settled: where the ledger stood when everybody had been heard; None before.
    """

    boot: str
    memories: dict[str, HeardMemory] = field(default_factory=dict)
    heeded: set[str] = field(default_factory=set)
    at: Position | None = None
    settled: Position | None = None


@dataclass(frozen=True)
class LocalApprovals:
    """What a custodian knows of the studies that people here approved.

    Attributes:
        plan: of a study; None for one that is not approved here.
        live: openings of a study whose keys are in this memory.
    """

    plan: Callable[[str], Plan | None]
    live: Callable[[str], frozenset[str]]


@dataclass(frozen=True)
class AnyRoster:
    """Keys of any roster that this home knows: for what was signed before a key was replaced."""

    rosters: Sequence[Roster]

    def verify(self, signer: str, signature: bytes, content: bytes) -> None:
        """Check a signature by the newest roster whose key made it.

        Raises:
            ProtocolError: none of them made it.
        """
        for roster in self.rosters[:-1]:
            try:
                return roster.verify(signer, signature, content)
            except ProtocolError:
                continue
        return self.rosters[-1].verify(signer, signature, content)


@dataclass(frozen=True)
class Recall:
    """Asks every member what it remembers of this institution, and answers others that ask.

    *Formal Guarantees.* Once it is settled, and of a ledger that was restored whole: every release
    of a lost history that an honest member answered is debited here, or this custodian answers
    nothing any more. A sum that names this institution can be read only where some honest member
    answered it, and every member that a roster of this home, or of an answer, names has been heard.
    Against coordinator and t members: they can withhold, and then nothing opens.

    Edge cases:
        | what happens | then |
        |---|---|
        | a witness elsewhere agreed, which lay there when all were heard | nobody is asked |
        | a witness was moved elsewhere since | everybody is asked once: it may have been restored |
        | an answer under another start, for another asker, with another's signature | not heard |
        | an answer lists what nobody honest lists | not heard |
        | a member is silent | no opening, unless a person here decides for this start |
        | its own reply that the ledger lacks | nothing leaves any more |
        | a request that the ledger lacks, of a study that is not approved here | not heard |
        | an answer names a roster with more members | they are asked too |
        | a member that left signed its last answer | it counts for what it saw until then |
        | peers that were restored unawares | are among the t |
        | an answer waits for its opening, here or at a member | its attempt is over |
    """

    party: Party
    ledger: Ledger
    peers: Peers

    # -- this institution asks ----------------------------------------------------------

    def question(self, hearing: RecallProgress) -> bytes:
        """Return what this start asks of all members, signed; nothing where it has been told.

        Raises:
            LedgerError: the ledger cannot be read or written.
        """
        if self._settled(hearing):
            return b""
        members = tuple(sorted(self._asked(hearing)))
        standing = standing_in(self.ledger.run_state(LEDGER_STATE, RECALL_STATE))
        if standing is None or standing.boot != hearing.boot:
            self._write_down(hearing)
        own = self.party.institution
        return self.party.sign(RecallQuestion(institution=own, boot=hearing.boot, members=members))

    def take(self, answers: Sequence[bytes], hearing: RecallProgress, here: LocalApprovals) -> None:
        """Take what members remember: debit what this ledger lacks, stop where it is behind.

        Args:
            answers: signed memories, as the coordinator relays them.
            hearing: of this start; adds to it.
            here: the studies that are approved.

        Raises:
            PolicyRefusal: RECALL_WANTED: not everybody has been heard.
            LedgerError: this ledger is behind, or it or the log cannot be written.
        """
        wanted = (self.party.institution, hearing.boot)
        read = (one for one in map(_read, answers) if one is not None)
        waiting = [one for one in read if (one.body.asker, one.body.boot) == wanted]
        known = -1
        while waiting and known != len(hearing.memories):  # a roster in one lets others be verified
            known = len(hearing.memories)
            waiting = [one for one in waiting if not self._hear(one, hearing, here)]
        keys = AnyRoster(self._rosters(hearing))
        for name, memory in self._last_answers(hearing).items():
            try:
                self._heed(name, RememberedMessages.from_text(memory.remembered), keys, here)
            except (PolicyRefusal, ProtocolError) as error:
                self.peers.decisions.refused(error.code, f"the last answer of {name}: {error}")
            else:
                hearing.heeded.add(name)
        hearing.at = self.ledger.position()
        self._write_down(hearing)
        self.check(hearing)

    def check(self, hearing: RecallProgress) -> None:
        """Let nothing be opened before every member has been heard.

        Raises:
            PolicyRefusal: RECALL_WANTED.
            LedgerError: the ledger cannot be read.
        """
        if not self._settled(hearing):
            missing = ", ".join(sorted(self._asked(hearing) - set(hearing.memories)))
            raise PolicyRefusal(
                RefusalCode.RECALL_WANTED,
                "expected what every member remembers of this institution since this custodian was "
                f"started, found nothing from {missing}: have them connect, accept the newest "
                "roster, or decide: fieldfare institution ledger recall",
            )

    def _settled(self, hearing: RecallProgress) -> bool:
        if self.party.protection is not Protection.EXACT or hearing.settled is not None:
            return True
        place, ledger = self.ledger.witness_elsewhere.encode(), self.ledger
        vouched = ledger.run_state(LEDGER_STATE, VOUCHED_STATE)
        if not (ledger.witnessed and vouched in {place, ANYWHERE}):
            missing = self._asked(hearing) - set(hearing.memories)
            decided = ledger.run_state(LEDGER_STATE, DECISION_STATE) if missing else None
            if not decision_in(decided, hearing.boot).allows(missing):
                return False
            self._close_waiting()  # a copy may have opened it since
        hearing.settled = ledger.position()
        self._write_down(hearing)
        if (vouched or b"") != place:
            ledger.put_run_state(LEDGER_STATE, VOUCHED_STATE, place)
        return True

    def _close_waiting(self, asker: str = "") -> None:
        """Destroy what waits for its opening, or what waits in runs with a member that asks.

        What a memory does not list yet is opened by nobody here after it: neither by who asks nor
        by who answers. Their attempts are over, and cost whoever opened them.
        """
        with self.ledger.peers() as rows:
            waiting = rows.waiting()
        for study, run in waiting:
            participants = self._participants(study, run) if asker else set()
            if not participants or asker in participants:
                self.ledger.forget_run(study, run, ())

    def _participants(self, study: str, run: str) -> set[str]:
        """Return who is in any opening of a run that is kept: an answer may wait under each."""
        kept = OPENING_STATE + run
        found = set[str]()
        for name in self.ledger.run_names(study):
            if name == kept or name.startswith(f"{kept}:"):
                opening = read_unverified(self.ledger.run_state(study, name) or b"", RunOpening)
                found |= {one.institution for one in opening.participants}
        return found

    def _write_down(self, hearing: RecallProgress) -> None:
        asked = tuple(sorted(self._asked(hearing)))
        heard = tuple(name for name in asked if name in hearing.memories)
        settled = hearing.settled is not None
        standing = RecallStanding(boot=hearing.boot, asked=asked, heard=heard, settled=settled)
        content = standing.model_dump_json().encode()
        if content != self.ledger.run_state(LEDGER_STATE, RECALL_STATE):
            self.ledger.put_run_state(LEDGER_STATE, RECALL_STATE, content)

    # -- who is asked -------------------------------------------------------------------

    def _rosters(self, hearing: RecallProgress) -> list[Roster]:
        """Return every roster of this home and of what was heard, the newest first."""
        heard = (one.roster for one in hearing.memories.values() if one.roster is not None)
        found = {one.hash: one for one in (self.party.roster, *self.party.rosters, *heard)}
        return sorted(found.values(), key=lambda one: one.version, reverse=True)

    def _asked(self, hearing: RecallProgress) -> frozenset[str]:
        named = {name for roster in self._rosters(hearing) for name in roster.ids}
        return frozenset(named - {self.party.institution} - hearing.heeded)

    def _last_answers(self, hearing: RecallProgress) -> dict[str, Memory]:
        """Return the last answers of members that left, by who signed them."""
        rosters, found = self._rosters(hearing), dict[str, Memory]()
        for content in self.party.last_answers:
            memory = _read(content)
            if memory is None or memory.body.asker:
                continue
            if memory.body.institution in {*self.party.roster.ids, *rosters[0].ids}:
                continue
            if self._signed(memory, hearing):
                found[memory.body.institution] = memory.body
        return found

    def _signed(self, memory: "_ReadMemory", hearing: RecallProgress) -> bool:
        """Tell whether a member signed its memory.

        By its key on the newest roster of this home that names it, whatever an answer says: who
        writes rosters would write other keys into one that nobody here compared. A member that
        answers alone name has signed by its key on each roster of theirs.
        """
        name, own = memory.body.institution, (self.party.roster, *self.party.rosters)
        newest_first = sorted(own, key=lambda one: one.version, reverse=True)
        pinned = [one for one in newest_first if name in one.ids][:1]
        told = [one for one in self._rosters(hearing) if name in one.ids]
        return bool(pinned or told) and all(
            self._verifies(memory, roster) for roster in pinned or told
        )

    def _verifies(self, memory: "_ReadMemory", roster: Roster) -> bool:
        try:
            opened = open_envelope(memory.content, Memory, roster, self.party.protection)
        except ProtocolError:
            return False
        return opened.signer == memory.body.institution

    # -- what they remember -------------------------------------------------------------

    def _hear(self, memory: "_ReadMemory", hearing: RecallProgress, here: LocalApprovals) -> bool:
        """Take one answer; False where nobody here can believe it, or not yet."""
        rosters, name = self._rosters(hearing), memory.body.institution
        if not self._signed(memory, hearing):
            return False
        try:
            remembered = RememberedMessages.from_text(memory.body.remembered)
            roster = self._roster_in(remembered)
            keys = AnyRoster([*([roster] if roster else []), *rosters])
            self._heed(name, remembered, keys, here)
        except (PolicyRefusal, ProtocolError) as error:
            self.peers.decisions.refused(error.code, f"{name} was not heard: {error}")
            return False
        hearing.memories[name] = HeardMemory(remembered, roster)
        return True

    def _roster_in(self, remembered: RememberedMessages) -> Roster | None:
        own = self.party.roster
        if not remembered.roster:
            return None
        return open_roster(remembered.roster, own.roster_key or own.coordinator)

    def _heed(
        self, by: str, remembered: RememberedMessages, keys: AnyRoster, here: LocalApprovals
    ) -> None:
        own = self.party.institution
        for content in remembered.replies:
            reply = signed_reply(content, keys, self.party.protection)
            if reply.institution == own:
                self.peers.check_shown("", "", position_of(reply), content)
        with self.ledger.peers() as rows:
            claims = self._claims(rows, by, remembered.requests, keys, here)
            for study, (plan, told) in claims.items():
                for one in rows.debit_told(told, study, plan.study_limit):
                    rule = f"debited as {by} remembers it and this ledger knew nothing of it"
                    self.peers.decisions.noted(
                        RunEvent.TOLD, study, one.debit.run, one.debit.request, rule
                    )

    def _claims(
        self,
        rows: PeerRows,
        by: str,
        requests: Sequence[bytes],
        keys: AnyRoster,
        here: LocalApprovals,
    ) -> Mapping[str, tuple[Plan, list[PeerClaim]]]:
        """Return what this ledger lacks of the requests, by study."""
        found: dict[str, tuple[Plan, list[PeerClaim]]] = {}
        held = rows.held()
        for content in requests:
            if read_unverified(content, Request).hash in held:
                continue  # nearly all: a signature is checked where something follows from it
            opened = open_envelope(content, Request, keys, self.party.protection)
            request = opened.body
            if opened.signer != COORDINATOR or not names(request, by):
                raise ProtocolError("expected requests of the coordinator that their sender is in")
            if not names(request, self.party.institution):
                continue
            plan = here.plan(request.study)
            if plan is None:
                raise PolicyRefusal(
                    RefusalCode.RECALL_WANTED,
                    f"a request of study {request.study} was opened in this institution's name, "
                    "which is not approved here: approve it, so that what it cost can be debited",
                )
            if request.opening in here.live(request.study):
                continue
            cost = check_answerable(plan, request).cost
            claim = peer_claim(plan, content, request, cost, by=by)
            found.setdefault(request.study, (plan, []))[1].append(claim)
        return found

    # -- others ask ---------------------------------------------------------------------

    def answer(self, questions: Sequence[bytes]) -> tuple[bytes, ...]:
        """Return what is remembered here of each other member that asks; of nobody else.

        Raises:
            ProtocolError: no member asks.
            LedgerError: the ledger cannot be read.
        """
        found = [one for one in map(self._asker, questions) if one is not None]
        if not found:
            raise ProtocolError("expected a question that a member of the roster signed")
        askers = [one for one in found if one.institution != self.party.institution]
        if not askers:
            return ()
        for one in askers:
            self._close_waiting(one.institution)
        return self._memories(askers)

    def _memories(self, askers: Sequence[RecallQuestion]) -> tuple[bytes, ...]:
        with self.ledger.peers() as rows:
            opened, seen = self._requests(rows), rows.replies()
        found = []
        for asker in askers:
            name = asker.institution
            remembered = RememberedMessages(
                tuple(content for content, request in opened if names(request, name)),
                (seen[name],) if name in seen else (),
                self.party.roster_offer,
            ).within(room_beside(len(asker.members)))
            memory = Memory(
                institution=self.party.institution,
                asker=name,
                boot=asker.boot,
                remembered=remembered.to_text(),
            )
            found.append(self.party.sign(memory))
        return tuple(found)

    def last_answer(self) -> bytes:
        """Return what is remembered here of everybody: the last word of who leaves.

        Raises:
            LedgerError: the ledger cannot be read.
        """
        with self.ledger.peers() as rows:
            opened, seen = self._requests(rows), rows.replies()
        requests = tuple(content for content, _ in opened)
        remembered = RememberedMessages(requests, tuple(seen.values())).within(LAST_ANSWER_ROOM)
        own = self.party.institution
        memory = Memory(institution=own, asker="", boot="", remembered=remembered.to_text())
        return self.party.sign(memory)

    def _asker(self, content: bytes) -> RecallQuestion | None:
        """Return the question of a member; None for anybody else's."""
        try:
            opened = open_envelope(
                content, RecallQuestion, self.party.roster, self.party.protection
            )
        except ProtocolError:
            return None
        return opened.body if opened.signer == opened.body.institution else None

    def _requests(self, rows: PeerRows) -> list[tuple[bytes, Request]]:
        """Return every request that was debited here and still verifies, the newest first."""
        found = []
        for content in rows.requests():
            try:
                found.append((content, self.party.from_coordinator(content, Request).body))
            except ProtocolError:  # under a key that is no more: nobody could check it
                continue
        return found


@dataclass(frozen=True)
class _ReadMemory:
    """A memory as it was parsed, its signature not yet looked at."""

    content: bytes
    body: Memory


def _read(content: bytes) -> _ReadMemory | None:
    try:
        return _ReadMemory(content, read_unverified(content, Memory))
    except ProtocolError:
        return None
