"""The bed's own hands: commands, edits, ports. Its processes are tested in tests/deployment."""

import socket
from pathlib import Path

import pytest
from tests.support.federations.beds import small_bed

from fieldfare.shared.errors import RunError
from fieldfare.simulations.demo.testbed import LOGGED, edit, free_ports


def test_a_command_that_fails_is_said_with_its_own_words(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"`study check nowhere` ended with 2.*nowhere"):
        small_bed(tmp_path).fieldfare("study", "check", "nowhere")


def test_a_process_that_ends_is_not_waited_for(tmp_path: Path) -> None:
    bed = small_bed(tmp_path)
    bed.folder.mkdir()
    bed.start_institution("bank-a")  # nothing was founded
    with pytest.raises(RunError, match=r"bank-a: ended with 2: see .*bank-a\.log"):
        bed.until(lambda: False, "rain")
    bed.stop()
    assert "fieldfare" in bed.log("bank-a").read_text()


def test_what_does_not_come_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="expected rain within 0 s"):
        small_bed(tmp_path).until(lambda: False, "rain", 0)


def test_what_does_not_come_is_said_with_the_end_of_every_log(tmp_path: Path) -> None:
    bed = small_bed(tmp_path)
    bed.folder.mkdir()
    bed.log("coordinator").write_text(f"old\n{'.' * LOGGED}\nits process ended\n")
    bed.log("bank-c").write_bytes(b"\xff said\n")
    with pytest.raises(RunError, match="expected rain within 0 s") as raised:
        bed.until(lambda: False, "rain", 0)
    coordinator, bank = raised.value.__notes__
    assert coordinator.startswith(f"--- the end of {bed.log('coordinator')}\n..")
    assert coordinator.endswith("\nits process ended\n")
    assert bank.endswith("bank-c.log\n\ufffd said\n")


def test_an_edit_changes_one_place(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text("a = 1\nb = 1\n")
    edit(path, "a = 1", "a = 2")
    assert path.read_text() == "a = 2\nb = 1\n"
    for old in ("c = 1", "1"):
        path.write_text("a = 1\nb = 1\n")
        with pytest.raises(RunError, match="once, found it"):
            edit(path, old, "x")


def test_ports_are_free_and_differ() -> None:
    ports = free_ports(3)
    assert len(set(ports)) == 3
    for port in ports:
        with socket.socket() as mine:
            mine.bind(("127.0.0.1", port))
