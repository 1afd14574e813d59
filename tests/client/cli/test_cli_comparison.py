"""`institution roster`, `compare`, `vouch`, and what is imported, as a person types."""

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.support.homes.institutions import Coordinator
from tests.support.homes.journals import logged

from fieldfare.client.home.comparisons import keep_vouching, next_vouching
from fieldfare.client.home.keys import load_identity
from fieldfare.client.home.layout import Home
from fieldfare.shared.cli.root import run
from fieldfare.shared.protocol.comparison import key_code, open_vouching, sign_vouching
from fieldfare.shared.protocol.identity import state_revocation


class Bank:
    """One bank's people at their keyboard."""

    def __init__(self, home: Home, capsys: pytest.CaptureFixture[str]) -> None:
        self.home, self._capsys = home, capsys

    def __call__(self, *command: str) -> tuple[int, str, str]:
        words = command if command[:1] == ("import",) else ("roster", *command)
        status = run(["institution", *words, "--home", str(self.home.path)])
        out, err = self._capsys.readouterr()
        return status, out, err

    def codes(self) -> dict[str, str]:
        found: dict[str, str] = json.loads(self("--json")[1])
        return found

    def known(self) -> set[str]:
        members = json.loads(self("--json")[1])["members"]
        return {one["id"] for one in members if one["verified"]}


Banks = dict[str, Bank]


@pytest.fixture
def banks(coordinator: Coordinator, capsys: pytest.CaptureFixture[str]) -> Banks:
    """Three banks that pinned one roster and compared nothing."""
    for home in coordinator.homes.values():
        home.comparisons.unlink()
    return {name[-1]: Bank(home, capsys) for name, home in coordinator.homes.items()}


