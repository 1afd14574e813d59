"""The sentences follow from the numbers, also when the numbers are bad news."""

from typing import Any

import jinja2
import numpy as np
import pytest
from tests.support.runs.grouped import released_groups

from fieldfare.simulations.metrics import group_rows
from fieldfare.simulations.report import figures, words


def run_with(**pairs: tuple[float | None, float | None] | None) -> dict[str, Any]:
    models = {
        key: None if pair is None else {"auroc": pair[0], "average_precision": pair[1]}
        for key, pair in pairs.items()
    }
    return {"study": {"unit": "account"}, "models": models}


@pytest.mark.parametrize(
    ("federated", "alone", "expected"),
    [
        ((0.88, 0.74), (0.85, 0.70), "clearly better than"),
        ((0.88, 0.74), (0.87, 0.70), "better than"),
        ((0.88, 0.74), (0.878, 0.70), "slightly better than"),
        ((0.880, 0.741), (0.879, 0.739), "about as well as"),
        ((0.879, 0.739), (0.880, 0.741), "about as well as"),
        ((0.85, 0.70), (0.88, 0.74), "clearly worse than"),
        ((0.85, 0.74), (0.86, 0.74), "slightly worse than"),
        ((0.88, 0.70), (0.85, 0.74), "better by AUROC but worse by average precision than"),
        ((0.85, 0.74), (0.88, 0.70), "better by average precision but worse by AUROC than"),
        ((0.88, None), (0.85, 0.7), "clearly better than"),
    ],
)
def test_the_answer_says_what_the_numbers_say(
    federated: tuple[float, float], alone: tuple[float, float], expected: str
) -> None:
    answer = words.sentence(run_with(federated=federated, alone=alone), "answer")
    assert f"ranks {expected} an institution's own model" in answer


def test_who_would_do_better_alone_is_told() -> None:
    worse = words.conclusion(run_with(federated=(0.8, 0.6), alone=(0.85, 0.7)))
    better = words.conclusion(run_with(federated=(0.85, 0.7), alone=(0.8, 0.6)))
    assert worse[-1] == "Who looks at accuracy only would do better alone on these records."
    assert not any("accuracy only" in sentence for sentence in better)


def test_without_a_baseline_nothing_is_claimed() -> None:
    text = " ".join(words.conclusion(run_with(federated=(0.8, 0.6))))
    assert "does not show whether learning together helps" in text
    assert "better" not in text
    assert "AUROC 0.800, average precision 0.600" in text


def test_without_a_measurement_nothing_is_claimed() -> None:
    text = words.conclusion(run_with(federated=(None, None), alone=(None, None)))
    assert text == [
        "No ranking could be measured: the hold-out lacks labelled or unlabelled accounts."
    ]


@pytest.mark.parametrize(
    ("column", "one", "many"),
    [
        ("account", "account", "accounts"),
        ("customer_id", "customer", "customers"),
        ("Company", "company", "companies"),
        (None, "unit", "units"),
        ("customers", "unit", "units"),
        ("<script>", "unit", "units"),
        ("index", "unit", "units"),
    ],
)
def test_units_are_called_what_the_study_calls_them(
    column: str | None, one: str, many: str
) -> None:
    results = {"study": {"unit": column}}
    assert (figures.unit(results), figures.units(results)) == (one, many)


def privacy_of(**terms: Any) -> dict[str, Any]:
    return {"study": {"unit": "case"}, "privacy": {"epsilon": 1.0, "delta": 1e-5, **terms}}


def test_privacy_is_promised_only_for_protected_runs() -> None:
    exact = privacy_of(noise="exact", masked=True)
    simulated = privacy_of(noise="simulated", masked=False)
    assert words.privacy(exact)[0].startswith("This run promises epsilon 1, delta 1e-05")
    assert words.privacy(simulated)[0].startswith("A protected run of this study promises")
    assert "1 in 100,000" in words.privacy(exact)[0]
    assert "own records (not those of others)" in words.privacy(exact)[0]
    assert words.sentence(exact, "warning") == ""
    assert "fast seeded noise and nothing was masked" in words.sentence(simulated, "warning")
    assert words.sentence(privacy_of(noise="exact", masked=False), "warning") != ""


def standing(**changes: Any) -> dict[str, Any]:
    found = {
        "study": 1, "needed": 5, "by": "id", "units": 2000, "several": 1500, "beyond": 1500,
        "epsilon_of_worst": 6.4231,
    }  # fmt: skip
    return privacy_of(multiplicity={**found, **changes})


def test_units_at_more_institutions_than_are_counted_in_are_warned_of() -> None:
    """Five sites held the same payments under a multiplicity of one, and nothing said so."""
    results = standing()
    assert figures.needs_more(results)
    said = words.sentence(results, "several")
    assert said.startswith(
        "1,500 of 2,000 cases stand at up to 5 institutions, where the study's multiplicity is 1: "
        "for the worst of them the promise is epsilon 6.42, not 1."
    )
    assert "privacy.multiplicity = 5 in study and roster" in said
    assert "write their ids apart" in said


