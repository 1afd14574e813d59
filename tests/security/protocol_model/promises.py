"""What no state may break: each promise says nothing, or what was broken."""

from tests.security.protocol_model.parties import Request, Statements
from tests.security.protocol_model.states import Bounds, State, stream
from tests.security.protocol_model.terms import Row, noise_views, reads_alone, requests_seen

Seen = tuple[Row, ...]


def broken_promise(bounds: Bounds, state: State) -> str:
    """Return the first promise that a state breaks; nothing where all hold."""
    seen = state.seen()
    of_views = (_lone_reply, _two_sets, _undebited, _forgotten)
    of_homes = (_rushed, _two_sums, _two_stories, _thief)
    words = (
        *(check(bounds, state, seen) for check in of_views),
        *(check(state) for check in of_homes),
    )
    return next(filter(None, words), "")


def _lone_reply(bounds: Bounds, _: State, seen: Seen) -> str:
    alone = any(reads_alone(seen, name) for name in bounds.honest)
    return "a sum of one institution" if alone else ""


def _two_sets(bounds: Bounds, _: State, seen: Seen) -> str:
    fixed = dict[tuple[str, int], tuple[str, ...]]()
    for name in bounds.honest:
        for request in requests_seen(seen, name):
            place = name, request.study
            if fixed.setdefault(place, request.participants) != request.participants:
                return "sums of two sets in one study"
    return ""


def _undebited(bounds: Bounds, state: State, seen: Seen) -> str:
    """Every view of an institution's noise is a request that it, a peer, or its witness knows."""
    debited = {request for copy in state.copies for request in copy.disk.debited}
    debited |= {request for name, request, _ in state.replies if name in bounds.witnesses}
    for name in bounds.honest:
        known = {request for request in debited if name in request.participants}
        if noise_views(seen, name) > len(known):
            return "a release without a debit"
    return ""


def _forgotten(bounds: Bounds, state: State, seen: Seen) -> str:
    """Who has agreed knows of everything of it that had been seen by then."""
    if any(not copy.due <= copy.disk.debited for copy in state.copies):
        return "a debit that a restored ledger lacks"
    if not bounds.until_next:
        return ""
    late = any(
        not requests_seen(seen, copy.institution) <= copy.disk.debited
        for copy in state.copies
        if copy.keys and len(state.copies_of(copy.institution)) == 1
    )
    return "a debit that a restored ledger lacks until it is told again" if late else ""


def _rushed(state: State) -> str:
    late = {(name, request, number) for name, request, number, rushed in state.choices if rushed}
    taken = (
        (name, request, number)
        for copy in state.copies
        for request, statements in copy.disk.accepted
        for name, number in statements
    )
    return "a vector chosen after the others were read" if late & set(taken) else ""


def _two_sums(state: State) -> str:
    found: dict[Request, Statements] = {}
    for copy in state.copies:
        for request, statements in copy.disk.accepted:
            if found.setdefault(request, statements) != statements:
                return "two sums of one request"
    return ""


def _two_stories(state: State) -> str:
    logs = [copy.disk.cosigned for copy in state.copies]
    same = all(a[: len(b)] == b[: len(a)] for a in logs for b in logs)
    return "" if same else "two co-signed stories"


def _thief(state: State) -> str:
    """Whoever copies one home, now, and has all vectors, reads nobody alone."""
    for copy in state.copies:
        own = copy.institution
        masks = {
            s
            for _, _, request, form in state.vectors
            if request.opening in copy.disk.keys
            for s, _ in form
            if s.kind == "mask" and own in s.owner.split("|")
        }
        streams = {stream(own, pending.vector) for pending in copy.disk.pending}
        if reads_alone(state.seen(frozenset(masks | streams)), own):
            return "a stolen home opens a reply"
    return ""
