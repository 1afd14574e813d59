"""One terminal screen: it fits, it is plain, it says what it must."""

import io
from typing import Any

import pytest
from rich.console import Console
from tests.grouped import released_groups

from fieldfare.simulations.report import screen


def shown(results: Any, *, width: int = 100, **options: Any) -> list[str]:
    stream = io.StringIO()
    Console(file=stream, width=width, **options).print(screen(results))
    return stream.getvalue().splitlines()


@pytest.mark.parametrize("institutions", [2, 6, 7, 8, 40])
@pytest.mark.parametrize("noise", ["simulated", "exact"])
def test_it_fits_one_screen(make_run: Any, institutions: int, noise: str) -> None:
    names = tuple(f"savings bank number {i}" for i in range(institutions))
    lines = shown(make_run(names=names, noise=noise).results, width=120)
    assert len(lines) < 40
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
    assert "more than twice as often as everybody: 18-24" in text
