"""`fieldfare attack`: each tool by its command, as text and as JSON, and its refusals."""

import json

import pytest
from tests.simulations.conftest import SimulationFolder, make_table

from fieldfare.shared.cli.root import run

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def given(work: SimulationFolder) -> list[str]:
    """A study with its records, as an attack on them is called."""
    work.write_records(make_table(900))
    return [str(work.study_file), "--records", str(work.records_file)]


@pytest.mark.parametrize("tool", ["inversion", "labels"])
def test_an_attack_on_records_is_a_screen_and_a_json(
    tool: str, given: list[str], capsys: Capture
) -> None:
    assert run(["attack", tool, *given, "--trials", "40"]) == 0
    said = capsys.readouterr().out
    assert "AUROC" in said
    assert "(ceiling" in said
    assert max(map(len, said.splitlines())) <= 80
    assert run(["attack", tool, *given, "--trials", "40", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    figures = {one["name"]: one for one in found[0]["figures"]}
    assert figures["AUROC"]["value"] == figures["AUROC"]["ceiling"] == 1.0
    last = {one["name"]: one for one in found[-1]["figures"]}["AUROC"]
    assert last["interval"][0] <= last["ceiling"] < 1.0


def test_differencing_says_what_custodians_did_and_logs_no_refusal(capsys: Capture) -> None:
    assert run(["attack", "differencing", "--trials", "40"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out.count("custodians that refused 3") == 2
    assert max(map(len, captured.out.splitlines())) <= 80


def test_free_riders_of_one_world(capsys: Capture) -> None:
    assert run(["attack", "free-rider", "--seeds", "1"]) == 0
    said = capsys.readouterr().out
    assert "free-rider, copied" in said
    assert max(map(len, said.splitlines())) <= 80


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["inversion", "nowhere.toml", "--records", "nowhere.csv"], "nowhere.toml"),
        (["labels", "--records", "nowhere.csv"], "a study and --records, or neither"),
        (["differencing", "--trials", "3"], "--trials"),
        (["free-rider", "--seeds", "0"], "--seeds"),
        (["door", "--seeds", "1"], "--seeds: expected an option of door, found one of others"),
        (["free-rider", "study.toml"], "STUDY: expected an option of free-rider"),
        (["labels", "--institutions", "401"], "--institutions: expected at most 400"),
        (["nothing"], "'nothing' is not one of 'differencing'"),
    ],
)
def test_what_is_no_attack_is_refused(words: list[str], said: str, capsys: Capture) -> None:
    assert run(["attack", *words]) != 0
    assert said in capsys.readouterr().err
