"""Screens as text at 80 and 120 columns; nothing in them is anybody's markup or escape."""

import io
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from rich.console import Console, RenderableType

from fieldfare.server.store.rows import (
    LostAttempts,
    Progress,
    RunRow,
    RunStatus,
    said_of_losses,
)
from fieldfare.server.studies.run_life import InspectedRun, Life
from fieldfare.server.studies.run_view import (
    EpsilonUse,
    Pace,
    RunSummary,
    last_lines,
    line,
    metric_texts,
    parse_metrics,
    runs_table,
    screen,
    summary_json,
)
from fieldfare.shared.privacy.sides import SideCosts

NOW: Final = datetime(2025, 6, 1, 12, 0, 30, tzinfo=UTC)
RUN: Final = "2025-06-01-payments-0a1b2c"
METRICS: Final = {
    "auroc": {"value": 0.8123, "low": 0.7901, "high": 0.8344},
    "average_precision": {"value": 0.4, "low": 0.31, "high": 0.52},
    "alert_budget": 0.01,
}


def before(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def progress(phase: str = "training", step: int = 12, **changes: Any) -> Progress:
    made = Progress(step, 40, 1, 0.4812, SideCosts(all=123_000_000_000), phase, before(1))
    return replace(made, **changes)


def summary(
    state: RunStatus = RunStatus.RUNNING,
    life: Life = Life.ALIVE,
    how: Progress | None = None,
    *,
    note: str = "",
    command: str = "",
    metrics: Mapping[str, Any] | None = None,
    **changes: Any,
) -> RunSummary:
    row = RunRow(
        run=RUN,
        study="a" * 64,
        state=state,
        reason="",
        flower_run=7,
        created=before(30),
        ended=before(2) if state.ended else None,
        progress=how,
    )
    made = RunSummary(
        inspected=InspectedRun(
            row, life, "interrupted" if life is Life.INTERRUPTED else state.value, note, command
        ),
        name="payments",
        promise=EpsilonUse(1.0, 1e-6, 0.4123, 0.2071),
        metrics=metrics,
        institutions={
            "bank-a": ("answered", before(1)),
            "bank-b": ("no answer in time", before(75)),
            "bank-c": None,
        },
        losses={},
        seconds_left=13.6,
        now=NOW,
    )
    return replace(made, **changes)


def text(renderable: RenderableType, width: int) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width, color_system=None, highlight=False).print(renderable)
    return [row.rstrip() for row in out.getvalue().splitlines()]


TRAINING: Final = """
payments  2025-06-01-payments-0a1b2c  running -
phase    step 12 of 40  [#######.................] 30 %
time     last step 0.48 s, about 14 s left, 1 attempt failed, started 30 s ago
privacy  epsilon 0.412 of 1 spent (delta 1e-06), over all runs of this study

institution  last               when
bank-a       answered           1 s ago
bank-b       no answer in time  1 min ago
bank-c       not heard yet
"""

FINISHED: Final = """
payments  2025-06-01-payments-0a1b2c  finished -
phase     delivery, step 40 of 40  [########################] 100 %
time      last step 0.48 s, started 30 s ago
privacy   epsilon 0.412 of 1 spent (delta 1e-06), over all runs of this study
released  AUROC 0.812 (95 %: 0.790 to 0.834)
          average precision 0.400 (95 %: 0.310 to 0.520)

institution  last               when
bank-a       answered           1 s ago
bank-b       no answer in time  1 min ago
bank-c       not heard yet
"""

WAITING: Final = """
payments  2025-06-01-payments-0a1b2c  waiting -
phase    waiting for its process
privacy  epsilon 0.412 of 1 spent (delta 1e-06), over all runs of this study
"""


def shown(expected: str, width: int) -> list[str]:
    """What is expected; the line under the title reaches to the right."""
    title, *rest = expected.strip().splitlines()
    return [title[:-1] + "-" * (width - len(title) + 1), *rest]


@pytest.mark.parametrize("width", [80, 120])
def test_a_run_that_trains(width: int) -> None:
    assert text(screen(summary(how=progress())), width) == shown(TRAINING, width)


