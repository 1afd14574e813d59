"""How much of a member's replies may wait for a run's server: a quota by node and run, pure.

A reply is announced with a tree of its pieces, and each piece may be as large as a message. What a
run's server has taken over is deleted and counts no longer; the rest stays until the run ends.
"""

from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

MOST_CROWDED: Final = 4096  # nodes in runs that are remembered; the longest unused is forgotten

Pieces = Collection[str]


@dataclass(frozen=True, kw_only=True)
class ReplyLimits:
    """How much one node may have waiting in one run.

    Attributes:
        pieces: of one reply: message, content, record.
        waiting_bytes: of all its replies that nobody has taken over.
        waiting_pieces: likewise; pieces without content cost a row.
    """

    pieces: int = 3
    waiting_bytes: int = 128 * 1024 * 1024
    waiting_pieces: int = 1024


class ReplyQuota:
    """Each node's waiting replies in each run."""

    def __init__(self, limits: ReplyLimits, left: Callable[[Pieces], Pieces]) -> None:
        """Begin without anything.

        Args:
            limits: of each node in each run.
            left: says which of these pieces have not been deleted.
        """
        self._limits, self._left = limits, left
        self._waiting: OrderedDict[tuple[int, int], dict[str, int]] = OrderedDict()

    def announce(self, node: int, run: int, pieces: Pieces) -> str:
        """Take note of a reply's pieces; returns why it is refused, or nothing."""
        if len(pieces) > self._limits.pieces:
            return f"expected a reply of at most {self._limits.pieces} pieces, found {len(pieces)}"
        return self._take(node, run, dict.fromkeys(pieces, 0))

    def push(self, node: int, run: int, piece: str, size: int) -> str:
        """Take note of a piece of so many bytes; returns why it is refused, or nothing."""
        return self._take(node, run, {piece: size})

    def _take(self, node: int, run: int, sizes: dict[str, int]) -> str:
        known = self._waiting.setdefault((node, run), {})
        self._waiting.move_to_end((node, run))
        while len(self._waiting) > MOST_CROWDED:
            self._waiting.popitem(last=False)
        problem = self._problem(known | sizes)
        if problem:
            for piece in set(known) - set(self._left(list(known))):
                del known[piece]
            problem = self._problem(known | sizes)
        if not problem:
            known |= {piece: max(size, known.get(piece, 0)) for piece, size in sizes.items()}
        return problem

    def _problem(self, sizes: dict[str, int]) -> str:
        limits, found = self._limits, sum(sizes.values())
        if found > limits.waiting_bytes:
            return f"expected at most {limits.waiting_bytes} bytes of replies in one run that wait"
        if len(sizes) > limits.waiting_pieces:
            return f"expected at most {limits.waiting_pieces} pieces in one run that wait"
        return ""
