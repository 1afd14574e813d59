"""The owner's statements reach ledger and log, and a shown reply is not forgotten."""

import errno
import hashlib
import json
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
import rfc8785
from tests.support.federations.debits import commit_release
from tests.support.homes.journals import logged

from fieldfare.client.custodian.openings import COUNTED, DAY_SECONDS, MOST_IN_A_DAY
from fieldfare.client.home.keys import load_holdout_key
from fieldfare.client.home.layout import Home
from fieldfare.client.home.policy import limits, load_policy
from fieldfare.client.institution import restoring
from fieldfare.client.institution.initial_setup import create_institution
from fieldfare.client.institution.ledger_checks import check_not_behind, open_ledger
from fieldfare.client.institution.restoring import (
    accept_clock,
    accept_restore,
    renew_holdout_key,
    split_off,
)
from fieldfare.client.ledger.budget import Debit, Position
from fieldfare.client.ledger.ledger import Ledger
from fieldfare.client.ledger.restore import Acceptance
from fieldfare.client.ledger.run_states import LEDGER_STATE, SHOWN_REPLY
from fieldfare.shared.errors import KeysError, LedgerError, UsageError
from fieldfare.shared.protocol.messages import NoSigner, Reply, sign_envelope
from fieldfare.shared.system.clock import utc_now

TERMS: Final = Acceptance(user="ines", reason="the disk failed")


def fill(home: Home, steps: range) -> Position:
    with Ledger.open(
        home.ledger, population="bank-a", limits=limits(load_policy(home)), clock=utc_now
    ) as ledger:
        for step in steps:
            commit_release(
                ledger,
                Debit(
                    study="5" * 64,
                    run="r",
                    step=step,
                    attempt=0,
                    kind="training",
                    request=hashlib.sha256(f"{step}".encode()).hexdigest(),
                    cost=10,
                ),
                vector=b"masked",
                study_limit=10**9,
                max_attempts=1,
                sign=lambda _: b"signed",
                run_states={"r": b"keys"},
            )
        return ledger.position()


def signed(position: Position) -> bytes:
    body = Reply(
        request="1" * 64,
        institution="bank-a",
        answer="2" * 64,
        vector="3" * 64,
        debit=10,
        ledger_sequence=position.sequence,
        ledger_head=position.head,
        cumulative=position.cumulative,
        debited=position.debited,
        epoch=position.epoch,
    )
    return sign_envelope(body, "bank-a", NoSigner())


def show_reply(home: Home, position: Position) -> None:
    """Leave the reply as a custodian does to which it was shown."""
    with open_ledger(home) as ledger:
        ledger.put_run_state(LEDGER_STATE, SHOWN_REPLY, signed(position))


def rules(home: Home) -> list[str]:
    return [entry["details"]["rule"] for entry in logged(home.log_folder)]


@pytest.fixture
def behind(home: Home, tmp_path: Path) -> Home:
    fill(home, range(2))
    shutil.copy2(home.ledger, tmp_path / "backup")
    fill(home, range(2, 5))
    shutil.copy2(tmp_path / "backup", home.ledger)
    return home


def test_to_look_at_a_ledger_does_not_begin_one(home: Home) -> None:
    with open_ledger(home) as ledger:
        assert ledger.spent() == 0
    assert not list(home.ledger.parent.iterdir())


def test_an_acceptance_is_logged_before_and_after(behind: Home) -> None:
    with pytest.raises(LedgerError, match="accept-restore"):
        open_ledger(behind)
    statement = accept_restore(behind, TERMS)
    assert (statement.position.epoch, statement.position.cumulative) == (2, 50)
    asked, accepted = rules(behind)
    assert "was asked" in asked
    assert "accepted as epoch 2" in accepted
    details = logged(behind.log_folder)[-1]["details"]
    assert (details["head"], details["cumulative"]) == (statement.position.head, 50)
    assert (details["user"], details["reason"]) == ("ines", "the disk failed")


def test_an_acceptance_that_is_refused_was_only_asked(home: Home) -> None:
    fill(home, range(2))
    with pytest.raises(LedgerError, match="nothing to accept"):
        accept_restore(home, TERMS)
    assert len(rules(home)) == 1
    with open_ledger(home) as ledger:
        assert ledger.position().epoch == 1


@pytest.mark.parametrize("study", ["5" * 64, "5" * 12, "../log"])
def test_a_study_that_never_arrived_is_nobodys_spend(behind: Home, study: str) -> None:
    terms = Acceptance(user="ines", reason="the disk failed", study=study)
    with pytest.raises(UsageError, match="study"):
        accept_restore(behind, terms)
    assert rules(behind) == []


def test_a_study_that_arrived_may_be_named(behind: Home) -> None:
    behind.study("6" * 64).write_bytes(b"a signed offer")
    accept_restore(behind, Acceptance(user="ines", reason="lost", study="6" * 64))
    with open_ledger(behind) as ledger:
        assert (ledger.spent("5" * 64), ledger.spent("6" * 64)) == (20, 30)


def test_what_cannot_be_logged_does_not_happen(behind: Home) -> None:
    behind.log.write_text("something else\n")
    behind.log.chmod(0o600)
    with pytest.raises(LedgerError, match="log"):
        accept_restore(behind, TERMS)
    with pytest.raises(LedgerError, match="older copy"):
        open_ledger(behind)


