"""What systemd itself says of each unit: how exposed it is, and whether it can be read."""

import subprocess
from pathlib import Path

import pytest

from fieldfare.shared.party.service_files import ServiceTerms, service_files, write_service_files

pytestmark = pytest.mark.faults  # needs Debian's systemd package

MOST_EXPOSED = 25  # tenths of 10; systemd calls up to 4.9 "OK"
COMMAND = Path("/usr/bin/env")
SECRET = Path("/etc/fieldfare/passphrase")
HOME = Path("/var/lib/fieldfare")


@pytest.mark.parametrize("part", ["custodian", "node", "coordinator"])
@pytest.mark.parametrize("network", [False, True])
@pytest.mark.parametrize("secret", [None, SECRET])
def test_a_unit_is_shut_in(part: str, network: bool, secret: Path | None, tmp_path: Path) -> None:
    terms = ServiceTerms(COMMAND, HOME, passphrase_file=secret, network=network)
    write_service_files(service_files((part,), terms), tmp_path)
    unit = tmp_path / f"etc/systemd/system/fieldfare-{part}.service"
    security = ["security", "--offline=true", f"--threshold={MOST_EXPOSED}", "--no-pager"]
    for words in (security, ["verify", "--recursive-errors=no"]):
        done = subprocess.run(
            ["systemd-analyze", *words, unit], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""


def test_what_is_open_is_found(tmp_path: Path) -> None:
    unit = tmp_path / "open.service"
    unit.write_text("[Service]\nExecStart=/usr/bin/env\n")
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--threshold={MOST_EXPOSED}", unit],
        capture_output=True,
        check=False,
    )
    assert done.returncode != 0
