"""The process in which a node runs, as a child of `institution node`.

A process of its own because flwr ends the process when a SuperLink does not let a node in;
what started this one then starts it again. It ends with its parent.
"""

import logging
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from flwr.app import Message

from fieldfare.client.node.client_app import client_app
from fieldfare.client.node.fleet import (
    Arrival,
    NotAdmittedError,
    ReportedRun,
    SuperlinkEndpoint,
    joined,
)
from fieldfare.client.node.link_renewal import renewing
from fieldfare.client.node.node import Node, Superlink
from fieldfare.client.node.remote_custodian import connected
from fieldfare.client.node.state import NodeReport
from fieldfare.client.node.terms import NodeTerms, load_node_terms
from fieldfare.client.node.watching import (
    NodeStatus,
    authority_ends,
    node_probes,
    present_samples,
)
from fieldfare.shared.errors import FieldfareError, UsageError
from fieldfare.shared.system.processes import (
    STOP_SIGNALS,
    dismiss_itself,
    end_at_once,
    end_on_defect,
    end_with_parent,
)
from fieldfare.shared.watch.log import begin_log

EXIT_STOPPED: Final = 0
EXIT_AGAIN: Final = 75  # sysexits.h, EX_TEMPFAIL
# All that flwr lets through of a status 401, whatever it was about.
REFUSED: Final = (
    "the SuperLink does not take this node's signature: the clock of one of the two is more than "
    "300 s off (see `fieldfare institution check`), the coordinator removed this node, or it has "
    "another key; it signs on again"
)

log = logging.getLogger("fieldfare.client.node.process")  # it runs as __main__


class NodeStoppedError(BaseException):
    """The process was told to stop. Not an Exception, so that no handler takes it for a failure."""


class NodeDismissedError(BaseException):
    """The SuperLink does not take this node's signature: flwr says so by SIGINT to itself."""


@dataclass(frozen=True)
class WatchedSuperlink:
    """A SuperLink as a node sees it; every answer and every message is noted."""

    fleet: Superlink
    report: NodeReport | None
    seen: NodeStatus = field(default_factory=NodeStatus)

    @property
    def node_id(self) -> int:
        """This node's number."""
        return self.fleet.node_id

    def receive(self) -> Arrival | None:
        """Return the next message, or None."""
        arrival = self.fleet.receive()
        self.seen.note_heard(message=arrival is not None)
        if self.report is not None:
            if arrival is None:
                self.report.heard()
            else:
                self.report.arrived()
        return arrival

    def run(self, run_id: int) -> ReportedRun:
        """Return the SuperLink's report on a run."""
        return self.fleet.run(run_id)

    def pull(self, arrival: Arrival) -> Message:
        """Fetch the content of a message."""
        return self.fleet.pull(arrival)

    def send(self, reply: Message) -> None:
        """Send a reply."""
        self.fleet.send(reply)


def run_node(terms: NodeTerms) -> int:
    """Serve until stopped; returns the status to end with."""
    seen = NodeStatus()
    try:
        report = _report(terms)
        with _watched(terms, seen):
            status, reason = _served(terms, report, seen)
    except NodeStoppedError:  # before it connected
        return EXIT_STOPPED
    except UsageError as error:  # where it should tell how it is
        log.warning("%s", error)
        return error.exit_code
    if report is not None:
        report.ended(reason)
    return status


@contextmanager
def _watched(terms: NodeTerms, seen: NodeStatus) -> Iterator[None]:
    """Tell how this node is, where its settings name an address."""
    if not terms.watch:
        yield
        return
    # A process that nobody watches opens no port and loads no library for it.
    from fieldfare.shared.watch.listener import WatchSource, watched_at  # noqa: PLC0415 -- above

    ends = authority_ends(terms.authority)
    source = WatchSource(
        role="node",
        samples=lambda: present_samples(seen, ends, terms.custodian),
        probes=lambda: node_probes(seen, terms.custodian, seen.clock()),
    )
    with watched_at(terms.watch, source):
        log.info("metrics and health at http://%s", terms.watch)
        yield


def _served(terms: NodeTerms, report: NodeReport | None, noted: NodeStatus) -> tuple[int, str]:
    """Serve until stopped; returns the status to end with, and why."""
    link = SuperlinkEndpoint(terms.superlink, terms.authority)
    try:
        with (
            renewing(terms.custodian),
            connected(terms.custodian) as custodian,
            joined(link, terms.key, noted.note_date) as fleet,
        ):
            log.info("admitted as node %d by %s", fleet.node_id, link.address)
            if report is not None:
                report.connected(fleet.node_id)
            seen = WatchedSuperlink(fleet, report, noted)
            app = client_app(lambda _: custodian)
            Node(seen, app, terms.bundles, tell=noted.note_outcome).serve()
    except NodeStoppedError:
        return EXIT_STOPPED, "stopped"
    except NodeDismissedError:
        reason = REFUSED
    except NotAdmittedError as error:
        reason = (
            f"not admitted by {link.address}: {error}: after a crash its old lease ends within "
            "60 s; otherwise compare address, authority, clock, and the node key that the "
            "coordinator registered"
        )
    except UsageError as error:  # a certificate of the link to the custodian
        log.warning("%s", error)
        return error.exit_code, str(error)
    except FieldfareError as error:
        reason = str(error)
    log.warning("%s", reason)
    return EXIT_AGAIN, reason


def _report(terms: NodeTerms) -> NodeReport | None:
    """Return where this node writes down how it stands; a node runs without, too."""
    try:
        return NodeReport(terms.state, terms.superlink)
    except OSError as error:
        log.warning(
            "%s: expected a file that this node can write, for `institution status`, found: %s; "
            'name another with state = "..." in its settings',
            terms.state,
            error.strerror,
        )
        return None


def main(arguments: Sequence[str]) -> int:
    """Run a node by the settings in a file; for `institution node` alone."""
    begin_log("node", prefix="fieldfare: node: ")
    _listen()
    end_with_parent()
    try:
        terms = load_node_terms(Path(arguments[0]))
    except FieldfareError as error:
        log.warning("%s", error)
        return error.exit_code
    except NodeStoppedError:
        return EXIT_STOPPED
    return run_node(terms)


def _listen() -> None:
    """Take signals from here on; those that came while this process started are waiting."""

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        """End the node on a signal; a further one waits for its end."""
        del number, frame
        for each in STOP_SIGNALS:
            signal.signal(each, signal.SIG_IGN)  # signing off is not interrupted
        raise NodeStoppedError

    def dismiss(number: int, frame: FrameType | None) -> NoReturn:
        """End the node because whoever started it is gone."""
        del number, frame
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise NodeDismissedError

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, dismiss)
    # A heartbeat that fails for good ends its thread only; a node that is thought dead by its
    # SuperLink must not go on as if it were not.
    threading.excepthook = dismiss_itself
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (*STOP_SIGNALS, signal.SIGCHLD))


if __name__ == "__main__":
    sys.excepthook = end_on_defect
    end_at_once(main(sys.argv[1:]))
