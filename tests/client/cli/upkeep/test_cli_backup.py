"""`fieldfare recovery key`, `recovery take`, `backup` and `restore`, as typed."""

from pathlib import Path

import pytest
from tests.client.alerts.test_alert_store import alert
from tests.support.homes.institutions import NAMES, Coordinator

import fieldfare.client.cli.upkeep.backup as backup_commands
from fieldfare.client.alerts.store import STORE, open_store
from fieldfare.client.home.keys import public_identity
from fieldfare.client.home.layout import Home
from fieldfare.shared.cli.root import run

OLD = "2001-01-01T00:00:00+00:00"


def test_a_home_is_backed_up_rehearsed_and_restored(
    coordinator: Coordinator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home, key = str(coordinator.homes[NAMES[0]].path), str(tmp_path / "recovery.key")
    file, new = str(tmp_path / "a.backup"), str(tmp_path / "new")

    def typed(*words: str) -> tuple[int, str]:
        status = run(words)
        said = capsys.readouterr()
        return status, said.out + said.err

    assert typed("recovery", "key", key)[0] == 0
    assert typed("recovery", "key", key) == (2, typed("recovery", "key", key)[1])  # never again
    status, said = typed("backup", file, "--home", home)
    assert (status, "recovery take FILE.pub" in said) == (2, True)
    assert typed("recovery", "take", f"{key}.pub", "--home", home)[0] == 0
    status, said = typed("backup", file, "--home", home)
    assert (status, "records.csv" in said) == (0, True)
    assert all(len(line) <= 80 for line in said.splitlines()[1:])  # the first has the path
    asked = ("restore", file, "--recovery-key", key, "--home", new)
    status, said = typed(*asked, "--rehearse")
    assert (status, "everything in it verifies" in said) == (0, True)
    assert typed(*asked) == (2, typed(*asked)[1])  # no reason
    status, said = typed(*asked, "--reason", "lost")
    assert (status, "--as-planned, which is 0.0 in all" in said) == (2, True)
    assert not Path(new).exists()
    status, said = typed(*asked, "--reason", "lost", "--as-planned")
    assert (status, "epoch 2 begins" in said) == (0, True)
    status, said = typed(*asked, "--reason", "lost", "--as-planned")
    assert (status, "never\nrestored over" in said or "never restored over" in said) == (2, True)


@pytest.mark.parametrize("name", ["3 (copy).signed", "\udcff.signed"])
def test_a_file_of_an_odd_name_is_named(
    coordinator: Coordinator, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    home, key, out = coordinator.homes[NAMES[0]], tmp_path / "recovery.key", tmp_path / "a.backup"
    at = ("--home", str(home.path))
    assert run(["recovery", "key", str(key)]) == 0
    assert run(["recovery", "take", f"{key}.pub", *at]) == 0
    odd = home.rosters / name
    home.rosters.mkdir(mode=0o700, exist_ok=True)
    odd.write_text("a copy")
    capsys.readouterr()
    assert run(["backup", str(out), *at]) == 2
    assert "move it out of the home" in " ".join(capsys.readouterr().err.split())
    assert not out.exists()
    odd.unlink()
    assert run(["backup", str(out), *at]) == 0


def test_a_restored_home_brings_back_no_alert_whose_date_has_come(
    coordinator: Coordinator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home, key = coordinator.homes[NAMES[0]], str(tmp_path / "recovery.key")
    file, new, out = tmp_path / "a.backup", tmp_path / "new", tmp_path / "statements"
    with open_store(home) as store:
        store.put([alert("aaaa1111", "customer-marker", scored=OLD), alert("bbbb2222", "stays")])
    at = ("--home", str(home.path))
    assert run(["recovery", "key", key]) == 0
    assert run(["recovery", "take", f"{key}.pub", *at]) == 0
    assert run(["backup", str(file), *at]) == 0
    assert run(["deletions", "--out", str(out), *at]) == 2
    assert "nothing was deleted yet" in capsys.readouterr().err
    asked = ["restore", str(file), "--recovery-key", key, "--home", str(new)]
    assert run([*asked, "--reason", "lost", "--as-planned"]) == 0
    new.rename(tmp_path / "first")

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:  # whatever ends it leaves no home with them
        patch.setattr(backup_commands, "forget", full)
        assert run([*asked, "--reason", "lost", "--as-planned"]) != 0
    assert not new.exists()
    (tmp_path / "first").rename(new)
    restored = Home.open(new)
    with open_store(restored) as store:
        assert [one.alert.alert for one in store.all()] == ["bbbb2222"]
    assert b"customer-marker" not in (restored.scoring / STORE).read_bytes()
    assert run(["deletions", "--out", str(out), "--home", str(new)]) == 0
    public = public_identity(restored)
    assert run(["audit", "deletions", str(out), "--key", public]) == 2  # a key names nobody
    assert "expected --party beside --key" in capsys.readouterr().err
    asked = ["audit", "deletions", str(out), "--key", public, "--party"]
    assert run([*asked, "bank-x"]) == 1
    assert run([*asked, NAMES[0]]) == 0
    assert "1 statement of bank" in capsys.readouterr().out
