"""`make bench-large`: large records and many members, one command for each line of the promise.

    python -m tests.benchmarks.kept.large [--line N] [--small]

Each command measures under a memory cgroup where it needs one, and writes what it found to
`bench/`. Ends with 0 where every promise holds, with 1 where one does not, and with 3 where a line
could not be measured, which is said with the reason.
"""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final

import typer
from tests.benchmarks.harness import NOT_MEASURED

HOLDS, BROKEN = 0, 1
VERDICTS: Final = {HOLDS: "holds", BROKEN: "DOES NOT HOLD"}


@dataclass(frozen=True)
class Line:
    """A line of what is promised of large records and many members.

    Attributes:
        number: of it.
        what: it says.
        module: the bench that measures it.
        arguments: in full.
        small: instead, to see that the command works: seconds, and nothing is kept.
    """

    number: int
    what: str
    module: str
    arguments: tuple[str, ...]
    small: tuple[str, ...]

    def command(self, *, small: bool) -> list[str]:
        """Return the command to run."""
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
        3,
        "a member's step as a + b n, a step of 100 members",
        "members",
        (),
        ("--counts", "3,4", "--units", "50"),
    ),
    Line(
        4,
        "world make at 1,000,000 people",
        "people",
        (),
        ("--people", "500", "--months", "1"),
    ),
)


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
            found.append((one, subprocess.run(one.command(small=small), check=False).returncode))
    for one, status in found:
        typer.echo(f"line {one.number}, {one.module}: {verdict(status)}")
    raise typer.Exit(worst([status for _, status in found]))


if __name__ == "__main__":
    typer.run(main)
