"""A look passes, warns, fails or is skipped; one mistake is said once."""

import pytest

from fieldfare.client.oversight.preflight import (
    Check,
    CheckInput,
    CheckNote,
    CheckOutcome,
    CheckResult,
    MissingError,
    finding_lines,
    findings,
    findings_json,
)
from fieldfare.shared.errors import UsageError


def broken() -> str:
    raise UsageError("expected a file, found none: make it")


def denied() -> str:
    raise PermissionError(13, "Permission denied", "/srv/file")


def test_every_outcome() -> None:
    checks = [
        Check("good", lambda: "fine", "never shown"),
        Check("odd", lambda: CheckNote(CheckOutcome.WARN, "weak"), "make it stronger"),
        Check("bad", broken, "read the docs"),
        Check("shut", denied),
        Check("left", lambda: CheckNote(CheckOutcome.SKIP, "not here"), "never shown"),
    ]
    assert list(findings(checks)) == [
        CheckResult("good", CheckOutcome.PASS, "fine", ""),
        CheckResult("odd", CheckOutcome.WARN, "weak", "make it stronger"),
        CheckResult(
            "bad", CheckOutcome.FAIL, "expected a file, found none: make it", "read the docs"
        ),
        CheckResult("shut", CheckOutcome.FAIL, "/srv/file: Permission denied", ""),
        CheckResult("left", CheckOutcome.SKIP, "not here", ""),
    ]


def test_what_rests_on_something_broken_is_skipped() -> None:
    part = CheckInput("the file", broken)
    found = findings([Check("file", part.get), Check("content", part.need)])
    assert [one.outcome for one in found] == [CheckOutcome.FAIL, CheckOutcome.SKIP]
    with pytest.raises(MissingError, match="the file"):
        part.need()


def test_a_part_is_made_once() -> None:
    made: list[int] = []

    def make() -> str:
        made.append(1)
        return "it"

    part = CheckInput("a part", make)
    assert [part.get(), part.need(), part.get()] == ["it"] * 3
    assert made == [1]


def test_the_screen_is_80_columns_wide() -> None:
    lines = [
        line
        for finding in (
            CheckResult(
                "roster", CheckOutcome.FAIL, "expected a pinned roster, found none", "accept it"
            ),
            CheckResult("policy", CheckOutcome.WARN, "word " * 30, ""),
            CheckResult("disk", CheckOutcome.PASS, "70.4 GiB free", ""),
        )
        for line in finding_lines(finding)
    ]
    assert max(map(len, lines)) <= 80
    assert "\n".join(lines) == (
        "FAIL  roster       expected a pinned roster, found none\n"
        "    to do:         accept it\n"
        "warn  policy       word word word word word word word word word word word word\n"
        "                   word word word word word word word word word word word word\n"
        "                   word word word word word word\n"
        "pass  disk         70.4 GiB free"
    )


def test_other_peoples_text_moves_no_cursor() -> None:
    (line,) = finding_lines(CheckResult("clock", CheckOutcome.FAIL, "a\x1b[2J\rb", ""))
    assert line.isprintable()


def test_programs_get_everything() -> None:
    assert findings_json([CheckResult("a", CheckOutcome.FAIL, "b", "c")]) == [
        {"topic": "a", "outcome": "fail", "found": "b", "remedy": "c"}
    ]
