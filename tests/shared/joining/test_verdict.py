"""The rule: joining has to be shown to be worth it."""

from typing import Any

import pytest
from tests.support.runs.joining import everywhere, paired

from fieldfare.shared.joining.verdict import RULE, Word, verdict


@pytest.mark.parametrize(
    ("given", "word", "why"),
    [
        ({}, Word.YES, "gain 10%"),
        ({"alone": 0.6}, Word.NO, "gain nothing"),  # an invented case in which joining hurts
        ({"alone": 0.55}, Word.NO, "gain nothing"),
        ({"alone": 0.545, "noise": 0.0001}, Word.NOT_WORTH, "less than 2%"),
        ({"noise": 0.5, "auroc": 3.0}, Word.NOT_WORTH, "may be chance"),
        ({"noise": 0.5, "seeds": 3}, Word.NO, "no better than guessing"),
        (
            {"placebo": 0.55},
            Word.NOT_WORTH,
            "a model that knows nothing may bring as much as the gain",
        ),
        ({"placebo": None}, Word.YES, "gain 10%"),  # nobody tried
        ({"auroc": 0.505}, Word.YES, "gain 10%"),  # the gain is shown all the same
        ({"cases": 1, "seeds": 3}, Word.NO, "only 9 held-out cases"),
    ],
)
def test_the_rule(given: dict[str, Any], word: Word, why: str) -> None:
    found = verdict(everywhere(**given))
    assert (found.word, why in found.why) == (word, True), found


def test_a_stronger_opponent_turns_the_verdict() -> None:
    words = [verdict(everywhere(alone=alone)).word for alone in (0.5, 0.545, 0.56)]
    assert words == [Word.YES, Word.NOT_WORTH, Word.NO]


def test_precision_that_costs_cases_is_not_worth_it() -> None:
    rows = [
        row.model_copy(
            update={
                "draws": row.draws.model_copy(update={"share_found": (-0.1,) * 200})
                if row.draws
                else None
            }
        )
        for row in everywhere()
    ]
    assert verdict(rows).word is Word.NOT_WORTH
    assert "fewer cases" in verdict(rows).why


def test_one_institution_is_judged_by_its_own_rows() -> None:
    rows = [paired("bank-d", seed, at_home=0.5) for seed in range(3)]
    assert verdict(rows, one=True).word is Word.NO
    few = verdict([paired("bank-e", cases=9)], one=True)
    assert (few.word, few.gain) == (Word.TOO_FEW, None)
    assert verdict([]).word is Word.NO


def test_one_simulated_run_does_not_decide() -> None:
    assert verdict(everywhere(seeds=1)).word is Word.ONE_RUN
    assert verdict(everywhere(seeds=1), simulated=False).word is Word.YES
    assert verdict(everywhere(seeds=1, cases=1)).word is Word.NO


def test_fewer_than_six_seeds_are_no_yes() -> None:
    """Where seeds differ, intervals over three are above a true 0 one time in ten."""
    few, enough = (verdict(everywhere(seeds=seeds)) for seeds in (5, 6))
    assert (few.word, enough.word) == (Word.FEW_RUNS, Word.YES)
    assert few.why == enough.why
    assert verdict(everywhere(seeds=5, alone=0.6)).word is Word.NO
    assert "6 seeds" in RULE


def test_the_rule_is_said_with_its_numbers() -> None:
    for said in ("at least 2%", "above 0", "fewer than 10", ".5"):
        assert said in RULE
