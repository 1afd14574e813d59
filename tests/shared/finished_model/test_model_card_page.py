"""The page of a model card: it says what the card says, and a stranger's words stay words."""

import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from typing import Any

import pytest
from pydantic import ValidationError
from tests.support.homes.institutions import home_study
from tests.support.runs.finished import FINISHED, METRICS, facts_of, parameters_of
from tests.support.runs.grouped import AGES, released_groups

from fieldfare.shared.finished_model.card_page import card_page
from fieldfare.shared.finished_model.card_writing import write_card
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.study.study import Study

STUDY = home_study()
MARKUP = "<script>alert(1)</script>\"'&"
HOSTILE = MARKUP + "\x1b[2J\u202e"
VOID = {"meta", "br"}


def page_of(study: Study = STUDY, **facts: Any) -> str:
    parameters = parameters_of(study)
    card = write_card(plan_for(study), parameters, facts_of(study, **facts), FINISHED)
    return card_page(card, study, parameters)


class Balanced(HTMLParser):
    """Collects tags, and complains about one that is not closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.targets: set[str] = set()
        self.ids: set[str] = set()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        given = dict(attributes)
        if "id" in given:
            self.ids.add(given["id"] or "")
        if (given.get("href") or "").startswith("#"):
            self.targets.add((given["href"] or "")[1:])
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, _: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def read(page: str) -> Balanced:
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []
    return parser


def test_it_is_one_file_without_scripts_or_anything_from_elsewhere() -> None:
    page = page_of()
    found = read(page)
    assert not found.seen & {"script", "link", "img", "iframe", "object", "form", "base"}
    assert not re.search(r"(https?:)?//|url\(|@import|javascript:", page)
    policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    assert policy in page
    assert found.targets <= found.ids


@pytest.mark.parametrize(
    "text",
    [
        "A possible victim is never the subject of an alert",
        "treating a possible victim as a subject",
        "consenting adult sex workers",
        "0.880",
        "0.860 to 0.890",
        "8,012",
        "epsilon promised",
        "having or not having one unit's own records",
        "a customer's own statement",
        "as payer or payee, is not covered",
        "epsilon of a unit known to 2",
        "add or remove one unit",
        "ab" * 32,
        "cd" * 32,
        "42 leaves",
        "2025-06-02 09:30 UTC",
        "fieldfare institution verify",
    ],
)
def test_it_says_what_the_card_says(text: str) -> None:
    assert text in unescape(page_of()).replace("epsilon, delta promised", "epsilon promised")


def test_each_feature_is_drawn_from_the_model() -> None:
    page = page_of()
    assert page.count('<div class="shape">') == len(STUDY.features)
    other = parameters_of(STUDY, seed=1)
    card = write_card(plan_for(STUDY), other, facts_of(STUDY), FINISHED)
    curve = re.compile(r'<polyline class="curve" points="([^"]+)"')
    assert curve.findall(page) != curve.findall(card_page(card, STUDY, other))


def test_hidden_metrics_are_said_to_be_hidden() -> None:
    page = page_of(metrics=None)
    read(page)
    assert "Hidden by noise" in page
    assert "AUROC" not in page


def test_the_same_card_is_the_same_page() -> None:
    assert page_of() == page_of()


def test_strangers_words_stay_words() -> None:
    features = [feature.model_dump(mode="json") for feature in STUDY.features]
    for names in (
        {"records__label": "label" + HOSTILE},
        {"features": [features[0] | {"name": HOSTILE}]},
    ):
        with pytest.raises(ValidationError, match="should match pattern"):
            home_study(**names)
    features[0]["name"] = features[1]["levels"][0] = MARKUP
    study = home_study(
        features=features,
        purpose=HOSTILE,
        prohibited_uses=[HOSTILE],
        records__label="label" + MARKUP,
    )
    page = page_of(study)
    assert "script" not in read(page).seen
    assert not {"\x1b", "\u202e"} & set(page)
    assert "&lt;script&gt;" in page


@pytest.mark.parametrize("value", [-1e300, 1e300, 0.0])
def test_numbers_out_of_range_stay_in_the_picture(value: float) -> None:
    wild = {"value": value, "low": value, "high": value}
    point = {"predicted": value, "observed": value, "low": value, "high": value, "units": value}
    page = page_of(metrics=METRICS | {"auroc": wild, "calibration": [point]})
    read(page)
    for place in re.findall(r'class="reach" x1="([^"]+)" x2="([^"]+)"', page):
        assert all(0 <= float(x) <= 212 for x in place)


def test_masks_that_are_all_there_is_are_said_to_be() -> None:
    parameters = parameters_of(STUDY)
    card = write_card(plan_for(STUDY), parameters, replace(facts_of(STUDY)), FINISHED)
    bare = card.privacy.model_copy(update={"epsilon_if_masks_fail": None})
    page = card_page(card.model_copy(update={"privacy": bare}), STUDY, parameters)
    assert "no promise would be left" in page


def test_a_model_of_texts_has_a_page_without_curves() -> None:
    study = home_study(features=(), model={"kind": "text", "column": "message", "buckets": 64})
    page = page_of(study)
    read(page)
    assert "64 numbers" in page
    assert "sum of these curves" not in page


def test_groups_are_a_table_on_the_page() -> None:
    assert "On whom alerts fall" not in page_of()
    page = page_of(home_study(evaluation={"groups": [AGES]}), groups=released_groups())
    parsed = read(page)
    assert parsed.targets <= parsed.ids
    assert "groups" in parsed.ids
    assert "18-24" in page
    assert "more than twice: 9.1 times" in page
