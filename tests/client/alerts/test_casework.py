"""Whose decisions count: the console's own file, and modes that let nobody else change it."""

import os
import pwd
import shutil
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fieldfare.client.alerts.casework import Act, Casework, CaseworkTerms, Deed, make_casework
from fieldfare.client.alerts.feedback import Disposition
from fieldfare.shared.errors import UsageError
from fieldfare.shared.system.private_files import os_user

NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)
ME = os_user()


def act(minutes: int = 0, person: str = "anna") -> Act:
    said = {"person": person, "alert": "ab" * 8, "disposition": Disposition.FILE}
    return Act(time=NOW + timedelta(minutes=minutes), deed=Deed.FEEDBACK, **said)


@pytest.fixture
def casework(tmp_path: Path) -> Casework:
    terms = CaseworkTerms(institution="bank-a", analysts=("anna",), reviewers=("bela",), console=ME)
    return make_casework(tmp_path / "casework", os.getgid(), terms)


def own(casework: Casework) -> Path:
    return casework.decisions / f"{ME}.jsonl"


def test_modes_are_what_they_say(casework: Casework) -> None:
    modes = {
        one.name: stat.S_IMODE(one.stat().st_mode)
        for one in (casework.path, *casework.path.iterdir())
    }
    assert modes == {
        "casework": 0o2750, "casework.toml": 0o640, "decisions": 0o3770, "models": 0o2750
    }  # fmt: skip
    casework.sign(act())
    assert stat.S_IMODE(own(casework).stat().st_mode) == 0o640


def test_what_is_signed_is_read_with_its_owner_and_right(casework: Casework) -> None:
    casework.sign(act())
    casework.sign(act(-5))
    signed, complaints = casework.acts(NOW)
    assert [(one.user, one.file, one.act.time) for one in signed] == [
        ("anna", ME, act(-5).time), ("anna", ME, act().time)
    ]  # fmt: skip
    assert complaints == []
    assert len({one.line for one in signed}) == 2  # a nonce: two equal acts have two hashes
    feedback = casework.feedback_of(signed[0])
    assert feedback is not None
    assert (feedback.user, feedback.reviewer) == ("anna", False)


def test_who_has_no_right_signs_nothing_and_counts_as_nothing(casework: Casework) -> None:
    casework.sign(act())
    casework.terms = CaseworkTerms(institution="bank-a", reviewers=("bela",), console=ME)
    with pytest.raises(UsageError, match="an analyst or a reviewer"):
        casework.sign(act())
    ((signed,), _) = casework.acts(NOW)
    assert casework.feedback_of(signed) is None


def test_a_torn_line_spoils_no_other(casework: Casework) -> None:
    casework.sign(act())
    with own(casework).open("ab") as file:
        file.write(b'{"format":1,"non')
    casework.sign(act())
    signed, (complaint,) = casework.acts(NOW)
    assert len(signed) == 2
    assert "1 lines are no acts" in complaint


def test_own_lines_of_alerts_that_are_gone_are_blanked_in_place(casework: Casework) -> None:
    """Another process may add a line meanwhile, and a power failure may leave one half blank."""
    for minutes in range(3):
        casework.sign(act(minutes))
    late = NOW + timedelta(hours=1)
    lines = own(casework).read_bytes().splitlines()
    first, second, _ = casework.acts(late)[0]
    casework.blank({first.line})
    assert own(casework).read_bytes().splitlines() == [b" " * len(lines[0]), *lines[1:]]
    half = lines[1][:9] + b" " * (len(lines[1]) - 9)
    own(casework).write_bytes(own(casework).read_bytes().replace(lines[1], half))
    casework.blank({second.line})
    signed, complaints = casework.acts(late)
    assert (len(signed), complaints) == (1, [])


def test_the_future_counts_for_nothing_yet(casework: Casework) -> None:
    casework.sign(act(1))
    assert casework.acts(NOW)[0] == []
    assert len(casework.acts(NOW + timedelta(hours=1))[0]) == 1


@pytest.mark.skipif(os.getuid() != 0, reason="files of two users")
def test_a_copy_of_somebody_elses_line_does_not_stand_for_it(casework: Casework) -> None:
    """A member without any right copied a reviewer's line, and the reviewer's counted no more."""
    (casework.decisions / "bin.jsonl").write_text(act(person="").model_dump_json() + "\n")
    (casework.decisions / "games.jsonl").write_bytes(
        (casework.decisions / "bin.jsonl").read_bytes()
    )
    for user in ("bin", "games"):
        shutil.chown(casework.decisions / f"{user}.jsonl", user)
    signed, complaints = casework.acts(NOW)
    assert complaints == []
    assert sorted({one.line: one.user for one in signed}.values()) == ["bin", "games"]


