"""What a desk tells of the checks of a home; nothing is written for it."""

from datetime import datetime
from pathlib import Path

from fieldfare.client.desk.calls import (
    CheckView,
    FindingView,
)
from fieldfare.client.home.layout import NODE_FILE
from fieldfare.client.oversight.checks import HomeChecks, Preflight
from fieldfare.client.oversight.preflight import CheckOutcome, CheckResult, findings


def view_checks(home: Path, now: datetime) -> CheckView:
    """Tell what a preflight finds, but for what opens keys or records."""
    given = Preflight(
        home=home,
        node_settings=home / NODE_FILE,
        passphrase=None,
        environment={},
        now=now,
        records=False,
    )
    return CheckView(findings=[_finding(one) for one in findings(HomeChecks(given).watched())])


def _finding(one: CheckResult) -> FindingView:
    return FindingView(
        topic=one.topic,
        outcome=one.outcome.value,
        odd=one.outcome in {CheckOutcome.FAIL, CheckOutcome.WARN},
        failed=one.outcome is CheckOutcome.FAIL,
        text=one.text,
        remedy=one.remedy,
    )
