"""The honest party: what a custodian keeps, on disk and in memory, and what it agrees to.

Every rule of protocol 2 is a switch, so that the search can show what each of them is for: with all
of them off this is the protocol as it was before.
"""

from dataclasses import dataclass
from typing import NamedTuple

Log = tuple[object, ...]
Statements = tuple[tuple[str, int], ...]  # the vector's number, by participant


@dataclass(frozen=True)
class Rules:
    """Which rules the honest parties follow.

    Attributes:
        keys_in_memory: a run's keys are never on the disk.
        commit_first: no vector can be summed until its owner saw everybody's commitment.
        fixed_set: an institution answers for one set of participants in a study.
        peers_tell: at the agreement, peers say which requests of the study they debited; each is
            debited. Where one saw an own reply that this ledger lacks, nothing goes on.
        vouched: keys that this institution has not compared count as colluders.
        follows_log: a head is co-signed over sums that were computed again here.
        everyone_asked: after each start, before a key offer, every member that any roster named
            says the same, over all studies.
        rosters_told: and which roster it has, whose members are asked too.
        over_studies: at the agreement peers show the replies of all studies.
        waiting_told: what who is asked committed to with the asker and has not opened is named too
            (destroying it is the same to the asker).
        asks_before_opening: after a start, what waited is opened only once everyone has answered.
        absent: how many members need not answer after a start, by a person's word.
    """

    keys_in_memory: bool = True
    commit_first: bool = True
    fixed_set: bool = True
    peers_tell: bool = True
    vouched: bool = True
    follows_log: bool = True
    everyone_asked: bool = True
    rosters_told: bool = True
    over_studies: bool = True
    waiting_told: bool = True
    asks_before_opening: bool = True
    absent: int = 0


class Opening(NamedTuple):
    """A run's opening: its number among all, the run and its study, each participant's answer."""

    number: int
    run: int
    study: int
    answers: tuple[tuple[str, int], ...]

    @property
    def participants(self) -> tuple[str, ...]:
        """Their ids, sorted."""
        return tuple(name for name, _ in self.answers)


class Request(NamedTuple):
    """R: under which opening, which release, and of whom."""

    opening: Opening
    step: int
    attempt: int
    participants: tuple[str, ...]

    @property
    def place(self) -> tuple[int, int, int]:
        """The run, the step and the attempt."""
        return self.opening.run, self.step, self.attempt

    @property
    def study(self) -> int:
        """The run's study."""
        return self.opening.study


class Pending(NamedTuple):
    """An answer that was committed to and not opened: the vector's number is its seed's, too."""

    request: Request
    vector: int


class Disk(NamedTuple):
    """What a home holds, and a backup of it too."""

    debited: frozenset[Request] = frozenset()
    pending: tuple[Pending, ...] = ()
    opened: tuple[tuple[Request, Statements], ...] = ()
    accepted: tuple[tuple[Request, Statements], ...] = ()
    cosigned: Log = ()
    sets: tuple[tuple[int, tuple[str, ...]], ...] = ()  # of a study, the set that was opened for
    keys: frozenset[Opening] = frozenset()
    last: tuple[tuple[int, int, int], ...] = ()  # the last place that was answered, of each run
    roster: int = 0  # the newest that was confirmed here

    def admits(self, request: Request) -> bool:
        """Tell whether no other set of participants was opened for in the study."""
        return dict(self.sets).get(request.study, request.participants) == request.participants

    def debiting(self, requests: frozenset[Request]) -> "Disk":
        """Return it with debits; a study's first one fixes its set."""
        first = {request.study: request.participants for request in sorted(requests, reverse=True)}
        sets = tuple(sorted((first | dict(self.sets)).items()))
        return self._replace(debited=self.debited | requests, sets=sets)


