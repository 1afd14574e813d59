"""What is kept of benches is read back as it was, and the page follows the files."""

from pathlib import Path

import pytest
from tests.benchmarks.harness import NOT_MEASURED, Bench, at_most
from tests.benchmarks.kept.large import LINES, Line, all_ran, verdict, worst
from tests.benchmarks.kept.machine import commit, machine
from tests.benchmarks.kept.results import KEPT, PAGE, keep, page, read
from tests.benchmarks.scale.indicators import promises as indicator_promises
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
def test_a_line_keeps_what_it_measured_and_its_small_form_does_not(line: Line) -> None:
    assert ("--keep" in line.command(small=False)) is not line.tested
    assert "--keep" not in line.command(small=True)
    assert not line.tested or (KEPT.parent / line.module).is_file()


@pytest.mark.parametrize(
    ("tests", "skipped", "ran"), [(2, 0, True), (2, 1, False), (2, 2, False), (0, 0, False)]
)
def test_tests_that_were_skipped_show_nothing(tests: int, skipped: int, *, ran: bool) -> None:
    suite = f'<testsuite name="pytest" tests="{tests}" skipped="{skipped}" failures="0"/>'
    assert all_ran(f"<testsuites>{suite}</testsuites>") is ran


def test_growth_of_payments_is_from_the_smallest_size_to_the_largest() -> None:
    row = {"limit_mb": 100, "peak_mb": 90}
    small, large = {"millions": 1.0, "seconds_for_a_million": 2.0}, {"millions": 10.0}
    for seconds, holds in ((2.5, True), (2.7, False)):
        rows = [{**row, **small}, {**row, **large, "seconds_for_a_million": seconds}]
        assert [one.holds for one in indicator_promises(rows)] == [True, True, holds]
