"""Two terminal screens: they fit, they are plain, they say what they must."""

import io
from collections.abc import Mapping
from typing import Any

import pytest
from rich.console import Console
from tests.support.rows import night
from tests.support.runs.grouped import released_groups

from fieldfare.simulations.federation.found import COUNTED, difference
from fieldfare.simulations.report.screen import details, screen


def shown(results: Any, *, width: int = 100, render: Any = details, **options: Any) -> list[str]:
    stream = io.StringIO()
    Console(file=stream, width=width, **options).print(render(results))
    return stream.getvalue().splitlines()


# -- twenty lines ---------------------------------------------------------------------------


def brief(results: Any) -> list[str]:
    return shown(results, width=80, render=screen)


def count(results: Any, rows: Mapping[str, tuple[int, int]], judge: str = "labels") -> Any:
    """Give institutions cases that one side alone finds: together, alone; of 40 each."""
    told = []
    for name, (more, fewer) in rows.items():
        both = {"alone": 10 + fewer, "together": 10 + more, "shared": 9}
        sides = {"only_together": more, "only_alone": fewer, "difference": difference(more, fewer)}
        seen = {"customers": 3500, "known": 18, "cases": 40, "reviews": 70}
        told.append({"name": name, **seen, **both, **sides})
    total = {key: sum(int(str(row[key])) for row in told) for key in COUNTED}
    apart = difference(total["only_together"], total["only_alone"])
    terms = {"judge": judge, "alert_budget": 0.02, "difference": apart, "institutions": told}
    results["found"] = {**total, **terms}
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
    lines = brief(worst_world(count(results, dict.fromkeys(names, (12, 19)), "truth")))
    assert len(lines) <= 20, "\n".join(lines)
    assert max(len(line.rstrip()) for line in lines) <= 80
    assert "\n".join(lines).isascii()
    assert lines[-1].startswith("Open     xdg-open out/demo/report.html")


def said(results: Any) -> str:
    return " ".join(" ".join(brief(results)).split())


def test_the_count_comes_first_with_what_it_is_of(make_run: Any) -> None:
    rows = {"north": (9, 1), "south": (2, 1), "west": (0, 8)}
    results = count(make_run(names=tuple(rows)).results, rows, "truth")
    text = said(results)
    assert "Of 120 cases that no bank knows, 1 more are found by reviewing 2.0%: " in text
    assert "40 alone, 41 together (difference +1, -8 to +10 in 95 of 100: may be chance)" in text
    assert "Of 3 institutions 1 gains, 1 loses, of 1 it cannot be told." in text
    verdicts = {one: line for line in brief(results) for one in rows if line.startswith(one)}
    assert verdicts["north"].rstrip().endswith("gains")
    assert verdicts["west"].rstrip().endswith("loses")
    assert "cannot be told" in verdicts["south"]
    assert "Of 210 reviews 169 meet no such case (170 alone)." in text


def test_a_verdict_says_what_the_printed_interval_says(make_run: Any) -> None:
    """A bank that found 8 more was said to gain beside an interval from +0."""
    rows = {"north": (10, 2), "south": (12, 2)}
    lines = brief(count(make_run(names=tuple(rows)).results, rows, "truth"))
    north, south = (next(line for line in lines if line.startswith(one)) for one in rows)
    assert "+8 (+0 to +11)" in north
    assert "cannot be told" in north
    assert "+10 (+2 to +14)" in south
    assert "gains" in south


def test_bad_news_is_a_count_too(make_run: Any) -> None:
    rows = {"a": (1, 9), "b": (0, 6), "c": (2, 2)}
    text = said(count(make_run(names=tuple(rows)).results, rows))
    assert "Of 120 known cases held out, 14 fewer are found" in text
    assert "more than chance" in text


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
