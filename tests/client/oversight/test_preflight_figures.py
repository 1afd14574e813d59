import socket
from pathlib import Path
from typing import Any

import pytest
from tests.support.homes.institutions import NAMES, Coordinator

from fieldfare.client.home.policy import load_policy
from fieldfare.client.ledger.budget import to_picomu2
from fieldfare.client.oversight import preflight as preflight_figures
from fieldfare.client.oversight.ledger_report import LimitUse
from fieldfare.client.oversight.preflight import (
    FEW_FREE,
    LEAST_FREE,
    CheckNote,
    CheckOutcome,
    check_answers,
    check_socket,
    judge_budget,
    judge_disk,
    judge_policy,
    judge_software,
    judge_swap,
)
from fieldfare.shared.errors import RunError, UsageError


def outcome(seen: str | CheckNote) -> CheckOutcome:
    return seen.outcome if isinstance(seen, CheckNote) else CheckOutcome.PASS


def test_what_is_installed_here_will_do() -> None:
    said = judge_software()
    assert isinstance(said, str)
    assert "flwr 1.42." in said
    assert "Python 3." in said


@pytest.mark.parametrize(("found", "said"), [("1.41.0", "expected flwr 1.42.*"), (None, "flwr")])
def test_another_flower_fails(
    monkeypatch: pytest.MonkeyPatch, found: str | None, said: str
) -> None:
    real: Any = preflight_figures._version
    monkeypatch.setattr(
        preflight_figures, "_version", lambda name: found if name == "flwr" else real(name)
    )
    seen = judge_software()
    assert isinstance(seen, CheckNote)
    assert (seen.outcome, said in seen.text) == (CheckOutcome.FAIL, True)


@pytest.mark.parametrize(
    ("absent", "expected"),
    [
        ("duckdb", CheckOutcome.FAIL),  # of an institution
        ("numpy", CheckOutcome.FAIL),  # of everybody
        ("torch", CheckOutcome.PASS),  # of those who want networks
        ("matplotlib", CheckOutcome.PASS),  # of a coordinator
        ("ruff", CheckOutcome.PASS),  # of developers
    ],
)
def test_what_an_institution_needs_is_missed_and_nothing_else(
    absent: str, expected: CheckOutcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    real: Any = preflight_figures._version
    monkeypatch.setattr(
        preflight_figures, "_version", lambda name: None if name == absent else real(name)
    )
    seen = judge_software()
    assert outcome(seen) is expected
    if isinstance(seen, CheckNote):
        assert f"missing: {absent}: run pip install 'fieldfare[institution]'" in seen.text


def test_a_policy_that_allows_nothing_warns(coordinator: Coordinator) -> None:
    home = coordinator.homes[NAMES[0]]
    assert outcome(judge_policy(load_policy(home))) is CheckOutcome.PASS
    coordinator.edit(home.policy, "minimum_units = 100", "minimum_units = 9")
    seen = judge_policy(load_policy(home))
    assert isinstance(seen, CheckNote)
    assert seen.outcome is CheckOutcome.WARN
    assert "minimum_units is below" in seen.text


def budget(spent: float) -> LimitUse:
    return LimitUse(limit=to_picomu2(0.2), spent=to_picomu2(spent), limit_epsilon=2.0, delta=1e-6)


@pytest.mark.parametrize(
    ("yearly", "lifetime", "expected"),
    [
        (0.0, 0.0, CheckOutcome.PASS),
        (0.19, 0.19, CheckOutcome.PASS),
        (0.2, 0.1, CheckOutcome.FAIL),
        (0.1, 0.2, CheckOutcome.FAIL),
    ],
)
def test_a_spent_budget_fails(yearly: float, lifetime: float, expected: CheckOutcome) -> None:
    assert outcome(judge_budget(budget(yearly), budget(lifetime))) is expected


@pytest.mark.parametrize(
    ("free", "expected"),
    [
        (LEAST_FREE - 1, CheckOutcome.FAIL),
        (LEAST_FREE, CheckOutcome.WARN),
        (FEW_FREE - 1, CheckOutcome.WARN),
        (FEW_FREE, CheckOutcome.PASS),
    ],
)
def test_a_full_disk_fails(free: int, expected: CheckOutcome) -> None:
    assert outcome(judge_disk(free)) is expected


def test_a_socket_may_be_there_or_not(room: Path) -> None:
    room.parent.mkdir()
    check_socket(room, 0o600)
    with pytest.raises(RunError, match="expected a custodian that listens"):
        check_answers(room)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(room))
        listening.listen()
        room.chmod(0o600)
        check_socket(room, 0o600)
        check_answers(room)
        room.chmod(0o666)
        with pytest.raises(UsageError, match="expected mode 0660, found 0666"):
            check_socket(room, 0o660)


def test_something_else_in_its_place_and_a_long_path_fail(room: Path) -> None:
    room.parent.mkdir()
    with pytest.raises(UsageError, match="expected a shorter path"):
        check_socket(room.with_name("x" * 100), 0o600)
    room.write_text("")
    with pytest.raises(UsageError, match="found another file"):
        check_socket(room, 0o600)


def test_swap_in_the_clear_is_named() -> None:
    assert outcome(judge_swap(())) is CheckOutcome.PASS
    found = judge_swap(("/dev/sda2",))
    assert outcome(found) is CheckOutcome.WARN
    assert isinstance(found, CheckNote)
    assert "/dev/sda2" in found.text
