"""`make bench-large`: large records and many members, one command for each line of the promise.

    python -m tests.benchmarks.kept.large [--line N] [--small]

Each command measures under a memory cgroup where it needs one, and writes what it found to
`bench/`; where a line says that values are equal or that a run ends well, its tests are run. Ends
with 0 where every promise holds, with 1 where one does not, and with 3 where a line could not be
measured, which is said with the reason.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Final
from xml.etree import ElementTree as ET

import typer
from tests.benchmarks.harness import FOLDER, NOT_MEASURED

HOLDS, BROKEN = 0, 1
VERDICTS: Final = {HOLDS: "holds", BROKEN: "DOES NOT HOLD"}


@dataclass(frozen=True)
class Line:
    """A line of what is promised of large records and many members.

    Attributes:
        number: of it.
        what: it says.
        module: the bench that measures it, or a file of tests.
        arguments: in full.
        small: instead, to see that the command works: seconds, and nothing is kept; of tests the
            ones to collect.
    """

    number: int
    what: str
    module: str
    arguments: tuple[str, ...] = ()
    small: tuple[str, ...] = ()

    @property
    def tested(self) -> bool:
        """Whether tests, not a bench, say whether it holds."""
        return self.module.endswith(".py")

    def command(self, *, small: bool) -> list[str]:
        """Return the command to run."""
        if self.tested:
            collected = ["--collect-only"] if small else []
            return [sys.executable, "-m", "pytest", "-q", "-m", "promises", *collected, self.module]
        chosen = self.small if small else (*self.arguments, "--keep")
        return [sys.executable, "-m", f"tests.benchmarks.scale.{self.module}", *chosen]


LINES: Final = (
    Line(
        1,
        "10,000,000 units x 40, 60 steps: memory, time, the same bytes however cut",
        "partitions",
        ("--units", "10000000,1000000", "--parts", "1,4,16", "--ray", "1,4"),
        ("--units", "4000,2000", "--parts", "1,4"),
    ),
    Line(
        2,
        "100,000,000 payments to all indicators within 4 GB; a million no slower than 1.3 x",
        "indicators",
        ("--millions", "10", "--millions", "100"),
        ("--millions", "0.02"),
    ),
    Line(
        2,
        "equal values in DuckDB, PostgreSQL and Spark",
        "tests/scale/test_indicators.py",
    ),
    Line(
        3,
        "a member's step as a + b n, a step of 100 members",
        "members",
        (),
        ("--counts", "3,4", "--units", "50"),
    ),
    Line(3, "fifty deployed nodes finish ten steps", "tests/scale/test_fifty_nodes.py"),
    Line(
        4,
        "world make at 1,000,000 people",
        "people",
        (),
        ("--people", "500", "--months", "1"),
    ),
)


def status_of(line: Line, *, small: bool) -> int:
    """Run a line's command; returns its exit status, where tests that were skipped count as 3."""
    command, environment = line.command(small=small), {**os.environ, "FIELDFARE_SCALE_LONG": "1"}
    if not line.tested or small:
        return subprocess.run(command, check=False).returncode
    with TemporaryDirectory(prefix=FOLDER) as name:
        told = Path(name) / "tests.xml"
        command.append(f"--junitxml={told}")
        status = subprocess.run(command, check=False, env=environment).returncode
        return status if status != HOLDS or all_ran(told.read_text("utf-8")) else NOT_MEASURED


def all_ran(told: str) -> bool:
    """Say whether tests ran, and none was skipped, from pytest's XML."""
    suites = list(ET.fromstring(told).iter("testsuite"))  # noqa: S314 -- pytest's own file
    ran = sum(int(suite.get("tests", 0)) for suite in suites)
    return ran > sum(int(suite.get("skipped", 0)) for suite in suites) == 0


def verdict(status: int) -> str:
    """Return what a command's exit status says."""
    return VERDICTS.get(status, "NOT MEASURED")


def worst(statuses: Sequence[int]) -> int:
    """Return the exit status of all lines together: what was not measured comes first."""
    if any(status not in VERDICTS for status in statuses):
        return NOT_MEASURED
    return max(statuses, default=NOT_MEASURED)


def main(
    line: Annotated[int | None, typer.Option(help="Of the promise; all by default.")] = None,
    *,
    small: Annotated[bool, typer.Option("--small", help="Try the commands; keep nothing.")] = False,
) -> None:
    """Measure the lines in turn, and say of each whether it holds."""
    found = []
    for one in LINES:
        if line in (None, one.number):
            typer.echo(f"{one.number}. {one.what}")
            found.append((one, status_of(one, small=small)))
    for one, status in found:
        typer.echo(f"line {one.number}, {one.module}: {verdict(status)}")
    raise typer.Exit(worst([status for _, status in found]))


if __name__ == "__main__":
    typer.run(main)
