"""Every metric is promised once, and nothing else is told."""

import math
import re

import pytest

from fieldfare.client.custodian.ports import RunEvent
from fieldfare.client.home.studies import State
from fieldfare.server.store.rows import RunStatus
from fieldfare.shared.watch import metrics
from fieldfare.shared.watch.metrics import MetricKind, MetricSample, all_metrics, checked


def test_names_say_kind_and_unit() -> None:
    found = all_metrics()
    assert len(found) == len({one.name for one in found}) > 30
    for one in found:
        assert re.fullmatch(r"fieldfare_[a-z0-9]+(_[a-z0-9]+)*", one.name)
        assert one.name.endswith("_total") == (one.kind is MetricKind.COUNTER)
        assert one.says.endswith(".")


def test_closed_sets_are_those_of_the_rooms_that_own_them() -> None:
    assert set(metrics.STUDY_STATES) == {one.value for one in State}
    assert set(metrics.RUN_STATES) == {one.value for one in RunStatus}
    assert set(metrics.ACTS) == {one.name.lower() for one in RunEvent}


def test_no_metric_of_a_custodian_is_a_duration() -> None:
    assert [one.name for one in metrics.OF_CUSTODIAN if "seconds" in one.name] == [
        "fieldfare_custodian_written_timestamp_seconds"
    ]


@pytest.mark.parametrize(
    "sample",
    [
        MetricSample(metrics.CUSTODIAN_REFUSALS, 1, ("Maria Lopez",)),
        MetricSample(metrics.CUSTODIAN_REFUSALS, 1),
        MetricSample(metrics.MEMBER_CONNECTED, 1, ("",)),
        MetricSample(metrics.MEMBER_CONNECTED, 1, ("a\nb",)),
        MetricSample(metrics.MEMBER_CONNECTED, 1, ("x" * 129,)),
        MetricSample(metrics.READY, math.nan),
    ],
)
def test_what_was_not_promised_is_not_told(sample: MetricSample) -> None:
    assert list(checked([sample])) == []


def test_order_does_not_depend_on_who_asks_first() -> None:
    given = [MetricSample(metrics.READY, 1), MetricSample(metrics.MEMBER_CONNECTED, 0, ("bank-b",))]
    given.append(MetricSample(metrics.MEMBER_CONNECTED, 1, ("bank-a",)))
    assert list(checked(given)) == list(checked(reversed(given)))
