"""Institutions that leave and answers that are late, and what is said between all of them.

Time is simulated: waiting costs none, and nothing depends on how fast a machine is.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from flwr.app import Message
from flwr.clientapp import ClientApp

from fieldfare.shared.protocol.flower_record import RECORD, Call
from fieldfare.simulations.federation.grid import SERVER_NODE, InProcessGrid

_STREAM: Final = 2**19  # far from those that deal rows and draw noise
_OF_A_SUM: Final = frozenset({Call.RELEASE.message_type, Call.REVEAL.message_type})


@dataclass
class SimulatedTime:
    """A clock that goes on when somebody waits.

    Attributes:
        now: seconds.
    """

    now: float = 0.0

    def monotonic(self) -> float:
        """Return the time, in seconds."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


@dataclass
class Faults:
    """Decides which questions are lost, from a seed; for `InProcessGrid`.

    Attributes:
        leaves: chance that an institution leaves before a question of a sum, for good.
        late: chance that a question of a sum is not answered before it is asked again.
        gone: nodes that have left.
    """

    leaves: float
    late: float
    generator: np.random.Generator
    gone: set[int] = field(default_factory=set)
    _asked: set[tuple[int, bytes]] = field(default_factory=set)

    @classmethod
    def of(cls, dropouts: float, stragglers: float, *, steps: int, seed: int) -> "Faults":
        """Spread drop-outs over a training.

        Args:
            dropouts: share of institutions that leave before it ends; a step has two questions.
            stragglers: share of questions that are late.
            steps: of training.
            seed: of all chance.
        """
        leaves = 1 - (1 - dropouts) ** (1 / (2 * steps))
        return cls(leaves, stragglers, np.random.default_rng([seed, _STREAM]))

    def __call__(self, message: Message) -> bool:
        """Tell whether a message to a node is lost."""
        node = message.metadata.dst_node_id
        if message.metadata.message_type not in _OF_A_SUM or not (self.leaves or self.late):
            return node in self.gone
        question = (node, _bytes_in(message))
        if node in self.gone or question in self._asked:
            return node in self.gone
        self._asked.add(question)
        left, late = self.generator.random(2)
        if left < self.leaves:
            self.gone.add(node)
        return node in self.gone or bool(late < self.late)


def _bytes_in(message: Message) -> bytes:
    record: Any = message.content[RECORD]
    return b"".join(part for value in record.values() for part in _parts(value))


def _parts(value: bytes | list[bytes]) -> Iterable[bytes]:
    return (value,) if isinstance(value, bytes) else value


class CountedGrid(InProcessGrid):
    """An in-process Grid that counts what passes.

    Attributes:
        rounds: times that the coordinator asked, repeated questions included.
        down, up: bytes of contents to institutions and from them, without a transport's own.
    """

    def __init__(self, app: ClientApp, institutions: Mapping[str, int], faults: Faults) -> None:
        """Connect nodes to `app`; `faults` loses messages."""
        super().__init__(app, institutions, drop=faults, tap=self._count)
        self.rounds = self.down = self.up = 0

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Deliver messages at once, and count one round."""
        self.rounds += 1
        return super().push_messages(messages)

    def _count(self, message: Message) -> None:
        size = len(_bytes_in(message)) if message.has_content() else 0
        if message.metadata.dst_node_id == SERVER_NODE:
            self.up += size
        else:
            self.down += size