@pytest.mark.parametrize("width", [80, 120])
def test_a_run_that_finished(width: int) -> None:
    done = progress("delivery", 40, attempt_failures=0)
    made = summary(RunStatus.FINISHED, Life.ENDED, done, metrics=METRICS)
    assert text(screen(made), width) == shown(FINISHED, width)


@pytest.mark.parametrize("width", [80, 120])
def test_a_run_that_waits(width: int) -> None:
    made = summary(RunStatus.WAITING, institutions={})
    assert text(screen(made), width) == shown(WAITING, width)


def test_a_run_that_was_interrupted_says_how_to_go_on() -> None:
    note, command = "its process is gone", f"fieldfare coordinator run resume {RUN}"
    made = summary(life=Life.INTERRUPTED, how=progress(), note=note, command=command)
    rows = text(screen(made), 80)
    assert rows[0].startswith(f"payments  {RUN}  interrupted -")
    assert {f"now      {note}", f"next     {command}"} <= set(rows)
    assert not any("left" in row or "running" in row for row in rows)


def test_a_run_that_failed_says_why() -> None:
    made = summary(RunStatus.FAILED, Life.ENDED, progress())
    row = replace(made.inspected.row, reason="below the minimum: 2 of 3 answered")
    rows = text(screen(replace(made, inspected=replace(made.inspected, row=row))), 80)
    assert "because  below the minimum: 2 of 3 answered" in rows


def test_nothing_is_wider_than_the_screen_or_moves_the_cursor() -> None:
    hostile = "\x1b[2J[bold red]x\r\n\u202e" + "long " * 200
    made = summary(
        how=progress(phase="hello\x1b[31m"),
        note=hostile,
        name=hostile,
        institutions={hostile[:60]: (hostile, NOW), "b": None},
    )
    row = replace(made.inspected.row, reason=hostile, state=RunStatus.FAILED)
    made = replace(made, inspected=replace(made.inspected, row=row, life=Life.UNKNOWN))
    for width in (80, 120):
        for rendered in (screen(made), runs_table([made])):
            rows = text(rendered, width)
            assert max(map(len, rows)) <= width
            assert all(sign.isprintable() for row in rows for sign in row)
    assert "[bold red]x" in " ".join(text(screen(made), 120))  # shown, not obeyed
    assert line(made).isprintable()
    assert all(each.isprintable() for each in last_lines(made))


def test_of_many_institutions_those_that_did_not_answer_are_shown() -> None:
    names = [f"bank-{number:02}" for number in range(30)]
    said = dict.fromkeys(names, ("answered", NOW)) | {"bank-29": ("lost", NOW)}
    rows = text(screen(summary(how=progress(), institutions=said)), 80)
    assert "bank-29      lost      0 s ago" in rows
    assert rows[-1] == "and 10 more"


def test_a_line_says_what_changed() -> None:
    made = summary(how=progress())
    assert line(made) == (
        f"{RUN}: running, step 12 of 40, 0.48 s, 1 attempt failed, epsilon 0.412 of 1, "
        "bank-b no answer in time"
    )
    assert line(summary(RunStatus.WAITING, promise=None, institutions={})) == f"{RUN}: waiting"
    assert line(summary(how=progress("hello", 0, attempt_failures=0), institutions={})) == (
        f"{RUN}: running, hello, step 0 of 40, epsilon 0.412 of 1"
    )


def test_the_last_lines_say_why_what_and_how_to_go_on() -> None:
    made = summary(
        RunStatus.STOPPED, Life.ENDED, note="as it is", command="resume it", metrics=METRICS
    )
    row = replace(made.inspected.row, reason="as asked")
    assert last_lines(replace(made, inspected=replace(made.inspected, row=row))) == [
        f"{RUN}: stopped: as asked",
        "released AUROC 0.812 (95 %: 0.790 to 0.834)",
        "released average precision 0.400 (95 %: 0.310 to 0.520)",
        "as it is",
        "Next: resume it",
    ]


def test_who_let_attempts_die_is_named_with_what_to_do() -> None:
    lost = summary(how=progress(), losses={"bank-b": LostAttempts(of_run=2, debited=1, ever=5)})
    said = (
        "bank-b caused 2 failed attempts, 1 of them debited to the others, 5 in all runs: "
        "ask its people"
    )
    assert said in " ".join(" ".join(text(screen(lost), 200)).split())
    assert "bank-b caused 2 failed attempts" in line(lost)
    assert any(one.startswith(said) for one in last_lines(lost))
    assert "coordinator remove" in said_of_losses("bank-b", LostAttempts(1, 0, 1))
    assert summary_json(lost)["lost_attempts"] == {"bank-b": {"of_run": 2, "debited": 1, "ever": 5}}


