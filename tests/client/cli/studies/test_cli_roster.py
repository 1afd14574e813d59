"""`institution roster accept` as a user calls it: through the root command."""

import io
import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.support.homes.institutions import Coordinator, heard
from tests.support.homes.journals import logged

from fieldfare.client.home.comparisons import keep_compared, keep_vouching, read_comparisons
from fieldfare.client.home.keys import load_identity, rotate_identity
from fieldfare.client.home.layout import Home
from fieldfare.client.home.roster import first_multiplicity, pin_roster, pinned_ever, pinned_roster
from fieldfare.client.institution.institution import open_institution
from fieldfare.shared.cli.root import run
from fieldfare.shared.errors import UsageError
from fieldfare.shared.protocol.comparison import sign_vouching
from fieldfare.shared.protocol.identity import (
    fingerprint,
    public_hex,
    state_revocation,
    state_rotation,
)
from fieldfare.shared.protocol.roster import Member, Roster
from fieldfare.shared.protocol.signed_files import open_roster, read_roster


def accept(coordinator: Coordinator, roster: Roster, *options: str) -> int:
    file = coordinator.file("roster.signed", coordinator.signed_roster(roster))
    home = str(coordinator.homes["bank-a"].path)
    return run(["institution", "roster", "accept", str(file), "--home", home, *options])


