"""How many runs of a study may be opened: so many a day, and so many that are kept.

A coordinator's opening costs no budget, and each leaves a state in the ledger's file. So openings
are counted by study before anything of them is kept, and of runs that nobody paid for the oldest
gives way with all that it left: rehearsals and commitments are free as well. It is then as one that
was never opened. The count is kept in the ledger: a restart forgets nothing.

Of a run that was paid for stay, for good: its newest openings, which repeats of an answer are
under; the model that it evaluated and came to, with its metrics, which a delivery or a file is held
against; and the head that was co-signed, which shows two stories. That is one of each a run, and
every run took of the budget. The hashes of its sums go with the 65th newer run.
"""

import json
from collections.abc import Iterable
from typing import Any, Final

import rfc8785

from fieldfare.client.custodian.ports import DecisionLog, RunEvent
from fieldfare.client.ledger.ledger import Ledger
from fieldfare.client.ledger.run_states import (
    FOLLOWED_STATE,
    HEAD_STATE,
    LEDGER_STATE,
    OPENED_STATE,
    OPENING_STATE,
    RUN_STATES,
)
from fieldfare.shared.errors import PolicyRefusal, RefusalCode
from fieldfare.shared.protocol.messages import RunOpening

MOST_IN_A_DAY: Final = 256  # openings of one study; a run has one, and one more for each restart
MOST_KEPT: Final = 64  # runs of one study
MOST_OPENINGS: Final = (
    4  # of one run; a coordinator repeats requests of the newest that all agreed on
)
DAY_SECONDS: Final = 86_400
COUNTED: Final = "openings:"  # the name of a count, by study


class Openings:
    """Counts the openings of each study in the ledger."""

    def __init__(self, ledger: Ledger, decisions: DecisionLog) -> None:
        """Count in `ledger`, and log in `decisions`."""
        self._ledger, self._decisions = ledger, decisions

    def admit(self, opening: RunOpening) -> tuple[str, ...]:
        """Count and log an opening before anything of it is kept; a repeat is neither.

        Returns:
            The runs that gave way: whoever holds anything of them forgets it.

        Raises:
            PolicyRefusal: TOO_MANY_ATTEMPTS, where the study had its openings of this day (UTC).
            LedgerError: it cannot be counted or logged.
        """
        study, run = opening.study, opening.run
        day, count, runs = self._counted(study)
        if runs.get(run) == opening.hash:
            return ()
        if count >= MOST_IN_A_DAY:
            raise PolicyRefusal(
                RefusalCode.TOO_MANY_ATTEMPTS,
                f"expected at most {MOST_IN_A_DAY} openings of one study in a day, found more: "
                "ask the coordinator why it opens so many",
            )
        runs.pop(run, None)
        runs[run] = opening.hash
        oldest = tuple(runs)[: max(0, len(runs) - MOST_KEPT)]
        dropped = tuple(run for run in oldest if self._drop(study, run))
        for gone in oldest:
            del runs[gone]
        content: dict[str, Any] = {
            "count": count + 1,
            "day": day,
            "runs": [list(pair) for pair in runs.items()],
        }
        self._ledger.put_run_state(LEDGER_STATE, COUNTED + study, rfc8785.dumps(content))
        self._decisions.noted(RunEvent.OPENED, study, run, opening.hash)
        return dropped

    def _counted(self, study: str) -> tuple[int, int, dict[str, str]]:
        """Return this day, how many were opened in it, and the newest opening of each run."""
        today = self._today()
        state = self._ledger.run_state(LEDGER_STATE, COUNTED + study)
        if state is None:
            return today, 0, {}
        kept = json.loads(state)
        # A clock that was set back begins no new day, before a person says so (`renew`).
        day = max(today, kept["day"])
        return day, kept["count"] if kept["day"] == day else 0, dict(kept["runs"])

    def keep(self, opening: RunOpening, content: bytes) -> None:
        """Keep an opening that was admitted, and of those before it in its run the newest.

        Each under its hash: what was answered under an older one is sent again as it is.

        Args:
            opening: that is answered here.
            content: as the coordinator signed it.

        Raises:
            LedgerError: it cannot be kept.
        """
        study, run = opening.study, opening.run
        name = OPENING_STATE + run
        if self._ledger.run_state(study, name) is None:
            # A constant of the run: whoever is left later decides alike by it.
            count = str(len(opening.participants)).encode()
            self._ledger.put_run_state(study, OPENED_STATE + run, count)
        self._ledger.put_run_state(study, f"{name}:{opening.hash}", content)
        self._ledger.put_run_state(study, name, content)
        kept = [one for one in self._ledger.run_names(study) if one.startswith(f"{name}:")]
        if len(kept) > MOST_OPENINGS:
            oldest = sorted(kept, key=lambda one: self._number(study, one))[:-MOST_OPENINGS]
            self._ledger.forget_states(study, oldest)

    def _number(self, study: str, name: str) -> int:
        """Return the number of an opening that was checked when it was kept."""
        content = json.loads(self._ledger.run_state(study, name) or b"{}")
        return int(content["body"]["number"])

    def renew(self) -> None:
        """Count anew where the day lies ahead: a person says that the clock is right now.

        Raises:
            LedgerError: the ledger cannot be read or written.
        """
        for name in self._ledger.run_names(LEDGER_STATE):
            if not name.startswith(COUNTED):
                continue
            kept = json.loads(self._ledger.run_state(LEDGER_STATE, name) or b"{}")
            today = self._today()
            if kept.get("day", today) > today:
                content = rfc8785.dumps({**kept, "count": 0, "day": today})
                self._ledger.put_run_state(LEDGER_STATE, name, content)

    def _today(self) -> int:
        return int(self._ledger.now().timestamp()) // DAY_SECONDS

    def _drop(self, study: str, run: str) -> bool:
        """Forget a run that was opened and released nothing; one that did was paid for."""
        if self._ledger.paid(study, run):
            self._ledger.forget_states(study, [FOLLOWED_STATE + run])
            return False
        names = states_of(run, self._ledger.run_names(study))
        self._ledger.forget_run(study, run, names)
        self._ledger.forget_states(LEDGER_STATE, [f"{HEAD_STATE}{study}:{run}"])
        return True


def states_of(run: str, names: Iterable[str]) -> tuple[str, ...]:
    """Return which of a study's states belong to a run."""
    opening = OPENING_STATE + run
    own = {run, opening, *(name + run for name in RUN_STATES)}
    return tuple(name for name in names if name in own or name.startswith(f"{opening}:"))
