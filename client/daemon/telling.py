"""What a decision's screen says of the custodian: it follows at once, later, or nobody is there."""

from typing import Final

from fieldfare.client.home.layout import Home
from fieldfare.client.wire.admin_calls import ReloadReport
from fieldfare.client.wire.admin_client import request_reload
from fieldfare.shared.errors import RunError, UsageError
from fieldfare.shared.terminal.texts import SHORT

WAIT_SECONDS: Final = 30.0  # in which a custodian that loads nothing has long reloaded
LOAD_SECONDS: Final = 600.0  # after an approval, which loads records
NOBODY: Final = "no custodian is running: this holds when one starts"


def notify_custodian(home: Home, seconds: float = WAIT_SECONDS) -> str:
    """Let a running custodian follow; returns lines for the screen.

    What was decided is in the home already: a custodian that gives no answer follows by itself
    within seconds of being free, so no failure here is one of the decision.
    """
    try:
        report = request_reload(home.admin_socket, seconds)
    except (RunError, UsageError) as error:
        return f"the custodian follows as soon as it is free: it gave no answer yet ({error})"
    return NOBODY if report is None else "\n".join(_lines(report))


def _lines(report: ReloadReport) -> list[str]:
    if report.trouble:
        return [f"in force now: NOTHING IS SERVED: {report.trouble}"]
    return [
        "in force now",
        *(f"  {line}" for line in (*report.changed, *report.records)),
        *(f"  left out: {one.id[:SHORT]}: {one.reason}" for one in report.left_out),
    ]
