"""A coordinator's metrics and what it needs, from its own files: without a token, without Flower.

What cannot be read leaves its samples out and makes the coordinator not ready; it hides no other.
"""

import socket
import ssl
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.home.settings import load_settings
from fieldfare.server.members.enrolment import members
from fieldfare.server.members.roster import published_roster
from fieldfare.server.store.rows import RunRow, RunStatus
from fieldfare.server.store.store import RunStore, run_store_to_read
from fieldfare.server.studies.member_clocks import member_clocks
from fieldfare.server.studies.proposals import proposals
from fieldfare.server.studies.run_life import Life, inspect_run
from fieldfare.server.studies.study_answers import given, heard_of
from fieldfare.server.superlink.state_view import SuperlinkView
from fieldfare.shared.errors import FieldfareError
from fieldfare.shared.system.certificates import valid_until
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.system.private_files import read_public
from fieldfare.shared.watch import metrics
from fieldfare.shared.watch.metrics import MetricSample, Probe

TRY_SECONDS: Final = 2.0
BEAT: Final = timedelta(seconds=60)  # a runner asks for work twice a second, and may be busy
LOOPBACK: Final = "127.0.0.1"


@dataclass(frozen=True)
class StudyCounts:
    """How many studies wait, are ready, and the fewest spare releases left of an open one."""

    waiting: int
    ready: int
    spares_left: int | None


def run_samples(rows: Sequence[RunRow], interrupted: int) -> Iterator[MetricSample]:
    """Yield what runs have come to, by their rows."""
    states = Counter(row.state for row in rows)
    for state in RunStatus:
        yield MetricSample(metrics.RUNS, states[state], (state.value,))
    yield MetricSample(metrics.RUNS_INTERRUPTED, interrupted)
    done = [row.progress for row in rows if row.progress is not None]
    yield MetricSample(metrics.STEPS, sum(one.step for one in done))
    yield MetricSample(metrics.ATTEMPTS_FAILED, sum(one.attempt_failures for one in done))
    left = (
        row.progress.steps - row.progress.step
        for row in rows
        if row.progress is not None and not row.state.ended
    )
    yield MetricSample(metrics.STEPS_OPEN, sum(left))
    if done:
        yield MetricSample(metrics.PROGRESS, max(one.at for one in done).timestamp())


def study_samples(found: StudyCounts) -> Iterator[MetricSample]:
    """Yield how studies stand."""
    yield MetricSample(metrics.STUDIES_WAITING, found.waiting)
    yield MetricSample(metrics.STUDIES_READY, found.ready)
    if found.spares_left is not None:
        yield MetricSample(metrics.SPARES_LEFT, found.spares_left)


@dataclass(frozen=True)
class CoordinatorState:
    """Looks at a coordinator's home and at its SuperLink's port.

    Attributes:
        home: the coordinator's.
        clock: the present, with a time zone.
    """

    home: CoordinatorHome
    clock: Callable[[], datetime] = utc_now

    def samples(self) -> Iterator[MetricSample]:
        """Yield everything that can be told now."""
        for part in (self._runs, self._nodes, self._certificates, self._stores):
            try:
                found = list(part())
            except (FieldfareError, OSError):  # /readyz says what is not there
                continue
            yield from found
        yield MetricSample(metrics.SUPERLINK_ANSWERS, float(self.superlink_answers()))

    def probes(self) -> tuple[Probe, ...]:
        """Return what a coordinator needs: store, SuperLink, runner, certificates that hold."""
        return (
            Probe("run store", self._opens(), "it cannot be read: see the log"),
            Probe("superlink", self.superlink_answers(), "no answer at local_port"),
            Probe("runner", self._runs_are_taken(), "it did not ask for work for a minute"),
            Probe("certificates", self._hold(), "one ended, or cannot be read"),
        )

    def superlink_answers(self) -> bool:
        """Tell whether the SuperLink shows its certificate at the host's own port; asks nothing."""
        try:
            context = ssl.create_default_context(cafile=self.home.authority)
            context.check_hostname = False  # the port is the settings' own, on this machine
            place = (LOOPBACK, load_settings(self.home).local_port)
            with socket.create_connection(place, TRY_SECONDS) as link, context.wrap_socket(link):
                return True
        except (FieldfareError, OSError):  # ssl.SSLError is one
            return False

    def _runs(self) -> Iterator[MetricSample]:
        view = SuperlinkView(self.home.superlink_database, self.clock)
        with run_store_to_read(self.home.runs_database) as store:
            rows = store.rows()
            lives = [inspect_run(store, view, row.run).life for row in rows if not row.state.ended]
            yield from run_samples(rows, lives.count(Life.INTERRUPTED))
            yield from study_samples(self._studies(store, rows))
            for name, lost in store.lost_attempts().items():
                yield MetricSample(metrics.ATTEMPTS_LOST, lost, (name,))
            _, clocks = member_clocks(store, published_roster(self.home))
            for one in clocks:
                yield MetricSample(metrics.MEMBER_CLOCK, one.after, (one.institution,))

    def _studies(self, store: RunStore, rows: Sequence[RunRow]) -> StudyCounts:
        roster, started = published_roster(self.home), {row.study for row in rows}
        unfinished = {row.study for row in rows if row.state is not RunStatus.FINISHED}
        ready, idle, spares = 0, 0, []
        for one in proposals(self.home):
            if one.id in unfinished:
                spares.append(one.study.spare_releases - store.paid_in_vain(one.id))
            if one.id not in started:
                yes = given(heard_of(roster, one.id, store.approvals(one.id)))
                idle += 1
                ready += yes >= one.study.aggregation.minimum_institutions
        return StudyCounts(idle - ready, ready, min(spares, default=None))

    def _nodes(self) -> Iterator[MetricSample]:
        contacts = SuperlinkView(self.home.superlink_database, self.clock).contacts()
        for one in members(self.home):
            if not one.revoked:
                contact = contacts.get(one.node)
                there = contact is not None and contact.connected
                yield MetricSample(metrics.MEMBER_CONNECTED, float(there), (one.institution,))

    def _certificates(self) -> Iterator[MetricSample]:
        for name, path in self._named_certificates():
            left = valid_until(read_public(path)) - self.clock()
            yield MetricSample(metrics.CERTIFICATE, left / metrics.DAY, (name,))

    def _named_certificates(self) -> tuple[tuple[str, Path], ...]:
        return (("server", self.home.server_certificate), ("authority", self.home.authority))

    def _stores(self) -> Iterator[MetricSample]:
        home = self.home
        for name, path in (
            ("runs", home.runs_database),
            ("superlink", home.superlink_database),
            ("audit_log", home.audit_log),
            ("decisions", home.decisions),
            ("notices", home.outbox),
        ):
            files = path.parent.glob(f"{path.name}*")  # a write-ahead log, older parts of a log
            yield MetricSample(metrics.STORE, sum(_size(one) for one in files), (name,))

    def _opens(self) -> bool:
        try:
            with run_store_to_read(self.home.runs_database) as store:
                store.rows()
        except FieldfareError:
            return False
        return True

    def _runs_are_taken(self) -> bool:
        try:
            beat = self.home.runner_beat.stat().st_mtime
        except OSError:
            return False
        return abs(self.clock().timestamp() - beat) <= BEAT.total_seconds()

    def _hold(self) -> bool:
        try:
            ends = [valid_until(read_public(path)) for _, path in self._named_certificates()]
        except FieldfareError:
            return False
        return min(ends) > self.clock()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # it went between the two looks
        return 0
