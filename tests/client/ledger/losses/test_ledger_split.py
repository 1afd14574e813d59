"""A part begins with the whole's history; a crash leaves no split, or one that is finished."""

import hashlib
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest
from tests.support.federations.debits import commit_release

from fieldfare.client.ledger import ledger as ledger_module
from fieldfare.client.ledger import split as split_module
from fieldfare.client.ledger.budget import Debit, Limits
from fieldfare.client.ledger.chain import StatementKind
from fieldfare.client.ledger.ledger import Ledger
from fieldfare.client.ledger.rollback_check import Witness
from fieldfare.client.ledger.split import SplitPopulation, publish_part
from fieldfare.shared.errors import LedgerError, PolicyRefusal

LIMITS: Final = Limits(yearly_picomu2=100, lifetime_picomu2=100)
SECRET: Final = b"a chain key that stays with the whole" * 20


def open_ledger(path: Path | None, population: str = "units") -> Ledger:
    return Ledger.open(
        path,
        population=population,
        limits=LIMITS,
        clock=lambda: datetime(2026, 1, 1, tzinfo=UTC),
        busy_timeout=0.05,
    )


def commit(ledger: Ledger, step: int, *, study: str = "s") -> None:
    commit_release(
        ledger,
        Debit(
            study=study,
            run="r",
            step=step,
            attempt=0,
            kind="training",
            request=hashlib.sha256(f"{study} {step}".encode()).hexdigest(),
            cost=10,
        ),
        vector=b"masked",
        study_limit=100,
        max_attempts=1,
        sign=lambda position: f"signed: {position}".encode(),
        run_states={"r": SECRET},
    )


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    path = tmp_path / "units.ledger"
    with open_ledger(path) as ledger:
        for step in range(3):
            commit(ledger, step)
    return path


@pytest.fixture
def part(tmp_path: Path) -> SplitPopulation:
    (tmp_path / "part").mkdir()
    return SplitPopulation("cases", tmp_path / "part" / "cases.ledger")


def untaken() -> None:
    """Nothing is taken over with the ledger."""


def split(whole: Path, part: SplitPopulation) -> None:
    with open_ledger(whole) as ledger:
        ledger.split(part, untaken, user="ines", reason="cases are kept apart from customers")


def test_both_have_spent_all_that_was_spent_before(whole: Path, part: SplitPopulation) -> None:
    split(whole, part)
    with open_ledger(whole) as ledger, open_ledger(part.path, "cases") as other:
        for one in (ledger, other):
            assert (one.spent(), one.spent("s"), one.spent("t")) == (30, 30, 0)
            one.verify()
        assert (ledger.position().epoch, other.position().epoch) == (1, 2)
        kinds = [entry.stated.kind for entry in list(other.history())[3:]]  # type: ignore[union-attr]
        assert kinds == [StatementKind.SPLIT, StatementKind.PART]
        stated = list(ledger.history())[-1]
        assert stated == list(other.history())[3]  # the same entry, with the same head


def test_each_debits_its_own_afterwards(whole: Path, part: SplitPopulation) -> None:
    split(whole, part)
    with open_ledger(whole) as ledger, open_ledger(part.path, "cases") as other:
        for one in (ledger, other):
            for step in range(10, 17):
                commit(one, step)
            with pytest.raises(PolicyRefusal):
                commit(one, 17)  # 30 before, 70 since
            one.verify()


def test_the_part_has_no_keys_and_the_whole_keeps_its_own(
    whole: Path, part: SplitPopulation
) -> None:
    split(whole, part)
    with open_ledger(whole) as ledger, open_ledger(part.path, "cases") as other:
        assert ledger.run_state("s", "r") == SECRET
        assert other.run_state("s", "r") is None
    assert not [file for file in part.path.parent.iterdir() if SECRET in file.read_bytes()]
    assert {file.stat().st_mode & 0o777 for file in part.path.parent.iterdir()} == {0o600}
    names = sorted(file.name for file in part.path.parent.iterdir())
    assert names == ["cases.ledger", "cases.ledger.witness"]


