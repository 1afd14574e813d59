"""Samples as Prometheus reads them (its text format 0.0.4), and the file that node exporter serves.

The same samples give the same bytes. Nothing of the process itself is told (no `process_*`, no
`python_*`): of a custodian, its processor time and memory would tell of records.
"""

import os
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from fieldfare.shared.system.clock import kept_within
from fieldfare.shared.watch.metrics import BUILD, CLOCK_ERROR, MetricKind, MetricSample, checked

READABLE: Final = 0o644  # node exporter runs as another user


class _Collector:
    """What prometheus-client asks for families."""

    def __init__(self, samples: Iterable[MetricSample]) -> None:
        self._samples = samples

    def collect(self) -> Iterator[Metric]:
        """Yield the families of the present samples."""
        families: dict[str, Metric] = {}
        for one in checked(self._samples):
            metric = one.metric
            if metric.name not in families:
                made = GaugeMetricFamily if metric.kind is MetricKind.GAUGE else CounterMetricFamily
                families[metric.name] = made(metric.name, metric.says, labels=list(metric.labels))
            families[metric.name].add_metric(one.labels, one.value)
        yield from families.values()


def of_this_machine(role: str) -> Iterator[MetricSample]:
    """Yield which version a process of this role runs, and how far its clock can be trusted."""
    yield MetricSample(BUILD, 1, (role, version("fieldfare")))
    error = kept_within()
    if error is not None:
        yield MetricSample(CLOCK_ERROR, error)


def exposition(samples: Iterable[MetricSample]) -> bytes:
    """Return samples as text."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(samples))
    return bytes(generate_latest(registry))


def write_textfile(path: Path, content: bytes) -> None:
    """Put a file that anybody may read in another's place, at once: no half of it is ever read.

    Raises:
        OSError: the disk or the folder refuses it.
    """
    fresh = path.with_name(f".{path.name}.new")  # node exporter reads what ends in .prom
    fresh.unlink(missing_ok=True)  # left behind by a crash
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(fresh, flags, READABLE)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, READABLE)  # whatever the umask says
        file.write(content)
    fresh.replace(path)
