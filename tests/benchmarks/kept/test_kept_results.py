"""What is kept of benches is read back as it was, and the page follows the files."""

from pathlib import Path

import pytest
from tests.benchmarks.harness import NOT_MEASURED, Bench, at_most
from tests.benchmarks.kept.large import LINES, Line, verdict, worst
from tests.benchmarks.kept.machine import commit, machine
from tests.benchmarks.kept.results import KEPT, PAGE, keep, page, read
from typer.testing import CliRunner

from fieldfare.shared.errors import RunError

ROWS = [at_most("a step", 1.0, 2, "s"), at_most("memory", 9.0, 2, "MB")]


def test_what_is_kept_is_read_back(tmp_path: Path) -> None:
    file = keep("steps", {"seconds": [1.0]}, ROWS, ["a  b"], command="python -m x", folder=tmp_path)
    found = read(file)
    assert (found.bench, found.command, found.commit) == ("steps", "python -m x", commit())
    assert (found.figures, found.words) == ({"seconds": [1.0]}, ["a  b"])
    assert found.rows == [tuple(row) for row in ROWS]
    assert found.machine == machine()
    text = (tmp_path / PAGE).read_text("utf-8")
    assert text == page(tmp_path)
    assert "| memory | 9.0 MB | 2 MB | **no** |" in text
    assert "| a step | 1.0 s | 2 s | yes |" in text
    assert "    a  b\n" in text
    assert str(found.machine["kernel"]) in text


def test_a_later_run_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    for value in (1, 2):
        file = keep("steps", {"seconds": value}, [], command="x", folder=tmp_path)
    assert read(file).figures == {"seconds": 2}
    file.write_text(file.read_text("utf-8").replace('"format": 1', '"format": 2'), "utf-8")
    with pytest.raises(ValueError, match="expected format 1"):
        read(file)


def test_the_page_of_kept_runs_follows_the_files() -> None:
    """`python -m tests.benchmarks.kept.results` writes it anew."""
    assert (KEPT / PAGE).read_text("utf-8") == page()
    named = {Path(one.name) for one in KEPT.iterdir()} - {Path(PAGE)}
    assert {one.suffix for one in named} <= {".jsonl"}


@pytest.mark.parametrize("fault", [RunError("too much memory"), PermissionError("no group")])
def test_what_could_not_be_measured_does_not_end_well(fault: Exception) -> None:
    def measure() -> None:
        """Measure nothing."""
        raise fault

    found = CliRunner().invoke(Bench(measure).app(), [])
    assert (found.exit_code, f"NOT MEASURED: {fault}" in found.output) == (NOT_MEASURED, True)


@pytest.mark.parametrize(
    ("statuses", "all_together"),
    [((0, 0), 0), ((0, 1), 1), ((1, 3), 3), ((0, -9), 3), ((2,), 3), ((), 3)],
)
def test_all_lines_hold_only_where_each_was_measured(
    statuses: tuple[int, ...], all_together: int
) -> None:
    assert worst(statuses) == all_together
    assert [verdict(one) == "holds" for one in statuses] == [one == 0 for one in statuses]


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.module)
def test_a_line_keeps_what_it_measured_and_its_small_form_does_not(
    line: Line,
) -> None:
    assert "--keep" in line.command(small=False)
    assert "--keep" not in line.command(small=True)
