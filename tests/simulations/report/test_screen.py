"""Two terminal screens: they fit, they are plain, they say what they must."""

import io
from collections.abc import Mapping
from typing import Any

import pytest
from rich.console import Console
from tests.support.rows import night
from tests.support.runs.grouped import released_groups

from fieldfare.simulations.report.screen import details, screen


def shown(results: Any, *, width: int = 100, render: Any = details, **options: Any) -> list[str]:
    stream = io.StringIO()
    Console(file=stream, width=width, **options).print(render(results))
    return stream.getvalue().splitlines()


# -- twenty lines ---------------------------------------------------------------------------


def brief(results: Any) -> list[str]:
    return shown(results, width=80, render=screen)


SHARED_ONLY = {"federated": 1.9, "alone": 1.4}
"""A run whose shared model was not used at home."""


def measured_at_home(results: Any, cases: Mapping[str, tuple[float, ...]]) -> Any:
    """Give institutions own figures: cases found alone, together and used at home, of 1."""
    for number, key in enumerate(
        ("alone", "federated", "at_home")[: len(next(iter(cases.values())))]
    ):
        rows = results["models"][key]["per_institution"]
        for name, pair in cases.items():
            rows[name]["own"]["recall_at_budget"] = pair[number]
    for entry in results["institutions"]:
        entry["measured_positives"] = 17
    return results


def worst_world(results: Any) -> Any:
    """Everything that the short screen may say, at its longest."""
    for key in ("federated", "alone"):
        results["models"][key] |= {"recall_at_budget": 0.53, "precision_at_budget": 0.5}
    group = {"units": 500, "positives": 10, "alerts": 300, "false_positives": 200}
    names = ("independent_adult_worker", "survivor_rebuilding", "a_group_whose_name_is_as_long")
    often = {"false_positive_rate": 0.41, "times": {"value": 41.2, "low": 31.5, "high": 52.1}}
    rows = [{"name": name, **group, **often} for name in names]
    results["groups"] |= {"rows": rows, "rows_by_score": rows}
    results["groups"] |= {"recall": 0.5523, "recall_by_score": 0.5617}
    known = {"day": "2026-03-31", "cases": 2211, "mistaken": 1123}
    results["groups"]["unknown"] = {"of": 1120, "at_home": 1047, "alone": 1044}
    gain = {"value": 0.012, "low": -0.0234, "high": 0.0345}
    results["gain_at_home"] = dict.fromkeys(("recall_at_budget", "average_precision"), gain)
    lives = {"survivor_rebuilding": "survivors who start a new life"}
    results["world"] = {
        "at_two_banks": 0.142, "positives": 8_825, "known": known, "lives": lives,
    }  # fmt: skip
    results["files"]["report.html"] = "out/demo/report.html"
    return results


@pytest.mark.parametrize("institutions", [2, *night(5, 6), 40])
@pytest.mark.parametrize("noise", [*night("simulated"), "exact"])
def test_twenty_lines_hold_it(make_run: Any, institutions: int, noise: str) -> None:
    names = tuple(f"savings bank of a longer name {i}" for i in range(institutions))
    results = make_run(names=names, noise=noise).results
    lines = brief(worst_world(measured_at_home(results, dict.fromkeys(names, (0.58, 0.46, 0.59)))))
    assert len(lines) <= 20, "\n".join(lines)
    assert max(len(line.rstrip()) for line in lines) <= 80
    assert "\n".join(lines).isascii()
    assert lines[-1].startswith("Open     xdg-open out/demo/report.html")


def test_bad_news_for_ones_own_customers_comes_first(make_run: Any) -> None:
    names = ("north", "south", "west")
    found = {"north": (0.58, 0.46), "south": (0.5, 0.4), "west": (0.3, 0.35)}
    lines = brief(measured_at_home(make_run(names=names, quality=SHARED_ONLY).results, found))
    text = " ".join(" ".join(lines).split())
    assert "Among their own accounts, of 3 institutions 2 find fewer and 1 more cases" in text
    assert "(mean change -6 of 100)" in text
    row = next(line for line in lines if line.startswith("north "))
    assert row.split()[2] == "17"
    assert row.split()[-2:] == ["58,", "46"]


