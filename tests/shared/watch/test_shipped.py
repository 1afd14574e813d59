"""Rules and dashboard name metrics that exist; who changed a file keeps it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from fieldfare.shared.cli.root import run
from fieldfare.shared.watch.metrics import all_metrics
from fieldfare.shared.watch.shipped import DASHBOARD, RULES, SHIPPED, shipped_text

NAMES = {one.name: set(one.labels) for one in all_metrics()}
PAGE = (Path(__file__).parents[3] / "docs" / "watch.md").read_text()


def dashboard_queries() -> list[str]:
    found: Any = json.loads(shipped_text(DASHBOARD))
    return [target["expr"] for panel in found["panels"] for target in panel["targets"]]


def rule_queries() -> list[str]:
    return re.findall(r"^        expr: (.+)$", shipped_text(RULES), re.MULTILINE)


@pytest.mark.parametrize("query", [*dashboard_queries(), *rule_queries()])
def test_a_query_names_metrics_that_exist(query: str) -> None:
    named = set(re.findall(r"fieldfare_[a-z0-9_]+", query))
    assert named <= set(NAMES)
    assert named or query.startswith("up{")
    for name, label in re.findall(r"(fieldfare_[a-z0-9_]+)\{(\w+)", query):
        assert label in NAMES[name]


def test_every_metric_is_looked_at_by_somebody() -> None:
    queries = " ".join([*dashboard_queries(), *rule_queries()])
    looked = set(re.findall(r"fieldfare_[a-z0-9_]+", queries))
    assert set(NAMES) - looked == {  # what the page explains, and no panel needs
        "fieldfare_ledger_epoch",
        "fieldfare_node_heard_timestamp_seconds",
        "fieldfare_node_message_timestamp_seconds",
    }


def test_the_page_says_what_to_do_at_each_alert() -> None:
    alerts = set(re.findall(r"alert: (\w+)", shipped_text(RULES)))
    assert set(re.findall(r"^\| `(Fieldfare\w+)` \|", PAGE, re.MULTILINE)) == alerts


def test_files_are_written_and_none_that_somebody_changed_is_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "watch"
    asked = ["watch", "files", "--out", str(out)]
    assert run(asked) == 0
    assert {one.name for one in out.iterdir()} == set(SHIPPED)
    assert run(asked) == 0  # the same again changes nothing
    (out / RULES).write_text("mine")
    assert run(asked) == 2
    assert (out / RULES).read_text() == "mine"
    assert "move it away" in capsys.readouterr().err
