"""The deployed engine: worker processes of this machine, each with some parts, asked over pipes.

Every worker is a fresh interpreter that inherits its parts' descriptors and two pipes and nothing
else of the custodian: no key, no ledger, no socket. A sum is a pure function of a part, so a worker
that died, or whose reply cannot be read, is ended, started again and asked again; only the finished
sum meets the door, where noise is drawn and the debit is written once (docs/design.md, "The door").
"""

import os
import subprocess
import sys
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Connection
from threading import Lock
from typing import BinaryIO, Final

from fieldfare.client.sums.partitions import AskedSum, Whole, added_up
from fieldfare.client.sums.worker_speech import WorkOrder, answer, ask
from fieldfare.shared.errors import RunError
from fieldfare.shared.study.study import Study
from fieldfare.shared.system.processes import child_environment, end_child

PROCESS: Final = "fieldfare.client.sums.worker_process"
MOST_DEATHS: Final = 3  # of a worker over one sum: more is no accident
GRACE_SECONDS: Final = 1.0


class LocalWorkers:
    """Parts that processes of this machine sum side by side; started at the first sum."""

    def __init__(
        self,
        study: Study,
        files: Sequence[BinaryIO],
        *,
        workers: int,
        memory: int,
        split: str = "",
        packages: Sequence[str] = (),
    ) -> None:
        """Take the parts' files, which are closed with this.

        Args:
            study: the public plan.
            files: of the parts, as `spill` wrote them; at least one.
            workers: processes, at most one for each part.
            memory: bytes that all of them together may keep beside mapped files.
            split: as of `RunSums`.
            packages: that a study's module may be imported from.
        """
        count = min(workers, len(files))
        text, room = study.canonical().decode(), memory // count
        self._workers = [
            _Worker(
                WorkOrder(
                    study=text,
                    split=split,
                    files={part: files[part].fileno() for part in range(first, len(files), count)},
                    memory=room,
                    packages=tuple(packages),
                ),
                threads=max(1, (os.cpu_count() or 1) // count),
            )
            for first in range(count)
        ]
        self._turn = Lock()
        self.close = weakref.finalize(self, _end, self._workers, list(files))

    def added(self, asked: AskedSum) -> Whole:
        """Return the sum over all parts.

        Raises:
            PolicyRefusal: as `RunSums.vector` and `RunSums.answers`.
            RunError: a worker died again and again.
        """
        with self._turn, ThreadPoolExecutor(len(self._workers)) as beside:
            return added_up(list(beside.map(lambda one: one.sum_of(asked), self._workers)))

    @property
    def processes(self) -> list[int]:
        """Process ids of the workers that run."""
        return [one.process.pid for one in self._workers if one.process is not None]


class _Worker:
    """One process and its parts."""

    def __init__(self, order: WorkOrder, threads: int) -> None:
        self._order, self._threads = order, threads
        self.process: subprocess.Popen[bytes] | None = None
        self._asking: Connection
        self._hearing: Connection

    def sum_of(self, asked: AskedSum) -> Whole:
        return added_up([self._part(part, asked) for part in self._order.files])

    def _part(self, part: int, asked: AskedSum) -> Whole:
        for _ in range(MOST_DEATHS):
            try:
                if self.process is None:
                    self._start()
                ask(self._asking, part, asked)
                return answer(self._hearing)
            except (EOFError, OSError):
                self.end()
        raise RunError(
            f"expected a worker that adds records up, found {MOST_DEATHS} in a row that died: look "
            "at the machine's memory, or give more to [partitions] in institution.toml"
        )

    def _start(self) -> None:
        theirs_in, asking = os.pipe()
        hearing, theirs_out = os.pipe()
        self._asking = Connection(asking, readable=False)
        self._hearing = Connection(hearing, writable=False)
        try:
            # Of its own session: what is typed at the terminal reaches the custodian alone.
            self.process = subprocess.Popen(  # noqa: S603 -- our own module, no shell
                [sys.executable, "-I", "-m", PROCESS, str(theirs_in), str(theirs_out)],
                env=child_environment() | {"OMP_NUM_THREADS": str(self._threads)},
                stdin=subprocess.PIPE,  # held open: a worker ends when it closes
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs_in, theirs_out, *self._order.files.values()),
                start_new_session=True,
            )
        except OSError as error:
            self._let_go()
            raise RunError(
                f"expected a worker to start, found: {error.strerror or error}; set workers = 1 "
                "under [partitions] in institution.toml to run without one"
            ) from None
        finally:
            os.close(theirs_in)
            os.close(theirs_out)
        self._asking.send_bytes(self._order.to_bytes())

    def end(self) -> None:
        """End the process, if one runs."""
        if self.process is None:
            return
        self._let_go()
        end_child(self.process, GRACE_SECONDS)
        self.process = None

    def _let_go(self) -> None:
        for pipe in (self._asking, self._hearing):
            with suppress(OSError):
                pipe.close()


def _end(workers: Sequence[_Worker], files: Sequence[BinaryIO]) -> None:
    for worker in workers:
        worker.end()
    for file in files:
        file.close()
