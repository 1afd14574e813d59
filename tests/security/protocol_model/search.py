"""Everything that a coordinator and its colluders can do, tried in every order within bounds.

The coordinator carries all messages: it may repeat, hold back, mix and answer late; it chooses who
takes part, and for its colluders it has all keys. Custodians follow their rules; they may be
killed, restored from a backup, or run twice. A state in which a promise is broken ends the search.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

from tests.security.protocol_model.parties import (
    Custodian,
    Disk,
    Opening,
    Request,
    Rules,
    Statements,
)
from tests.security.protocol_model.terms import (
    PRIME,
    Form,
    Row,
    Symbol,
    noise_views,
    reads_alone,
    requests_seen,
    views,
)


@dataclass(frozen=True)
class Bounds:
    """What a search covers.

    Attributes:
        honest: institutions that follow the rules.
        colluders: institutions whose keys the coordinator has.
        unknown: colluders whose keys nobody compared.
        sets: the sets of participants that the coordinator may ask for.
        tolerance: t.
        openings: how many in all; runs: in how many runs.
        steps: of each run; attempts: at each step.
        choices: different vectors that a colluder signs for one request.
        restarts: kills of custodians.
        restores: homes replaced by a backup; clones: second copies started from a backup.
        copies_of_memory: second copies of a running custodian, memory included.
        heads: the coordinator also has heads co-signed, true and forged.
    """

    honest: tuple[str, ...]
    colluders: tuple[str, ...]
    sets: tuple[tuple[str, ...], ...]
    unknown: tuple[str, ...] = ()
    tolerance: int = 1
    openings: int = 1
    runs: int = 1
    steps: int = 1
    attempts: int = 1
    choices: int = 1
    restarts: int = 0
    restores: int = 0
    clones: int = 0
    copies_of_memory: int = 0
    heads: bool = False


@dataclass(frozen=True)
class State:
    """What everybody holds.

    Attributes:
        copies: the custodians that run.
        answers: all answers to hello, by institution and number.
        openings: in order.
        vectors: every first message of an honest institution: whose, to what, the masked form.
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
    vectors: tuple[tuple[str, Request, Form], ...] = ()
    opened: frozenset[Symbol] = frozenset()
    replies: frozenset[tuple[str, Request, Statements]] = frozenset()
    choices: frozenset[tuple[str, Request, int, bool]] = frozenset()
    backups: frozenset[tuple[str, Disk]] = frozenset()
    spent: tuple[int, int, int, int] = (0, 0, 0, 0)

    def seen(self, more: frozenset[Symbol] = frozenset()) -> tuple[Row, ...]:
        """Return what can be worked out of all vectors; `more` is known besides."""
        return views(tuple(form for _, _, form in self.vectors), self.opened | more)

    def with_copy(self, index: int, copy: Custodian) -> "State":
        """Return it with one custodian replaced."""
        return replace(self, copies=(*self.copies[:index], copy, *self.copies[index + 1 :]))


def _stream(vector: int) -> Symbol:
    return Symbol("stream", "", (vector,))


def _mask(pair: tuple[str, str], request: Request) -> Symbol:
    return Symbol("mask", "|".join(pair), (request,))


