"""The witness is replaced whole, and refused when it is not the right one."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from fieldfare.client.ledger.budget import Position
from fieldfare.client.ledger.rollback_check import Witness
from fieldfare.shared.errors import LedgerError

POSITION = Position(sequence=7, head="a" * 64, cumulative=12, debited=12, epoch=2)


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    return Witness(tmp_path / "units.ledger", "units")


def test_what_was_written_is_read_and_replaced(witness: Witness) -> None:
    assert witness.read() is None
    witness.write(POSITION)
    assert witness.read() == POSITION
    later = replace(POSITION, sequence=8, head="b" * 64)
    witness.write(later)
    assert witness.read() == later
    assert witness.path.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in witness.path.parent.iterdir()] == ["units.ledger.witness"]


def test_content_is_on_disk_before_the_name_and_the_name_before_the_return(
    witness: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = []
    flush, rename = os.fsync, os.replace

    def fsync(descriptor: int) -> None:
        steps.append("folder" if Path(f"/proc/self/fd/{descriptor}").is_dir() else "file")
        flush(descriptor)

    def move(source: Path, target: Path) -> None:
        steps.append("rename")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", move)
    witness.write(POSITION)
    assert steps == ["file", "rename", "folder"]


def test_a_link_where_the_draft_goes_overwrites_nothing(witness: Witness, tmp_path: Path) -> None:
    """Whoever keeps the witness on a share of theirs could name a key of the home."""
    (tmp_path / "key").write_text("secret")
    witness.path.with_name(witness.path.name + ".new").symlink_to(tmp_path / "key")
    with pytest.raises(LedgerError, match="expected to write the witness"):
        witness.write(POSITION)
    assert (tmp_path / "key").read_text() == "secret"


def test_a_failed_write_leaves_the_old_witness(
    witness: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    witness.write(POSITION)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(LedgerError, match="No space left"):
            witness.write(replace(POSITION, sequence=8))
    assert witness.read() == POSITION
    witness.write(replace(POSITION, sequence=8))  # the half-written draft is no obstacle


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"null",
        b"{}",
        b'{"cumulative":1,"epoch":1,"format":3,"head":"","population":"units","sequence":1}',
        b'{"cumulative":1,"epoch":1,"format":1,"head":"","population":"units","sequence":1}',
        b'{"cumulative":1,"epoch":1,"format":1,"head":"","population":"units","sequence":"1"}',
        b'{"cumulative":1,"epoch":1,"format":[1],"head":"","population":"units","sequence":1}',
    ],
)
def test_half_a_witness_is_refused(witness: Witness, content: bytes) -> None:
    witness.path.write_bytes(content)
    with pytest.raises(LedgerError, match="expected"):
        witness.read()


def test_a_witness_from_before_there_were_sides_knows_the_sum_of_debits(witness: Witness) -> None:
    """Each debit raised the total then."""
    old = b'{"cumulative":12,"epoch":2,"format":1,"head":"%b","population":"units","sequence":7}'
    witness.path.write_bytes(old % (b"a" * 64))
    assert witness.read() == POSITION
    assert POSITION.debited == 12


def test_another_populations_witness_is_refused(witness: Witness, tmp_path: Path) -> None:
    witness.write(POSITION)
    with pytest.raises(LedgerError, match="'units'"):
        Witness(tmp_path / "units.ledger", "others").read()


def test_a_witness_that_cannot_be_read_is_refused(witness: Witness) -> None:
    witness.path.mkdir()
    with pytest.raises(LedgerError, match="readable witness"):
        witness.read()


def test_a_witness_without_its_ledger_is_refused(witness: Witness, tmp_path: Path) -> None:
    witness.check_ledger_exists()
    witness.write(POSITION)
    with pytest.raises(LedgerError, match="found none"):
        witness.check_ledger_exists()
    ledger = tmp_path / "units.ledger"
    ledger.touch()
    with pytest.raises(LedgerError, match="found none"):
        witness.check_ledger_exists()
    ledger.write_bytes(b"something")
    witness.check_ledger_exists()
