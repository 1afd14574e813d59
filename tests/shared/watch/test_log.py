"""The log: a line for each thing, for people or as JSON, and never more than its files may take."""

import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fieldfare.shared.watch import log as log_module
from fieldfare.shared.watch.log import (
    FORM,
    LONGEST_MESSAGE,
    JsonLines,
    PeopleLines,
    PrivateLog,
    SupervisedLog,
    correlated,
    in_json,
    log_line,
    writes_json,
)

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


@contextmanager
def written() -> Iterator[tuple[logging.Logger, io.StringIO]]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines("node"))
    made = logging.getLogger("fieldfare.tests.log")
    made.propagate = False
    made.setLevel(logging.INFO)
    made.addHandler(handler)
    yield made, stream
    made.removeHandler(handler)


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_line_says_when_who_where_and_what_about() -> None:
    with written() as (log, stream), correlated(study="s1", run="r1"):
        with correlated(step=3, attempt=1):
            log.warning("%s left step %d", "bank-a", 3)
        log.info("after")
    first, second = lines(stream.getvalue())
    assert datetime.fromisoformat(first.pop("time")).tzinfo is not None
    assert first == {
        "format": 1,
        "level": "warning",
        "process": "node",
        "event": "test_log.test_a_line_says_when_who_where_and_what_about",
        "study": "s1",
        "run": "r1",
        "step": 3,
        "attempt": 1,
        "message": "bank-a left step 3",
    }
    assert "step" not in second
    assert second["run"] == "r1"


def test_of_what_was_raised_the_type_alone_is_written() -> None:
    with written() as (log, stream):
        try:
            int("Maria Lopez")
        except ValueError:
            log.exception("a question failed")
    assert "Maria" not in stream.getvalue()
    assert lines(stream.getvalue())[0]["message"] == "a question failed (ValueError)"


def test_people_see_no_text_of_what_was_raised_and_no_line_of_a_strangers() -> None:
    try:
        int("Maria Lopez")
    except ValueError as error:
        raised = (ValueError, error, error.__traceback__)
    said = "no answer\nfieldfare: run: stopped\x1b[2J"
    record = logging.LogRecord("x", logging.INFO, "", 0, said, None, raised)
    shown = PeopleLines("fieldfare: node: ").format(record)
    assert shown.splitlines() == [
        "fieldfare: node: no answer",
        "fieldfare: node: fieldfare: run: stopped [2J (ValueError)",
    ]


DEFECT = """
import threading
from fieldfare.shared.watch.log import begin_log, show_defects_by_place
name = " ".join(("Maria", "Lopez"))
begin_log("custodian")
show_defects_by_place()
thread = threading.Thread(target=int, args=(name,))
thread.start()
thread.join()
int(name)
"""


def test_a_defect_of_a_custodian_is_shown_without_its_text() -> None:
    command = [sys.executable, "-c", DEFECT]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == 1
    assert made.stderr.count("a defect: ValueError") == 2
    assert "Maria" not in made.stderr


def test_no_text_breaks_a_line_and_none_is_endless() -> None:
    said = log_line("node", "info", "x.y", 'a\n{"format": 1}\u2028' + "x" * 10_000, NOW)
    assert said.isascii()
    assert len(said.splitlines()) == 1
    assert len(json.loads(said)["message"]) == LONGEST_MESSAGE


def test_the_same_values_are_the_same_bytes() -> None:
    given = ("node", "info", "x.y", "said", NOW)
    assert log_line(*given, run="r", step=1) == log_line(*given, run="r", step=1)


def test_who_reads_decides_the_form() -> None:
    assert not writes_json({})
    assert not writes_json({"JOURNAL_STREAM": "1:1"})  # inherited, and this is another stream
    assert writes_json(in_json({}))
    assert not writes_json({FORM: "text", "JOURNAL_STREAM": "1:1"})


def test_a_supervisor_shows_people_text_and_files_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "processes.jsonl"
    log = SupervisedLog(path)
    log.say("node", log_line("node", "info", "x.y", "admitted\nas 7", NOW, run="r1"))
    log.say("node", "fieldfare: node: ended with status 1")
    log.say("node", '{"format": broken')
    assert capsys.readouterr().err.splitlines() == [
        "fieldfare: node: admitted",
        "fieldfare: node: as 7",
        "fieldfare: node: ended with status 1",
        'fieldfare: node: {"format": broken',
    ]
    first, second, third = lines(path.read_text())
    assert (first["run"], first["message"]) == ("r1", "admitted\nas 7")
    assert second["message"] == "ended with status 1"
    assert third["event"] == "supervisor.say"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_child_speaks_for_itself_alone(tmp_path: Path) -> None:
    """A node that strangers took over wrote lines of the custodian into the institution's log."""
    path = tmp_path / "processes.jsonl"
    log = SupervisedLog(path)
    forged = log_line("custodian", "info", "release.send", "all is well", NOW)
    log.say("node", forged)
    log.say("runs", log_line("run", "info", "x.y", "step 1", NOW))  # a child's own child
    first, second = lines(path.read_text())
    assert (first["process"], first["event"], first["message"]) == (
        "node", "supervisor.say", forged,
    )  # fmt: skip
    assert (second["process"], second["message"]) == ("run", "step 1")


def test_in_the_journal_a_supervisor_writes_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(FORM, "json")
    SupervisedLog(None).say("node", "plain words")
    assert lines(capsys.readouterr().err)[0]["message"] == "plain words"


def test_a_year_of_lines_stays_under_its_limit(tmp_path: Path) -> None:
    """Ten lines for each day of a year, into files of a thousandth of their size."""
    most, older = log_module.FILE_BYTES // 1000, log_module.OLDER_FILES
    log, largest = PrivateLog(tmp_path / "a.jsonl", most, older), 0
    for day in range(365):
        for number in range(10):
            said = f"query.release {number}"
            log.write(log_line("node", "info", "node.carry", said, NOW, step=day))
        largest = max(largest, sum(one.stat().st_size for one in tmp_path.iterdir()))
    log.close()
    assert most * older < largest <= most * (older + 1)
    assert {one.stat().st_mode & 0o777 for one in tmp_path.iterdir()} == {0o600}
