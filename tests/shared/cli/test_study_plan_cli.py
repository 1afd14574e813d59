"""`study plan` as it is typed: on 80 columns, for programs, with an exit status that says no."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tests.support.homes.institutions import home_study
from tests.support.runs.finished import FINISHED, facts_of, parameters_of

from fieldfare.shared.cli.root import run
from fieldfare.shared.cli.study_plan import outlook_screen
from fieldfare.shared.finished_model.card_writing import write_card
from fieldfare.shared.joining.expectation import outlook_of
from fieldfare.shared.protocol.plan import plan_for

ROOT = Path(__file__).parents[3]
BANKS = ROOT / "simulations" / "world" / "five-banks.toml"
RARE = """
name = "three-small-banks"
purpose = "Rank customers."
[records]
unit = "customer"
label = "flagged"
units = 30000
prevalence = 0.0005
[privacy]
epsilon = 1.0
delta = 1e-5
[[features]]
kind = "numeric"
name = "amount"
lower = 0
upper = 7
"""


def typed(capsys: pytest.CaptureFixture[str], *arguments: Any) -> tuple[int, str, str]:
    status = run(["study", "plan", *map(str, arguments)])
    out, err = capsys.readouterr()
    return status, out, err


def rare(tmp_path: Path) -> Path:
    path = tmp_path / "rare.toml"
    path.write_text(RARE, encoding="utf-8")
    return path


def test_it_says_what_to_expect_at_every_epsilon_and_window(
    capsys: pytest.CaptureFixture[str],
) -> None:
    status, out, err = typed(capsys, BANKS, "--institutions", "5")
    assert (status, err) == (0, "")
    for said in ("a year", "a quarter", "epsilon", "alone", "settings", "verdict", "measured"):
        assert said in out
    rows = [line for line in out.splitlines() if line[:1].isdigit()]
    assert [row.split()[0] for row in rows] == ["0.5", "1", "2", "4"]


def test_it_says_no_and_ends_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = typed(capsys, rare(tmp_path))
    assert status == 1
    assert "DO NOT RUN THIS" in out


def test_programs_get_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = typed(capsys, rare(tmp_path), "--json")
    found = json.loads(out)
    assert (status, found["answer"]) == (1, "do not run this")
    assert [row["epsilon"] for row in found["rows"]] == [0.5, 1.0, 2.0, 4.0]
    assert found["here"]["low"] < found["here"]["value"] < found["here"]["high"]
    assert found["settings"]["coordinates"] == "centred"


def test_it_fits_80_columns() -> None:
    study = home_study()
    out = io.StringIO()
    screen = outlook_screen(study, outlook_of(plan_for(study), 3), anchored=False)
    Console(file=out, width=80, highlight=False).print(screen)
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert "…" not in out.getvalue()
    assert sum(line.strip().startswith(("0.5 ", "1 ", "2 ", "4 ")) for line in lines) == 4


def test_an_earlier_run_says_what_the_records_hold(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = home_study()
    card = write_card(plan_for(study), parameters_of(study), facts_of(study), FINISHED)
    path = tmp_path / "card.json"
    path.write_bytes(card.to_bytes())
    _, out, _ = typed(capsys, rare(tmp_path), "--earlier", path, "--json")
    found = json.loads(out)
    assert found["anchored"]
    guess = json.loads(typed(capsys, rare(tmp_path), "--json")[1])
    assert found["here"]["value"] != guess["here"]["value"]


@pytest.mark.parametrize(
    ("study", "said"),
    [
        ("studies/sms.toml", "a model of features"),
        ("studies/heart-local.toml", "a model of features"),
        ("simulations/world/helplines.toml", "a model of features"),
    ],
)
def test_of_what_nobody_measured_nothing_is_said(
    study: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = typed(capsys, ROOT / study)
    assert (status, out) == (2, "")
    assert said in err


def test_what_is_no_card_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "card.json"
    path.write_text("{}")
    status, _, err = typed(capsys, rare(tmp_path), "--earlier", path)
    assert status == 2
    assert "--earlier" in err
