import pytest
from tests.support.homes.reported import decided, reason, reported_alert

from fieldfare.client.alerts.feedback import NEW, Disposition, PartyRole
from fieldfare.client.alerts.reports.facts import MOST_NARRATIVE, OPEN, ReportFacts, report_facts
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
    assert "2 published indicators, of 2 independent families of evidence." in text
    assert "What speaks against it:\n- wages: 2." in text


@pytest.mark.parametrize("secret", ["MARKER-CUSTOMER", "777", "3.25", "0.4242", "42.4", "student"])
def test_a_narrative_holds_no_number_of_the_customer_and_no_score(secret: str) -> None:
    assert secret not in facts().narrative


def test_a_long_narrative_fits_the_form() -> None:
    counter = reported_alert().counter_evidence * 600
    alert = reported_alert().model_copy(update={"counter_evidence": counter})
    assert len(report_facts(alert, decided(PartyRole.CONTROLLER), {}).narrative) == MOST_NARRATIVE


def test_codes_are_those_of_raised_indicators_as_the_institution_names_them() -> None:
    assert facts().codes == ("MURCW", "STRUC")
    named = report_facts(
        reported_alert(), decided(PartyRole.CONTROLLER), {"R22": "X1", "R04": "X2"}
    )
    assert named.codes == ("MURCW", "X1")


def test_an_indicator_that_is_no_evidence_is_in_no_report() -> None:
    silent = (reason("R01", 0.0, 2.0, fires=False), reason("R22", 4.0, 1.0))
    alert = reported_alert(reasons=silent, evidence=("R22",), families=1, family_names=("FLOW",))
    found = report_facts(alert, decided(PartyRole.CONTROLLER), {})
    assert found.codes == ("STRUC",)
    assert "unrelated people" not in found.narrative
    assert "1 published indicator, of 1 independent family of evidence." in found.narrative
    nothing = {"evidence": (), "families": 0, "family_names": ()}
    alert = reported_alert(reasons=silent[:1], **nothing)
    none = report_facts(alert, decided(PartyRole.CONTROLLER), {})
    assert none.codes == ()
    assert "none of those that were published" in none.narrative
    assert "independent" not in none.narrative  # it does not speak against itself


def test_evidence_that_is_not_among_the_strongest_reasons_is_named_all_the_same() -> None:
    alert = reported_alert(evidence=("R01", "R13", "R22"))
    text = report_facts(alert, decided(PartyRole.CONTROLLER), {}).narrative
    assert "- Classified advertising, small and often." in text
    assert "3 published indicators" in text
