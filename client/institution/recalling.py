"""What people here see and decide of a recall: who answered, and whom a start goes on without.

Each decision is written into the institution's log as well.
"""

from collections.abc import Sequence

from fieldfare.client.custodian.peers import LEFT, Peers
from fieldfare.client.custodian.ports import NoLog
from fieldfare.client.custodian.recall import VOUCHED_STATE, Recall
from fieldfare.client.home.layout import Home
from fieldfare.client.home.policy import limits, load_policy
from fieldfare.client.home.settings import load_settings
from fieldfare.client.institution.institution import Institution, ledger_of
from fieldfare.client.institution.ledger_checks import check_not_behind, open_ledger, recall_of
from fieldfare.client.institution.open import open_institution_ledger, party_of
from fieldfare.client.institution.restoring import log_statement
from fieldfare.client.journal.journal import Journal
from fieldfare.client.ledger.kept_states import RecallDecision, RecallStanding
from fieldfare.client.ledger.run_states import DECISION_STATE, LEDGER_STATE
from fieldfare.shared.errors import UsageError
from fieldfare.shared.system.clock import utc_now


def decide(
    home: Home, *, without: Sequence[str] = (), honest: int = 0, user: str, reason: str
) -> int:
    """Go on without what some members remember, for this start.

    Args:
        home: whose start.
        without: silent members; all that the limits still allow is debited for them, once.
        honest: the fewest honest institutions of any run since the backup; 0: says nothing.
        user: who decides.
        reason: why; both stay in the ledger and in the log.

    Returns:
        What was debited, in picomu2.

    Raises:
        UsageError: no start waits for such members.
        LedgerError: the ledger is behind, or it or the log cannot be written.
    """
    with Journal.open(home.log_folder, clock=utc_now) as journal, open_ledger(home) as ledger:
        check_not_behind(ledger, home)
        found = recall_of(ledger)
        if found is None:
            raise UsageError("nobody was asked since the custodian was started: nothing to decide")
        standing, before = found
        if standing.settled:
            raise UsageError("the last start has heard all that it needs: nothing to decide")
        _check_waited_for(standing, without)
        names = tuple(sorted({*before.silent, *without}))
        said = f"to go on without {', '.join(names)}" if without else f"h of {honest} was confirmed"
        log_statement(journal, user, reason, said[:500])
        carried = 0
        if without:  # debited first: a crash between costs, and never gives
            with ledger.peers() as rows:
                allowed = limits(load_policy(home))
                carried = rows.go_on_without(allowed, user=user, reason=reason)
        decision = RecallDecision(
            boot=standing.boot, silent=names, honest=max(honest, before.honest)
        )
        content = decision.model_dump_json().encode()
        ledger.put_run_state(LEDGER_STATE, DECISION_STATE, content)
    return carried


def _check_waited_for(standing: RecallStanding, without: Sequence[str]) -> None:
    strangers = sorted(set(without) - set(standing.missing))
    if strangers:
        waited = ", ".join(standing.missing) or "nobody"
        raise UsageError(
            f"--without: expected members that have not answered ({waited}), found {strangers[0]!r}"
        )


def leave(institution: Institution, *, user: str, reason: str) -> None:
    """Open nothing more from here on, before the last answer is signed.

    Raises:
        LedgerError: the ledger is behind, or it or the log cannot be written.
    """
    with (
        Journal.open(institution.home.log_folder, clock=utc_now) as journal,
        open_institution_ledger(institution, utc_now) as ledger,
    ):
        check_not_behind(ledger, institution.home)
        log_statement(journal, user, reason, "this institution leaves, and opens nothing more")
        ledger.put_run_state(LEDGER_STATE, LEFT, b"left")


def last_answer(institution: Institution, passphrase: bytes | None) -> bytes:
    """Return the last answer for later questions, signed, of an institution that has left.

    Raises:
        KeysError: the identity cannot be loaded.
        LedgerError: the ledger cannot be read.
    """
    party = party_of(institution, passphrase)
    with open_institution_ledger(institution, utc_now) as ledger:
        return Recall(party, ledger, Peers(party, ledger, NoLog())).last_answer()


def begin_witnessed(home: Home) -> bool:
    """Begin the ledger of a home that was just made; say whether its witness lies elsewhere.

    Its identity is as new, so nobody can remember anything of it.

    Raises:
        LedgerError: ledger or witness cannot be written.
        StudyError: a mistake in institution.toml or policy.toml.
    """
    with ledger_of(home, load_settings(home), load_policy(home), utc_now) as ledger:
        place = ledger.witness_elsewhere
        if place:
            ledger.put_run_state(LEDGER_STATE, VOUCHED_STATE, place.encode())
        return bool(place)
