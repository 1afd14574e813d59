"""The harness of benches: options, figures, promises, processes of their own."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from tests.benchmarks.harness import (
    Bench,
    BenchRow,
    apart,
    at_most,
    line_of,
    numbers,
    peak_bytes,
    run_process,
)
from typer.testing import CliRunner

from fieldfare.shared.errors import RunError, UsageError


def measure(size: Annotated[int, typer.Option(min=1)] = 3, name: str = "a") -> dict[str, Any]:
    """Measure nothing."""
    return {"size": size, "name": name}


BENCH = Bench(
    measure, lambda found: [at_most("size", found["size"], 5, "s")], lambda found: [found["name"]]
)


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        ([], 0, "a\nsize: 3.0 s; promised 5 s: holds\n"),
        (["--size", "6", "--name", "b"], 1, "b\nsize: 6.0 s; promised 5 s: DOES NOT HOLD\n"),
        (["--json", "--size", "6"], 0, '{\n  "size": 6,\n  "name": "a"\n}\n'),
    ],
)
def test_parameters_are_options_and_a_broken_promise_ends_with_1(
    options: list[str], status: int, said: str
) -> None:
    found = CliRunner().invoke(BENCH.app(), options)
    assert (found.exit_code, found.output) == (status, said)
    assert CliRunner().invoke(BENCH.app(), ["--size", "0"]).exit_code == 2


def test_a_limit_may_be_reached() -> None:
    assert at_most("x", 2000.4, 2000, "MB", digits=0) == ("x", "2,000 MB", "2,000 MB", False)
    assert at_most("x", 0.7, 0.7, "s", digits=2) == ("x", "0.70 s", "0.7 s", True)
    assert line_of(BenchRow("x", "1 s", "2 s", True)) == "x: 1 s; promised 2 s: holds"


def test_a_call_apart_is_in_another_process() -> None:
    assert apart(os.getpid) != os.getpid()
    assert apart(os.path.join, Path("a"), "b") == "a/b"
    with pytest.raises(RunError, match="ZeroDivisionError"):
        apart(divmod, 1, 0)
    assert apart(peak_bytes) > 5 * 10**6


def test_a_process_that_fails_ends_the_bench_with_its_words() -> None:
    with pytest.raises(RunError, match="status 3: sorry"):
        run_process([sys.executable, "-c", "import sys; sys.stderr.write('sorry'); sys.exit(3)"])
    seconds, output = run_process([sys.executable, "-c", "print('done')"])
    assert seconds > 0
    assert output == "done\n"


def test_sizes_are_numbers() -> None:
    assert numbers("3,20") == [3, 20]
    assert numbers("") == []
    with pytest.raises(UsageError, match="expected numbers and commas, found 'x'"):
        numbers("x")
