from typing import Any

import pytest
from rich.console import Console
from tests.support.homes.institutions import NOW

from fieldfare.client.alerts.alert import Alert
from fieldfare.client.alerts.feedback import Confidence, Disposition, Feedback, PartyRole
from fieldfare.client.alerts.store import StoredAlert
from fieldfare.client.alerts.text import card, queue_table

REASON: dict[str, Any] = {
    "feature": "R04", "indicator": "R04", "family": "FLOW", "source": "FIN-2020-A008",
    "value": 0.9, "level": None, "own_baseline": 0.2, "usual": 0.1, "percentile": 97.0,
    "contribution": 1.25, "direction": "raises", "fires": True, "evidence": True,
}  # fmt: skip


def kept(**changes: Any) -> StoredAlert:
    data: dict[str, Any] = {
        "alert": "aaaa1111", "unit": "cust\x1b[31m1", "study": "s" * 64, "study_name": "s",
        "run": "r", "opened": NOW.isoformat(), "scored": NOW.isoformat(), "rank": 3, "of": 1000,
        "selected": "alert", "score": -1.0, "base": -2.5, "others": 0.5, "probability": 0.123,
        "calibration": "platt, on 40 positives", "likely": (0.05, 0.3), "families": 1,
        "family_names": ("FLOW",),
        "evidence": ("R04",), "fired": ("R04", "R11"),
        "against": ("LIVING",), "look_alikes": ("student",), "reasons": (REASON,),
        "counter_evidence": (
            REASON | {"feature": "wages", "indicator": None, "source": None, "value": None,
                      "level": "missing", "contribution": -0.25, "direction": "lowers",
                      "own_baseline": None, "usual": None, "percentile": None},
        ),
    }  # fmt: skip
    decision = Feedback(
        "aaaa1111", NOW, "ana", Disposition.EDD, PartyRole.POTENTIAL_VICTIM, Confidence.LOW, "why"
    )
    return StoredAlert(Alert.model_validate(data | changes), (decision,))


def shown(renderable: Any) -> str:
    console = Console(width=200, record=True, file=None, force_terminal=False)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()


def test_a_card_shows_evidence_counter_evidence_and_who_looks_alike() -> None:
    text = shown(card(kept()))
    for said in (
        "3 of 1,000", "5-30%", "FLOW; one is not enough",
        "published indicators that fire and raise it: R04", "no evidence here: R11",
        "speak against it: LIVING",
        "+1.25", "What arrives leaves again by the next day", "0.9, before 0.2, usual here 0.1",
        "above 97 % here", "FIN-2020-A008", "-0.25", "missing",
        "-2.50 (average here) +1.25 -0.25 +0.50 (all others) = -1.00",
        "student: the same people send and receive", "R04: ", "ana: edd, potential_victim",
        "potential_victim: set by people", "never the subject", "No single indicator",
    ):  # fmt: skip
        assert said in text


def test_a_units_name_moves_no_cursor() -> None:
    assert "\x1b" not in shown(card(kept()))
    assert "\x1b" not in shown(queue_table([kept()]))


def test_a_card_without_probability_or_reasons_says_so() -> None:
    nothing: dict[str, Any] = {"reasons": (), "counter_evidence": (), "family_names": ()}
    text = shown(
        card(kept(probability=None, likely=None, families=0, against=(), look_alikes=(), **nothing))
    )
    assert "nothing" in text
    assert "0 independent families: none" in text


def test_the_queue_has_a_line_for_each() -> None:
    text = shown(queue_table([kept(), kept(alert="bbbb2222", selected="below_line")]))
    assert "aaaa1111" in text
    assert "below line" in text
    assert "potential victim" in text


def test_no_id_of_the_queue_stands_over_two_lines_at_80_columns() -> None:
    console = Console(width=80, force_terminal=False)
    one = kept(alert="0feeb94ece9ca975", unit="CUST0000000001", rank=123_456, label=1)
    with console.capture() as capture:
        console.print(queue_table([one, kept(alert="f" * 16, unit="u" * 40)]))
    lines = capture.get().splitlines()
    assert max(map(len, lines)) <= 80
    assert sum("0feeb94ece9ca975 CUST0000000001     123,456 5-30%" in line for line in lines) == 1
    assert sum("f" * 16 + " " + "u" * 15 + "..." in line for line in lines) == 1
    assert "known" in capture.get()


@pytest.mark.parametrize(
    ("likely", "said"),
    [((0.95, 1.0), "> 95%"), ((0.0, 0.05), "< 5%"), ((0.35, 0.65), "35-65%"), ((0.0, 1.0), "?"),
     (None, "score again")],
)  # fmt: skip
def test_a_probability_is_said_no_finer_than_its_labels(likely: Any, said: str) -> None:
    text = shown(card(kept(probability=0.9991, likely=likely)))
    assert said in text
    assert "99.9" not in text


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"fires": False, "value": 0.0}, "below where the flag fires"),
        ({"fires": None, "value": 0.0}, "this study cannot say whether the flag fires"),
        ({"fires": True, "usual": 0.9}, "usual here"),
        ({"fires": True}, "too little in its family"),
        ({"fires": None, "indicator": None, "feature": "wages"}, "no published rule"),
    ],
)
def test_what_raises_without_being_evidence_says_why(changes: dict[str, Any], why: str) -> None:
    text = " ".join(shown(card(kept(reasons=(REASON | changes | {"evidence": False},)))).split())
    assert f"; no evidence: {why} " in text
    assert ("or it is" in text) == (why == "too little in its family")
    assert "no evidence:" not in shown(card(kept()))
