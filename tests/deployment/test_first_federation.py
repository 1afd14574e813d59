"""docs/first-federation.md, typed as it stands: every command of the page, in its order."""

import grp
import os
import pwd
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

import pytest
from tests.support.system.postgres import PostgresServer, running_postgres

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "first-federation.md"
SECONDS: Final = 1200
USERS: Final = ("ff-analyst", "ff-reviewer")
GROUP: Final = "ff-cases"
SHARED: Final = Path("/var/tmp")  # noqa: S108 -- as the page says: a place that all users reach
LEFT: Final = ("ff-cases", "ff-report.xml", "ff-decided.csv")
# `sudo -u USER COMMAND` of a machine where interpreter and sources may lie where others cannot
# read, as below /root: one process imports all, and each command is a child of it that gives up
# every right but that user's.
SUDO: Final = """\
sudo() {
  local user=$2; shift 2
  if [ "$1" = fieldfare ]; then shift; "$PYTHON" -S -c "$ASK" "$user" "$@"
  else setpriv --reuid="$user" --regid="$user" --init-groups "$@"; fi
}
"""
ASK: Final = """\
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as asked:
    asked.connect(os.environ["BECOMING"])
    socket.send_fds(asked, [json.dumps([os.getcwd(), *sys.argv[1:]]).encode()], [0, 1, 2])
    sys.exit(int(asked.recv(8)))
"""
BECOME: Final = """\
import importlib, importlib.readers, json, os, pkgutil, pwd, socket, sys, traceback
from contextlib import suppress
import fieldfare.client, fieldfare.shared, lxml.etree, rich
from fieldfare.client.scoring.evidence import indicators
from fieldfare.client.alerts.reports.goaml import _schema
from fieldfare.shared.cli.root import commands, run
for package in (fieldfare.client, fieldfare.shared, rich):
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        with suppress(ImportError):  # of what is not installed, such as a notebook's
            importlib.import_module(found.name)
for kept in (commands, _schema, indicators):
    kept()

def become(said, streams):
    folder, name, *typed = json.loads(said)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    user = pwd.getpwnam(name)
    os.chdir(folder)
    os.setgroups(os.getgrouplist(user.pw_name, user.pw_gid))
    os.setresgid(*[user.pw_gid] * 3)
    os.setresuid(*[user.pw_uid] * 3)
    return run(typed)

def answer(caller, said, streams):
    status = 70
    try:
        status = become(said, streams) or 0
    except SystemExit as ended:
        status = ended.code or 0
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush(); sys.stderr.flush()
    caller.send(str(status).encode())
    os._exit(0)

with socket.socket(socket.AF_UNIX) as listener:
    listener.bind(os.environ["BECOMING"])
    listener.listen()
    while True:
        caller, _ = listener.accept()
        said, streams, *_ = socket.recv_fds(caller, 65536, 3)
        child = os.fork()
        if not child:
            listener.close()
            answer(caller, said, streams)
        for left in (*streams, caller.detach()):
            os.close(left)
        os.waitpid(child, 0)
"""

pytestmark = [pytest.mark.faults, pytest.mark.xdist_group("first-federation")]


def commands(page: str) -> list[str]:
    """Every command of the page's indented blocks; a here-document belongs to its command."""
    found: list[str] = []
    inside = ""
    for line in page.splitlines():
        if not line.startswith("    "):
            continue
        text = line.removeprefix("    ")
        if inside:
            found[-1] += f"\n{text}"
            inside = "" if text == inside else inside
            continue
        found.append(text)
        inside = text.partition("<<'")[2].partition("'")[0]
    return found


def script(typed: list[str]) -> str:
    """Everything in one shell, which ends at the first command that fails."""
    lines = ["set -euo pipefail", SUDO]
    for number, command in enumerate(typed):
        lines += [f'echo {number} >> "$TYPED"; echo "--- {number} at $SECONDS s"', command]
    return "\n".join(lines) + "\n"


@contextmanager
def becoming(folder: Path, environment: dict[str, str]) -> Iterator[None]:
    """A process whose children are other users; it imports while the first commands run."""
    with subprocess.Popen([sys.executable, "-c", BECOME], cwd=folder, env=environment) as process:
        try:
            yield
        finally:
            process.kill()


def test_commands_are_read_with_their_here_documents() -> None:
    page = "a\n\n    one <<'END'\n    text\n    END\n    two\n\nb\n\n    three\n"
    assert commands(page) == ["one <<'END'\ntext\nEND", "two", "three"]


def test_every_fieldfare_line_of_the_page_is_among_the_commands() -> None:
    text = PAGE.read_text("utf-8")
    lines = [line.strip() for line in text.splitlines() if line.startswith(("    ", "\t"))]
    typed = "\n".join(commands(text)).splitlines()
    assert [line.strip() for line in typed] == lines
    assert sum("fieldfare " in line for line in typed) > 40
    assert "```" not in text  # a block of another form would not be typed


@pytest.fixture
def users() -> Iterator[None]:
    if os.geteuid() != 0 and not os.environ.get("CI"):
        pytest.skip("two users have to be made: run this as root")
    _forget()
    yield
    _forget()


def _forget() -> None:
    for name in USERS:
        with suppress(KeyError):
            pwd.getpwnam(name)
            subprocess.run(["userdel", name], check=True)
    with suppress(KeyError):
        grp.getgrnam(GROUP)
        subprocess.run(["groupdel", GROUP], check=True)
    for name in LEFT:
        path = SHARED / name
        shutil.rmtree(path, ignore_errors=True)
        path.unlink(missing_ok=True)


@pytest.fixture
def bank_c() -> Iterator[PostgresServer]:
    with running_postgres() as server:
        yield server


@pytest.fixture
def folder() -> Iterator[Path]:
    """A new folder with a short name: a socket's path has at most 107 bytes."""
    made = Path(mkdtemp(prefix="ff-", dir="/tmp"))
    (made / "studies").symlink_to(ROOT / "studies")
    yield made
    shutil.rmtree(made)


@pytest.mark.usefixtures("users")
def test_the_page_works_as_it_is_typed(folder: Path, bank_c: PostgresServer) -> None:
    typed = commands(PAGE.read_text("utf-8"))
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHON": sys.executable,
        "ASK": ASK,
        "BECOMING": str(folder / "becoming"),
        "BANK_C": bank_c.uri,
        "TYPED": str(folder / "typed"),
        "COLUMNS": "80",
    }
    log = folder / "said"
    with log.open("wb") as said, becoming(folder, environment):
        shell = subprocess.Popen(
            ["bash", "-c", script(typed)], cwd=folder, env=environment, stdin=subprocess.DEVNULL,
            stdout=said, stderr=said, start_new_session=True,
        )  # fmt: skip
        try:
            status = shell.wait(SECONDS)
        except subprocess.TimeoutExpired:
            status = -1
        finally:
            with suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)
    text = log.read_text("utf-8", "replace")
    done = (folder / "typed").read_text().split()
    where = typed[int(done[-1])]
    assert status == 0, f"`{where}` ended with {status}:\n{text[-6000:]}"
    assert done == [str(number) for number in range(len(typed))]
    assert "FITS" in text
    report = (SHARED / "ff-report.xml").read_text("utf-8")
    assert "TO BE COMPLETED" in report
    assert "second_review" in text
    assert "cat: bank-a/keys/identity: Permission denied" in text
    assert "str_filed" in (SHARED / "ff-decided.csv").read_text("utf-8")