def test_a_code_that_a_member_reads_makes_its_key_known(
    banks: Banks, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = banks["a"]
    assert a.known() == {"bank-a"}
    read = banks["b"].codes()["code"]
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{read}\n"))
    status, out, _ = a("compare", "bank-b", "--how", "in person")
    assert (status, "key compared (in person)" in out) == (0, True)
    assert "not known yet: bank-c" in out
    assert a.known() == {"bank-a", "bank-b"}
    assert banks["b"].known() == {"bank-b"}  # what a knows is not what b knows
    entry = logged(a.home.log_folder)[-1]
    assert entry["details"]["kind"] == "compared: in person"
    assert a.home.comparisons.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("said", ["", "12345", "another member's", "its own", "one digit off"])
def test_a_wrong_code_is_refused_and_nothing_is_kept(banks: Banks, said: str) -> None:
    a, right = banks["a"], banks["b"].codes()["code"]
    wrong = {
        "another member's": banks["c"].codes()["code"],
        "its own": a.codes()["code"],
        "one digit off": right[:-1] + str((int(right[-1]) + 1) % 10),
    }
    status, out, err = a("compare", "bank-b", "--code", wrong.get(said, said or " "))
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert right not in err
    assert right.replace(" ", "") not in err
    assert a.known() == {"bank-a"}
    assert not a.home.comparisons.exists()


def test_no_screen_shows_the_code_of_another_key(banks: Banks, coordinator: Coordinator) -> None:
    said = "".join(banks["a"](*command)[1] for command in ((), ("--json",)))
    compact = "".join(said.split())
    codes = {m.id: key_code(m.id, m.key).replace(" ", "") for m in coordinator.roster().members}
    assert [name for name, code in codes.items() if code in compact] == ["bank-a"]


def test_strangers_and_the_own_id_cannot_be_compared(banks: Banks) -> None:
    for name in ("bank-a", "bank-x"):
        assert banks["a"]("compare", name, "--code", "1" * 60)[0] == 2


def test_who_is_present_is_said_of_a_meeting_alone(banks: Banks) -> None:
    for more in (("--present", "bank-c"), ("--yes",)):
        status, _, err = banks["a"]("compare", "bank-b", *more)
        assert (status, "--how meeting" in err) == (2, True)
    assert banks["a"].known() == {"bank-a"}


def test_before_a_roster_is_pinned_the_own_codes_alone_are_shown(banks: Banks) -> None:
    a, code = banks["a"], banks["a"].codes()["code"]
    a.home.roster.unlink()
    assert a.codes() == {"institution": "bank-a", "code": code, "roster": ""}
    status, out, _ = a()
    assert (status, code[:35] in out, "roster accept FILE" in out) == (0, True, True)


def test_one_meeting_verifies_those_present_who_confirm(
    banks: Banks, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = banks["c"].codes()["roster"]
    present = ("bank-c", "--how", "meeting", "--present", "bank-b", "--code", code)
    monkeypatch.setattr("sys.stdin", io.StringIO("n\ny\n"))
    status, out, _ = banks["a"]("compare", *present)
    assert (status, "1 key compared in a meeting" in out) == (0, True)
    assert banks["a"].known() == {"bank-a", "bank-b"}
    assert banks["a"]("compare", *present, "--yes")[0] == 0
    assert banks["a"].known() == {"bank-a", "bank-b", "bank-c"}


def test_another_rosters_code_verifies_nobody(banks: Banks, coordinator: Coordinator) -> None:
    coordinator.pin(coordinator.roster(version=2))
    code = banks["b"].codes()["roster"]
    coordinator.pin(coordinator.roster(version=3))
    status, _, err = banks["a"]("compare", "bank-b", "--how", "meeting", "--code", code, "--yes")
    assert (status, "gave out two rosters" in err) == (2, True)
    assert banks["a"].known() == {"bank-a"}


@pytest.mark.parametrize("reader", ["bank-a", "bank-b"])
def test_the_own_screen_holds_no_code_that_verifies_anybody(banks: Banks, reader: str) -> None:
    """Its own roster code was what a meeting asked for: nobody had to hear anything."""
    a = banks["a"]
    own = a.codes()["roster"]
    arguments = (reader, "--how", "meeting", "--present", "bank-c", "--code", own, "--yes")
    status, _, err = a("compare", *arguments)
    assert (status, "approve nothing" in err) == (2, False)
    assert a.known() == {"bank-a"}


def test_one_code_in_place_of_the_other_is_no_alarm(banks: Banks) -> None:
    a, read = banks["a"], banks["b"].codes()
    for command, code, right in (
        (("compare", "bank-b"), read["roster"], "--how meeting"),
        (("compare", "bank-b", "--how", "meeting"), read["code"], "another --how"),
    ):
        status, _, err = a(*command, "--code", code)
        assert (status, right in err, "approve nothing" in err) == (2, True, False)
    assert a.known() == {"bank-a"}


def test_the_status_fits_80_columns_and_says_what_it_means(banks: Banks) -> None:
    a = banks["a"]
    a("compare", "bank-b", "--code", banks["b"].codes()["code"])
    status, out, _ = a()
    *lines, command = out.splitlines()
    assert status == 0
    assert max(map(len, lines)) <= 80
    assert command == f"Next: fieldfare institution roster compare MEMBER --home {a.home.path}"
    for said in ("NOT KNOWN", "call", "needs a study with t = 2", "one of its t", "bank-c"):
        assert said in out


def test_two_members_that_vouch_make_a_third_key_known(
    banks: Banks, coordinator: Coordinator, tmp_path: Path
) -> None:
    coordinator.found("bank-d")
    coordinator.pin()
    coordinator.compare()
    a, files = banks["a"], [tmp_path / "b", tmp_path / "c"]
    a.home.comparisons.unlink()
    for file, name in zip(files, ("b", "c"), strict=True):
        assert banks[name]("vouch", "--out", str(file))[0] == 0
    assert "NOT KNOWN, vouches for 3 keys" in a("import", str(files[0]))[1]
    for name in ("b", "c"):
        a("compare", f"bank-{name}", "--code", banks[name].codes()["code"])
    assert a.known() == {"bank-a", "bank-b", "bank-c"}
    assert "vouched by 1 of 2" in a()[1]
    assert "every key on the roster is known" in a("import", str(files[1]))[1]
    assert "bank-d" in a.known()


def test_a_forgotten_key_is_not_known_until_it_is_compared_anew(banks: Banks) -> None:
    a, code = banks["a"], banks["b"].codes()["code"]
    a("compare", "bank-b", "--code", code)
    status, out, _ = a("forget", "bank-b")
    assert (status, "not known yet: bank-b" in out) == (0, True)
    assert a.known() == {"bank-a"}
    assert logged(a.home.log_folder)[-1]["details"]["kind"] == "forgotten"
    assert "said to be lost" in a()[1]
    assert a("compare", "bank-b", "--code", code)[0] == 0
    assert a.known() == {"bank-a", "bank-b"}


def test_the_status_says_the_t_at_which_a_run_with_all_begins(
    banks: Banks, coordinator: Coordinator, tmp_path: Path
) -> None:
    """Two members vouch for e: enough at t = 1, and not at the t that the unknown d asks for."""
    for name in ("bank-d", "bank-e"):
        coordinator.found(name)
    coordinator.pin()
    coordinator.compare()
    a = banks["a"]
    a.home.comparisons.unlink()
    for name in ("b", "c"):
        banks[name]("forget", "bank-d")
        banks[name]("vouch", "--out", str(tmp_path / name))
        a("compare", f"bank-{name}", "--code", banks[name].codes()["code"])
        a("import", str(tmp_path / name))
    assert a.known() == {"bank-a", "bank-b", "bank-c", "bank-e"}
    assert "1 key not known: a run with all needs a study with t = 3" in a()[1]


def test_what_a_member_said_last_counts_whatever_file_comes_later(
    banks: Banks, tmp_path: Path
) -> None:
    """An older file took the newer one's place: a key that was forgotten was vouched for again."""
    a, b = banks["a"], banks["b"]
    for name in ("a", "c"):
        b("compare", f"bank-{name}", "--code", banks[name].codes()["code"])
    assert b("vouch", "--out", str(tmp_path / "1"))[0] == 0
    b("forget", "bank-c")
    assert b("vouch", "--out", str(tmp_path / "2"))[0] == 0
    for name, status in (("1", 0), ("1", 0), ("2", 0), ("1", 2), ("2", 0)):
        assert a("import", str(tmp_path / name))[0] == status
    assert "nobody compared it" in a()[1]


def test_a_home_from_a_backup_says_what_counts_after_what_it_said(
    banks: Banks, tmp_path: Path
) -> None:
    """A counter alone began again at the number of the backup: members refused what came."""
    a, b = banks["a"], banks["b"]
    b("compare", "bank-a", "--code", banks["a"].codes()["code"])
    backup = b.home.comparisons.read_bytes()
    for name in "123":
        assert b("vouch", "--out", str(tmp_path / name))[0] == 0
    assert a("import", str(tmp_path / "3"))[0] == 0
    b.home.comparisons.write_bytes(backup)
    last = open_vouching((tmp_path / "3").read_bytes()).number
    assert next_vouching(b.home, "bank-b", datetime.now(UTC) + timedelta(minutes=1)) > last
    # A clock that was ahead then: what a member gives back says how far it had come.
    ahead = next_vouching(b.home, "bank-b", datetime(2100, 1, 1, tzinfo=UTC))
    assert next_vouching(b.home, "bank-b", datetime(2027, 1, 1, tzinfo=UTC)) == ahead + 1
    b.home.comparisons.write_bytes(backup)
    said = sign_vouching("bank-b", [], load_identity(b.home, None), ahead + 7)
    keep_vouching(b.home, said)
    assert next_vouching(b.home, "bank-b", datetime(2027, 1, 1, tzinfo=UTC)) == ahead + 8


def test_a_revocation_is_taken_from_its_member_itself(banks: Banks, tmp_path: Path) -> None:
    """Before, or without, the coordinator."""
    a, b = banks["a"], banks["b"]
    a("compare", "bank-b", "--code", b.codes()["code"])
    assert a.known() == {"bank-a", "bank-b"}
    (tmp_path / "r").write_bytes(state_revocation("bank-b", load_identity(b.home, None)))
    status, out, _ = a("import", str(tmp_path / "r"))
    assert (status, "bank-b TOOK ITS KEY BACK" in out) == (0, True)
    assert a.known() == {"bank-a"}
    assert a("compare", "bank-b", "--code", b.codes()["code"])[0] == 2
    assert a.known() == {"bank-a"}
    changed = (tmp_path / "r").read_bytes().replace(b"bank-b", b"bank-c")
    (tmp_path / "s").write_bytes(changed)
    assert a("import", str(tmp_path / "s"))[0] == 2


def test_what_is_vouched_is_compared_here_and_signed_by_a_member(
    banks: Banks, tmp_path: Path
) -> None:
    status, _, err = banks["a"]("vouch", "--out", str(tmp_path / "a"))
    assert (status, "compare first" in err) == (2, True)
    (tmp_path / "x").write_text("{}")
    assert banks["a"]("import", str(tmp_path / "x"))[0] == 2


def test_a_damaged_file_of_comparisons_stops_everything(banks: Banks) -> None:
    a = banks["a"]
    a("compare", "bank-b", "--code", banks["b"].codes()["code"])
    a.home.comparisons.write_text(a.home.comparisons.read_text().replace('"format": 1', "1"))
    status, _, err = a()
    assert (status, "compare again" in err) == (2, True)
