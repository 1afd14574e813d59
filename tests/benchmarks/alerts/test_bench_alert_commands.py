"""The benchmark of an analyst's commands types what it says, at a size for tests."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests.benchmarks.alerts.alert_commands import (
    ENTRIES,
    commands,
    make_alert_home,
    promises,
    typed,
)

from fieldfare.shared.errors import RunError

CUSTOMERS = 200


@pytest.mark.faults  # a home with alerts, and seven commands of people
def test_every_command_of_a_day_works_in_the_made_up_home(tmp_path: Path) -> None:
    home, alert = make_alert_home(tmp_path, CUSTOMERS)
    names = []
    for number, (name, arguments) in enumerate(commands(tmp_path, home, alert)):
        assert typed(*(one.format(number) for one in arguments)) > 0
        names.append(name)
    assert len(set(names)) == 7
    assert pq.read_metadata(tmp_path / "parquet/transactions.parquet").num_rows == (
        CUSTOMERS * ENTRIES
    )
    drafts = [path.read_text() for path in tmp_path.glob("*.xml")]
    assert sum("<report_code>STR</report_code>" in draft for draft in drafts) == 2
    assert sum("<report_code>SAR</report_code>" in draft for draft in drafts) == 1
    with pytest.raises(RunError):
        typed("alerts", "none", "--home", str(home))


def test_a_broken_promise_is_said() -> None:
    rows = [
        {"name": "the list", "customers": 20_000, "seconds": 0.99, "most": 1.0},
        {"name": "a draft", "customers": 20_000, "seconds": 3.01, "most": 3.0},
    ]
    assert promises(rows) == [
        ("the list, 20,000 customers", "0.99 s", "1 s", True),
        ("a draft, 20,000 customers", "3.01 s", "3 s", False),
    ]
