"""Three institutions and a coordinator in a bare Debian 12, bank-a and coordinator as services.

Every service runs as its own unit shuts it in (tests/support/system/shut_in.py): its user, its
mounts, its network, its system calls. All of it is typed as docs/install.md says.
"""

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

import pytest
from tests.support.system.bare_root import BareRoot, bare_root
from tests.support.system.ports import free_ports

from fieldfare.shared.software.lock import lock_text

SHUT_IN: Final = Path(__file__).parents[2] / "support" / "system" / "shut_in.py"
SCRIPTS: Final = Path(__file__).with_name("federation.sh")
PARTS: Final = ("coordinator", "custodian", "node")

pytestmark = [pytest.mark.promises, pytest.mark.xdist_group("bare-root")]  # PART=operate alone


@pytest.fixture(scope="module")
def bare() -> Iterator[BareRoot]:
    folder = Path(mkdtemp(prefix="ff-bare-", dir="/var/tmp"))
    made = bare_root(folder)
    for role in ("institution", "coordinator"):
        made.fetch(role, lock_text(role))
        made.install(role)
    shutil.copy(SCRIPTS, made.wheels)
    yield made
    shutil.rmtree(folder)


def typed(bare: BareRoot, part: str, **environment: str) -> str:
    """Type one part of federation.sh in the root, as root."""
    words = ["bash", f"/mnt/{SCRIPTS.name}", part]
    done = bare.run(words, user=0, network=True, environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextmanager
def service(bare: BareRoot, part: str) -> Iterator[Path]:
    """Run a unit's command, shut in as it says, until the block ends; yields its log."""
    unit = f"/etc/systemd/system/fieldfare-{part}.service"
    log = bare.wheels.parent / f"{part}.log"
    with log.open("wb") as said:
        command = [sys.executable, str(SHUT_IN), str(bare.path), unit]
        process = subprocess.Popen(command, stdout=said, stderr=said)
        try:
            yield log
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def test_a_federation_of_services(bare: BareRoot) -> None:
    for role in ("institution", "coordinator"):
        command = f"/opt/fieldfare/{role}/bin/fieldfare"
        into = ["service", "install", "--root", "/", "--command", command]
        assert bare.run([command, role, *into], user=0).returncode == 0
    for words in (["systemd-sysusers"], ["systemd-tmpfiles", "--create"]):
        subprocess.run([words[0], f"--root={bare.path}", *words[1:]], check=True)
    ports = dict(zip(("PORT", "LOCAL"), map(str, free_ports(2)), strict=True))
    typed(bare, "found", **ports)
    with ExitStack() as stack:
        logs = [stack.enter_context(service(bare, part)) for part in PARTS]
        try:
            said = typed(bare, "run", **ports)
        except AssertionError as error:
            raise AssertionError("\n".join([str(error), *(p.read_text() for p in logs)])) from None
    assert "nothing escapes: ok" in said
    for role in ("institution", "coordinator"):
        words = [f"/opt/fieldfare/{role}/bin/fieldfare", role, "service", "uninstall"]
        assert bare.run(words, user=0).returncode == 0
    left = (bare.path / "etc").rglob("fieldfare-*")
    assert [path for path in left if path.is_file()] == []
    assert (bare.path / "var/lib/fieldfare/ledger").is_dir()
