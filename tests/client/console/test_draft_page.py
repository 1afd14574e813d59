"""Drafts in a browser, with scripts off: what is missing, and which movements a person chose."""

import re
import time
from html import unescape
from typing import Final

import httpx
import pytest
from tests.client.console.test_alert_page import (
    CASE,
    HIDDEN,
    Persons,
    decide,
    form,
    persons,
    queue,
)
from tests.support.homes import journals
from tests.support.homes.consoles import TOKEN, Browser

from fieldfare.client.console.draft_page import CHECKS
from fieldfare.client.home.layout import Home

DRAFT: Final = f"{CASE}/draft"
LOCAL_FIELD: Final = "field:currency_code_local"
__all__ = ["HIDDEN", "persons", "queue"]


def fields(browser: Browser, kind: str, text: str = "") -> dict[str, str]:
    """The fields of a draft's page as a browser without scripts would send them back."""
    page = text or browser.get(f"{DRAFT}?format={kind}").text
    token = TOKEN.search(page)
    assert token
    found = dict(re.findall(r'<input id="[^"]+" name="([^"]+)" value="([^"]*)"', page))
    found |= dict(re.findall(r'<input type="hidden" name="(shown|format)" value="([^"]*)"', page))
    return {name: unescape(value) for name, value in found.items()} | {"token": token[1]}


def offers(browser: Browser, kind: str) -> list[str]:
    page = browser.get(f"{DRAFT}?format={kind}").text
    return re.findall(r'type="checkbox" name="(entry:[0-9a-f]{16})"', page)


def checked(browser: Browser, said: dict[str, str]) -> str:
    answer = browser.sent(DRAFT, {**said, "check": "1"})
    assert answer.status_code == 200, answer.text
    return answer.text


def saved(browser: Browser, said: dict[str, str]) -> httpx.Response:
    return browser.sent(DRAFT, {**said, "save": "1"})


@pytest.mark.parametrize("kind", ["goaml", "fintrac-json"])
def test_a_draft_says_what_is_missing_and_a_victim_is_no_subject(
    persons: Persons, kind: str, home: Home
) -> None:
    """Harm rule 1: said above the first field, and no field makes this person a subject."""
    assert persons.ana.get(f"{DRAFT}?format={kind}").status_code == 400  # nobody decided
    assert decide(persons.ana, form(persons.ana), "escalate", "potential_victim") == 303
    text = unescape(persons.ana.get(f"{DRAFT}?format={kind}").text)
    assert text.index("never the subject of a report") < text.index(
        '<form method="post" action="/cases'
    )
    said = fields(persons.ana, kind)
    names = [one for one in said if one.startswith("field:")]
    assert not [one for one in names if one.endswith(("suspected", "protected"))]
    missing = text.count('class="late">missing')
    first = next(one for one in names if "COMPLETED" in said[one])
    page = checked(persons.ana, {**said, first: "4711"})
    assert page.count('class="late">missing') == missing - 1
    assert f"{missing - 1} fields to be completed" in page
    forged = {**said, "field:parties.0.suspected": "true", "check": "1"}
    assert persons.ana.sent(DRAFT, forged).status_code == 400
    answer = saved(persons.ana, {**said, first: "4711"})
    assert answer.headers["content-disposition"].startswith("attachment")
    assert b"4711" in answer.content
    found = journals.logged(home.log_folder)[-1]
    assert (found["event"], found["actor"]) == ("report drafted", "ana")


@pytest.mark.parametrize("kind", ["goaml", "fintrac-json"])
def test_chosen_entries_are_in_the_draft_with_day_and_amount_of_the_store(
    persons: Persons, kind: str
) -> None:
    assert decide(persons.ana, form(persons.ana), "escalate", "potential_victim") == 303
    first, second = offers(persons.ana, kind)
    said = fields(persons.ana, kind) | {first: "1", second: "1"}
    page = checked(persons.ana, said)
    assert "2 movements in the draft" in page
    assert page.count(" checked>") == 2
    assert "Movement of 2026-03-31 12:00, in 10.00 CAD" in page
    said = fields(persons.ana, kind, page) | {first: "1", second: "1"}
    assert not [one for one in said if one.endswith(("amount_local", ".amount", ".date"))]
    place = "transaction.1.transmode_code" if kind == "goaml" else "transactions.1.method"
    typed = {**said, f"field:{place}": "typed beside the second"}
    del typed[first]
    only = saved(persons.ana, typed).content.decode()
    assert "typed beside the second" in only
    assert "20.00" in only
    assert "10.00" not in only
    assert "_is_suspected>true" not in only
    assert '"suspected": true' not in only
    stored = "transaction.amount_local" if kind == "goaml" else "transactions.0.date"
    assert persons.ana.sent(DRAFT, {**said, f"field:{stored}": "9", "save": "1"}).status_code == 400


def test_an_amount_in_another_currency_than_the_reports_is_foreign(persons: Persons) -> None:
    """The entries are of CAD: in a report of USD a person says the amount there, and the rate."""
    assert decide(persons.ana, form(persons.ana), "escalate", "controller") == 303
    first, second = offers(persons.ana, "goaml")
    taken = {first: "1", second: "1"}
    rate = "field:transaction.1.t_to_my_client.to_foreign_currency.foreign_exchange_rate"
    page = checked(persons.ana, fields(persons.ana, "goaml") | taken | {LOCAL_FIELD: "USD"})
    said = fields(persons.ana, "goaml", page) | taken
    assert rate in said
    assert "field:transaction.1.amount_local" in said
    assert not [one for one in said if one.endswith(("foreign_amount", "foreign_currency_code"))]
    typed = {**said, rate: "0.73", "field:transaction.1.amount_local": "14.60"}
    content = saved(persons.ana, typed).content.decode()
    assert "<amount_local>14.60</amount_local>" in content
    assert "<foreign_amount>20.00</foreign_amount>" in content
    assert "<foreign_currency_code>CAD</foreign_currency_code>" in content
    content = saved(persons.ana, {**typed, LOCAL_FIELD: "CAD"}).content.decode()  # said anew
    assert "<amount_local>20.00</amount_local>" in content
    assert "foreign" not in content


def test_checks_are_held_back_for_each_person_and_never_their_save(
    persons: Persons, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "clock_gettime", lambda _: 1.0)
    assert decide(persons.ana, form(persons.ana), "escalate", "controller") == 303
    said = fields(persons.ana, "fintrac-json")
    codes = [persons.ana.sent(DRAFT, {**said, "check": "1"}).status_code for _ in range(CHECKS + 1)]
    assert (set(codes[:-1]), codes[-1]) == ({200}, 429)
    assert saved(persons.ana, said).status_code == 200


def test_what_is_kept_no_longer_is_left_out_and_said(persons: Persons) -> None:
    assert decide(persons.ana, form(persons.ana), "escalate", "controller") == 303
    said = fields(persons.ana, "goaml") | {"entry:0123456789abcdef": "1"}
    page = checked(persons.ana, said)
    assert "1 more was chosen" in page
    assert "0 movements in the draft" in page


def test_no_entry_is_in_an_address_and_the_script_has_nothing_inline(persons: Persons) -> None:
    assert decide(persons.ana, form(persons.ana), "escalate", "controller") == 303
    page = persons.ana.get(f"{DRAFT}?format=goaml").text
    assert 'data-typed="' in page
    assert not re.search(r"\son\w+=", page)
    for address in re.findall(r'(?:href|action)="([^"]*)"', page):
        assert "entry" not in address
