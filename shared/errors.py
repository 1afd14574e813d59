"""Errors, sorted by whose fault they are.

    FieldfareError
    |- StudyError         the study (or another plan file) is wrong      exit 2
    |  `- PackageError    this machine has not what the study names      exit 2
    |- RecordsError       the institution's records do not fit           exit 2
    |- UsageError         the command was called with bad input          exit 2
    |- KeysError          a key file, or its passphrase, cannot be used  exit 2
    |- PolicyRefusal      policy or budget refuses; carries a fixed code exit 3
    |- AccountingError    a privacy claim cannot be made; fail closed    exit 1
    |- ProtocolError      a peer sent what the protocol does not allow   exit 1
    |- LedgerError        the ledger cannot be trusted or written        exit 1
    |- RunError           a run could not be finished                    exit 1
    |  `- NeedsPersonError and another try would not help               exit 1
    `- NoticeError        a notice could not be sent, or kept            exit 1

Messages say what was expected, what was found and what to do; they never
hold a record's value or a secret.
"""

from collections.abc import Sequence
from enum import Enum
from typing import ClassVar


class FieldfareError(Exception):
    """Root of everything Fieldfare raises on purpose."""

    exit_code: ClassVar[int] = 1


class StudyError(FieldfareError):
    """A study, roster or mapping file is wrong; lists every problem at once."""

    exit_code: ClassVar[int] = 2

    def __init__(self, problems: str | Sequence[str]) -> None:
        """Keep `problems` (one line each) and show them all."""
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


class PackageError(StudyError):
    """A package that a study names is not allowed or not installed here; the study may be right."""


class RecordsError(FieldfareError):
    """Records do not fit the study: settled at load, never at a release."""

    exit_code: ClassVar[int] = 2


class UsageError(FieldfareError):
    """A command was given input that it cannot use."""

    exit_code: ClassVar[int] = 2


class KeysError(FieldfareError):
    """A key file is missing, open to others, of the wrong kind or under another passphrase."""

    exit_code: ClassVar[int] = 2


class RefusalCode(Enum):
    """Every answer a custodian gives instead of a sum.

    Fixed codes (docs/design.md, "Refusals"): they depend on the request, the study, the
    ledger and the approvals only, so a refusal says nothing about records.
    """

    MALFORMED = "malformed"
    UNKNOWN_VERSION = "unknown_version"
    BAD_SIGNATURE = "bad_signature"
    UNKNOWN_STUDY = "unknown_study"
    WRONG_ROSTER = "wrong_roster"
    UNKNOWN_RUN = "unknown_run"
    BAD_PARTICIPANTS = "bad_participants"
    TOO_FEW_PARTICIPANTS = "too_few_participants"
    BAD_KEYS = "bad_keys"
    UNVERIFIED_KEYS = "unverified_keys"
    MASKS_TOO_WEAK = "masks_too_weak"
    NOT_IN_PLAN = "not_in_plan"
    WRONG_TERMS = "wrong_terms"
    BAD_PARAMETERS = "bad_parameters"
    NOT_RECOMPUTED = "not_recomputed"
    REPLAY_CHANGED = "replay_changed"
    KEYS_GONE = "keys_gone"  # kept in memory only: the coordinator opens the run anew
    RECALL_WANTED = "recall_wanted"  # since its start it has not heard what all members remember
    REHEARSAL_FAILED = "rehearsal_failed"  # its keys were published: the run never goes on
    STEP_CLOSED = "step_closed"
    ATTEMPT_CLOSED = "attempt_closed"
    TOO_MANY_ATTEMPTS = "too_many_attempts"
    BUDGET_EXHAUSTED = "budget_exhausted"
    LEDGER_UNAVAILABLE = "ledger_unavailable"
    POLICY = "policy"  # said when a study is approved; no release is refused with it


class PolicyRefusal(FieldfareError):  # noqa: N818 -- a refusal is an answer, not a fault
    """Policy, plan or budget refuses."""

    exit_code: ClassVar[int] = 3

    def __init__(self, code: RefusalCode, message: str) -> None:
        """Carry the fixed `code` for the wire and a `message` for the local log."""
        self.code = code
        super().__init__(message)


class AccountingError(FieldfareError):
    """A privacy guarantee cannot be computed or does not hold; nothing is released."""


class ProtocolError(FieldfareError):
    """A peer sent something that the protocol does not allow."""

    def __init__(self, message: str, code: RefusalCode = RefusalCode.MALFORMED) -> None:
        """Carry the fixed `code` that answers such a message."""
        self.code = code
        super().__init__(message)


class LedgerError(FieldfareError):
    """The ledger is behind, damaged, locked or read-only."""


class RunError(FieldfareError):
    """A run could not be finished; gives the reason and the spending."""


class SumRangeError(RunError):
    """A sum was out of range: masks did not cancel, or somebody poisoned it."""


class NeedsPersonError(RunError):
    """A run could not be finished, and another try would not help."""


class NoticeError(FieldfareError):
    """A notice could not be sent, or the outbox cannot be used."""