class Custodian(NamedTuple):
    """One running copy of an institution's custodian.

    Attributes:
        institution: whose it is.
        disk: its home.
        answer: the number of its unused answer to hello.
        keys: the openings that it has keys of in memory.
        due: requests that had been seen in a sum when it agreed last: its ledger must know them.
        heard: it was told, since its start, what everyone remembers of it.
    """

    institution: str
    disk: Disk = Disk()
    answer: int | None = None
    keys: frozenset[Opening] = frozenset()
    due: frozenset[object] = frozenset()
    heard: bool = True  # nobody remembers anything of a home that is new

    def started_again(self, disk: Disk | None = None) -> "Custodian":
        """Return it after a restart, of its own home or of a backup: memory is gone."""
        return Custodian(self.institution, disk or self.disk, heard=False)

    def has_keys(self, opening: Opening) -> bool:
        """Tell whether it can mask under an opening."""
        return opening in self.keys or opening in self.disk.keys

    def remembers(self, name: str, study: int | None = None) -> frozenset[Request]:
        """Return what is debited here of a study, or of all, in which a peer takes part."""
        return frozenset(
            request
            for request in self.disk.debited
            if name in request.participants and study in (None, request.study)
        )

    def waits_with(self, name: str) -> frozenset[Request]:
        """Return what was committed to and not opened here, in which a peer takes part."""
        waiting = (pending.request for pending in self.disk.pending)
        return frozenset(request for request in waiting if name in request.participants)

    def saw(self, name: str) -> frozenset[Request]:
        """Return the requests, over all studies, to which replies by a peer were shown here."""
        shown = (request for request, _ in self.disk.accepted)
        return frozenset(request for request in shown if name in request.participants)

    def has_heard(self, told: frozenset[Request]) -> "Custodian":
        """Return it after everyone was asked: what they remember is debited, and opens no more."""
        pending = tuple(p for p in self.disk.pending if p.request not in told)
        return self._replace(disk=self.disk.debiting(told)._replace(pending=pending), heard=True)

    def agreed(
        self,
        rules: Rules,
        opening: Opening,
        told: frozenset[Request],
        seen: frozenset[object],
    ) -> "Custodian":
        """Return it with an opening's keys, and every request debited that honest peers tell of."""
        disk = self.disk
        if rules.peers_tell:
            disk = disk.debiting(told)
        if rules.keys_in_memory:
            keys = frozenset({opening})
        else:
            keys = self.keys
            disk = disk._replace(keys=disk.keys | {opening})
        return self._replace(disk=disk, keys=keys, answer=None, due=seen)

    def may_agree(
        self, rules: Rules, opening: Opening, verified: frozenset[str], tolerance: int
    ) -> bool:
        """Tell whether it takes an opening: its own fresh answer, enough members that it knows."""
        own = dict(opening.answers).get(self.institution)
        unknown = len(set(opening.participants) - verified) if rules.vouched else 0
        fresh = own is not None and own == self.answer
        return fresh and len(opening.participants) - tolerance >= 2 and unknown == 0

    def may_answer(self, rules: Rules, request: Request, tolerance: int) -> bool:
        """Tell whether it answers R with its first message."""
        mine = self.institution in request.participants
        enough = len(request.participants) - tolerance >= 2
        before = [place for place in self.disk.last if place[0] == request.opening.run]
        later = all(place < request.place for place in before)
        fixed = not rules.fixed_set or self.disk.admits(request)
        return mine and enough and later and fixed and self.has_keys(request.opening)

    def answered(self, rules: Rules, request: Request, vector: int) -> "Custodian":
        """Return it after its first message: kept only, or debited where there is no second."""
        run = request.opening.run
        last = (*(place for place in self.disk.last if place[0] != run), request.place)
        disk = self.disk._replace(last=tuple(sorted(last)))
        if rules.commit_first:
            kept = tuple(p for p in disk.pending if p.request.opening.run != run)
            disk = disk._replace(pending=(*kept, Pending(request, vector)))
        else:
            disk = disk.debiting(frozenset({request}))
        return self._replace(disk=disk)

    def may_open(self, rules: Rules, pending: Pending, statements: Statements) -> bool:
        """Tell whether it opens: everybody's commitment is there, its own unchanged, R unopened."""
        request = pending.request
        complete = tuple(name for name, _ in statements) == request.participants
        own = dict(statements).get(self.institution) == pending.vector
        fixed = not rules.fixed_set or self.disk.admits(request)
        return complete and own and fixed and request not in dict(self.disk.opened)

    def opened(self, pending: Pending, statements: Statements) -> "Custodian":
        """Return it after its second message, debited."""
        request = pending.request
        disk = self.disk._replace(
            pending=tuple(p for p in self.disk.pending if p != pending),
            opened=(*self.disk.opened, (request, statements)),
        )
        return self._replace(disk=disk.debiting(frozenset({request})))

    def accepted(self, request: Request, statements: Statements) -> "Custodian":
        """Return it after it added up a sum again."""
        taken = (*self.disk.accepted, (request, statements))
        return self._replace(disk=self.disk._replace(accepted=taken))

    def may_cosign(self, rules: Rules, log: Log) -> bool:
        """Tell whether it co-signs: the log grew, and is the one that it followed."""
        signed = self.disk.cosigned
        grew = log[: len(signed)] == signed and log != signed
        return grew and (not rules.follows_log or log == self.disk.accepted)

    def cosigned(self, log: Log) -> "Custodian":
        """Return it after it co-signed a log."""
        return self._replace(disk=self.disk._replace(cosigned=log))
