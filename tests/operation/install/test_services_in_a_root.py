"""Three institutions and a coordinator in a bare Debian 12, bank-a and coordinator as services.

Every service runs as its own unit shuts it in (tests/support/system/shut_in.py): its user, its
mounts, its network, its system calls. All of it is typed as docs/install.md, docs/backup.md and
docs/upgrade.md say: found, train, back up while a run is under way, lose everything to SIGKILL,
restore, train again, open an earlier version's homes, take away.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

import pytest
from tests.operation.upgrade.recorded import VERSIONS, unpacked
from tests.support.system.bare_root import UID, BareRoot, bare_root
from tests.support.system.ports import free_ports
from tests.support.system.skewed_clock import skewed_clock

from fieldfare.shared.party.software_lock import lock_text

SHUT_IN: Final = Path(__file__).parents[2] / "support" / "system" / "shut_in.py"
SCRIPTS: Final = Path(__file__).with_name("federation.sh")
PARTS: Final = ("coordinator", "custodian", "node")
ROLES: Final = ("institution", "coordinator")
WORK: Final = "srv/work"
RECORDED: Final = "/srv/recorded"
SECONDS: Final = 1500.0  # a machine with other work

pytestmark = [
    pytest.mark.promises,  # PART=operate alone
    pytest.mark.timeout(3600),
    pytest.mark.xdist_group("bare-root"),
]


@pytest.fixture(scope="module")
def bare() -> Iterator[BareRoot]:
    folder = Path(mkdtemp(prefix="ff-bare-", dir="/var/tmp"))
    made = bare_root(folder)
    for role in ROLES:
        made.fetch(role, lock_text(role))
        made.install(role)
    shutil.copy(SCRIPTS, made.wheels)
    yield made
    shutil.rmtree(folder)


def typed(bare: BareRoot, *words: str, environment: Mapping[str, str], network: bool = True) -> str:
    """Type one part of federation.sh in the root, as root."""
    done = bare.run(
        ["bash", f"/mnt/{SCRIPTS.name}", *words], user=0, network=network, environment=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextmanager
def killed(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    """What a power cut leaves of a process and of all below it, when the block ends."""
    try:
        yield
    finally:
        process.kill()  # with it goes its namespace of processes, and everybody in there
        process.wait(60)


@contextmanager
def service(bare: BareRoot, part: str, *, end: int = signal.SIGTERM) -> Iterator[Path]:
    """Run a unit's command, shut in as it says, until the block ends; yields its log."""
    unit = f"/etc/systemd/system/fieldfare-{part}.service"
    log = bare.wheels.parent / f"{part}.log"
    with log.open("ab") as said:
        command = [sys.executable, str(SHUT_IN), str(bare.path), unit]
        process = subprocess.Popen(command, stdout=said, stderr=said)
        try:
            yield log
        finally:
            process.send_signal(end)
            process.wait(60)


@contextmanager
def services(bare: BareRoot, *, end: int = signal.SIGTERM) -> Iterator[None]:
    """Run every unit's command; what they said is told where the block fails."""
    with ExitStack() as stack:
        logs = [stack.enter_context(service(bare, part, end=end)) for part in PARTS]
        try:
            yield
        except AssertionError as error:
            raise AssertionError("\n".join([str(error), *(p.read_text() for p in logs)])) from None


def die_in_a_run(bare: BareRoot, ports: Mapping[str, str]) -> None:
    """Back up while a run is under way, and kill everything a moment later."""
    backed_up = bare.path / WORK / "backed-up"
    log = bare.wheels.parent / "interrupt.log"
    with services(bare, end=signal.SIGKILL), log.open("wb") as said:
        words = bare.words(
            ["bash", f"/mnt/{SCRIPTS.name}", "interrupt"], user=0, network=True, environment=ports
        )
        process = subprocess.Popen(words, stdout=said, stderr=said)
        with killed(process):
            end = time.monotonic() + SECONDS
            while not backed_up.exists():
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < end, log.read_text()
                time.sleep(0.2)


def test_a_federation_of_services(bare: BareRoot) -> None:
    for role, part in zip(ROLES, ("both", "coordinator"), strict=True):
        command = f"/opt/fieldfare/{role}/bin/fieldfare"
        into = ["service", "install", "--part", part, "--root", "/", "--command", command]
        assert bare.run([command, *into], user=0).returncode == 0
    for words in (["systemd-sysusers"], ["systemd-tmpfiles", "--create"]):
        subprocess.run([words[0], f"--root={bare.path}", *words[1:]], check=True)
    ports = dict(zip(("PORT", "LOCAL"), map(str, free_ports(2)), strict=True))
    typed(bare, "found", environment=ports)
    with services(bare):
        assert "nothing escapes: ok" in typed(bare, "run", "first", environment=ports)
    die_in_a_run(bare, ports)
    assert "does not go on" in typed(bare, "restore", environment=ports)
    with services(bare):
        assert "nothing escapes: ok" in typed(bare, "run", "after", environment=ports)
    for role in ROLES:
        words = [f"/opt/fieldfare/{role}/bin/fieldfare", "service", "uninstall"]
        assert bare.run(words, user=0).returncode == 0
    left = (bare.path / "etc").rglob("fieldfare-*")
    assert [path for path in left if path.is_file()] == []
    assert (bare.path / "var/lib/fieldfare/ledger").is_dir()


@pytest.mark.parametrize("version", VERSIONS)
def test_the_homes_of_an_earlier_version(bare: BareRoot, version: str) -> None:
    """Opened, brought up to date and served by what is installed in the root."""
    place = bare.path / RECORDED.lstrip("/")
    homes = unpacked(version, place, seen_as=RECORDED)
    for path in (place, *place.rglob("*")):
        os.lchown(path, UID, UID)
    clock = skewed_clock(bare.wheels)
    assert clock is not None, "expected a compiler, found none: apt-get install gcc"
    then = datetime.fromisoformat(homes.said["recorded"]) + timedelta(hours=1)
    clock.set(int((then - datetime.now(UTC)).total_seconds()))
    inside = {
        name: value.replace(str(bare.wheels), "/mnt") for name, value in clock.environment.items()
    }
    said = typed(bare, "upgrade", RECORDED, environment=inside, network=False)
    assert "everything of before is served: ok" in said
    shutil.rmtree(place)
