"""Plain values about a SuperLink, its nodes and its runs (superlink.py)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # Flower takes 90 MB, and who only watches runs needs none of it
    from flwr.serverapp import Grid


@dataclass(frozen=True)
class ControlTarget:
    """The address of a SuperLink's control API, and the token that opens it.

    Attributes:
        address: host:port.
        authority: PEM of the authority that signed its certificate.
        token: bearer token.
    """

    address: str
    authority: bytes
    token: str = field(repr=False)


@dataclass(frozen=True)
class NodeFacts:
    """A SuperLink's facts about a node.

    Attributes:
        node: its id.
        public_key: OpenSSH line, without a comment.
        status: "registered" (never seen), "online", "offline" or "unregistered".
        name: that it was registered under.
    """

    node: int
    public_key: bytes
    status: str
    name: str


@dataclass(frozen=True)
class FlowerRunStatus:
    """A SuperLink's status of a run.

    Attributes:
        state: "pending", "starting", "running", "completed", "stopped" or "failed".
        reason: the reason that it was told at the end, may be empty.
    """

    state: str
    reason: str


@dataclass(frozen=True)
class Task:
    """A run that waits to be carried out.

    Attributes:
        run: Flower's id of it.
        token: that opens it; its holder is this run's server.
    """

    run: int
    token: str = field(repr=False)


@dataclass(frozen=True)
class ServerTask:
    """One run, from the side of its server.

    Attributes:
        grid: reaches the nodes.
        run: Flower's id of it.
        configuration: what the run was started with.
        finish: tells the SuperLink that the run is over, in one try: None where it did what it
            should, else why not. Raises RunError where the SuperLink does not hear it.
    """

    grid: "Grid"
    run: int
    configuration: Mapping[str, str]
    finish: Callable[[str | None], None]
