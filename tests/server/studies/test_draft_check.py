"""What is said of a study before it is proposed."""

from datetime import UTC, datetime, timedelta

import pytest
from tests.support.homes.institutions import home_study

from fieldfare.server.store.rows import Progress, RunRow, RunStatus
from fieldfare.server.studies.draft_check import (
    NOT_MEASURED,
    AroundDraft,
    check_draft,
    read_draft,
    spent_in_year,
)
from fieldfare.server.studies.study_text import MOST_TEXT, shipped_studies, study_text
from fieldfare.shared.cli.study import plan_facts
from fieldfare.shared.errors import StudyError
from fieldfare.shared.privacy.sides import SideCosts
from fieldfare.shared.privacy.usual_budget import USUAL_YEAR, usual_limit, usual_worth
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.protocol.roster import Member, Roster
from fieldfare.shared.study.file import parse_study

NOW = datetime(2026, 11, 28, tzinfo=UTC)
PACK = parse_study(shipped_studies()["amlsim-pack"])


def roster(members: int, multiplicity: int = 1) -> Roster:
    listed = tuple(Member(id=f"bank-{n}", key=f"{n:064x}") for n in range(members))
    return Roster(version=1, coordinator="f" * 64, members=listed, multiplicity=multiplicity)


def test_it_says_what_study_check_says() -> None:
    found = check_draft(PACK, AroundDraft())
    assert found.facts == tuple(plan_facts(plan_for(PACK)))
    assert found.problems == ()
    assert [one.name for one in found.leaves] == ["training", "evaluation"]
    assert found.leaves[0].noise > found.leaves[0].moves / 2 > 0


def test_the_price_is_what_a_usual_member_would_read() -> None:
    """Epsilon 1 at delta 1e-5 fits a usual year once, and no second time after 1.73 was spent."""
    fresh = check_draft(PACK, AroundDraft()).price
    assert fresh is not None
    assert fresh.allowed
    assert fresh.said == "costs 1, 2 is left of 2 in any 365 days"
    spent = check_draft(PACK, AroundDraft(spent=usual_limit(1.73))).price
    assert spent is not None
    assert not spent.allowed
    assert spent.left == pytest.approx(usual_worth(usual_limit(USUAL_YEAR) - usual_limit(1.73)))
    dear = check_draft(home_study(privacy__epsilon=1.5), AroundDraft()).price
    assert dear is not None
    assert not dear.allowed  # above what one study may cost, though it fits the year
    assert usual_worth(0) == 0


def test_it_says_do_not_run_this_and_why() -> None:
    weak = PACK.model_copy(update={"records": PACK.records.model_copy(update={"units": 400})})
    found = check_draft(weak, AroundDraft(roster=roster(3)))
    assert found.advises_against
    assert any("noise" in one for one in found.reasons)
    asks = check_draft(parse_study(shipped_studies()["helplines"]), AroundDraft())
    assert (asks.advice, asks.reasons) == ("", (NOT_MEASURED,))
    assert asks.asked == ("cases and calls by region: group_by of region, month",)


def test_it_says_what_the_roster_refuses() -> None:
    found = check_draft(PACK, AroundDraft(roster=roster(2, multiplicity=2)))
    assert [one.partition(":")[0] for one in found.problems] == [
        "privacy.multiplicity",
        "aggregation.minimum_institutions",
    ]


def test_changes_are_lines_and_none_without_an_earlier_one() -> None:
    assert check_draft(PACK, AroundDraft()).changes is None
    earlier = PACK.model_copy(update={"purpose": "<b>before</b>\n"})
    changes = check_draft(PACK, AroundDraft(earlier=earlier)).changes
    assert changes is not None
    assert changes[0].startswith(f"since {earlier.id[:12]}")
    assert changes[1].startswith('~ purpose: "<b>before</b>')
    same = check_draft(PACK, AroundDraft(earlier=PACK)).changes
    assert same is not None
    assert same[1:] == ("nothing",)


def test_a_plan_that_cannot_be_is_a_problem_and_no_error() -> None:
    wide = shipped_studies()["helplines"].replace("region-1", "x" * 9).replace('by = ["region"', "")
    with pytest.raises(StudyError):
        read_draft(wide)
    levels = ", ".join(f'"{n}"' for n in range(500))
    feature = '\n[[features]]\nname = "f{}"\nkind = "categorical"\nlevels = [{}]'
    many = study_text(PACK) + "".join(feature.format(n, levels) for n in range(9))
    found = check_draft(read_draft(many + '\n[geometry]\nkind = "whitened"'), AroundDraft())
    assert found.problems
    assert found.problems[0].startswith("geometry: expected at most")
    assert found.price is None


def test_a_text_too_long_is_not_read() -> None:
    with pytest.raises(StudyError, match="at most 40,000 characters"):
        read_draft("#" * (MOST_TEXT + 1))
    assert read_draft(study_text(PACK) + "#" * 30_000).id == PACK.id


def row(study: str, days: int, **spent: int) -> RunRow:
    at = NOW - timedelta(days=days)
    progress = Progress(1, 1, 0, 1.0, SideCosts(**spent), "training", at)
    return RunRow("run", study, RunStatus.FINISHED, "", 1, at, at, progress)


def test_the_year_counts_studies_by_their_larger_side() -> None:
    rows = (
        row("a", 1, training=5, holdout=7),
        row("a", 2, training=5),
        row("b", 3, all=4),
        row("b", 366, all=100),
    )
    assert spent_in_year(rows, NOW) == 10 + 4
    assert spent_in_year((), NOW) == 0
