"""The page and the terminal say the same, and what they must."""

import io
import json
import re
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console
from tests.support.runs.joining import everywhere, facts, kind, month, paired

from fieldfare.shared.joining.figures import figures
from fieldfare.shared.joining.page import join_page, join_screen
from fieldfare.shared.joining.words import answer, losers, sections
from fieldfare.shared.pages.words import odds_factor


def whole(**given: Any) -> dict[str, Any]:
    """All that a page can say."""
    rows = [
        *everywhere(),
        *everywhere(labels=0.25, alone=0.4, at_home=0.45),
        *everywhere(labels=0.0, alone=None),
        *everywhere(labels=10.0),
    ]
    kinds = [kind("rare", s) for s in range(3)] + [kind("left out", s) for s in range(3)]
    months = [month(s, None, 2) for s in range(5)]
    return figures(facts(**given), rows, kinds, months)


def lines(found: dict[str, Any], width: int = 80) -> list[str]:
    stream = io.StringIO()
    Console(file=stream, width=width).print(join_screen(found))
    return stream.getvalue().splitlines()


def test_everything_is_said_within_eighty_columns() -> None:
    said = lines(whole(unknown=("Nobody knows the rest.",)))
    assert max(len(line.rstrip()) for line in said) <= 80
    text = " ".join(" ".join(said).split())
    for part in (
        "Should we join? Yes: own customers gain 10% in average precision (+0.050;",
        "Own customers, with fewer labels",
        "which knows nothing, the same stack has average precision with 100% of the labels 0.51",
        "so what others know adds +0.040;",
        "Each institution", "A newcomer",
        "Roles that are rare here", "(30 held-out cases, all together): own best models find 30 of",
        "A scenario never seen here", "A scenario that is new",
        "At 20 minutes an alert, which is an",
        "epsilon 1, delta 1 in 100,000", f"at most {odds_factor(1.0)} times",
        "Nobody knows the rest.",
    ):  # fmt: skip
        assert part in text, part


def test_page_and_terminal_have_the_same_numbers() -> None:
    found = whole()
    page = join_page(found)
    for section in sections(found):
        for row in section.rows:
            assert all(cell in page for cell in row)
    ET.fromstring(re.search(r"<svg class.*?</svg>", page, re.DOTALL)[0])  # type: ignore[index]  # noqa: S314
    assert "<script" not in page
    assert join_page(json.loads(json.dumps(found))) == page  # the same figures, the same bytes


def test_an_institution_that_gains_nothing_is_named() -> None:
    rows = [*everywhere(), *(paired("bank-d", s, at_home=0.45) for s in range(6))]
    rows += [paired("bank-e", 0, cases=3)]
    found = figures(facts(), rows)
    assert "bank-d gains nothing; bank-e has too few held-out cases to say." in losers(found)
    assert {one["name"]: one["word"] for one in found["institutions"]}["bank-a"] == "yes"


def test_joining_that_hurts_says_no() -> None:
    found = figures(facts(), everywhere(at_home=0.42))
    assert answer(found).startswith("No: own customers gain nothing (-0.080;")
    assert "finds no more cases" in " ".join(" ".join(lines(found)).split())


def test_few_cases_are_not_shown() -> None:
    """Neither a recall of four cases, nor an own count below five, nor a way that is none."""
    few = figures(facts(place="institution"), [paired(learned=3)], [kind("rare", cases=4)])
    assert few["rare"] is None
    assert "under 5" in join_page(few)
    assert "stays with you" in join_page(few)
    assert figures(facts(), everywhere(pooled=0.51))["labels"][0]["closed"] is None
    assert figures(facts(), everywhere())["labels"][0]["closed"] == pytest.approx(0.5)


def test_the_work_of_a_case_is_counted_at_the_assumed_minutes() -> None:
    found = figures(facts(minutes=30.0), everywhere())["reviews"]
    # Of 20 cases 10 are found alone and 11 at home, by 20 alerts; alone needs 26 for 11.
    assert found["minutes_alone"] == pytest.approx(30 * 20 / 10)
    assert found["minutes_at_home"] == pytest.approx(30 * 20 / 11)
    assert found["extra_minutes"] == pytest.approx(30 * 6)
    assert found["extra_cases"] == pytest.approx(100 / 20)
    assert figures(facts(), everywhere(at_home=0.4))["reviews"]["extra_minutes"] is None


def test_names_are_neither_markup_nor_commands() -> None:
    rows = [paired(name, 0) for name in ("<b>bank</b>", "bank\x1b[2J")]
    found = figures(facts(study="<i>"), rows)
    assert "<b>" not in join_page(found)
    assert "\x1b" not in "\n".join(lines(found))
