"""A client of the institution's own custodian, if one is running.

After a decision: the running custodian applies it, and the screen says so.
"""

from pathlib import Path
from typing import Final

from fieldfare.client.daemon.status import CustodianStatus, ReloadReport
from fieldfare.client.home.layout import Home
from fieldfare.client.home.settings import HomeSettings, admin_socket_path
from fieldfare.client.wire import admin_pb2 as pb
from fieldfare.client.wire.administration import STATUS_SECONDS, ask_administration
from fieldfare.shared.errors import RunError, UsageError
from fieldfare.shared.terminal.texts import SHORT

RELOAD_SECONDS: Final = 600.0  # a newly approved study's records are loaded meanwhile


def custodian_status(path: Path) -> CustodianStatus | None:
    """Return how the custodian stands that serves at `path`; None if none does.

    Raises:
        UsageError: the socket is another user's.
        RunError: there is one, and it gave no answer in time.
    """
    return ask_administration(path, "Status", STATUS_SECONDS, _status)


def request_reload(path: Path, seconds: float = RELOAD_SECONDS) -> ReloadReport | None:
    """Ask the custodian to reload the home; None if none is running.

    Raises:
        UsageError: the socket is another user's.
        RunError: there is one, and it gave no answer in time.
    """
    return ask_administration(path, "Reload", seconds, _report)


def _status(content: bytes) -> CustodianStatus:
    return CustodianStatus.model_validate_json(pb.StatusAnswer.FromString(content).status)


def _report(content: bytes) -> ReloadReport:
    return ReloadReport.model_validate_json(pb.ReloadAnswer.FromString(content).report)


# -- telling --------------------------------------------------------------------------------------

WAIT_SECONDS: Final = 30.0  # in which a custodian that loads nothing has long reloaded
LOAD_SECONDS: Final = 600.0  # after an approval, which loads records
NOBODY: Final = "no custodian is running: in force when it starts"


def notify_custodian(home: Home, settings: HomeSettings, seconds: float = WAIT_SECONDS) -> str:
    """Let a running custodian follow; returns lines for the screen.

    What was decided is in the home already: a custodian that gives no answer follows by itself
    within seconds of being free, so no failure here is one of the decision.
    """
    path = admin_socket_path(home, settings)
    try:
        report = request_reload(path, seconds)
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
