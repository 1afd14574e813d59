"""Work on a second core while this process goes on: plain functions of their arguments.

Who computes a result changes no byte of it. Where there is one core, this process does all.
"""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from typing import Any, Final, TypeVar

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

T = TypeVar("T")

CORES: Final = 2


class SideProcess:
    """One further process, or none."""

    def __init__(self, pool: ProcessPoolExecutor | None = None) -> None:
        """Take the further process; without it everything is done here."""
        self._pool = pool

    def begin(self, function: Callable[..., T], *arguments: Any) -> Callable[[], T]:
        """Return what gives the function's result; until then it may be under way."""
        if self._pool is None:
            return lambda: function(*arguments)
        return self._pool.submit(_called, _packed(function), _packed(arguments)).result

    def share(
        self,
        function: Callable[..., T],
        each: Sequence[tuple[Any, ...]],
        said: Callable[[int], None] = lambda _: None,
    ) -> list[T]:
        """Return a function's result for each tuple of arguments; the last ones come from beside.

        Args:
            function: of the arguments alone.
            each: its arguments; what takes longest should stand first.
            said: told the place of each before it is computed here or waited for.
        """
        return self.begin_each(function, each)(said)

    def begin_each(
        self, function: Callable[..., T], each: Sequence[tuple[Any, ...]]
    ) -> Callable[..., list[T]]:
        """Begin beside, with the last ones; what gives the results computes the others here.

        Args:
            function: of the arguments alone.
            each: its arguments.
        """
        pool = self._pool
        packed = _packed(function) if pool else b""
        begun = (
            [pool.submit(_called, packed, _packed(one)) for one in reversed(each)] if pool else []
        )

        def gather(said: Callable[[int], None] = lambda _: None) -> list[T]:
            """Return all results; told the place of each."""
            found = []
            for place, one in enumerate(each):
                said(place)
                mine = not begun or _taken_back(begun[-1 - place])
                found.append(function(*one) if mine else begun[-1 - place].result())
            return found

        return gather


ALONE: Final = SideProcess()


@contextmanager
def beside() -> Iterator[SideProcess]:
    """Open a further process where there is a core for it; numbers take one thread in each.

    It begins with the first work, and ends at once where this process is interrupted.
    """
    with threadpool_limits(1):  # two processes fill two cores; more threads only take turns
        if len(os.sched_getaffinity(0)) < CORES:
            yield ALONE
            return
        before = set(multiprocessing.active_children())
        spawn = multiprocessing.get_context("spawn")  # gRPC and BLAS do not survive a fork
        with ProcessPoolExecutor(1, spawn, initializer=_begun) as pool:
            whole = False
            try:
                yield SideProcess(pool)
                whole = True
            finally:
                if not whole:
                    _leave(pool, set(multiprocessing.active_children()) - before)


def _taken_back(work: Future[Any]) -> bool:
    """Take work back that did not begin; a pool that is ended then tells it nothing any more.

    Before Python 3.12 the pool's thread ends with a trace where it tells what was taken back.
    """
    if not work.cancel():
        return False
    work.set_exception = _hear_nothing  # type: ignore[method-assign]
    return True


def _hear_nothing(exception: BaseException | None) -> None:
    del exception


def _leave(pool: ProcessPoolExecutor, children: set[BaseProcess]) -> None:
    """End the work, and wait for nothing that was on its way there: nobody will read it."""
    queue = pool._call_queue  # type: ignore[attr-defined] # noqa: SLF001 -- no public way before 3.14
    if queue is not None:
        queue.cancel_join_thread()
    for child in children:
        child.kill()


def _packed(thing: object) -> bytes:
    """Return something as it is now: the pool packs later, while this process may change it."""
    return bytes(ForkingPickler.dumps(thing))


def _called(function: bytes, arguments: bytes) -> Any:
    return ForkingPickler.loads(function)(*ForkingPickler.loads(arguments))


def _begun() -> None:
    """Leave ctrl-C and the screen to the first process, and numbers one thread."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # engines draw bars there
    os.environ["OMP_NUM_THREADS"] = "1"  # of libraries that are loaded later
    threadpool_limits(1)
