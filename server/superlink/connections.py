"""Which connections of a public listener stay: counts and times, without a socket or a clock.

A connection is a stranger's until a request over it held a registered node's fresh signature.
Strangers share places by address, and the oldest goes for the newest: whoever asks at once gets its
answer, whoever holds on is in nobody's way. Nodes have places of their own, by key.
"""

import ipaddress
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Final

Peer = tuple[str, int]  # address and port, as the kernel tells them
Crowd = str | bytes  # who shares places: strangers of an address, or connections of a key

_V6_NETWORK: Final = 64  # bits: what one customer of a provider has at least (RFC 6177)


@dataclass(frozen=True, kw_only=True)
class ConnectionLimits:
    """How much of a listener one side can take.

    Attributes:
        of_address: strangers' connections of one address (IPv6: of one network of 64 bits).
        of_strangers: strangers' connections of all addresses.
        of_key: connections over which one node's key was shown.
        head_seconds: to agree on TLS; to send a request's head after that or after an answer.
        head_bytes: of one request's head.
        answer_seconds: that a stranger's request may take, until its answer was read.
    """

    of_address: int = 64
    of_strangers: int = 256
    of_key: int = 16
    head_seconds: float = 10.0
    head_bytes: int = 64 * 1024
    answer_seconds: float = 60.0


@dataclass(frozen=True)
class RequestState:
    """How far a connection is.

    Attributes:
        request: the present or the last one; any value that differs from one to the next.
        answering: whether its head is here and its answer is not read.
    """

    request: Hashable
    answering: bool


class Connections:
    """The connections that are open, strangers' and nodes'."""

    def __init__(self, limits: ConnectionLimits) -> None:
        """Begin with none."""
        self.limits = limits
        self._crowds: dict[Crowd, dict[Peer, None]] = {}  # the oldest of each first
        self._crowd_of: dict[Peer, Crowd] = {}
        self._since: dict[Peer, tuple[RequestState, float]] = {}

    def __len__(self) -> int:
        """Return how many are open."""
        return len(self._crowd_of)

    def enter(self, peer: Peer) -> Peer | None:
        """Take a stranger in; returns whom to hang up on for it, who is forgotten."""
        address = address_of(peer)
        self._join(peer, address)
        if len(self._crowds[address]) > self.limits.of_address:
            return self._oldest(address)
        strangers = {
            name: len(peers) for name, peers in self._crowds.items() if isinstance(name, str)
        }
        if sum(strangers.values()) > self.limits.of_strangers:
            return self._oldest(max(strangers, key=lambda name: strangers[name]))
        return None

    def vouch(self, peer: Peer, key: bytes) -> Peer | None:
        """Give a node's connection a node's place; returns whom to hang up on for it."""
        if peer not in self._crowd_of:
            return None
        self.leave(peer)
        self._join(peer, key)
        return self._oldest(key) if len(self._crowds[key]) > self.limits.of_key else None

    def is_vouched(self, peer: Peer) -> bool:
        """Tell whether a connection has a node's place."""
        return isinstance(self._crowd_of.get(peer), bytes)

    def leave(self, peer: Peer) -> None:
        """Forget a connection that is gone; one that is not known changes nothing."""
        self._since.pop(peer, None)
        crowd = self._crowd_of.pop(peer, None)
        if crowd is None:
            return
        del self._crowds[crowd][peer]
        if not self._crowds[crowd]:
            del self._crowds[crowd]

    def late(self, states: Mapping[Peer, RequestState], now: float) -> list[Peer]:
        """Return who has had the time that it may take; to be asked several times in that time.

        Args:
            states: of the connections that have agreed on TLS.
            now: seconds of a clock that does not go back.
        """
        found = []
        for peer, state in states.items():
            before, since = self._since.get(peer, (None, now))
            if before != state:
                self._since[peer] = (state, now)
            elif now - since >= self._patience(peer, state):
                found.append(peer)
        return found

    def _patience(self, peer: Peer, state: RequestState) -> float:
        if not state.answering:
            return self.limits.head_seconds
        return float("inf") if self.is_vouched(peer) else self.limits.answer_seconds

    def _join(self, peer: Peer, crowd: Crowd) -> None:
        self._crowds.setdefault(crowd, {})[peer] = None
        self._crowd_of[peer] = crowd

    def _oldest(self, crowd: Crowd) -> Peer:
        peer = next(iter(self._crowds[crowd]))
        self.leave(peer)
        return peer


def address_of(peer: Peer) -> str:
    """Return the unit of counting: an IPv4 address itself, or an IPv6 address's network."""
    try:
        found = ipaddress.IPv6Address(peer[0])
    except ValueError:
        return peer[0]
    return str(ipaddress.IPv6Network((int(found), _V6_NETWORK), strict=False))