def test_good_news_is_said_too(make_run: Any) -> None:
    found = {"a": (0.4, 0.6), "b": (0.4, 0.4), "c": (0.4, 0.6)}
    results = make_run(names=tuple(found), quality=SHARED_ONLY).results
    text = " ".join(" ".join(brief(measured_at_home(results, found))).split())
    assert "Among their own accounts, of 3 institutions none find fewer and 2 more cases" in text
    assert "(mean change +13 of 100)" in text


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(-0.01, 0.03, "may be chance"), (0.002, 0.03, "more than chance")],
)
def test_what_using_it_at_home_gains_is_said_with_its_interval(
    make_run: Any, low: float, high: float, said: str
) -> None:
    found = {"a": (0.5, 0.4, 0.6), "b": (0.4, 0.3, 0.4), "c": (0.6, 0.2, 0.5)}
    results = measured_at_home(make_run(names=tuple(found)).results, found)
    results["gain_at_home"] = {"recall_at_budget": {"value": 0.0, "low": low, "high": high}}
    text = " ".join(" ".join(brief(results)).split())
    assert "find 50 with the shared model used at home, 50 with their own best models" in text
    assert f"(+0.0; {100 * low:+.1f} to +3.0 in 95 of 100: {said})" in text
    assert "30 with the shared one as it comes" in text


def test_who_is_reviewed_in_vain_is_named(make_run: Any) -> None:
    results = worst_world(make_run(noise="exact").results)
    text = " ".join(" ".join(brief(results)).split())
    assert "People decide." in text
    assert "Most often these are independent adult worker (200 of 490), too often" in text
    assert "survivors who start a new life (200 of 490)" in text


# -- every figure ---------------------------------------------------------------------------


@pytest.mark.parametrize("institutions", [2, *night(6, 7, 8), 40])
@pytest.mark.parametrize("noise", ["simulated", *night("exact")])
def test_it_fits_one_screen(make_run: Any, institutions: int, noise: str) -> None:
    names = tuple(f"savings bank number {i}" for i in range(institutions))
    lines = shown(make_run(names=names, noise=noise).results, width=120)
    assert len(lines) <= 40
    assert max(len(line.rstrip()) for line in lines) <= 100


def test_eighty_columns_lose_no_number(make_run: Any) -> None:
    results = make_run().results
    lines = shown(results, width=80)
    assert max(len(line) for line in lines) <= 80
    for entry in results["institutions"]:
        row = next(line for line in lines if line.startswith(f"{entry['name']} alone"))
        values = [
            results["models"][model]["per_institution"][entry["name"]]["pooled"][key]
            for model in ("alone", "alone_dp")
            for key in ("auroc", "average_precision")
        ]
        assert row.split()[2:] == [f"{entry['units']:,}", *(f"{value:.3f}" for value in values)]


def test_a_file_gets_plain_ascii(make_run: Any) -> None:
    text = "\n".join(shown(make_run().results))
    assert text.isascii()
    assert "\x1b" not in text


def test_names_are_neither_markup_nor_commands(make_run: Any) -> None:
    names = ("[red]bank[/red]", "bank\x1b[2J", "[/]")
    text = "\n".join(shown(make_run(names=names).results, force_terminal=True, no_color=True))
    assert "[red]bank[/red] alone" in text
    assert "[/] alone" in text
    assert "\x1b[2J" not in text
    assert "bank\ufffd[2J" in text


def test_it_says_what_a_risk_officer_needs(make_run: Any) -> None:
    text = " ".join(" ".join(shown(make_run().results)).split())
    for phrase in (
        "It is a study of utility, not a protected run",
        "ranks clearly better than an institution's own model without privacy",
        "together, through Fieldfare",
        "epsilon 1, delta 1e-05",
        "If every mask failed",
        "night-shift workers 3.1%",
        "In out/demo: results.json, report.html",
        "fieldfare study check",
        "people decide",
    ):
        assert phrase in text


def test_a_protected_run_has_no_warning(make_run: Any) -> None:
    text = " ".join(shown(make_run(noise="exact").results))
    assert "study of utility" not in text
    assert "all records were on this one machine" in text


def test_a_bare_run_is_shown_too(make_run: Any) -> None:
    results = make_run(quality={"federated": 1.0}).results
    for key in ("groups", "files", "timing"):
        del results[key]
    results["released_metrics"] = None
    text = " ".join(" ".join(shown(results)).split())
    assert "does not show whether learning together helps" in text
    assert "mean of all alone" not in text


def test_files_in_several_folders_keep_their_paths(make_run: Any) -> None:
    results = make_run().results
    results["files"] = {"a": "x/one.json", "b": "y/two.html"}
    assert "x/one.json, y/two.html" in " ".join(shown(results))


def test_released_groups_are_one_sentence(make_run: Any) -> None:
    results = make_run().results
    assert "As released" not in " ".join(shown(results))
    results["released_groups"] = released_groups()
    text = " ".join(" ".join(shown(results)).split())
    assert "As released: age_band, of all unlabelled" in text
    assert "more than twice as often as others: 18-24" in text
