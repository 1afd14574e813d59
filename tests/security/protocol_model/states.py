"""What a search covers, and the state of everybody in it."""

from dataclasses import dataclass
from typing import NamedTuple

from tests.security.protocol_model.parties import (
    Custodian,
    Disk,
    Opening,
    Request,
    Statements,
)
from tests.security.protocol_model.terms import Form, Row, Symbol, views


@dataclass(frozen=True)
class Bounds:
    """What a search covers.

    Attributes:
        honest: institutions that follow the rules.
        colluders: institutions whose keys the coordinator has.
        unknown: colluders whose keys nobody compared.
        sets: the sets of participants that the coordinator may ask for.
        tolerance: t.
        rosters: one after the other; a home knows those up to its newest. Nothing: one, of all.
        confirmed: institutions whose home has the newest roster from the beginning.
        witnesses: institutions whose witness lies elsewhere.
        openings: how many in all; runs: in how many runs; studies: of how many studies.
        steps: of each run; attempts: at each step.
        choices: different vectors that a colluder signs for one request.
        faulty: whose custodians the faults below befall; nothing: anybody's.
        restarts: kills of custodians.
        restores: homes replaced by a backup; clones: second copies started from a backup.
        one_at_a_time: no home is replaced while another one has not heard what is remembered of it.
        copies_of_memory: second copies of a running custodian, memory included.
        heads: the coordinator also has heads co-signed, true and forged.
        sums_shown: custodians are shown the sums, and so the replies of their peers.
        until_next: who agreed has to know also what is read after it, where no second copy runs.
    """

    honest: tuple[str, ...]
    colluders: tuple[str, ...]
    sets: tuple[tuple[str, ...], ...]
    unknown: tuple[str, ...] = ()
    tolerance: int = 1
    rosters: tuple[tuple[str, ...], ...] = ()
    confirmed: tuple[str, ...] = ()
    witnesses: tuple[str, ...] = ()
    openings: int = 1
    runs: int = 1
    studies: int = 1
    steps: int = 1
    attempts: int = 1
    choices: int = 1
    faulty: tuple[str, ...] = ()
    restarts: int = 0
    restores: int = 0
    clones: int = 0
    one_at_a_time: bool = False
    copies_of_memory: int = 0
    heads: bool = False
    sums_shown: bool = True
    until_next: bool = False

    def roster(self, number: int) -> tuple[str, ...]:
        """Return the members that a roster names."""
        return self.rosters[number] if self.rosters else (*self.honest, *self.colluders)

    def named(self, number: int) -> frozenset[str]:
        """Return everybody whom a home with this newest roster knows."""
        return frozenset(name for n in range(number + 1) for name in self.roster(n))


class State(NamedTuple):
    """What everybody holds.

    Attributes:
        copies: the custodians that run.
        answers: all answers to hello, by institution and number.
        openings: in order.
        vectors: every first message of an honest institution: whose, its number among theirs, to
            what, the masked form; sorted, for which of two came first says nothing.
        opened: streams whose seeds were opened.
        replies: second messages: whose, to what, over which statements.
        choices: vectors of colluders: whose, to what, its number, and whether an answer to R could
            be read before it was chosen.
        backups: of homes.
        spent: kills, restores, clones and copies so far.
    """

    copies: tuple[Custodian, ...]
    answers: frozenset[tuple[str, int]] = frozenset()
    openings: tuple[Opening, ...] = ()
    vectors: tuple[tuple[str, int, Request, Form], ...] = ()
    opened: frozenset[Symbol] = frozenset()
    replies: frozenset[tuple[str, Request, Statements]] = frozenset()
    choices: frozenset[tuple[str, Request, int, bool]] = frozenset()
    backups: frozenset[tuple[str, Disk]] = frozenset()
    spent: tuple[int, int, int, int] = (0, 0, 0, 0)

    def seen(self, more: frozenset[Symbol] = frozenset()) -> tuple[Row, ...]:
        """Return what can be worked out of all vectors; `more` is known besides."""
        return views(tuple(form for *_, form in self.vectors), self.opened | more)

    def with_copy(self, index: int, copy: Custodian) -> "State":
        """Return it with one custodian replaced."""
        return self._replace(copies=(*self.copies[:index], copy, *self.copies[index + 1 :]))

    def copies_of(self, name: str) -> list[Custodian]:
        """Return the copies of an institution that run."""
        return [copy for copy in self.copies if copy.institution == name]


def stream(owner: str, vector: int) -> Symbol:
    """Return what a vector's seed opens."""
    return Symbol("stream", owner, (vector,))
