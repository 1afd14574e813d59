"""A card on a terminal: everything that decides about its use, and nothing that moves a cursor."""

import io
from typing import Any

from rich.console import Console
from tests.support.homes.institutions import home_study
from tests.support.runs.finished import FINISHED, facts_of, parameters_of
from tests.support.runs.grouped import AGES, released_groups

from fieldfare.client.model_use.card_text import MOST_FEATURES, card_text
from fieldfare.shared.finished_model.card_writing import write_card
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.study.study import Study


def shown(study: Study, width: int = 100, **facts: Any) -> str:
    card = write_card(plan_for(study), parameters_of(study), facts_of(study, **facts), FINISHED)
    out = io.StringIO()
    Console(file=out, width=width, highlight=False).print(card_text(card))
    return out.getvalue()


def test_it_says_what_the_page_says() -> None:
    text = " ".join(shown(home_study()).split())
    for part in (
        "small, run run-1",
        "treating a possible victim as a subject",
        "of 1.0% reviewed: precision 0.610",
        "records of 3 institutions; planned for 600 units, 10.0% of them labelled",
        "one customer's own records, there or not",
        "a score of .5 (log-odds 0) means",
        "best cut by F1",
        "a customer's own statement",
        "as payer or payee, is not covered",
        "known to 1 of the institutions, which nobody counts",
        "fieldfare institution verify FILE",
    ):
        assert part in text


def test_hidden_metrics_are_said_to_be_hidden() -> None:
    assert "hidden by noise" in shown(home_study(), metrics=None)


def test_the_strongest_inputs_come_first_and_the_rest_is_counted() -> None:
    features = [
        {"name": f"f{i:02}", "kind": "numeric", "lower": 0, "upper": 1}
        for i in range(MOST_FEATURES + 3)
    ]
    text = shown(home_study(features=features))
    assert text.count(" to +") + text.count(" to -") == MOST_FEATURES
    assert "3 more on the page" in text


def test_strangers_words_move_no_cursor() -> None:
    study = home_study(purpose="\x1b[2J[red]\u202e", prohibited_uses=["a\rb"])
    text = shown(study)
    assert not {"\x1b", "\u202e", "\r"} & set(text)
    assert "[red]" in text  # no markup


def test_it_fits_a_narrow_terminal() -> None:
    assert max(map(len, shown(home_study(), width=80).splitlines())) <= 80


def test_groups_are_said_where_there_are_some() -> None:
    assert "of all unlabelled" not in shown(home_study())
    study = home_study(evaluation={"groups": [AGES]})
    text = " ".join(shown(study, groups=released_groups()).split())
    assert "groups age_band, of all unlabelled" in text
    assert "more than twice as often as others: 18-24" in text