@dataclass(frozen=True)
class Search:
    """All moves of the other side, and the promises that no state may break."""

    rules: Rules
    bounds: Bounds

    # -- moves --------------------------------------------------------------------------

    def start(self) -> State:
        """Return the state before anything was sent."""
        return State(tuple(Custodian(name) for name in self.bounds.honest))

    def moves(self, state: State) -> Iterator[tuple[str, State]]:
        """Yield every possible next state with what leads to it."""
        for index, copy in enumerate(state.copies):
            yield from self._hello(state, index, copy)
            yield from self._agree(state, index, copy)
            yield from self._answer(state, index, copy)
            yield from self._open(state, index, copy)
            yield from self._accept(state, index, copy)
            yield from self._cosign(state, index, copy)
            yield from self._faults(state, index, copy)
        yield from self._openings(state)
        yield from self._choose(state)

    def _hello(self, state: State, index: int, copy: Custodian) -> Iterator[tuple[str, State]]:
        if copy.answer is not None or len(state.openings) >= self.bounds.openings:
            return
        given = sum(name == copy.institution for name, _ in state.answers)
        number = given if self.rules.keys_in_memory else 0  # an approval's keys stayed the same
        after = state.with_copy(index, replace(copy, answer=number))
        answers = state.answers | {(copy.institution, number)}
        yield f"{copy.institution} answers hello", replace(after, answers=answers)

    def _openings(self, state: State) -> Iterator[tuple[str, State]]:
        if len(state.openings) >= self.bounds.openings:
            return
        begun = {opening.run for opening in state.openings}
        runs = range(min(len(begun) + 1, self.bounds.runs))
        for run, names in product(runs, self.bounds.sets):
            given = [
                [(n, 0)] if n in self.bounds.colluders else [a for a in state.answers if a[0] == n]
                for n in names
            ]
            for answers in product(*given):
                opening = Opening(len(state.openings), run, answers)
                yield f"opening {names}", replace(state, openings=(*state.openings, opening))

    def _agree(self, state: State, index: int, copy: Custodian) -> Iterator[tuple[str, State]]:
        verified = frozenset((*self.bounds.honest, *self.bounds.colluders)) - {*self.bounds.unknown}
        for opening in state.openings:
            if not copy.may_agree(self.rules, opening, verified, self.bounds.tolerance):
                continue
            peers = [self._offering(state, opening, n, i) for n, i in opening.answers]
            if any(peer is None for peer in peers):
                continue  # an offer is missing: nobody can sign it for them
            told = frozenset(
                request
                for peer in peers
                if peer is not None and peer.institution not in ("", copy.institution)
                for request in peer.disk.debited
                if copy.institution in request.participants
            )
            seen = requests_seen(state.seen(), copy.institution)
            after = copy.agreed(self.rules, opening, told, seen)
            yield f"{copy.institution} agrees", state.with_copy(index, after)

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
                    number = len(state.vectors)
                    sent = (copy.institution, request, self._form(copy, request, number))
                    after = state.with_copy(index, copy.answered(self.rules, request, number))
                    yield (
                        f"{copy.institution} answers {request.place} of {names}",
                        replace(after, vectors=(*state.vectors, sent)),
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
            form[_stream(number)] = 1
        return tuple(sorted(form.items()))

    def _choose(self, state: State) -> Iterator[tuple[str, State]]:
        for request in {request for _, request, _ in state.vectors}:
            for name in set(request.participants) & set(self.bounds.colluders):
                made = [c for c in state.choices if c[:2] == (name, request)]
                if len(made) < self.bounds.choices:
                    rushed = any(
                        request in requests_seen(state.seen(), h) for h in self.bounds.honest
                    )
                    choice = (name, request, len(made), rushed)
                    yield (
                        f"{name} chooses its vector",
                        replace(state, choices=state.choices | {choice}),
                    )

    def _all_statements(self, state: State, request: Request) -> Iterator[Statements]:
        """Yield every way to name one vector for each participant of R."""
        options = [
            [n for n, (who, to, _) in enumerate(state.vectors) if (who, to) == (name, request)]
            if name in self.bounds.honest
            else [number for who, to, number, _ in state.choices if (who, to) == (name, request)]
            for name in request.participants
        ]
        for numbers in product(*options):
            yield tuple(zip(request.participants, numbers, strict=True))

    def _open(self, state: State, index: int, copy: Custodian) -> Iterator[tuple[str, State]]:
        for pending in copy.disk.pending:
            for statements in self._all_statements(state, pending.request):
                if not copy.may_open(self.rules, pending, statements):
                    continue
                reply = (copy.institution, pending.request, statements)
                after = state.with_copy(index, copy.opened(pending, statements))
                yield (
                    f"{copy.institution} opens",
                    replace(
                        after,
                        opened=state.opened | {_stream(pending.vector)},
                        replies=state.replies | {reply},
                    ),
                )

    def _accept(self, state: State, index: int, copy: Custodian) -> Iterator[tuple[str, State]]:
        done = dict(copy.disk.accepted)
        for request in {r for who, r, _ in state.vectors if who == copy.institution} - set(done):
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
        if kills < bounds.restarts and copy != copy.started_again():
            after = state.with_copy(index, copy.started_again())
            yield (
                f"{copy.institution} is killed",
                replace(after, spent=(kills + 1, restores, clones, doubles)),
            )
        wanted = bounds.restores + bounds.clones
        if len(state.backups) < wanted:
            kept = state.backups | {(copy.institution, copy.disk)}
            if kept != state.backups:
                yield f"{copy.institution} is backed up", replace(state, backups=kept)
        for name, disk in state.backups:
            if name != copy.institution:
                continue
            if restores < bounds.restores:
                after = state.with_copy(index, copy.started_again(disk))
                yield (
                    f"{name} is restored",
                    replace(after, spent=(kills, restores + 1, clones, doubles)),
                )
            if clones < bounds.clones:
                second = replace(state, copies=(*state.copies, copy.started_again(disk)))
                yield (
                    f"{name} is cloned",
                    replace(second, spent=(kills, restores, clones + 1, doubles)),
                )
        if doubles < bounds.copies_of_memory and copy.keys:
            second = replace(state, copies=(*state.copies, copy))
            yield (
                f"{copy.institution} is copied with its memory",
                replace(second, spent=(kills, restores, clones, doubles + 1)),
            )

    # -- promises -----------------------------------------------------------------------

    def broken(self, state: State) -> str:
        """Return the first promise that a state breaks; nothing where all hold."""
        checks = (
            self._lone_reply,
            self._undebited,
            self._forgotten,
            self._rushed,
            self._two_sums,
            self._two_stories,
            self._thief,
        )
        return next((word for check in checks if (word := check(state))), "")

    def _lone_reply(self, state: State) -> str:
        seen = state.seen()
        alone = any(reads_alone(seen, name) for name in self.bounds.honest)
        return "a sum of one institution" if alone else ""

    def _undebited(self, state: State) -> str:
        """Every view of an institution's noise is a request that it, or an honest peer, knows."""
        seen = state.seen()
        debited = {request for copy in state.copies for request in copy.disk.debited}
        for name in self.bounds.honest:
            known = {request for request in debited if name in request.participants}
            if noise_views(seen, name) > len(known):
                return "a release without a debit"
        return ""

    def _forgotten(self, state: State) -> str:
        """Who has agreed knows of everything of it that had been seen by then."""
        forgot = any(not copy.due <= copy.disk.debited for copy in state.copies)
        return "a debit that a restored ledger lacks" if forgot else ""

    def _rushed(self, state: State) -> str:
        late = {
            (name, request, number) for name, request, number, rushed in state.choices if rushed
        }
        taken = (
            (name, request, number)
            for copy in state.copies
            for request, statements in copy.disk.accepted
            for name, number in statements
        )
        return "a vector chosen after the others were read" if late & set(taken) else ""

    def _two_sums(self, state: State) -> str:
        found: dict[Request, Statements] = {}
        for copy in state.copies:
            for request, statements in copy.disk.accepted:
                if found.setdefault(request, statements) != statements:
                    return "two sums of one request"
        return ""

    def _two_stories(self, state: State) -> str:
        logs = [copy.disk.cosigned for copy in state.copies]
        same = all(a[: len(b)] == b[: len(a)] for a in logs for b in logs)
        return "" if same else "two co-signed stories"

    def _thief(self, state: State) -> str:
        """Whoever copies one home, now, and has all vectors, reads nobody alone."""
        for copy in state.copies:
            own = copy.institution
            masks = {
                s
                for _, request, form in state.vectors
                if request.opening in copy.disk.keys
                for s, _ in form
                if s.kind == "mask" and own in s.owner.split("|")
            }
            streams = {_stream(pending.vector) for pending in copy.disk.pending}
            if reads_alone(state.seen(frozenset(masks | streams)), own):
                return "a stolen home opens a reply"
        return ""


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
        broken = search.broken(state)
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