def test_nobody_signs_on_a_terminal(casework: Casework) -> None:
    casework.terms = casework.terms.model_copy(update={"analysts": (ME,), "console": "games"})
    with pytest.raises(UsageError, match="nobody can sign on a terminal"):
        casework.sign(act(person=""))
    with pytest.raises(UsageError, match="nobody can sign on a terminal"):
        casework.sign(act(person=ME))
    assert not list(casework.decisions.iterdir())


@pytest.mark.parametrize("console", ["games", ""])
def test_what_was_signed_on_a_terminal_before_counts_no_more(
    casework: Casework, console: str
) -> None:
    """Its lines are known, so that what was collected of them is not called gone."""
    own(casework).write_text(act(person="").model_dump_json() + "\n")
    own(casework).chmod(0o640)
    casework.terms = casework.terms.model_copy(update={"analysts": (ME,), "console": console})
    ((signed,), complaints) = casework.acts(NOW)
    assert (signed.user, complaints) == (ME, [])
    assert not casework.counts(signed)
    assert casework.feedback_of(signed) is None


def test_a_files_name_moves_no_cursor_of_who_collects(casework: Casework) -> None:
    (casework.decisions / "\x1b[2Jbela.jsonl").write_text("")
    _, (complaint,) = casework.acts(NOW)
    assert complaint.isprintable()


@pytest.mark.skipif(os.getuid() != 0, reason="files of two users")
@pytest.mark.parametrize("taken", ["file", "folder", "link"])
def test_a_name_that_a_member_took_before_its_person_bars_nobody(
    casework: Casework, taken: str
) -> None:
    """The sticky folder lets nobody but the operator take it away again."""
    forged = act(person="").model_dump_json() + "\n"
    made: dict[str, Callable[[], object]] = {
        "file": lambda: own(casework).write_text(forged),
        "folder": own(casework).mkdir,
        "link": lambda: own(casework).symlink_to("nowhere"),
    }
    made[taken]()
    os.chown(own(casework), pwd.getpwnam("games").pw_uid, -1, follow_symlinks=False)
    casework.sign(act())
    casework.sign(act(-5))
    casework.blank({"0" * 64})
    signed, (complaint,) = casework.acts(NOW)
    assert [(one.user, one.file, one.act.time) for one in signed] == [
        ("anna", ME, act(-5).time), ("anna", ME, act().time)
    ]  # fmt: skip
    assert str(own(casework)) in complaint
    assert len(list(casework.decisions.glob(f"{ME}~*.jsonl"))) == 1


def test_of_one_user_one_file_counts(casework: Casework) -> None:
    """Else a member fills everybody's memory by names of 64 MB each."""
    casework.sign(act())
    other = casework.decisions / f"{ME}~{'0' * 16}.jsonl"
    other.write_text(act(-5).model_dump_json() + "\n")
    signed, (complaint,) = casework.acts(NOW)
    assert [one.act.time for one in signed] == [act().time]
    assert f"one file of {ME}, found a second one" in complaint
    assert casework.signed_by(ME) == own(casework)


@pytest.mark.parametrize("how", ["second name", "link", "writable", "another's name"])
def test_a_file_that_may_be_somebody_elses_work_counts_as_nothing(
    casework: Casework, tmp_path: Path, how: str
) -> None:
    casework.sign(act())
    path = own(casework)
    if how == "second name":
        (tmp_path / "second").hardlink_to(path)
    elif how == "link":
        path.rename(tmp_path / "elsewhere.jsonl")
        path.symlink_to(tmp_path / "elsewhere.jsonl")
    elif how == "writable":
        path.chmod(0o660)
    else:
        path.rename(path.with_name("bela.jsonl"))
    signed, (complaint,) = casework.acts(NOW)
    assert signed == []
    assert "it is not counted" in complaint


@pytest.mark.parametrize(
    ("name", "mode", "said"),
    [
        (".", 0o2770, "chmod 2750"),
        ("casework.toml", 0o660, "chmod 0640"),
        ("casework.toml", 0o644, "chmod 0640"),
        ("operator.sqlite", 0o640, "chmod 0600"),
        ("decisions", 0o2770, "chmod 3770"),
        ("decisions", 0o3777, "chmod 3770"),
    ],
)
def test_a_folder_that_others_could_change_is_not_opened(
    casework: Casework, name: str, mode: int, said: str
) -> None:
    if name == "operator.sqlite":
        casework.operators_store.touch()
    (casework.path / name).chmod(mode)
    with pytest.raises(UsageError, match=said):
        Casework.open(casework.path)


def test_no_folder_and_a_folder_that_is_something_else(tmp_path: Path, casework: Casework) -> None:
    with pytest.raises(UsageError, match="can reach, found"):
        Casework.open(tmp_path / "none")
    with pytest.raises(UsageError, match="new or empty folder"):
        make_casework(casework.path, os.getgid(), casework.terms)
