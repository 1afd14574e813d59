"""`fieldfare service`: into an image, shown, and taken away again, as the home says or --part."""

from pathlib import Path

import pytest

from fieldfare.shared.cli.root import run

COMMAND = ("--command", "/opt/fieldfare/bin/fieldfare")
BOTH = ("--part", "both")


def install(*words: str) -> int:
    return run(["service", "install", *COMMAND, *words])


def files(root: Path) -> list[str]:
    return sorted(path.name for path in root.rglob("*") if path.is_file())


def names(*parts: str) -> list[str]:
    kinds = ("conf", "conf", "service")
    return sorted(f"fieldfare-{part}.{kind}" for part in parts for kind in kinds)


def test_both_services_go_into_an_image_and_out(tmp_path: Path) -> None:
    assert install("--root", str(tmp_path), *BOTH) == 0
    assert files(tmp_path) == names("custodian", "node")
    assert run(["service", "uninstall", "--root", str(tmp_path)]) == 0
    assert files(tmp_path) == []


def test_a_coordinators_service_goes_into_an_image_and_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = ("--root", str(tmp_path))
    assert install(*root, "--part", "coordinator", "--home", "/srv/c") == 0
    unit = tmp_path / "etc/systemd/system/fieldfare-coordinator.service"
    assert "ExecStart=/opt/fieldfare/bin/fieldfare coordinator start --home /srv/c\n" in (
        unit.read_text()
    )
    assert "fieldfare-coordinator.service" in capsys.readouterr().out
    assert run(["service", "uninstall", *root, "--part", "both"]) == 0
    assert capsys.readouterr().out.endswith("nothing was installed\n")
    assert run(["service", "uninstall", *root]) == 0
    assert files(tmp_path) == []
    assert run(["service", "uninstall", *root]) == 0
    assert capsys.readouterr().out.endswith("nothing was installed\n")


@pytest.mark.parametrize(
    ("mark", "parts"),
    [("coordinator.toml", ("coordinator",)), ("institution.toml", ("custodian", "node"))],
)
def test_a_home_says_whose_services_they_are(
    tmp_path: Path, mark: str, parts: tuple[str, ...]
) -> None:
    home, root = tmp_path / "home", tmp_path / "root"
    home.mkdir()
    (home / mark).write_text("")
    root.mkdir()
    assert install("--root", str(root), "--home", str(home)) == 0
    assert files(root) == names(*parts)


def test_without_a_home_somebody_says_whose_services_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert install("--root", str(tmp_path), "--home", str(tmp_path / "none")) == 2
    assert "--part" in capsys.readouterr().err
    assert files(tmp_path) == []


def test_a_machine_of_the_nodes_own_gets_the_node_alone(tmp_path: Path) -> None:
    assert install("--root", str(tmp_path), "--part", "node", "--node-home", "/srv/node") == 0
    unit = (tmp_path / "etc/systemd/system/fieldfare-node.service").read_text()
    assert "institution node --settings /srv/node/node.toml" in unit
    assert "fieldfare-custodian.service" not in files(tmp_path)


def test_a_dry_run_shows_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert install("--root", str(tmp_path), *BOTH, "--dry-run") == 0
    assert "--- /etc/systemd/system/fieldfare-custodian.service\n" in capsys.readouterr().out
    assert files(tmp_path) == []


def test_a_change_by_hand_is_refused_as_bad_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install("--root", str(tmp_path), *BOTH)
    with (tmp_path / "etc/sysusers.d/fieldfare-node.conf").open("a") as file:
        file.write("# ours\n")
    assert install("--root", str(tmp_path), *BOTH) == 2
    assert "--force" in capsys.readouterr().err
    assert install("--root", str(tmp_path), *BOTH, "--force") == 0
