"""`fieldfare coordinator service`: into an image, and out of it."""

from pathlib import Path

import pytest

from fieldfare.shared.cli.root import run


def test_the_service_goes_into_an_image_and_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = ("--root", str(tmp_path))
    command = ("--command", "/opt/fieldfare/bin/fieldfare")
    assert run(["coordinator", "service", "install", *root, *command, "--home", "/srv/c"]) == 0
    unit = tmp_path / "etc/systemd/system/fieldfare-coordinator.service"
    assert "ExecStart=/opt/fieldfare/bin/fieldfare coordinator start --home /srv/c\n" in (
        unit.read_text()
    )
    assert "fieldfare-coordinator.service" in capsys.readouterr().out
    assert run(["coordinator", "service", "uninstall", *root]) == 0
    assert not unit.exists()
    assert run(["coordinator", "service", "uninstall", *root]) == 0
    assert capsys.readouterr().out.endswith("nothing was installed\n")
