"""Who may do what in a browser: a closed list of roles, one of rights, and one table of both.

Every page names its right; `test_role_matrix.py` of either console tries each role at each page.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class ConsoleRole(StrEnum):
    """A person's role; an account has one."""

    ANALYST = "analyst"
    REVIEWER = "reviewer"
    OPERATOR = "operator"
    EXAMINER = "examiner"


class Right(StrEnum):
    """What a page lets somebody do.

    Attributes:
        ANYBODY: without a log-in: the log-in itself, the look of pages.
        ENTER: whoever is logged in, in any role.
        READ_ALERTS: see alerts, which are about customers.
        WORK_ON_ALERTS: take an alert, decide on it.
        SEE_MODELS: see finished models and their cards; nothing about customers.
        WATCH: see studies and what they cost, at a coordinator members and runs; nothing about
            customers.
        DECIDE_ON_STUDIES: decide on a study with the desk's proofs, or be told the command.
        VERIFY: have a transcript, or a paper that an institution sent, looked at on this machine.
        STEER: at a coordinator, propose studies, ask questions, start and stop runs.
    """

    ANYBODY = "anybody"
    ENTER = "enter"
    READ_ALERTS = "read alerts"
    WORK_ON_ALERTS = "work on alerts"
    SEE_MODELS = "see models"
    WATCH = "watch"
    DECIDE_ON_STUDIES = "decide on studies"
    VERIFY = "verify"
    STEER = "steer"


_ALL: Final = frozenset({Right.ANYBODY, Right.ENTER, Right.SEE_MODELS})
_CASES: Final = _ALL | {Right.READ_ALERTS, Right.WORK_ON_ALERTS}
_WATCHING: Final = _ALL | {Right.WATCH}
RIGHTS: Final[Mapping[ConsoleRole, frozenset[Right]]] = {
    ConsoleRole.ANALYST: _CASES,
    ConsoleRole.REVIEWER: _CASES,
    # Who runs the machines, and who examines the institution, see no customer here.
    ConsoleRole.OPERATOR: _WATCHING | {Right.DECIDE_ON_STUDIES, Right.STEER, Right.VERIFY},
    ConsoleRole.EXAMINER: _WATCHING,
}
NOBODY: Final = frozenset({Right.ANYBODY})
