"""The record of a hello without a run: each institution's answer to a study."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from fieldfare.server.record import NoRecord
from fieldfare.server.store import RunStore


@dataclass(frozen=True)
class HelloRecord(NoRecord):
    """Keeps answers to hello, by study.

    Attributes:
        store: the run store.
        study: the study's id.
        now: the present, with a time zone.
    """

    store: RunStore
    study: str
    now: Callable[[], datetime]

    def answered_hello(self, institution: str, text: str, approval: bytes) -> None:
        """Note what an institution says to the study, and its sealed approval if it gave one."""
        self.store.put_approval(self.study, institution, text, approval, self.now())
