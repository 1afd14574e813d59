"""The newest news of each institution, and what is still owed to it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest

from fieldfare.server.store.rows import ApprovalRow
from fieldfare.server.store.store import RunStore, run_store
from fieldfare.shared.errors import RunError

NOW: Final = datetime(2025, 6, 1, 12, tzinfo=UTC)
LATER: Final = NOW + timedelta(minutes=1)
STUDY: Final = "a" * 64


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    with run_store(tmp_path / "runs.sqlite") as opened:
        for number, run in enumerate(("run-2", "run-1")):
            opened.create(run, f"{number}" * 64, NOW + number * timedelta(days=1))
        yield opened


def test_statuses_are_the_newest_of_each_and_of_each_run(store: RunStore) -> None:
    store.put_status("run-1", "bank-b", "waiting", NOW)
    store.put_status("run-1", "bank-b", "no answer in time", LATER)
    store.put_status("run-1", "bank-a", "answered", NOW)
    store.put_status("run-2", "bank-a", "lost", NOW)
    assert list(store.statuses("run-1").items()) == [
        ("bank-a", ("answered", NOW)),
        ("bank-b", ("no answer in time", LATER)),
    ]
    assert store.statuses("run-2") == {"bank-a": ("lost", NOW)}


def test_metrics_are_those_of_the_run(store: RunStore) -> None:
    assert store.metrics("run-1") is None
    store.put_metrics("run-1", '{"auroc":0.8}')
    assert (store.metrics("run-1"), store.metrics("run-2")) == ('{"auroc":0.8}', None)


def test_news_of_an_unknown_run_are_refused(store: RunStore) -> None:
    with pytest.raises(RunError, match="FOREIGN KEY"):
        store.put_status("run-9", "bank-a", "answered", NOW)


def test_approvals_are_the_newest_to_each_study(store: RunStore) -> None:
    store.put_approval(STUDY, "bank-b", "unknown_study", b"", NOW)
    store.put_approval(STUDY, "bank-b", "approved", b"signed", LATER)
    store.put_approval("b" * 64, "bank-b", "refused", b"", NOW)
    assert store.approvals(STUDY) == {"bank-b": ApprovalRow("approved", b"signed", LATER)}
    assert store.approvals("c" * 64) == {}


def test_last_replies_span_runs_and_studies(store: RunStore) -> None:
    for name, envelope in (("bank-b", b"1"), ("bank-a", b"2"), ("bank-b", b"3")):
        store.put_last_reply(name, envelope)
    assert list(store.last_replies().items()) == [("bank-a", b"2"), ("bank-b", b"3")]


def test_models_are_owed_until_they_are_delivered(store: RunStore) -> None:
    for run in ("run-1", "run-2", "run-1"):
        store.put_undelivered("bank-a", run)
    assert store.undelivered("bank-a") == ("run-2", "run-1")  # the older run first
    assert store.undelivered("bank-b") == ()
    store.set_delivered("bank-a", "run-2")
    store.set_delivered("bank-b", "run-1")
    assert store.undelivered("bank-a") == ("run-1",)
