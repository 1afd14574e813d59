from pathlib import Path

from tests.benchmarks.alerts.case_queue import VIEWS, measured


def test_every_view_a_card_and_a_statement_are_measured(tmp_path: Path) -> None:
    found = measured(tmp_path, 60, 2)
    assert len(found) == 2 * len(VIEWS) + 2
    assert all(taken >= 0 for taken in found.values())
