"""The verdicts of an audit, a word and an exit status each; no other place defines them.

    0  fits                  every signature, sum, step, figure and debit; co-signed by enough
    1  does not fit          names the first thing that does not
    4  fits as far as kept   vectors were deleted, or left out: sums were not added up again
    5  not co-signed         fewer than n - t institutions signed the end of this log, or it opens
                             no run that anybody could have co-signed
    6  two stories           the coordinator signed two logs of one run: there is a proof
    7  not witnessed         fewer witnesses than the auditor asks for signed the end of this log

2 and 3 are taken: a command that could not be carried out, and one that refuses. Where several
hold, the first of 6, 1, 5, 7, 4 is the verdict; a report says all of them.
"""

from enum import Enum, StrEnum

from fieldfare.shared.audit.audit import AuditReport


class AuditVerdict(Enum):
    """A verdict; its value is the exit status."""

    FITS = 0
    DOES_NOT_FIT = 1
    AS_FAR_AS_KEPT = 4
    NOT_COSIGNED = 5
    TWO_STORIES = 6
    NOT_WITNESSED = 7

    @property
    def word(self) -> str:
        """The verdict as programs read it."""
        return self.name.lower()


class RequiredCosigners(StrEnum):
    """How many participants have to have co-signed the end of a log."""

    ENOUGH = "enough"  # n - t of them: no t can veto, and no coordinator with t can do without
    ALL = "all"
    NONE = "none"


def cosigners_needed(report: AuditReport, required: RequiredCosigners) -> int:
    """Return how many have to have co-signed; 0 before a run was opened."""
    count = len(report.participants)
    if required is RequiredCosigners.NONE or report.plan is None:
        return 0
    if required is RequiredCosigners.ALL:
        return count
    return count - min(count, report.plan.study.privacy.collusion_tolerance)


def cosigners(report: AuditReport) -> int:
    """Return how many participants co-signed the whole log, and object to nothing in it.

    Hashes alone are enough where the model or the log is too large for more, and nowhere else.
    """
    return sum(
        report.cosigned.get(name) == report.leaves
        and name not in report.objections
        and (report.large or report.checked.get(name) == "recomputed")
        for name in report.participants
    )


def answerable(report: AuditReport) -> int:
    """Return how many recomputed the run and signed all of its log; 0 where they are too few.

    Enough are n - t, and more than t: at least one of them is honest, and answers for every figure.
    """
    if report.plan is None or report.large:
        return 0
    tolerance = report.plan.study.privacy.collusion_tolerance
    found, needed = cosigners(report), cosigners_needed(report, RequiredCosigners.ENOUGH)
    return found if found >= max(needed, tolerance + 1) else 0


def quorum_words(report: AuditReport) -> str:
    """Return what enough co-signatures leave open; empty where they leave nothing open.

    Of k that signed, k - t are honest. The n - k others that are, and t, are enough for another log
    where k is at most 2 t; a witness has seen one log.
    """
    found = cosigners(report)
    if report.plan is None or found < cosigners_needed(report, RequiredCosigners.ENOUGH):
        return ""
    tolerance = report.plan.study.privacy.collusion_tolerance
    if not 0 < found <= 2 * tolerance or witnesses(report):
        return ""
    return (
        f"with t = {tolerance}, another log of this run may have as many co-signatures and share "
        "no honest institution with this one: compare the members' heads (fieldfare institution "
        "check --head FILE), or ask for a witness's"
    )


def witnesses(report: AuditReport) -> int:
    """Return how many of the auditor's witnesses signed the end of the log."""
    return 0 if report.witnessed is None else len(report.witnessed.times)


def verdict_of(
    report: AuditReport,
    required: RequiredCosigners = RequiredCosigners.ENOUGH,
    required_witnesses: int = 0,
) -> AuditVerdict:
    """Return the verdict of an audit.

    Args:
        report: of the audit.
        required: how many participants have to have co-signed.
        required_witnesses: how many of the auditor's witnesses have to have signed.
    """
    if report.witnessed is not None and report.witnessed.contradicting is not None:
        return AuditVerdict.TWO_STORIES
    if report.misfit is not None:
        return AuditVerdict.DOES_NOT_FIT
    unopened = required is not RequiredCosigners.NONE and not report.participants
    if unopened or cosigners(report) < cosigners_needed(report, required):
        return AuditVerdict.NOT_COSIGNED
    if witnesses(report) < required_witnesses:
        return AuditVerdict.NOT_WITNESSED
    return AuditVerdict.AS_FAR_AS_KEPT if report.purged else AuditVerdict.FITS
