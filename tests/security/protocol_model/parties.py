"""The honest party: what a custodian keeps, on disk and in memory, and what it agrees to.

Every rule of protocol 2 is a switch, so that the search can show what each of them is for: with all
of them off this is the protocol as it was before.
"""

from dataclasses import dataclass, field, replace
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
        peers_tell: at the agreement, peers say which requests they opened; each is debited.
        vouched: keys that this institution has not compared count as colluders.
        follows_log: a head is co-signed over sums that were computed again here.
    """

    keys_in_memory: bool = True
    commit_first: bool = True
    fixed_set: bool = True
    peers_tell: bool = True
    vouched: bool = True
    follows_log: bool = True


class Opening(NamedTuple):
    """A run's opening: its number among all, the run, and each participant's answer."""

    number: int
    run: int
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


class Pending(NamedTuple):
    """An answer that was committed to and not opened: the vector's number is its seed's, too."""

    request: Request
    vector: int


@dataclass(frozen=True)
class Disk:
    """What a home holds, and a backup of it too."""

    debited: frozenset[Request] = frozenset()
    pending: tuple[Pending, ...] = ()
    opened: tuple[tuple[Request, Statements], ...] = ()
    accepted: tuple[tuple[Request, Statements], ...] = ()
    cosigned: Log = ()
    participants: tuple[str, ...] = ()
    keys: frozenset[Opening] = frozenset()
    last: tuple[tuple[int, int, int], ...] = ()  # the last place that was answered, of each run


@dataclass(frozen=True)
class Custodian:
    """One running copy of an institution's custodian.

    Attributes:
        institution: whose it is.
        disk: its home.
        answer: the number of its unused answer to hello.
        keys: the openings that it has keys of in memory.
        due: requests that had been seen in a sum when it agreed last: its ledger must know them.
    """

    institution: str
    disk: Disk = field(default_factory=Disk)
    answer: int | None = None
    keys: frozenset[Opening] = frozenset()
    due: frozenset[object] = frozenset()

    def started_again(self, disk: Disk | None = None) -> "Custodian":
        """Return it after a restart, of its own home or of a backup: memory is gone."""
        return Custodian(self.institution, disk or self.disk)

    def has_keys(self, opening: Opening) -> bool:
        """Tell whether it can mask under an opening."""
        return opening in self.keys or opening in self.disk.keys

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
            disk = replace(disk, debited=disk.debited | told)
        if rules.keys_in_memory:
            keys = frozenset({opening})
        else:
            keys = self.keys
            disk = replace(disk, keys=disk.keys | {opening})
        return replace(self, disk=disk, keys=keys, answer=None, due=seen)

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
        bound = self.disk.participants
        fixed = not rules.fixed_set or not bound or bound == request.participants
        return mine and enough and later and fixed and self.has_keys(request.opening)

    def answered(self, rules: Rules, request: Request, vector: int) -> "Custodian":
        """Return it after its first message: kept only, or debited where there is no second."""
        run = request.opening.run
        last = (*(place for place in self.disk.last if place[0] != run), request.place)
        disk = replace(self.disk, last=tuple(sorted(last)))
        if rules.commit_first:
            kept = tuple(p for p in disk.pending if p.request.opening.run != run)
            disk = replace(disk, pending=(*kept, Pending(request, vector)))
        else:
            disk = replace(
                disk, debited=disk.debited | {request}, participants=request.participants
            )
        return replace(self, disk=disk)

    def may_open(self, rules: Rules, pending: Pending, statements: Statements) -> bool:
        """Tell whether it opens: everybody's commitment is there, its own unchanged, R unopened."""
        request = pending.request
        complete = tuple(name for name, _ in statements) == request.participants
        own = dict(statements).get(self.institution) == pending.vector
        bound = self.disk.participants
        fixed = not rules.fixed_set or not bound or bound == request.participants
        return complete and own and fixed and request not in dict(self.disk.opened)

    def opened(self, pending: Pending, statements: Statements) -> "Custodian":
        """Return it after its second message, debited."""
        request = pending.request
        disk = replace(
            self.disk,
            pending=tuple(p for p in self.disk.pending if p != pending),
            opened=(*self.disk.opened, (request, statements)),
            debited=self.disk.debited | {request},
            participants=request.participants,
        )
        return replace(self, disk=disk)

    def accepted(self, request: Request, statements: Statements) -> "Custodian":
        """Return it after it added up a sum again."""
        taken = (*self.disk.accepted, (request, statements))
        return replace(self, disk=replace(self.disk, accepted=taken))

    def may_cosign(self, rules: Rules, log: Log) -> bool:
        """Tell whether it co-signs: the log grew, and is the one that it followed."""
        signed = self.disk.cosigned
        grew = log[: len(signed)] == signed and log != signed
        return grew and (not rules.follows_log or log == self.disk.accepted)

    def cosigned(self, log: Log) -> "Custodian":
        """Return it after it co-signed a log."""
        return replace(self, disk=replace(self.disk, cosigned=log))
