"""What a custodian tells of itself to who watches it: one text file, and no socket.

Of ledger, log and policy only. Nothing here depends on a record: which studies are served does
(records that do not load leave a study out), so that is told by `status` and not here; neither is
how long anything took, nor how large a file is: when SQLite moves its pages follows from how long
sums take. The file is written every 15 s whatever happened, by a thread of its own, so
that its time says nothing of a sum in work either.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from threading import Event as Told
from threading import Thread
from typing import Final

from fieldfare.client.daemon.status import CustodianCounts
from fieldfare.client.home.layout import Home
from fieldfare.client.home.studies import kept_ids, read_decision
from fieldfare.client.ledger.freeing import worth
from fieldfare.client.wire.admin_calls import CustodianStatus, LedgerStatus
from fieldfare.shared.errors import FieldfareError, UsageError
from fieldfare.shared.protocol.plan import PICOMU2
from fieldfare.shared.watch import metrics
from fieldfare.shared.watch.metrics import MetricDefinition, MetricSample

WRITE_SECONDS: Final = 15.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class CustodianMoment:
    """A custodian's state at one moment, as `custodian_samples` tells it.

    Attributes:
        serving: whether anything may be served.
        ledger: None where it cannot be read just now.
        delta: at which the policy's limits are epsilon.
        refusals: since the start, by code.
        counts: of answers since the start.
        studies: how many, by what people said.
    """

    now: datetime
    serving: bool
    ledger: LedgerStatus | None
    delta: float
    refusals: Mapping[str, int]
    counts: CustodianCounts
    studies: Mapping[str, int]


def custodian_samples(moment: CustodianMoment) -> Iterator[MetricSample]:
    """Yield what a custodian tells; every code, kind and state, those that never came too."""
    yield MetricSample(metrics.CUSTODIAN_WRITTEN, moment.now.timestamp())
    yield MetricSample(metrics.CUSTODIAN_SERVING, float(moment.serving))
    yield MetricSample(metrics.CUSTODIAN_REPEATS, moment.counts.repeated)
    yield from _each(metrics.CUSTODIAN_STUDIES, moment.studies)
    yield from _each(metrics.CUSTODIAN_RELEASES, moment.counts.kinds)
    yield from _each(metrics.CUSTODIAN_ACTS, moment.counts.acts)
    yield from _each(metrics.CUSTODIAN_REFUSALS, moment.refusals)
    if moment.ledger is not None:
        yield from _budget(moment.ledger, moment.delta)


def _each(metric: MetricDefinition, found: Mapping[str, int]) -> Iterator[MetricSample]:
    (values,) = metric.labels.values()
    for value in values:
        yield MetricSample(metric, found.get(value, 0), (value,))


def _budget(ledger: LedgerStatus, delta: float) -> Iterator[MetricSample]:
    yield MetricSample(metrics.LEDGER_ENTRIES, ledger.entries)
    yield MetricSample(metrics.LEDGER_EPOCH, ledger.epoch)
    for window, left, limit in (
        ("year", ledger.yearly_left, ledger.yearly_limit),
        ("lifetime", ledger.lifetime_left, ledger.lifetime_limit),
    ):
        yield MetricSample(metrics.BUDGET_LIMIT, limit / PICOMU2, (window,))
        yield MetricSample(metrics.BUDGET_LEFT, left / PICOMU2, (window,))
        yield MetricSample(metrics.BUDGET_EPSILON, worth(left, delta), (window,))


def moment_of(
    home: Home, delta: float, status: CustodianStatus, counts: CustodianCounts, now: datetime
) -> CustodianMoment:
    """Return what may be told of a status: not which studies are served, nor of their records."""
    return CustodianMoment(
        now=now,
        serving=not status.trouble,
        ledger=status.ledger,
        delta=delta,
        refusals=status.refusals,
        counts=counts,
        studies=Counter(read_decision(home, study).state.value for study in kept_ids(home)),
    )


@contextmanager
def telling(path: Path | None, samples: Callable[[], Iterable[MetricSample]]) -> Iterator[None]:
    """Write the file now and every 15 s until the block ends; None: nobody is told anything.

    What cannot be written stops nothing: it is said in the log, once for as long as it lasts.
    """
    if path is None:
        yield
        return
    if not path.parent.is_dir():
        raise UsageError(
            f"{path}: expected its folder, where node exporter looks for files, found none: make "
            "it, or leave [watch] textfile empty"
        )
    ended, writer = Told(), _Writer(path, samples)
    writer.write()
    thread = Thread(target=writer.go_on, args=(ended,), name="watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


class _Writer:
    """Writes the file; says of a failure once."""

    def __init__(self, path: Path, samples: Callable[[], Iterable[MetricSample]]) -> None:
        # A custodian that nobody watches loads no library for it.
        from fieldfare.shared.watch import exposition  # noqa: PLC0415 -- above

        self._path, self._samples, self._shell = path, samples, exposition
        self._failing = False

    def go_on(self, ended: Told) -> None:
        while not ended.wait(WRITE_SECONDS):
            self.write()

    def write(self) -> None:
        """Put a new file in the place of the old one."""
        shell, found = self._shell, ""
        try:
            told = [*shell.of_this_machine("custodian"), *self._samples()]
            shell.write_textfile(self._path, shell.exposition(told))
        except FieldfareError as error:
            found = str(error)
        except OSError as error:
            found = error.strerror or type(error).__name__
        if bool(found) != self._failing:
            self._failing = bool(found)
            became = f"cannot be written: {found}" if found else "is written again"
            log.warning("%s: the file of metrics %s", self._path, became)
