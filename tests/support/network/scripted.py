"""A SuperLink's control API that answers as a test wants."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from fieldfare.shared.errors import RunError


@dataclass
class Status:
    state: str
    reason: str = ""


@dataclass
class Scripted:
    """A SuperLink's answers as a test wants them; time passes while somebody waits."""

    statuses: dict[int, Status] = field(default_factory=dict)
    started: list[tuple[bytes, dict[str, str]]] = field(default_factory=list)
    stopped: list[int] = field(default_factory=list)
    reachable: bool = True
    clock: float = 0.0
    each_second: Callable[[float], None] = lambda _: None

    def _reach(self) -> None:
        if not self.reachable:
            raise RunError("expected a SuperLink at 127.0.0.1:1, found: nothing")

    def nodes(self) -> tuple[object, ...]:
        return ()

    def start_run(self, bundle: bytes, configuration: Mapping[str, str]) -> int:
        self._reach()
        self.started.append((bundle, dict(configuration)))
        self.statuses[len(self.started)] = Status("pending")
        return len(self.started)

    def stop_run(self, run: int) -> None:
        self._reach()
        self.stopped.append(run)
        self.statuses[run] = Status("stopped")

    def run_status(self, run: int) -> Status:
        self._reach()
        return self.statuses.get(run, Status(""))

    def sleep(self, seconds: float) -> None:
        self.clock += seconds
        self.each_second(self.clock)
