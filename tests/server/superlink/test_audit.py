import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fieldfare.server.superlink import access_log as audit
from fieldfare.server.superlink.access_log import AuditLog
from fieldfare.server.superlink.gate import AnsweredRequest

SECRET = b"Bearer hush"


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.at = datetime(2026, 3, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log(tmp_path: Path, clock: Clock) -> Iterator[AuditLog]:
    made = AuditLog(tmp_path / "audit.jsonl", lambda h: dict(h).get(b"key", b"").decode(), clock)
    yield made
    made.close()


def call(
    path: str, status: int = 200, *, key: bytes = b"", peer: str = "192.0.2.7", offered: bool = True
) -> AnsweredRequest:
    listener = "public" if path.startswith("/v1/fleet/") else "local"
    headers = [(b"key", key), (b"authorization", SECRET)]
    return AnsweredRequest(listener, path, (peer, 7), headers, status, offered)


def lines(tmp_path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]


def test_every_control_call_that_was_let_in_has_its_line(log: AuditLog, tmp_path: Path) -> None:
    for _ in range(3):
        log.tell(call("/v1/control/start-run"))
    assert (
        lines(tmp_path)
        == [
            {
                "listener": "local",
                "outcome": "done",
                "path": "/v1/control/start-run",
                "peer": "192.0.2.7",
                "status": 200,
                "time": "2026-03-01T00:00:00.000+00:00",
                "who": "the control token",
            }
        ]
        * 3
    )


def test_what_nodes_ask_is_counted_within_a_minute(
    log: AuditLog, clock: Clock, tmp_path: Path
) -> None:
    for _ in range(20):
        log.tell(call("/v1/fleet/pull-messages", key=b"bank-a"))
        clock.at += timedelta(seconds=1)
    log.tell(call("/v1/fleet/pull-messages", key=b"bank-b"))
    log.flush()
    assert [line["who"] for line in lines(tmp_path)] == ["bank-a", "bank-b"]
    clock.at += timedelta(seconds=40)
    log.flush()
    assert lines(tmp_path)[2] == lines(tmp_path)[0] | {
        "calls": 19,
        "since": "2026-03-01T00:00:00.000+00:00",
        "time": "2026-03-01T00:00:19.000+00:00",
    }
    log.tell(call("/v1/fleet/pull-messages", key=b"bank-a"))
    assert len(lines(tmp_path)) == 4


def test_nothing_counted_is_lost_at_the_end(log: AuditLog, tmp_path: Path) -> None:
    for _ in range(5):
        log.tell(call("/v1/fleet/pull-messages", key=b"bank-a"))
    log.close()
    assert sum(line.get("calls", 1) for line in lines(tmp_path)) == 5


@pytest.mark.parametrize(
    ("told", "who", "outcome"),
    [
        (call("/v1/fleet/get-run", 401, key=b"bank-a"), "nobody known", "refused"),
        (call("/v1/fleet/get-run", 200, key=b"bank-a"), "bank-a", "done"),
        (call("/v1/fleet/get-run", 403, key=b""), "a key that is not registered", "refused"),
        (call("/v1/control/stop-run", 401), "nobody known", "refused"),
        (call("/v1/control/stop-run", 500), "the control token", "failed"),
        (call("/v1/control/stop-run", 0), "the control token", "failed"),
        (call("/v1/fleet/get-run", 415, key=b"bank-a"), "nobody known", "refused"),
        (call("/v1/fleet/get-run", 0, key=b"bank-a"), "nobody known", "failed"),
        (call("/v1/runtime/get-nodes", 415), "nobody known", "refused"),
        (call("/v1/runtime/acquire-task", 401), "nobody known", "refused"),
        (call("/v1/runtime/pull-messages"), "a run", "done"),
        (call("/v1/secret", 404, offered=False), "nobody known", "refused"),
    ],
)
def test_only_who_was_proven_is_named(
    told: AnsweredRequest, who: str, outcome: str, log: AuditLog, tmp_path: Path
) -> None:
    log.tell(told)
    (line,) = lines(tmp_path)
    assert (line["who"], line["outcome"]) == (who, outcome)


def test_a_flood_of_invented_paths_is_one_line_a_minute(log: AuditLog, tmp_path: Path) -> None:
    for number in range(500):
        log.tell(call(f"/{number}", 404, offered=False))
    log.flush(everything=True)
    assert [line.get("calls") for line in lines(tmp_path)] == [None, 499]


def test_a_flood_from_many_places_stays_in_bounds(
    log: AuditLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "MOST_KINDS", 10)
    for number in range(100):
        for _ in range(2):
            log.tell(call("/x", 404, peer=f"host-{number}", offered=False))
        assert len(log._flood) <= 10
    log.close()
    assert sum(line.get("calls", 1) for line in lines(tmp_path)) == 200


def test_no_token_and_no_line_of_a_stranger_gets_in(log: AuditLog, tmp_path: Path) -> None:
    log.tell(call("/v1/control/start-run", 401))
    log.tell(call('/"}\n{"who": "the control token"' + "x" * 500, 404, offered=False))
    text = (tmp_path / "audit.jsonl").read_text()
    assert "hush" not in text
    assert len(text.splitlines()) == 2
    assert len(lines(tmp_path)[1]["path"]) == audit.LONGEST_PATH


def test_the_file_is_private_and_turned_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "FILE_BYTES", 1000)
    monkeypatch.setattr(audit, "OLDER_FILES", 2)
    (tmp_path / "audit.jsonl").touch(mode=0o644)
    log = AuditLog(tmp_path / "audit.jsonl", lambda _: None)
    for _ in range(30):
        log.tell(call("/v1/control/list-runs"))
    log.close()
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["audit.jsonl", "audit.jsonl.1", "audit.jsonl.2"]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert all(json.loads(line) for file in files for line in file.read_text().splitlines())


def test_a_disk_that_is_full_is_said_once_and_stops_nothing(
    log: AuditLog, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with failing_disk(log, OSError(28, "No space left on device")):
        for _ in range(3):
            log.tell(call("/v1/control/list-runs"))
    log.tell(call("/v1/control/stop-run"))
    assert [record.message.partition(": ")[2] for record in caplog.records] == [
        "the log cannot be written: [Errno 28] No space left on device",
        "the log is written again",
    ]
    assert [line["path"] for line in lines(tmp_path)] == ["/v1/control/stop-run"]


@contextmanager
def failing_disk(log: AuditLog, error: OSError) -> Iterator[None]:
    """The log's file as it is on a disk that fails."""
    stream = log._file.stream

    class Failing:
        def write(self, _: str) -> None:
            raise error

        def __getattr__(self, name: str) -> Any:
            return getattr(stream, name)

    failing: Any = Failing()
    log._file.stream = failing
    yield
    log._file.stream = stream
