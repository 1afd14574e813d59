"""`fieldfare world make`: what is printed, what is written, what is refused."""

import json
from pathlib import Path

import pytest

from fieldfare.shared.cli.root import run

SMALL = ["world", "make", "--people", "600", "--months", "1", "--prevalence", "0.02"]


def test_it_says_what_it_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert run([*SMALL, "--out", str(tmp_path / "w")]) == 0
    said = capsys.readouterr()
    assert "Nobody in it exists" in said.out
    assert "independent_adult_worker" in said.out
    assert said.err == ""
    assert (tmp_path / "w" / "bank-a" / "transactions.parquet").is_file()


def test_json_is_the_file_and_quiet_is_quiet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*SMALL, "--out", str(tmp_path / "w"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads((tmp_path / "w" / "world.json").read_text("utf-8"))
    assert run([*SMALL, "--out", str(tmp_path / "v"), "--quiet"]) == 0
    assert capsys.readouterr().out == ""


def test_other_institutions_may_be_named(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('[[institution]]\nname = "one"\nkind = "bank"\n')
    out = tmp_path / "w"
    assert run([*SMALL, "--institutions", str(file), "--out", str(out), "--quiet"]) == 0
    assert {path.name for path in out.iterdir()} == {"one", "truth", "world.json"}


def test_as_many_equal_banks_as_asked_for(tmp_path: Path) -> None:
    out = tmp_path / "w"
    assert run([*SMALL, "--banks", "3", "--out", str(out), "--quiet"]) == 0
    told = json.loads((out / "world.json").read_text("utf-8"))["institutions"]
    sizes = {one["name"]: one["customers"] for one in told if one["kind"] == "bank"}
    assert sorted(sizes) == ["bank-a", "bank-b", "bank-c"]
    assert sizes["bank-a"] == pytest.approx(sizes["bank-c"], rel=0.2)
    people = json.loads((out / "world.json").read_text("utf-8"))["asked"]["people"]
    assert sum(sizes.values()) == people


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["--people", "20"], "people"),
        (["--institutions", "nowhere.toml"], "nowhere.toml"),
        (["--banks", "0"], "1 to 702 banks"),
        (["--banks", "3", "--institutions", "mine.toml"], "found both"),
    ],
)
def test_what_cannot_be_made_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: list[str], said: str
) -> None:
    assert run([*SMALL, *change, "--out", str(tmp_path / "w")]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "w").exists()
