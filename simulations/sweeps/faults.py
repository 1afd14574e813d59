"""Institutions that leave and answers that are late, and what is said between all of them.

Time is simulated: waiting costs none, and nothing depends on how fast a machine is.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from flwr.app import Message
from flwr.clientapp import ClientApp

from fieldfare.shared.protocol.flower_record import RECORD, Call
from fieldfare.shared.protocol.plan import Plan
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
        leaves: before which of its questions of a sum a node leaves, for good; others stay.
        late: chance that a question of a sum is not answered before it is asked again.
        gone: nodes that have left.
    """

    leaves: Mapping[int, int]
    late: float
    generator: np.random.Generator
    gone: set[int] = field(default_factory=set)
    _asked: dict[int, set[bytes]] = field(default_factory=dict)

    @classmethod
    def of(
        cls, dropouts: float, stragglers: float, *, nodes: Collection[int], plan: Plan, seed: int
    ) -> "Faults":
        """Choose who leaves, and when: each before a question up to the last one of training.

        So many leave as the share says of all; what is left of a whole one is a chance.

        Args:
            dropouts: share of institutions that leave before training ends.
            stragglers: share of questions that are late.
            nodes: of all institutions.
            plan: of the study.
            seed: of all chance.
        """
        generator = np.random.default_rng([seed, _STREAM])
        left = int(dropouts * len(nodes) + generator.random())
        chosen = generator.choice(sorted(nodes), left, replace=False).tolist()
        moments = generator.integers(questions_of_training(plan), size=left).tolist()
        return cls(dict(zip(chosen, moments, strict=True)), stragglers, generator)

    def __call__(self, message: Message) -> bool:
        """Tell whether a message to a node is lost."""
        node = message.metadata.dst_node_id
        if message.metadata.message_type not in _OF_A_SUM or not (self.leaves or self.late):
            return node in self.gone
        asked, question = self._asked.setdefault(node, set()), _bytes_in(message)
        if node in self.gone or question in asked:
            return node in self.gone
        if self.leaves.get(node) == len(asked):
            self.gone.add(node)
        asked.add(question)
        return node in self.gone or bool(self.generator.random() < self.late)


def questions_of_training(plan: Plan) -> int:
    """Return how many questions of a sum each institution is asked up to the end of training."""
    last = plan.training.first_step
    before = sum(terms.steps for terms in plan.releases if terms.first_step < last)
    rehearsal, messages = 1, 2
    return messages * (rehearsal + before + plan.training.steps)


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
