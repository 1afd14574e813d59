"""One harness for every bench: a function that measures, what it promises, words for people.

A bench is declared once. The parameters of its function are the options of its command; what the
function returns is what `--json` prints, what `--keep` writes to `bench/`, and what the promises
are read from. A command ends with 0 where every promise holds, with 1 where one does not, and with
3 where it could not be measured.
"""

import inspect
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import typer
from tests.benchmarks.kept.results import keep

from fieldfare.shared.errors import RunError, UsageError

COMMAND: Final = (sys.executable, "-c", "from fieldfare.shared.cli.root import main; main()")
FOLDER: Final = "fieldfare-bench-"
CALL: Final = """\
import importlib, json, sys
module, name, arguments = sys.argv[1:]
print(json.dumps(getattr(importlib.import_module(module), name)(*json.loads(arguments))))
"""
NOT_MEASURED: Final = 3
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Keep = Annotated[bool, typer.Option("--keep", help="Write the results to bench/.")]


class BenchRow(NamedTuple):
    """A row of `make bench`: what, measured, promised, whether it holds."""

    what: str
    measured: str
    promised: str
    holds: bool


def at_most(what: str, value: float, limit: float, unit: str, digits: int = 1) -> BenchRow:
    """Return the promise that a figure is no larger than its limit."""
    measured, promised = f"{value:,.{digits}f} {unit}", f"{limit:,g} {unit}"
    return BenchRow(what, measured.rstrip(), promised.rstrip(), value <= limit)


@dataclass(frozen=True)
class Bench:
    """One bench.

    Attributes:
        measure: returns the figures; its parameters are the options of the command.
        promises: rows from the figures.
        words: lines for people from the figures, printed before the promises.
    """

    measure: Callable[..., Any]
    promises: Callable[[Any], Sequence[BenchRow]] = lambda _: ()
    words: Callable[[Any], Iterable[str]] = lambda _: ()

    def app(self) -> typer.Typer:
        """Return the command, which ends with 1 where a promise does not hold, 3 unmeasured."""
        app = typer.Typer(add_completion=False)
        app.command(help=self.measure.__doc__)(self._command())
        return app

    def _command(self) -> Callable[..., None]:
        def command(*, as_json: _Json = False, kept: Keep = False, **inputs: Any) -> None:
            try:
                found = self.measure(**inputs)
            except (OSError, RunError) as error:
                typer.echo(f"NOT MEASURED: {error}", err=True)
                raise typer.Exit(NOT_MEASURED) from None
            rows, words = self.promises(found), list(self.words(found))
            if kept:
                keep(module_of(self.measure).rpartition(".")[2], found, rows, words)
            if as_json:
                typer.echo(json.dumps(found, indent=2))
                return
            for line in (*words, *map(line_of, rows)):
                typer.echo(line)
            raise typer.Exit(int(not all(row.holds for row in rows)))

        measured = inspect.signature(self.measure, eval_str=True)
        own = inspect.signature(command).parameters
        command.__signature__ = measured.replace(  # type: ignore[attr-defined]
            parameters=[*measured.parameters.values(), own["as_json"], own["kept"]],
            return_annotation=None,
        )
        return command


def line_of(row: BenchRow) -> str:
    """Return a promise as a line for people."""
    verdict = "holds" if row.holds else "DOES NOT HOLD"
    return f"{row.what}: {row.measured}; promised {row.promised}: {verdict}"


def run_process(arguments: Sequence[str | Path]) -> tuple[float, str]:
    """Run a process to its end; returns seconds, start-up included, and its output.

    Raises:
        RunError: it ended with another status than 0.
    """
    started = time.perf_counter()
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    if done.returncode != 0:
        raise RunError(
            f"expected a process that ends well, found status {done.returncode}: {done.stderr}"
        )
    return seconds, done.stdout


def apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function of a module in a process of its own, so that no memory of another counts.

    Arguments and what it returns travel as JSON, paths as text.

    Raises:
        RunError: the process ended with another status than 0.
    """
    call = (module_of(function), function.__name__, json.dumps(arguments, default=str))
    return json.loads(run_process([sys.executable, "-c", CALL, *call])[1])


def module_of(function: Callable[..., Any]) -> str:
    """Return the name by which a function's module is imported, also where it is the command."""
    if function.__module__ != "__main__":
        return function.__module__
    name: str = sys.modules["__main__"].__spec__.name  # type: ignore[union-attr]
    return name


def peak_bytes() -> int:
    """Return this process's peak resident memory: VmHWM of proc(5).

    Not getrusage(2), which would count the parent that this process was started from.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def numbers(text: str) -> list[int]:
    """Return numbers that commas part; none of nothing.

    Raises:
        UsageError: something else.
    """
    try:
        return [int(part) for part in text.split(",")] if text else []
    except ValueError:
        raise UsageError(f"expected numbers and commas, found {text!r}") from None
