"""docs/first-federation.md, typed as it stands: every command of the page, in its order."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

import pytest
from tests.support.system.postgres import PostgresServer, running_postgres

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "first-federation.md"
SECONDS: Final = 1200
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
    lines = ["set -euo pipefail"]
    for number, command in enumerate(typed):
        lines += [f'echo {number} >> "$TYPED"; echo "--- {number} at $SECONDS s"', command]
    return "\n".join(lines) + "\n"


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


def test_the_page_works_as_it_is_typed(folder: Path, bank_c: PostgresServer) -> None:
    typed = commands(PAGE.read_text("utf-8"))
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "BANK_C": bank_c.uri,
        "TYPED": str(folder / "typed"),
        "COLUMNS": "80",
    }
    log = folder / "said"
    with log.open("wb") as said:
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
    written = folder / "out" / "first"  # where the page goes
    report = (written / "report.xml").read_text("utf-8")
    assert "TO BE COMPLETED" in report
    assert "second_review" in text
    assert len((written / "decided.csv").read_text("utf-8").splitlines()) == 2
