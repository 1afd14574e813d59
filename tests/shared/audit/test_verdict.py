"""How many co-signatures answer for a log's figures, and what they leave open."""

import pytest
from tests.support.homes.institutions import home_study

from fieldfare.shared.audit.audit import AuditReport
from fieldfare.shared.audit.verdict import AuditVerdict, answerable, quorum_words, verdict_of
from fieldfare.shared.audit.witnessed import WitnessedFindings
from fieldfare.shared.protocol.plan import plan_for


def report(n: int, t: int, signed: int, checked: str = "recomputed") -> AuditReport:
    """A log of ten leaves that so many of n co-signed."""
    names = tuple(f"bank-{number}" for number in range(n))
    study = home_study(
        privacy__collusion_tolerance=t, aggregation__minimum_institutions=max(3, t + 2)
    )
    return AuditReport(
        plan=plan_for(study),
        participants=names,
        leaves=10,
        cosigned=dict.fromkeys(names[:signed], 10),
        checked=dict.fromkeys(names[:signed], checked),
    )


@pytest.mark.parametrize(
    ("n", "t", "signed", "found"),
    [
        (3, 1, 1, 0),
        (3, 1, 2, 2),
        (4, 1, 2, 0),
        (4, 1, 3, 3),
        (4, 2, 2, 0),  # n - t, but both may be colluders
        (4, 2, 3, 3),
        (6, 3, 3, 0),
    ],
)
def test_figures_are_answered_for_by_n_less_t_and_by_more_than_t(
    n: int, t: int, signed: int, found: int
) -> None:
    assert answerable(report(n, t, signed)) == found


def test_hashes_alone_answer_for_no_figure() -> None:
    by_hashes = report(4, 1, 4, "hashes only")
    assert answerable(by_hashes) == 0
    large = AuditReport(**{**vars(by_hashes), "large": True})
    assert verdict_of(large) is AuditVerdict.FITS  # enough for the log, and for no figure
    assert answerable(large) == 0


@pytest.mark.parametrize(
    ("n", "t", "signed", "said"),
    [
        (3, 1, 2, True),  # another log: the third and the colluder
        (3, 1, 3, False),
        (4, 1, 3, False),
        (6, 2, 4, True),
        (6, 2, 5, False),
        (7, 2, 5, False),
        (3, 1, 1, False),  # not co-signed at all
    ],
)
def test_two_quorums_without_a_common_honest_member_are_said(
    n: int, t: int, signed: int, *, said: bool
) -> None:
    found = report(n, t, signed)
    assert ("no honest institution" in quorum_words(found)) == said
    seen = WitnessedFindings(origin="log", size=1, heads=1, times={"w": 1}, others=0)
    assert quorum_words(AuditReport(**{**vars(found), "witnessed": seen})) == ""
