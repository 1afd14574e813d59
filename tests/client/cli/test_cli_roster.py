"""`institution roster accept` as a user calls it: through the root command."""

import io
import json
import re
from pathlib import Path

import pytest
from tests.support.homes import Hub, hub

from fieldfare.client.home.layout import Home
from fieldfare.client.home.roster import pinned_roster
from fieldfare.shared.cli.root import run
from fieldfare.shared.protocol.identity import fingerprint
from fieldfare.shared.protocol.roster import Member, Roster

__all__ = ["hub"]


def accept(hub: Hub, roster: Roster, *options: str) -> int:
    file = hub.file("roster.signed", hub.signed_roster(roster))
    home = str(hub.homes["bank-a"].path)
    return run(["institution", "roster", "accept", str(file), "--home", home, *options])


def answered(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


@pytest.fixture
def home(hub: Hub) -> Home:
    """A home that has pinned nothing yet."""
    home = hub.homes["bank-a"]
    home.roster.unlink()
    return home


def test_every_fingerprint_is_shown_before_a_person_pins_it(
    hub: Hub, home: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answered(monkeypatch, "n\n")
    assert accept(hub, hub.roster()) == 1
    out = capsys.readouterr().out
    for key in (hub.public, *(member.key for member in hub.roster().members)):
        assert fingerprint(bytes.fromhex(key)) in out  # whole, on one line
    assert "none pinned yet" in out
    assert re.search(r"bank-a \(you\)", out)
    assert "nothing was pinned" in out
    assert not home.roster.exists()

    answered(monkeypatch, "y\n")
    assert accept(hub, hub.roster()) == 0
    assert "pinned roster version 1, 3 members" in capsys.readouterr().out
    assert pinned_roster(home, hub.public) == hub.roster()


def test_yes_asks_nothing_and_the_log_keeps_it(hub: Hub, home: Home) -> None:
    assert accept(hub, hub.roster(), "--yes") == 0
    (entry,) = [json.loads(line) for line in home.log.read_text().splitlines()]
    assert entry["event"] == "roster"
    assert entry["details"] == {"fingerprint": hub.roster().hash, "version": 1}
    assert accept(hub, hub.roster(), "--yes") == 0  # pinned already
    assert len(home.log.read_text().splitlines()) == 1


def test_what_changed_since_the_pinned_one_is_shown(
    hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    members = list(hub.roster().members)
    members[1] = Member(id="bank-b", key="ab" * 32)
    members[2] = Member(id="bank-d", key="cd" * 32)
    changed = Roster(version=2, multiplicity=2, coordinator=hub.public, members=tuple(members))
    assert accept(hub, changed, "--yes") == 0
    out = capsys.readouterr().out
    for said in (
        r"version 2 \(pinned: version 1\)",
        r"bank-b .* KEY CHANGED",
        r"bank-c .* no longer a member",
        r"bank-d .* new\n",
        r"at most 2 of them; CHANGED from 1",
        r"approve running studies again",
    ):
        assert re.search(said, re.sub(r" +\n", "\n", out)), said
    assert not re.search(r"bank-a .* (new|CHANGED)", out)


def test_a_step_back_or_a_second_roster_of_one_version_is_refused(
    hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert accept(hub, hub.roster(version=3), "--yes") == 0
    for roster in (hub.roster(version=2), hub.roster(version=3, multiplicity=2)):
        capsys.readouterr()
        assert accept(hub, roster, "--yes") == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert pinned_roster(hub.homes["bank-a"], hub.public).version == 3


def test_wrong_input_is_one_line_and_status_2(
    hub: Hub, home: Home, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    foreign = Hub(tmp_path / "foreign")
    stranger = hub.roster().model_copy(update={"coordinator": foreign.public})
    without = hub.roster().model_copy(update={"members": hub.roster().members[1:]})
    files = {
        "foreign": foreign.signed_roster(stranger),
        "without": hub.signed_roster(without),
        "garbage": b"\x00\xff",
    }
    for name, content in files.items():
        file = hub.file(name, content)
        arguments = ["roster", "accept", str(file), "--home", str(home.path), "--yes"]
        assert run(["institution", *arguments]) == 2, name
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1), name
        assert name in err
    assert not home.roster.exists()
