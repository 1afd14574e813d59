"""A look passes, warns, fails or is skipped; one mistake is said once."""

import pytest

from fieldfare.client.oversight.preflight import (
    Finding,
    Look,
    MissingError,
    Outcome,
    Part,
    Seen,
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
    looks = [
        Look("good", lambda: "fine", "never shown"),
        Look("odd", lambda: Seen(Outcome.WARN, "weak"), "make it stronger"),
        Look("bad", broken, "read the docs"),
        Look("shut", denied),
        Look("left", lambda: Seen(Outcome.SKIP, "not here"), "never shown"),
    ]
    assert list(findings(looks)) == [
        Finding("good", Outcome.PASS, "fine", ""),
        Finding("odd", Outcome.WARN, "weak", "make it stronger"),
        Finding("bad", Outcome.FAIL, "expected a file, found none: make it", "read the docs"),
        Finding("shut", Outcome.FAIL, "/srv/file: Permission denied", ""),
        Finding("left", Outcome.SKIP, "not here", ""),
    ]


def test_what_rests_on_something_broken_is_skipped() -> None:
    part = Part("the file", broken)
    found = findings([Look("file", part.get), Look("content", part.need)])
    assert [one.outcome for one in found] == [Outcome.FAIL, Outcome.SKIP]
    with pytest.raises(MissingError, match="the file"):
        part.need()


def test_a_part_is_made_once() -> None:
    made: list[int] = []

    def make() -> str:
        made.append(1)
        return "it"

    part = Part("a part", make)
    assert [part.get(), part.need(), part.get()] == ["it"] * 3
    assert made == [1]


def test_the_screen_is_80_columns_wide() -> None:
    lines = [
        line
        for finding in (
            Finding("roster", Outcome.FAIL, "expected a pinned roster, found none", "accept it"),
            Finding("policy", Outcome.WARN, "word " * 30, ""),
            Finding("disk", Outcome.PASS, "70.4 GiB free", ""),
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
    (line,) = finding_lines(Finding("clock", Outcome.FAIL, "a\x1b[2J\rb", ""))
    assert line.isprintable()


def test_programs_get_everything() -> None:
    assert findings_json([Finding("a", Outcome.FAIL, "b", "c")]) == [
        {"topic": "a", "outcome": "fail", "found": "b", "remedy": "c"}
    ]
