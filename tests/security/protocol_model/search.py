"""Everything that a coordinator and its colluders can do, tried in every order within bounds.

The coordinator carries all messages: it may repeat, hold back, mix and answer late; it chooses who
takes part, and for its colluders it has all keys. Custodians follow their rules; they may be
killed, restored from a backup, or run twice. A state in which a promise is broken ends the search.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations, product

from tests.security.protocol_model.parties import (
    Custodian,
    Disk,
    Opening,
    Request,
    Rules,
    Statements,
)
from tests.security.protocol_model.promises import broken_promise
from tests.security.protocol_model.states import Bounds, State, stream
from tests.security.protocol_model.terms import PRIME, Form, Symbol, requests_seen


def _mask(pair: tuple[str, str], request: Request) -> Symbol:
    return Symbol("mask", "|".join(pair), (request,))


@dataclass(frozen=True)
class Search:
    """All moves of the other side."""

    rules: Rules
    bounds: Bounds

    # -- moves --------------------------------------------------------------------------

    def start(self) -> State:
        """Return the state before anything was sent."""
        newest = max(len(self.bounds.rosters) - 1, 0)
        rosters = dict.fromkeys(self.bounds.confirmed, newest)
        return State(
            tuple(Custodian(name, Disk(roster=rosters.get(name, 0))) for name in self.bounds.honest)
        )

    def moves(self, state: State) -> Iterator[tuple[str, State]]:
        """Yield every possible next state with what leads to it."""
        for index, copy in enumerate(state.copies):
            yield from self._confirm(state, index, copy)
            yield from self._ask(state, index, copy)
            yield from self._hello(state, index, copy)
            yield from self._agree(state, index, copy)
            yield from self._answer(state, index, copy)
            yield from self._open(state, index, copy)
            yield from self._cosign(state, index, copy)
            yield from self._faults(state, index, copy)
        yield from self._openings(state)
        yield from self._choose(state)
        for index, copy in enumerate(state.copies):
            yield from self._accept(state, index, copy)

    def _confirm(self, state: State, index: int, copy: Custodian) -> Iterator[tuple[str, State]]:
        disk = copy.disk._replace(roster=copy.disk.roster + 1)
        if disk.roster < len(self.bounds.rosters):
            after = state.with_copy(index, copy._replace(disk=disk))
            yield f"{copy.institution} confirms roster {disk.roster}", after

    def _ask(self, state: State, index: int, copy: Custodian) -> Iterator[tuple[str, State]]:
        if copy.heard or not self.rules.everyone_asked:
            return
        own = copy.institution
        if own in self.bounds.witnesses:
            left = {request for name, request, _ in state.replies if name == own}
            if left <= copy.disk.debited:
                yield f"{own} asks its witness", state.with_copy(index, copy.has_heard(frozenset()))
            return
        for peers in self._answerers(state, copy):
            told, shown = set[Request](), set[Request]()
            for peer in peers:
                waiting = peer.waits_with(own) if self.rules.waiting_told else frozenset()
                told |= peer.remembers(own) | waiting
                shown |= peer.saw(own)
            if shown <= copy.disk.debited:
                names = "".join(sorted(peer.institution for peer in peers))
                after = state.with_copy(index, copy.has_heard(frozenset(told)))
                yield f"{own} is told by {names or 'nobody'} what it did", after

    def _answerers(self, state: State, copy: Custodian) -> Iterator[tuple[Custodian, ...]]:
        """Yield the honest copies that may be all who answer; a colluder remembers nothing."""
        others = [name for name in self.bounds.honest if name != copy.institution]
        lost = [set(some) for n in range(self.rules.absent + 1) for some in combinations(others, n)]
        running = product(*(state.copies_of(name) for name in others))
        for absent, peers in product(lost, running):
            there = [peer for peer in peers if peer.institution not in absent]
            asked, more = frozenset[str](), self.bounds.named(copy.disk.roster)
            while more - asked:
                asked |= more
                rosters = [p.disk.roster for p in there if p.institution in asked]
                if self.rules.rosters_told:
                    more = frozenset(n for roster in rosters for n in self.bounds.roster(roster))
            yield tuple(peer for peer in there if peer.institution in asked)

    def _hello(self, state: State, index: int, copy: Custodian) -> Iterator[tuple[str, State]]:
        if copy.answer is not None or len(state.openings) >= self.bounds.openings:
            return
        if self.rules.everyone_asked and not copy.heard:
            return  # no offer of its keys would follow
        given = sum(name == copy.institution for name, _ in state.answers)
        number = given if self.rules.keys_in_memory else 0  # an approval's keys stayed the same
        after = state.with_copy(index, copy._replace(answer=number))
        answers = state.answers | {(copy.institution, number)}
        yield f"{copy.institution} answers hello", after._replace(answers=answers)

    def _openings(self, state: State) -> Iterator[tuple[str, State]]:
        if len(state.openings) >= self.bounds.openings:
            return
        for (run, study), names in product(self._runs(state), self.bounds.sets):
            given = [
                [(n, 0)] if n in self.bounds.colluders else [a for a in state.answers if a[0] == n]
                for n in names
            ]
            for answers in product(*given):
                opening = Opening(len(state.openings), run, study, answers)
                yield (
                    f"opening {names} of run {run}, study {study}",
                    state._replace(openings=(*state.openings, opening)),
                )

    def _runs(self, state: State) -> list[tuple[int, int]]:
        """Return the runs that there are and one more, of each study that there is and one more."""
        begun = {opening.run: opening.study for opening in state.openings}
        studies = range(min(len(set(begun.values())) + 1, self.bounds.studies))
        more = [(len(begun), study) for study in studies]
        return [*begun.items(), *more] if len(begun) < self.bounds.runs else [*begun.items()]

    def _agree(self, state: State, index: int, copy: Custodian) -> Iterator[tuple[str, State]]:
        verified = frozenset((*self.bounds.honest, *self.bounds.colluders)) - {*self.bounds.unknown}
        for opening in state.openings:
            listed = set(opening.participants) <= set(self.bounds.roster(copy.disk.roster))
            if not listed or not copy.may_agree(
                self.rules, opening, verified, self.bounds.tolerance
            ):
                continue
            peers = [self._offering(state, opening, n, i) for n, i in opening.answers]
            if any(peer is None for peer in peers):
                continue  # an offer is missing: nobody can sign it for them
            told, shown = self._lists(copy, opening, peers)
            if self.rules.peers_tell and self._is_behind(copy, opening, shown):
                continue
            seen = requests_seen(state.seen(), copy.institution)
            after = copy.agreed(self.rules, opening, told, seen)
            yield f"{copy.institution} agrees", state.with_copy(index, after)

    def _is_behind(self, copy: Custodian, opening: Opening, shown: frozenset[Request]) -> bool:
        lacks = shown - copy.disk.debited
        return any(self.rules.over_studies or r.study == opening.study for r in lacks)

    def _lists(
        self, copy: Custodian, opening: Opening, peers: Iterable[Custodian | None]
    ) -> tuple[frozenset[Request], frozenset[Request]]:
        """Return what the other offers list of a custodian: its requests, and its own replies."""
        own, told, shown = copy.institution, set[Request](), set[Request]()
        for peer in peers:
            if peer is not None and peer.institution not in ("", own):
                told |= peer.remembers(own, opening.study)
                shown |= peer.saw(own)
        return frozenset(told), frozenset(shown)

    def _offering(self, state: State, opening: Opening, name: str, answer: int) -> Custodian | None:
        """Return the copy that signs a participant's offer; an empty one for a colluder."""
        if name in self.bounds.colluders:
            return Custodian("")
        for copy in state.copies:
            current = copy.answer == answer or copy.has_keys(opening)
            if copy.institution == name and current:
                return copy
        return None

    def _answer(self, state: State, index: int, copy: Custodian) -> Iterator[tuple[str, State]]:
        for opening in state.openings:
            if not copy.has_keys(opening):
                continue
            places = product(range(self.bounds.steps), range(self.bounds.attempts))
            for (step, attempt), names in product(places, self.bounds.sets):
                request = Request(opening, step, attempt, names)
                known = set(names) <= set(opening.participants)
                if known and copy.may_answer(self.rules, request, self.bounds.tolerance):
                    number = sum(who == copy.institution for who, *_ in state.vectors)
                    form = self._form(copy, request, number)
                    sent = (copy.institution, number, request, form)
                    after = state.with_copy(index, copy.answered(self.rules, request, number))
                    yield (
                        f"{copy.institution} answers {request.place} of {names}",
                        after._replace(vectors=tuple(sorted((*state.vectors, sent)))),
                    )

    def _form(self, copy: Custodian, request: Request, number: int) -> Form:
        own = copy.institution
        form = {
            Symbol("signal", own, (request.step,)): 1,
            Symbol("noise", own, (request, number)): 1,
        }
        for peer in set(request.participants) - {own, *self.bounds.colluders}:
            low, high = sorted((own, peer))
            form[_mask((low, high), request)] = 1 if own == low else PRIME - 1
        if self.rules.commit_first:
            form[stream(own, number)] = 1
        return tuple(sorted(form.items()))

    def _choose(self, state: State) -> Iterator[tuple[str, State]]:
        for request in {request for _, _, request, _ in state.vectors}:
            for name in set(request.participants) & set(self.bounds.colluders):
                made = [c for c in state.choices if c[:2] == (name, request)]
                if len(made) < self.bounds.choices:
                    rushed = any(
                        request in requests_seen(state.seen(), h) for h in self.bounds.honest
                    )
                    choice = (name, request, len(made), rushed)
                    yield (
                        f"{name} chooses its vector",
                        state._replace(choices=state.choices | {choice}),
                    )

    def _all_statements(self, state: State, request: Request) -> Iterator[Statements]:
        """Yield every way to name one vector for each participant of R."""
        options = [
            [number for who, number, to, _ in state.vectors if (who, to) == (name, request)]
            if name in self.bounds.honest
            else [number for who, to, number, _ in state.choices if (who, to) == (name, request)]
            for name in request.participants
        ]
        for numbers in product(*options):
            yield tuple(zip(request.participants, numbers, strict=True))

    def _open(self, state: State, index: int, copy: Custodian) -> Iterator[tuple[str, State]]:
        if self.rules.everyone_asked and self.rules.asks_before_opening and not copy.heard:
            return
        for pending in copy.disk.pending:
            for statements in self._all_statements(state, pending.request):
                if not copy.may_open(self.rules, pending, statements):
                    continue
                reply = (copy.institution, pending.request, statements)
                after = state.with_copy(index, copy.opened(pending, statements))
                yield (
                    f"{copy.institution} opens",
                    after._replace(
                        opened=state.opened | {stream(copy.institution, pending.vector)},
                        replies=state.replies | {reply},
                    ),
                )

    def _accept(self, state: State, index: int, copy: Custodian) -> Iterator[tuple[str, State]]:
        if not self.bounds.sums_shown:
            return
        done = dict(copy.disk.accepted)
        for request in {r for who, _, r, _ in state.vectors if who == copy.institution} - set(done):
            for statements in self._all_statements(state, request):
                whole = not self.rules.commit_first or all(
                    (name, request, statements) in state.replies
                    for name in request.participants
                    if name in self.bounds.honest
                )
                if whole:
                    after = copy.accepted(request, statements)
                    yield f"{copy.institution} takes the sum", state.with_copy(index, after)

    def _cosign(self, state: State, index: int, copy: Custodian) -> Iterator[tuple[str, State]]:
        if not self.bounds.heads:
            return
        for log in {copy.disk.accepted, ("forged",)}:
            if copy.may_cosign(self.rules, log):
                yield f"{copy.institution} co-signs", state.with_copy(index, copy.cosigned(log))

    def _faults(self, state: State, index: int, copy: Custodian) -> Iterator[tuple[str, State]]:
        kills, restores, clones, doubles = state.spent
        bounds = self.bounds
        if bounds.faulty and copy.institution not in bounds.faulty:
            return
        if kills < bounds.restarts and copy != copy.started_again():
            after = state.with_copy(index, copy.started_again())
            yield (
                f"{copy.institution} is killed",
                after._replace(spent=(kills + 1, restores, clones, doubles)),
            )
        wanted = bounds.restores + bounds.clones
        sole = all(other.heard for other in state.copies) or not bounds.one_at_a_time
        if len(state.backups) < wanted:
            kept = state.backups | {(copy.institution, copy.disk)}
            if kept != state.backups:
                yield f"{copy.institution} is backed up", state._replace(backups=kept)
        for name, disk in state.backups:
            if name != copy.institution:
                continue
            if restores < bounds.restores and sole:
                after = state.with_copy(index, copy.started_again(disk))
                yield (
                    f"{name} is restored",
                    after._replace(spent=(kills, restores + 1, clones, doubles)),
                )
            if clones < bounds.clones:
                second = state._replace(copies=(*state.copies, copy.started_again(disk)))
                yield (
                    f"{name} is cloned",
                    second._replace(spent=(kills, restores, clones + 1, doubles)),
                )
        if doubles < bounds.copies_of_memory and copy.keys:
            second = state._replace(copies=(*state.copies, copy))
            yield (
                f"{copy.institution} is copied with its memory",
                second._replace(spent=(kills, restores, clones, doubles + 1)),
            )


