import io
import stat
from pathlib import Path

import pytest

from fieldfare.client.home.layout import Home
from fieldfare.client.home.policy import load_policy
from fieldfare.client.home.policy_explained import policy_text
from fieldfare.shared.cli.root import run
from fieldfare.shared.protocol.identity import fingerprint

STUDY = """
name = "red-flags"
purpose = "tests"
[records]
unit = "customer"
label = "case"
units = 1000
prevalence = 0.1
[[features]]
name = "R01"
kind = "numeric"
lower = 0
upper = 10
[privacy]
epsilon = 1
delta = 1e-5
"""
KEY, OTHER = "a1" * 32, "b2" * 32


def check(home: Home) -> int:
    return run(["institution", "policy", "--home", str(home.path)])


def test_a_fresh_policy_is_explained_with_what_is_missing(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(home) == 0
    said = capsys.readouterr().out
    assert "one study     at most epsilon 1" in said
    assert "- coordinator is empty" in said
    assert "- records.columns is empty" in said


def test_a_key_in_coordinator_pub_counts_as_pinned(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    home.coordinator_key.write_text(KEY)
    assert check(home) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert fingerprint(bytes.fromhex(KEY)) in said
    assert "coordinator is empty" not in said


def test_two_different_keys_are_an_error(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    home.policy.write_text(policy_text(KEY))
    home.coordinator_key.write_text(OTHER)
    assert check(home) == 2
    assert "out of band" in capsys.readouterr().err


def test_every_mistake_is_one_line_on_stderr(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    text = policy_text().replace("delta = 1e-5", "delta = 1").replace("format = 1", "format = 0")
    home.policy.write_text(text)
    assert check(home) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert [line.split(": ")[:3:2] for line in captured.err.splitlines()] == [
        ["fieldfare", "format"],
        ["fieldfare", "budget.delta"],
    ]


def test_a_policy_that_others_may_write_is_not_believed(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    home.policy.chmod(0o666)
    assert check(home) == 2
    assert "chmod 600" in capsys.readouterr().err


def allow(home: Home, *arguments: str) -> int:
    return run(["institution", "policy", *arguments, "--home", str(home.path)])


def test_what_a_study_needs_is_shown_asked_and_written(
    home: Home,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = tmp_path / "study.toml"
    study.write_text(STUDY)
    before = home.policy.read_bytes()
    for answer, status, said in (("", 2, "give --yes"), ("n\n", 1, "nothing was written")):
        monkeypatch.setattr("sys.stdin", io.StringIO(answer))
        assert allow(home, str(study)) == status
        assert said in "".join(capsys.readouterr())
        assert home.policy.read_bytes() == before
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert allow(home, str(study)) == 0
    shown = capsys.readouterr().out
    assert "columns: 'customer', 'case', 'R01'" in shown
    assert '+    "R01",' in shown
    assert load_policy(home).records.columns == ("customer", "case", "R01")
    assert stat.S_IMODE(home.policy.stat().st_mode) == 0o600
    assert allow(home, str(study), "--yes") == 0
    assert "nothing to add" in capsys.readouterr().out


def test_a_study_that_is_not_there_says_so(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert allow(home, "none.toml") == 2
    assert capsys.readouterr().err
