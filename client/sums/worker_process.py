"""The process that sums some parts for a custodian, which started it; it ends with its parent.

A fresh interpreter that was handed parts' descriptors and two pipes: no key, no ledger and no
socket was ever in its memory. It is asked for sums of a closed choice, and executes nothing else.
"""

import json
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from fieldfare.client.sums.partitions import AskedSum, Whole, part_sum
from fieldfare.client.sums.spilled import mapped
from fieldfare.client.sums.study_sums import StudySums
from fieldfare.client.sums.worker_speech import Refusal, WorkOrder, hear, reply
from fieldfare.shared.errors import PolicyRefusal, ProtocolError
from fieldfare.shared.study.allowed_packages import permit
from fieldfare.shared.study.study import Study
from fieldfare.shared.system.memory import keep_out_of_dumps
from fieldfare.shared.system.processes import end_with_parent

_STATUS: Final = Path("/proc/self/status")
_KIB: Final = 1024


class PartWork:
    """Parts, prepared where there is room, and prepared anew where there is none."""

    def __init__(self, order: WorkOrder) -> None:
        """Begin with nothing prepared."""
        self._order = order
        self._study = Study.model_validate(json.loads(order.study))
        self._prepared: dict[int, StudySums] = {}

    def sum_of(self, part: int, asked: AskedSum) -> Whole | Refusal:
        """Return one part's sum, or the refusal that it came to."""
        sums = self._prepared.get(part) or mapped(self._order.files[part]).sums(
            self._study, self._order.split
        )
        try:
            found = part_sum(sums, asked)
        except (PolicyRefusal, ProtocolError) as refusal:
            return refusal
        self._prepared[part] = sums
        if own_bytes() > self._order.memory:
            self._prepared.clear()
        return found


def own_bytes() -> int:
    """Return how many bytes of memory this process holds that no file backs."""
    rows = (line.split() for line in _STATUS.read_text().splitlines())
    return next(int(row[1]) * _KIB for row in rows if row[0] == "RssAnon:")


def _tell_type(kind: type[BaseException], error: BaseException, trace: object) -> None:
    """Name a defect's type alone, as the custodian does: a text may quote what was summed."""
    del error, trace
    sys.stderr.write(f"a worker that adds records up failed: {kind.__name__}\n")


def main(arguments: Sequence[str]) -> int:
    """Answer at two descriptors until they close."""
    sys.excepthook = _tell_type
    keep_out_of_dumps()
    end_with_parent(0.0)
    hearing = Connection(int(arguments[0]), writable=False)
    telling = Connection(int(arguments[1]), readable=False)
    try:
        order = WorkOrder.from_bytes(hearing.recv_bytes())
        permit(order.packages)
        work = PartWork(order)
        while True:
            reply(telling, work.sum_of(*hear(hearing)))
    except (EOFError, BrokenPipeError):
        return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