def test_neither_opens_as_the_other(whole: Path, part: SplitPopulation) -> None:
    split(whole, part)
    for path, name in ((whole, "cases"), (part.path, "units")):
        with pytest.raises(LedgerError, match=f"population '{name}'"):
            open_ledger(path, name)


def test_a_part_is_split_off_once(whole: Path, part: SplitPopulation, tmp_path: Path) -> None:
    split(whole, part)
    with pytest.raises(LedgerError, match="expected no ledger at"):
        split(whole, part)
    with pytest.raises(LedgerError, match="not split off before"):
        split(whole, SplitPopulation("cases", tmp_path / "another.ledger"))
    with pytest.raises(LedgerError, match="another name"):
        split(whole, SplitPopulation("units", tmp_path / "another.ledger"))
    assert not (tmp_path / "another.ledger").exists()
    split(whole, SplitPopulation("hotline", tmp_path / "another.ledger"))


def test_a_part_may_be_split_again(whole: Path, part: SplitPopulation, tmp_path: Path) -> None:
    split(whole, part)
    with open_ledger(part.path, "cases") as ledger:
        commit(ledger, 5)
        ledger.split(
            SplitPopulation("calls", tmp_path / "calls"),
            untaken,
            user="ines",
            reason="calls are apart",
        )
    with open_ledger(tmp_path / "calls", "calls") as ledger:
        assert (ledger.spent(), ledger.position().epoch) == (40, 3)
        ledger.verify()


def test_a_ledger_that_was_begun_without_a_split_is_not_replaced(
    whole: Path, part: SplitPopulation
) -> None:
    open_ledger(part.path, "cases").close()
    with pytest.raises(LedgerError, match="expected no ledger at"):
        split(whole, part)
    with open_ledger(whole) as ledger:
        assert ledger.position().sequence == 3


def died(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("place", ["write_part", "publish_part"])
def test_a_crash_leaves_no_split_or_one_that_is_finished(
    whole: Path, part: SplitPopulation, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(ledger_module if place == "publish_part" else split_module, place, died)
        with pytest.raises(KeyboardInterrupt):
            split(whole, part)
    with open_ledger(whole) as ledger:
        assert ledger.position().sequence == (3 if place == "write_part" else 4)
        commit(ledger, 3)
    split(whole, part)
    with open_ledger(part.path, "cases") as other:
        other.verify()
        # What left between the crash and its repair left after the split, or is in the copy.
        assert other.spent() == (40 if place == "write_part" else 30)


def test_a_crash_between_witness_and_ledger_lets_nobody_begin_an_empty_one(
    whole: Path, part: SplitPopulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = publish_part

    def torn(torn_part: SplitPopulation, take_over: Callable[[], None]) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", died_unless_witness)
            real(torn_part, take_over)

    rename = Path.replace

    def died_unless_witness(self: Path, target: Path) -> Path:
        if "witness" not in self.name:
            raise KeyboardInterrupt
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(ledger_module, "publish_part", torn)
        with pytest.raises(KeyboardInterrupt):
            split(whole, part)
    with pytest.raises(LedgerError, match="found none"):
        open_ledger(part.path, "cases")
    split(whole, part)
    open_ledger(part.path, "cases").close()
    assert Witness(part.path, "cases").read() is not None


def test_a_part_whose_history_was_cut_is_refused(whole: Path, part: SplitPopulation) -> None:
    split(whole, part)
    with closing(sqlite3.connect(part.path)) as stranger:
        for name in ("entries_DELETE", "statements_DELETE"):
            stranger.execute(f"DROP TRIGGER {name}")
        stranger.execute("DELETE FROM statements WHERE sequence = 5")
        stranger.execute("DELETE FROM entries WHERE sequence = 5")
        stranger.commit()
    for name in ("cases", "units"):
        with pytest.raises(LedgerError, match="expected"):
            open_ledger(part.path, name)


def test_a_ledger_in_memory_cannot_be_split(part: SplitPopulation) -> None:
    with open_ledger(None) as ledger:
        commit(ledger, 0)
        with pytest.raises(LedgerError, match="a file to copy"):
            ledger.split(part, untaken, user="ines", reason="apart")
        assert ledger.position().sequence == 1
    assert not list(part.path.parent.iterdir())
