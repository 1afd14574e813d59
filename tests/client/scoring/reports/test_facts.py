import pytest
from tests.reported import decided, reason, reported_alert

from fieldfare.client.scoring.alert import Disposition, PartyRole
from fieldfare.client.scoring.labels import NEW
from fieldfare.client.scoring.reports.facts import MOST_NARRATIVE, OPEN, ReportFacts, report_facts
from fieldfare.shared.errors import UsageError


def facts(role: PartyRole = PartyRole.CONTROLLER) -> ReportFacts:
    return report_facts(reported_alert(), decided(role), {})


@pytest.mark.parametrize(
    ("role", "suspected", "protected", "entity"),
    [
        (PartyRole.POTENTIAL_VICTIM, False, True, False),
        (PartyRole.BYSTANDER, False, False, False),
        (PartyRole.CONTROLLER, True, False, False),
        (PartyRole.RECRUITER, True, False, False),
        (PartyRole.FRONT_BUSINESS, True, False, True),
        (PartyRole.EMPLOYER, True, False, True),
    ],
)
def test_suspected_is_only_whom_a_person_called_so(
    role: PartyRole, *, suspected: bool, protected: bool, entity: bool
) -> None:
    found = facts(role)
    assert (found.suspected, found.protected, found.entity) == (suspected, protected, entity)


@pytest.mark.parametrize(
    "disposition",
    [Disposition.EDD, Disposition.MONITOR, Disposition.BENIGN_OTHER, Disposition.BENIGN_PERSONA],
)
def test_no_report_without_a_persons_decision(disposition: Disposition) -> None:
    with pytest.raises(UsageError, match="no report by itself"):
        report_facts(reported_alert(), decided(PartyRole.CONTROLLER, disposition), {})
    with pytest.raises(UsageError, match="no report by itself"):
        report_facts(reported_alert(), NEW, {})


def test_no_report_while_nobody_said_who_this_is() -> None:
    with pytest.raises(UsageError, match="possible victim must not become a subject"):
        report_facts(reported_alert(), decided(PartyRole.UNKNOWN), {})


def test_a_narrative_is_plain_and_balanced_and_leaves_the_telling_to_people() -> None:
    text = facts().narrative
    assert OPEN in text
    assert (
        "Many unrelated people send money (senders, people, in the busiest thirty days): 31, 2"
        in text
    )
    assert "2 independent families" in text
    assert "What speaks against it:\n- wages: 2." in text


@pytest.mark.parametrize("secret", ["MARKER-CUSTOMER", "777", "3.25", "0.4242", "42.4", "student"])
def test_a_narrative_holds_no_number_of_the_customer_and_no_score(secret: str) -> None:
    assert secret not in facts().narrative


def test_a_long_narrative_fits_the_form() -> None:
    reasons = reported_alert().reasons * 60
    alert = reported_alert().model_copy(update={"reasons": reasons})
    assert len(report_facts(alert, decided(PartyRole.CONTROLLER), {}).narrative) == MOST_NARRATIVE


def test_codes_are_those_of_raised_indicators_as_the_institution_names_them() -> None:
    assert facts().codes == ("MURCW", "STRUC")
    named = report_facts(
        reported_alert(), decided(PartyRole.CONTROLLER), {"R22": "X1", "R04": "X2"}
    )
    assert named.codes == ("MURCW", "X1", "X2")


def test_an_indicator_that_does_not_fire_is_in_no_report() -> None:
    silent = (reason("R01", 0.0, 2.0, fires=False), reason("R22", 4.0, 1.0))
    found = report_facts(reported_alert(reasons=silent), decided(PartyRole.CONTROLLER), {})
    assert found.codes == ("STRUC",)
    assert "unrelated people" not in found.narrative
    none = report_facts(reported_alert(reasons=silent[:1]), decided(PartyRole.CONTROLLER), {})
    assert none.codes == ()
    assert "none of those that were published" in none.narrative