def test_what_the_multiplicity_counts_in_is_said_and_no_warning() -> None:
    counted = standing(study=5, beyond=0)
    assert not figures.needs_more(counted)
    assert "the study's multiplicity of 5 counts them in" in words.sentence(counted, "several")
    alone = standing(needed=1, several=0, beyond=0)
    assert not figures.needs_more(alone)
    assert words.sentence(alone, "several").startswith("No id stands at two institutions")
    assert words.sentence({"study": {"unit": None}, "privacy": {"epsilon": 1.0}}, "several") == ""


def test_rows_without_ids_that_are_equal_by_chance_are_no_warning() -> None:
    few = standing(by="content", needed=2, several=3, beyond=3)
    assert not figures.needs_more(few)
    assert words.sentence(few, "several").startswith("3 rows equal a row of another institution")
    assert words.sentence(standing(by="content", needed=1, several=0, beyond=0), "several") == ""
    most = standing(by="content")
    assert figures.needs_more(most)
    assert "1,500 rows stand at up to 5 institutions" in words.sentence(most, "several")
    assert "ids would tell for certain" in words.sentence(most, "several")


def test_a_figure_that_a_sentence_needs_is_never_left_blank() -> None:
    answer = {"region": "r", "first": "2025-01", "before": 1.0, "after": 2.0, "margin": 1.0}
    with pytest.raises(jinja2.UndefinedError, match="last: expected a figure"):
        words.sentence({"world": {**FACTS, "asked": answer}}, "asked")


def test_failed_masks_are_spoken_of() -> None:
    text = " ".join(words.privacy(privacy_of(epsilon_if_masks_fail=2.52, mu2_planned=1.0)))
    assert "If every mask failed" in text
    assert "epsilon 2.52" in text
    assert "right at most 70 times in 100" in text


def test_look_alikes_come_worst_first() -> None:
    rows = [
        {"name": n, "false_positive_rate": r}
        for n, r in zip("abcde", (0.01, 0.05, None, 0.03, 0.02), strict=True)
    ]
    text = words.sentence({"groups": {"rows": rows}}, "lookalikes")
    assert (
        text
        == "Reviewed although unlabelled, by group: b 5.0%, d 3.0%, e 2.0%, 1 more in the report."
    )
    assert words.sentence({"groups": None}, "lookalikes") == ""


def reviewed(**rates: tuple[int, int]) -> dict[str, Any]:
    """Groups by name: (unlabelled units, false positives)."""
    names = np.repeat(list(rates), [units for units, _ in rates.values()])
    wrong = np.concatenate([np.arange(units) < some for units, some in rates.values()])
    rows = group_rows(names, np.zeros(len(names), np.uint8), wrong)
    return {"study": {"unit": "customer"}, "groups": {"rows": rows}}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (20, "1.0%, 1.0 times (0.7 to 1.6, no more than twice)"),
        (80, "4.0%, 4.0 times (3.1 to 5.2, more than twice)"),
        (44, "2.2%, 2.2 times (1.6 to 3.1, too few to say)"),
    ],
)
def test_harm_rule_5_those_whom_an_alert_harms_most_are_named(wrong: int, said: str) -> None:
    results = reviewed(independent_adult_worker=(2000, wrong), salaried=(20_000, 200))
    text = words.sentence(results, "spared")
    assert text == (
        f"Reviewed in vain, beside all other unlabelled customers: independent adult worker {said}."
    )


def test_harm_rule_5_whoever_is_reviewed_too_often_is_named_with_a_count() -> None:
    """Only two groups were named; farm contractors were reviewed 20 times as often, unsaid."""
    text = words.sentence(
        reviewed(farm_contractor=(130, 20), trucker=(300, 3), salaried=(9000, 90)), "spared"
    )
    assert text.startswith("Reviewed in vain, beside all other unlabelled customers: farm contr")
    assert "farm contractor 20 of 130, 15.4 times (10.0 to 24.4, more than twice)" in text
    assert "trucker" not in text
    assert "salaried" not in text
    earlier = reviewed(farm_contractor=(130, 20), salaried=(9000, 90))
    for row in earlier["groups"]["rows"]:
        del row["false_positives"]  # results without counts: nothing is made up
    assert words.sentence(earlier, "spared") == ""


def test_what_harmless_readings_cost_is_said_in_recall() -> None:
    found = reviewed(survivor_rebuilding=(100, 8), salaried=(1000, 10))
    found["groups"] |= {"recall": 0.55, "recall_by_score": 0.57,
                        "rows_by_score": found["groups"]["rows"]}  # fmt: skip
    assert words.sentence(found, "readings") == (
        "Whom a harmless reading fits is looked at last: 55.0% of the labelled are found within "
        "the budget; by the score alone 57.0%, survivor rebuilding 8.0 times."
    )
    assert words.sentence(reviewed(salaried=(100, 2)), "readings") == ""