def test_a_shown_reply_keeps_the_ledger_behind_until_it_is_accepted(home: Home) -> None:
    known = fill(home, range(2))
    show_reply(home, known)
    with open_ledger(home) as ledger:
        check_not_behind(ledger, home)
    show_reply(home, Position(sequence=6, head="f" * 64, cumulative=60, debited=60, epoch=1))
    with open_ledger(home) as ledger, pytest.raises(LedgerError, match="entry 6 of epoch 1"):
        check_not_behind(ledger, home)
    with pytest.raises(LedgerError, match="--kept"):
        accept_restore(home, TERMS)
    accepted = accept_restore(
        home, Acceptance(user="ines", reason="a snapshot was restored", kept=2)
    )
    assert accepted.position.cumulative == 60
    with open_ledger(home) as ledger:
        check_not_behind(ledger, home)


def test_a_clock_that_was_compared_counts_the_openings_of_a_day_ahead_anew(home: Home) -> None:
    fill(home, range(1))
    ahead = int((utc_now() + timedelta(days=365)).timestamp()) // DAY_SECONDS
    counted: dict[str, Any] = {"count": MOST_IN_A_DAY, "day": ahead, "runs": [["r", "5" * 64]]}
    with open_ledger(home) as ledger:
        ledger.put_run_state(LEDGER_STATE, f"{COUNTED}{'5' * 64}", rfc8785.dumps(counted))
    accept_clock(home, "ines")
    with open_ledger(home) as ledger:
        found = json.loads(ledger.run_state(LEDGER_STATE, f"{COUNTED}{'5' * 64}") or b"{}")
    assert (found["count"], found["day"] < ahead, found["runs"]) == (0, True, counted["runs"])
    assert logged(home.log_folder)[-1]["event"] == "clock"


def test_a_part_gets_the_whole_history_and_both_are_logged(home: Home, tmp_path: Path) -> None:
    fill(home, range(3))
    into = create_institution(tmp_path / "cases", "bank-a-cases")
    part = split_off(home, into, user="ines", reason="cases are kept apart")
    assert (part.name, part.path) == ("bank-a-cases", into.ledger)
    with open_ledger(into) as ledger:
        ledger.verify()
        assert ledger.spent() == 30
    assert [rule.split()[-1] for rule in rules(home)] == ["asked", "off"]


def test_a_part_needs_a_name_of_its_own_and_a_ledger_that_is_not_behind(
    home: Home, tmp_path: Path
) -> None:
    fill(home, range(2))
    same = create_institution(tmp_path / "same", "bank-a")
    with pytest.raises(UsageError, match="another population than 'bank-a'"):
        split_off(home, same, user="ines", reason="apart")
    show_reply(home, Position(sequence=6, head="f" * 64, cumulative=60, debited=60, epoch=1))
    other = create_institution(tmp_path / "other", "bank-b")
    with pytest.raises(LedgerError, match="entry 6"):
        split_off(home, other, user="ines", reason="apart")
    assert not list(other.ledger.parent.iterdir())


def test_a_home_that_never_released_has_nothing_to_split(home: Home, tmp_path: Path) -> None:
    other = create_institution(tmp_path / "other", "bank-b")
    with pytest.raises(LedgerError, match="a file to copy"):
        split_off(home, other, user="ines", reason="apart")


def test_a_split_that_is_refused_leaves_the_parts_key_as_it_was(home: Home, tmp_path: Path) -> None:
    fill(home, range(2))
    first, second = (create_institution(tmp_path / name, "cases") for name in ("one", "two"))
    split_off(home, first, user="ines", reason="cases are kept apart")
    lost = create_institution(tmp_path / "lost", "calls")
    lost.ledger.with_name(f"{lost.ledger.name}.witness").write_text("of a ledger that was lost")
    before = [part.holdout_key.read_bytes() for part in (second, lost)]
    for part, found in ((second, "not split off before"), (lost, "that .* was written for")):
        with pytest.raises(LedgerError, match=found):
            split_off(home, part, user="ines", reason="again")
    assert [part.holdout_key.read_bytes() for part in (second, lost)] == before


def test_a_split_without_the_wholes_key_states_nothing(home: Home, tmp_path: Path) -> None:
    fill(home, range(2))
    home.holdout_key.unlink()
    part = create_institution(tmp_path / "cases", "cases")
    with pytest.raises(KeysError):
        split_off(home, part, user="ines", reason="apart")
    with open_ledger(home) as ledger:
        assert len(list(ledger.history())) == 2
    assert not part.ledger.exists()


def test_a_split_that_stopped_at_the_key_is_finished_by_the_same_call(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(home, range(2))
    part = create_institution(tmp_path / "cases", "cases")
    before = part.holdout_key.read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(restoring, "replace_private", full)
        with pytest.raises(OSError, match="No space"):
            split_off(home, part, user="ines", reason="apart")
    assert part.holdout_key.read_bytes() == before
    with pytest.raises(LedgerError, match="restore the newest copy"):
        open_ledger(part)  # no empty ledger begins in between
    split_off(home, part, user="ines", reason="apart")
    assert part.holdout_key.read_bytes() == home.holdout_key.read_bytes()
    with open_ledger(part) as ledger:
        assert ledger.spent() == 20


def test_a_lost_hold_out_key_is_stated_and_replaced(home: Home) -> None:
    fill(home, range(2))
    home.holdout_key.write_bytes(b"short")
    with pytest.raises(KeysError, match="holdout-key"):
        renew_holdout_key(home, user="ines", reason="the disk failed")
    home.holdout_key.unlink()
    assert renew_holdout_key(home, user="ines", reason="the disk failed") == []
    key = load_holdout_key(home)
    assert renew_holdout_key(home, user="ines", reason="the disk failed") == []
    assert load_holdout_key(home) == key  # one that is there is kept
    assert rules(home)[:2] == [
        "to go on under another hold-out key was asked",
        "another hold-out key from here on, for 0 studies",
    ]