def test_metrics_that_noise_hid_are_said() -> None:
    assert parse_metrics(None) is None
    assert metric_texts(None) == []
    assert metric_texts(parse_metrics("")) == ["no metric: noise hid all of them"]
    assert metric_texts(parse_metrics("null")) == ["no metric: noise hid all of them"]
    assert parse_metrics(json.dumps(METRICS)) == METRICS


RUNS: Final = """
run                         study     state         step  epsilon  since
2025-06-01-payments-0a1b2c  payments  running      12/40    0.207  30 s ago
2025-06-01-payments-0a1b2c  payments  interrupted      -        -  30 s ago
2025-06-01-payments-0a1b2c  payments  finished     40/40    0.207  2 s ago
its process is gone
fieldfare coordinator run resume 2025-06-01-payments-0a1b2c
"""


@pytest.mark.parametrize("width", [80, 120])
def test_all_runs(width: int) -> None:
    shown_runs = [
        summary(how=progress()),
        summary(
            life=Life.INTERRUPTED,
            note="its process is gone",
            command=f"fieldfare coordinator run resume {RUN}",
            promise=None,
        ),
        summary(RunStatus.FINISHED, Life.ENDED, progress("delivery", 40), note="not said here"),
    ]
    assert text(runs_table(shown_runs), width) == RUNS.strip().splitlines()


def test_everything_is_there_for_programs() -> None:
    found = summary_json(summary(how=progress(), metrics=METRICS))
    assert json.loads(json.dumps(found)) == {
        "run": RUN,
        "study": "a" * 64,
        "name": "payments",
        "state": "running",
        "life": "alive",
        "reason": "",
        "note": "",
        "command": "",
        "created": "2025-06-01T12:00:00+00:00",
        "ended": None,
        "progress": {
            "phase": "training",
            "step": 12,
            "steps": 40,
            "attempt_failures": 1,
            "seconds": 0.4812,
            "spent_picomu2": 123_000_000_000,
            "at": "2025-06-01T12:00:29+00:00",
        },
        "lost_attempts": {},
        "seconds_left": 13.6,
        "privacy": {
            "epsilon": 1.0,
            "delta": 1e-6,
            "epsilon_spent": 0.4123,
            "epsilon_of_run": 0.2071,
        },
        "metrics": METRICS,
        "institutions": {
            "bank-a": {"status": "answered", "at": "2025-06-01T12:00:29+00:00"},
            "bank-b": {"status": "no answer in time", "at": "2025-06-01T11:59:15+00:00"},
            "bank-c": None,
        },
    }


def test_time_left_follows_the_pace_that_was_seen() -> None:
    pace = Pace()
    assert pace.seconds_left(None) is None
    assert pace.seconds_left(progress("hello", 0)) is None
    # The first look knows only how long the last step took: 28 steps and the evaluation.
    assert pace.seconds_left(progress(step=12, seconds=0.5, at=before(10))) == 29 * 0.5
    # Two steps in six seconds: three seconds each, whatever the last one took.
    assert pace.seconds_left(progress(step=14, seconds=0.5, at=before(4))) == 27 * 3.0
    assert pace.seconds_left(progress("evaluation", 40, at=before(1))) == pytest.approx(9 / 28)
    assert pace.seconds_left(progress("delivery", 40)) is None


def test_a_run_before_its_first_step_promises_no_time() -> None:
    assert Pace().seconds_left(progress(step=0, seconds=0.0)) is None


def test_who_said_no_is_said_once_under_the_runs() -> None:
    no = {"bank-b": ("rejected it: the purpose is too wide", NOW), "bank-a": ("answered", NOW)}
    runs = [replace(summary(how=progress()), institutions=no) for _ in range(2)]
    lines = text(runs_table(runs), 80)
    assert lines[-1].strip() == "payments: bank-b rejected it: the purpose is too wide"
    assert sum("bank-b" in one for one in lines) == 1