def test_nothing_is_said_of_groups_that_are_not_there_or_were_not_measured() -> None:
    assert words.sentence({}, "spared") == ""
    assert words.sentence(reviewed(salaried=(100, 2)), "spared") == ""
    assert words.sentence(reviewed(survivor_rebuilding=(0, 0), salaried=(100, 2)), "spared") == ""


FACTS: dict[str, Any] = {
    "customers": 41_000, "banks": 5, "positives": 820, "transactions": 3_200_000, "months": 3,
    "rings": 170, "people": 38_000, "cases": 400, "signals": 2_000,
}  # fmt: skip


KNOWN: dict[str, Any] = {"day": "2026-03-31", "cases": 211, "mistaken": 23}


def test_an_invented_world_says_so_and_what_real_prevalence_costs() -> None:
    made, knew, cost = words.world({"world": FACTS})
    assert "41,000 customers of 5 banks" in made
    assert "2.0% of the customers" in made
    assert "Nobody exists" in made
    assert knew == "Banks know all 820 cases, which no real bank does."
    assert "Real prevalence is far lower" in cost


def test_what_banks_knew_by_then_is_said() -> None:
    results: dict[str, Any] = {"world": {**FACTS, "known": KNOWN}}
    short = "Invented: nobody exists. Banks knew 211 of 820 cases, and 23 wrongly"
    assert words.sentence(results, "invented") == f"{short}."
    assert "Labels are those of 2026-03-31" in words.world(results)[2]
    assert words.sentence({}, "invented") == ""


def test_who_banks_at_two_is_told_what_the_promise_is_then() -> None:
    world = {**FACTS, "at_two_banks": 0.148}
    terms = {"epsilon": 1.0, "delta": 1e-5, "mu2_planned": 0.07185}
    twice = words.world({"world": world, "privacy": terms})[2]
    assert "14.8% of these customers bank at two" in twice
    assert "the promise is epsilon 2.16." in twice  # Balle and Wang's curve at four times mu^2
    unknown = {"epsilon": 1.0, "delta": 1e-5}
    said = " ".join(words.world({"world": world, "privacy": unknown}))
    assert "two of the banks" not in said


def test_who_banks_at_two_has_the_whole_promise_where_the_study_counts_people() -> None:
    world = {**FACTS, "at_two_banks": 0.3}
    terms = {"epsilon": 1.0, "delta": 1e-5, "mu2_planned": 0.07185, "multiplicity": {"study": 2}}
    found = {"world": world, "privacy": terms, "study": {"unit": "customer"}}
    assert words.world(found)[2] == (
        "30.0% of these customers bank at two of the banks, and the promise is to them too."
    )
    said = words.sentence(found, "promise")
    assert said.endswith("at most 2.72 times, but for 1 in 100,000 (at two banks too).")


def test_what_was_not_measured_of_a_world_is_not_claimed() -> None:
    assert words.world({}) == []


def test_false_positives_are_said_by_the_thousand() -> None:
    results = {
        "study": {"unit": "customer"},
        "released_metrics": {"alert_budget": 0.02},
        "models": {
            "federated": {"precision_at_budget": 0.5, "recall_at_budget": 0.6},
            "alone": {"precision_at_budget": 0.4, "recall_at_budget": 0.5},
        },
    }
    assert words.sentence(results, "budget").endswith(
        "False positives per 1,000 customers: 10.0 (alone 12.0)."
    )


def test_what_ngos_and_the_hotline_answered_is_said_with_its_noise() -> None:
    answer = {"region": "region-3", "first": "2025-01", "last": "2025-03", "before": 61.2,
              "after": 118.0, "margin": 7.3}  # fmt: skip
    text = words.sentence({"world": {**FACTS, "asked": answer}}, "asked")
    assert "grow most in region-3, from 61 in 2025-01 to 118 in 2025-03" in text
    assert "give or take 7" in text
    assert (
        words.sentence({}, "asked")
        == words.sentence({"world": {**FACTS, "asked": None}}, "asked")
        == ""
    )


@pytest.mark.parametrize(("low", "high", "said"), [(0.39, 1.0, True), (0.86, 0.95, False)])
def test_a_measurement_that_drowned_in_noise_is_called_so(
    low: float, high: float, *, said: bool
) -> None:
    told = {"auroc": {"value": 1.0, "low": low, "high": high}}
    found = words.sentence({"released_metrics": told, "study": {"unit": "customer"}}, "drowned")
    assert ("drowned in noise" in found) is said
    assert (
        words.sentence({}, "drowned")
        == words.sentence({"released_metrics": {"auroc": None}}, "drowned")
        == ""
    )


def test_groups_are_said_as_released(make_run: Any) -> None:
    results = make_run().results
    assert words.sentence(results, "fared") == ""
    results["released_groups"] = released_groups()
    assert words.sentence(results, "fared").startswith(
        "As released: age_band, of all unlabelled 1.98 %"
    )