@dataclass(frozen=True)
class Found:
    """What a search came to.

    Attributes:
        broken: the promise that was broken; nothing where every state was visited and none was.
        trace: the moves that led there.
        states: how many were visited.
    """

    broken: str
    trace: tuple[str, ...] = ()
    states: int = 0


def explore(
    rules: Rules,
    bounds: Bounds,
    promise: str = "",
    *,
    deep: bool = False,
    most: int = 3_000_000,
) -> Found:
    """Visit every state within the bounds.

    Breadth first, so that a trace that is found is a shortest one; `deep` goes down first: it finds
    a trace sooner, and a longer one. Both visit the same states where there is nothing to find.

    Args:
        rules: what honest parties do.
        bounds: what the other side may do.
        promise: the one to look for; any, if none is named.
        deep: go down first.
        most: states, beyond which the search gives up.

    Raises:
        OverflowError: more states than `most`: nothing is shown.
    """
    search = Search(rules, bounds)
    first = search.start()
    came_from: dict[State, tuple[State | None, str]] = {first: (None, "")}
    queue = deque([first])
    while queue:
        state = queue.pop() if deep else queue.popleft()
        broken = broken_promise(bounds, state)
        if broken and promise in ("", broken):
            return Found(broken, _trace(came_from, state), len(came_from))
        for move, after in search.moves(state):
            if after not in came_from:
                came_from[after] = (state, move)
                queue.append(after)
        if len(came_from) > most:
            raise OverflowError(f"expected at most {most} states, found more")
    return Found("", (), len(came_from))


def _trace(came_from: dict[State, tuple[State | None, str]], last: State) -> tuple[str, ...]:
    moves: list[str] = []
    state: State | None = last
    while state is not None:
        state, move = came_from[state]
        moves.append(move)
    return tuple(reversed(moves[:-1]))
