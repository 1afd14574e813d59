"""promtool, of Debian's prometheus: each alert fires when it should, and not otherwise."""

import json
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from fieldfare.shared.watch.shipped import RULES, SHIPPED, shipped_text

PROMTOOL: Final = "/usr/bin/promtool"
# alert, series, values that raise it, values that do not, at which minute it is looked at
F: Final = "fieldfare_"
A: Final = '{institution="a"}'
CASES: Final = [
    ("Down", 'up{job="fieldfare-node"}', "0x20", "1x20", 3),
    ("NotReady", f"{F}ready", "0x20", "1x20", 6),
    ("SuperlinkDown", f"{F}coordinator_superlink_up", "0x20", "1x20", 3),
    ("NodeGone", f'{F}coordinator_node_connected{{institution="a"}}', "0x20", "1x20", 6),
    ("NodeNotConnected", f"{F}node_connected", "0x20", "1x20", 6),
    ("CustodianSilent", f"{F}custodian_written_timestamp_seconds", "0x20", "0+60x20", 4),
    ("CustodianServesNothing", f"{F}custodian_serving", "0x20", "1x20", 3),
    ("LedgerBehind", f'{F}custodian_run_acts_total{{act="forked"}}', "0x3 1x20", "1x20", 8),
    ("RehearsalFailed", f'{F}custodian_run_acts_total{{act="published"}}', "0x3 1x20", "1x20", 8),
    ("Refusals", f'{F}custodian_refusals_total{{code="malformed"}}', "0+5x20", "0+1x20", 15),
    ("StudyWaits", f'{F}custodian_studies{{state="received"}}', "1x2000", "0x2000", 1450),
    ("RunInterrupted", f"{F}coordinator_runs_interrupted", "1x20", "0x20", 11),
    (
        "AttemptsLost",
        f"{F}coordinator_lost_attempts_total{A}",
        "0+1x20",
        "5x20",
        10,
    ),
    ("SparesUsed", f"{F}coordinator_spare_releases_left", "0x20", "1x20", 1),
    ("CertificateEnds", f'{F}certificate_days{{certificate="server"}}', "29x20", "31x20", 1),
    ("ClockOff", f"{F}clock_offset_seconds", "-61x20", "59x20", 6),
    ("ClockUnset", f"{F}clock_error_seconds", "1e9x80", "0.1x80", 61),
    (
        "MemberClockOff",
        f"{F}coordinator_member_clock_seconds{A}",
        "-61x9",
        "90x9",
        1,
    ),
    ("StoreLarge", f'{F}store_bytes{{store="audit_log"}}', "500000000x40", "100x40", 16),
]
PAIRS: Final = [  # of two series: raising, and not
    (
        "BudgetLow",
        (f'{F}budget_left_mu2{{window="year"}}', "0.01x20", "0.5x20"),
        (f'{F}budget_limit_mu2{{window="year"}}', "1x20", "1x20"),
        1,
    ),
    (
        "RunStuck",
        (f"{F}coordinator_steps_open", "5x100", "0x100"),
        (f"{F}coordinator_progress_timestamp_seconds", "0x100", "0x100"),
        75,
    ),
]


def one_test(alert: str, series: dict[str, str], minute: int, *, fires: bool) -> dict[str, Any]:
    """A unit test of promtool: whether an alert fires; its labels are not compared."""
    query = f'count(ALERTS{{alertname="Fieldfare{alert}",alertstate="firing"}})'
    expected = [{"labels": "{}", "value": 1}] if fires else []
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [{"expr": query, "eval_time": f"{minute}m", "exp_samples": expected}],
    }


def all_tests() -> list[dict[str, Any]]:
    found = []
    for alert, series, bad, good, minute in CASES:
        found.append(one_test(alert, {series: bad}, minute, fires=True))
        found.append(one_test(alert, {series: good}, minute, fires=False))
    for alert, first, second, minute in PAIRS:
        for fires, at in ((True, 1), (False, 2)):
            both = {first[0]: first[at], second[0]: second[at]}
            found.append(one_test(alert, both, minute, fires=fires))
    return found


def promtool(folder: Path, *command: str) -> str:
    done = subprocess.run(
        [PROMTOOL, *command], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.faults
def test_rules_and_settings_are_what_prometheus_takes(tmp_path: Path) -> None:
    for name in SHIPPED:
        (tmp_path / name).write_text(shipped_text(name))
    assert "21 rules found" in promtool(tmp_path, "check", "rules", RULES)
    promtool(tmp_path, "check", "config", "prometheus.yaml")


@pytest.mark.faults
def test_each_alert_fires_when_it_should_and_not_before(tmp_path: Path) -> None:
    (tmp_path / RULES).write_text(shipped_text(RULES))
    given = {"rule_files": [RULES], "evaluation_interval": "1m", "tests": all_tests()}
    (tmp_path / "tests.yaml").write_text(json.dumps(given))  # JSON is YAML
    assert "SUCCESS" in promtool(tmp_path, "test", "rules", "tests.yaml")
    named = {alert for alert, *_ in (*CASES, *PAIRS)}
    assert {f"Fieldfare{one}" for one in named} == {
        line.split(": ")[1]
        for line in shipped_text(RULES).splitlines()
        if line.startswith("      - alert: ")
    }
