"""`fieldfare institution service`: into an image, shown, and taken away again."""

from pathlib import Path

import pytest

from fieldfare.shared.cli.root import run

COMMAND = ("--command", "/opt/fieldfare/bin/fieldfare")


def install(*words: str) -> int:
    return run(["institution", "service", "install", *COMMAND, *words])


def files(root: Path) -> list[str]:
    return sorted(path.name for path in root.rglob("*") if path.is_file())


def test_both_services_go_into_an_image_and_out(tmp_path: Path) -> None:
    assert install("--root", str(tmp_path)) == 0
    assert files(tmp_path) == sorted(
        f"fieldfare-{part}.{kind}"
        for part in ("custodian", "node")
        for kind in ("conf", "conf", "service")
    )
    assert run(["institution", "service", "uninstall", "--root", str(tmp_path)]) == 0
    assert files(tmp_path) == []


def test_a_machine_of_the_nodes_own_gets_the_node_alone(tmp_path: Path) -> None:
    assert install("--root", str(tmp_path), "--part", "node", "--node-home", "/srv/node") == 0
    unit = (tmp_path / "etc/systemd/system/fieldfare-node.service").read_text()
    assert "institution node --settings /srv/node/node.toml" in unit
    assert "fieldfare-custodian.service" not in files(tmp_path)


def test_a_dry_run_shows_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert install("--root", str(tmp_path), "--dry-run") == 0
    assert "--- /etc/systemd/system/fieldfare-custodian.service\n" in capsys.readouterr().out
    assert files(tmp_path) == []


def test_a_change_by_hand_is_refused_as_bad_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install("--root", str(tmp_path))
    with (tmp_path / "etc/sysusers.d/fieldfare-node.conf").open("a") as file:
        file.write("# ours\n")
    assert install("--root", str(tmp_path)) == 2
    assert "--force" in capsys.readouterr().err
    assert install("--root", str(tmp_path), "--force") == 0