def answered(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


@pytest.fixture
def home(coordinator: Coordinator) -> Home:
    """A home that has pinned nothing yet."""
    home = coordinator.homes["bank-a"]
    home.roster.unlink()
    return home


def test_every_fingerprint_is_shown_before_a_person_pins_it(
    coordinator: Coordinator,
    home: Home,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answered(monkeypatch, "n\n")
    assert accept(coordinator, coordinator.roster()) == 1
    out = capsys.readouterr().out
    for key in (coordinator.public, *(member.key for member in coordinator.roster().members)):
        assert fingerprint(bytes.fromhex(key)) in out  # whole, on one line
    assert "none pinned yet" in out
    assert re.search(r"bank-a \(you\)", out)
    assert "nothing was pinned" in out
    assert not home.roster.exists()

    answered(monkeypatch, "y\n")
    assert accept(coordinator, coordinator.roster()) == 0
    assert "pinned roster version 1, 3 members" in capsys.readouterr().out
    assert pinned_roster(home, coordinator.public) == coordinator.roster()


def test_yes_asks_nothing_and_the_log_keeps_it(coordinator: Coordinator, home: Home) -> None:
    assert accept(coordinator, coordinator.roster(), "--yes") == 0
    (entry,) = logged(home.log_folder)
    assert entry["event"] == "roster"
    assert entry["details"] == {"fingerprint": coordinator.roster().hash, "version": 1}
    assert accept(coordinator, coordinator.roster(), "--yes") == 0  # pinned already
    assert len(logged(home.log_folder)) == 1


def test_an_older_one_is_refused_where_the_pinned_file_was_moved_away(
    coordinator: Coordinator, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    first = coordinator.roster()
    assert accept(coordinator, first, "--yes") == 0
    second = first.model_copy(update={"version": 2, "previous": first.hash})
    assert accept(coordinator, second, "--yes") == 0
    home.roster.unlink()
    assert accept(coordinator, first, "--yes") == 2
    assert "expected version 3 or later, found version 1" in capsys.readouterr().err
    assert accept(coordinator, second, "--yes") == 0


def test_what_changed_since_the_pinned_one_is_shown(
    coordinator: Coordinator, capsys: pytest.CaptureFixture[str]
) -> None:
    members = list(coordinator.roster().members)
    members[1] = Member(id="bank-b", key="ab" * 32)
    members[2] = Member(id="bank-d", key="cd" * 32)
    changed = coordinator.roster(version=2, multiplicity=2).model_copy(
        update={"members": tuple(members)}
    )
    assert accept(coordinator, changed, "--yes") == 2
    assert "--replaced bank-b" in capsys.readouterr().err
    assert accept(coordinator, changed, "--yes", "--replaced", "bank-b") == 0
    out = capsys.readouterr().out
    for said in (
        r"version 2 \(pinned: version 1\)",
        r"bank-b .* KEY CHANGED",
        r"bank-c .* no longer a member",
        r"bank-d .* new\n",
        r"at most 2 of them; CHANGED from 1",
        r"approve running studies again",
        r"not known yet: bank-b, bank-d",
    ):
        assert re.search(said, re.sub(r" +\n", "\n", out)), said
    assert not re.search(r"bank-a .* (new|CHANGED)", out)


def test_a_step_back_a_gap_and_a_smaller_m_are_refused(
    coordinator: Coordinator, capsys: pytest.CaptureFixture[str]
) -> None:
    first = coordinator.roster()
    second, third = (coordinator.roster(version=version) for version in (2, 3))
    assert accept(coordinator, third, "--yes") == 2  # version 2 was not seen
    assert accept(coordinator, second, "--yes") == 0
    more = third.model_copy(update={"multiplicity": 3})
    assert accept(coordinator, more, "--yes") == 0
    fewer = coordinator.roster(version=4).model_copy(update={"previous": more.hash})
    for roster in (first, fewer):
        capsys.readouterr()
        assert accept(coordinator, roster, "--yes") == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert accept(coordinator, fewer, "--yes", "--lower-multiplicity") == 0
    assert pinned_roster(coordinator.homes["bank-a"], coordinator.public) == fewer


def test_what_an_earlier_release_pinned_says_m_of_past_debits(coordinator: Coordinator) -> None:
    """Such a home has its roster in one place alone, which the next one takes."""
    home, first = coordinator.homes["bank-a"], coordinator.roster(multiplicity=2)
    pin_roster(home, coordinator.signed_roster(first))
    more = coordinator.roster(version=2, multiplicity=8)
    more = more.model_copy(update={"previous": first.hash})
    assert accept(coordinator, more, "--yes") == 0
    assert [roster for _, roster in pinned_ever(home, coordinator.public)][:2] == [first, more]
    assert first_multiplicity(home, coordinator.public) == 2


def test_two_stories_are_a_proof_in_two_files(
    coordinator: Coordinator, capsys: pytest.CaptureFixture[str]
) -> None:
    home, second = coordinator.homes["bank-a"], coordinator.roster(version=2)
    assert accept(coordinator, second, "--yes") == 0
    other = coordinator.roster(version=2, multiplicity=2)  # what bank-b was sent
    capsys.readouterr()
    assert accept(coordinator, other, "--yes") == 6
    out = capsys.readouterr().out
    assert "PROOF" in out
    files = [Path(line.strip()) for line in out.splitlines() if line.endswith(".signed")]
    found = [open_roster(read_roster(file), coordinator.public) for file in files]
    assert found == [second, other]
    asked = ["audit", "stories", "--coordinator-key", coordinator.public]
    assert run([*asked, *map(str, files)]) == 6  # who was sent both
    assert "version 2" in capsys.readouterr().out
    fits = coordinator.file("first.signed", coordinator.signed_roster())
    for one in (files[0], fits):  # the same, and its predecessor
        assert run([*asked, str(files[0]), str(one)]) == 1
    assert run([*asked, *map(str, [*files, fits])]) == 2
    assert pinned_roster(home, coordinator.public) == second


def test_a_rotation_keeps_what_was_compared_and_marks_it(
    coordinator: Coordinator, capsys: pytest.CaptureFixture[str]
) -> None:
    other, home = coordinator.homes["bank-b"], str(coordinator.homes["bank-a"].path)
    first = coordinator.roster()
    done = rotate_identity(other, "bank-b", None)
    second = coordinator.roster(version=2).model_copy(update={"previous": first.hash})
    offer = coordinator.signed_roster(second)
    file = coordinator.file("r.signed", offer + b"\n" + done.statement.read_bytes())
    assert run(["institution", "roster", "accept", str(file), "--home", home, "--yes"]) == 0
    assert "every key on the roster is known" in capsys.readouterr().out
    assert run(["institution", "roster", "--home", home]) == 0
    out = capsys.readouterr().out
    assert "known, compare anew" in out
    assert "signed by the old" in out


def test_a_key_that_was_lost_hands_over_to_nobody(
    coordinator: Coordinator, capsys: pytest.CaptureFixture[str]
) -> None:
    """The thief of a replaced key signs that it hands over to a third one."""
    stolen = load_identity(coordinator.homes["bank-b"], None)
    second, third = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()

    def with_key(before: Roster, key: Ed25519PrivateKey) -> Roster:
        new = Member(id="bank-b", key=public_hex(key))
        members = tuple(new if one.id == new.id else one for one in before.members)
        update = {"version": before.version + 1, "previous": before.hash, "members": members}
        return before.model_copy(update=update)

    replaced = with_key(coordinator.roster(), second)
    assert accept(coordinator, replaced, "--yes", "--replaced", "bank-b") == 0
    offer = coordinator.signed_roster(with_key(replaced, third))
    paper = state_rotation("bank-b", stolen, third)
    file = coordinator.file("r.signed", offer + b"\n" + paper)
    home = str(coordinator.homes["bank-a"].path)
    arguments = ["accept", str(file), "--home", home, "--yes", "--replaced", "bank-b"]
    capsys.readouterr()
    assert run(["institution", "roster", *arguments]) == 0
    assert "not known yet: bank-b" in capsys.readouterr().out


def test_a_key_that_its_owner_took_back_never_counts_again(
    coordinator: Coordinator, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is shown and logged, its vouching and its successor count for nothing, also later."""
    coordinator.found("bank-d")
    coordinator.pin()
    old, new = load_identity(coordinator.homes["bank-b"], None), Ed25519PrivateKey.generate()
    home = coordinator.homes["bank-a"]
    (third,) = (one for one in coordinator.roster().members if one.id == "bank-d")
    keep_vouching(home, sign_vouching("bank-b", [(third.id, third.key)], old, 1))
    first = coordinator.roster()
    members = tuple(one for one in first.members if one.id != "bank-b")
    left = first.model_copy(update={"version": 2, "previous": first.hash, "members": members})
    revocation = state_revocation("bank-b", old)
    file = coordinator.file("r.signed", b"\n".join([coordinator.signed_roster(left), revocation]))
    asked = ["institution", "roster", "accept", str(file), "--home", str(home.path), "--yes"]
    assert run(asked) == 0
    assert "bank-b TOOK ITS KEY BACK" in capsys.readouterr().out
    assert logged(home.log_folder)[-1]["details"]["kind"] == "revoked"
    stolen = ("bank-b", public_hex(old))
    assert [one.pair for one in read_comparisons(home).revoked] == [stolen]
    # The coordinator brings it back, without the paper; then the thief's successor of it.
    again = left.model_copy(update={"version": 3, "previous": left.hash, "members": first.members})
    successor = Member(id="bank-b", key=public_hex(new))
    thief = again.model_copy(
        update={"members": tuple(successor if m.id == "bank-b" else m for m in again.members)}
    )
    assert accept(coordinator, again, "--yes") == 2
    assert "took back" in capsys.readouterr().err
    content = coordinator.signed_roster(thief) + b"\n" + state_rotation("bank-b", old, new)
    file = coordinator.file("s.signed", content)
    assert run([*asked[:3], str(file), *asked[4:]]) == 0
    known = read_comparisons(home).known
    assert known.verified(thief, "bank-a", 0) == {"bank-a", "bank-c"}
    with pytest.raises(UsageError, match="took back"):
        keep_compared(home, [heard(Member(id=stolen[0], key=stolen[1]))])


def test_wrong_input_is_one_line_and_status_2(
    coordinator: Coordinator, home: Home, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    foreign = Coordinator(tmp_path / "foreign")
    stranger = coordinator.roster().model_copy(update={"coordinator": foreign.public})
    without = coordinator.roster().model_copy(update={"members": coordinator.roster().members[1:]})
    files = {
        "foreign": foreign.signed_roster(stranger),
        "without": coordinator.signed_roster(without),
        "garbage": b"\x00\xff",
    }
    for name, content in files.items():
        file = coordinator.file(name, content)
        arguments = ["roster", "accept", str(file), "--home", str(home.path), "--yes"]
        assert run(["institution", *arguments]) == 2, name
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1), name
        assert name in err
    assert not home.roster.exists()


def test_a_restored_home_follows_the_versions_that_came_between(
    coordinator: Coordinator, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its key is new: those since its backup have the lost one, or nobody in its place."""
    home, first = coordinator.homes["bank-a"], coordinator.roster()
    rotate_identity(home, "bank-a", None)  # a key that no roster has yet

    def after(before: Roster, *members: Member) -> Roster:
        update = {"version": before.version + 1, "previous": before.hash, "members": members}
        return before.model_copy(update=update)

    others = tuple(one for one in first.members if one.id != "bank-a")
    second = after(first, *first.members)
    third = after(second, *others)
    present = next(one for one in coordinator.roster().members if one.id == "bank-a")
    fourth = after(third, present, *others)
    for roster in (second, third):
        assert accept(coordinator, roster, "--yes") == 0
        assert "nothing is served. Accept the next one" in capsys.readouterr().out
        assert accept(coordinator, roster, "--yes") == 0  # once more: it is not well yet
        assert "send the coordinator your enrolment" in capsys.readouterr().out
        with pytest.raises(UsageError, match="this institution"):
            open_institution(home.path)
    assert accept(coordinator, fourth, "--yes") == 0
    assert pinned_roster(home, coordinator.public) == fourth
    open_institution(home.path)
    fifth = after(fourth, *others)
    assert accept(coordinator, fifth, "--yes") == 2  # its key stood there
    (kept,) = home.rosters.glob("000003-*.signed")
    home.roster.write_bytes(kept.read_bytes())  # as after a crash between the two files
    assert accept(coordinator, fifth, "--yes") == 2
