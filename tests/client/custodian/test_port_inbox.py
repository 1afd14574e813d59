"""`NoInbox` and a `HomeInbox` keep to `Inbox`: what arrives twice changes nothing."""

from typing import Final

import pytest
from tests.support.homes.institutions import (
    Coordinator,
    OpenCustody,
    approve_all,
    clock,
    home_study,
)
from tests.support.runs.finished import delivered

from fieldfare.client.custodian.ports import Inbox, ModelEvidence, NoInbox
from fieldfare.client.home.inbox import HomeInbox
from fieldfare.client.journal.journal import Journal
from fieldfare.shared.protocol.signed_files import offer_study
from fieldfare.shared.study.study import Study

NAME: Final = "bank-a"


@pytest.fixture(params=["none", "home"])
def inbox(request: pytest.FixtureRequest, coordinator: Coordinator) -> Inbox:
    if request.param == "none":
        return NoInbox()
    home = coordinator.homes[NAME]
    return HomeInbox(home, coordinator.roster(), Journal.open(home.log_folder, clock=clock), clock)


def test_nobody_said_no_to_a_study_that_nobody_decided(inbox: Inbox) -> None:
    assert inbox.said_no(home_study().id) is None


def test_a_study_may_be_offered_again(inbox: Inbox, coordinator: Coordinator) -> None:
    study: Study = home_study(name="another")
    for _ in range(2):
        inbox.study_offered(offer_study(study, coordinator.signer), study)
    assert inbox.said_no(study.id) is None


@pytest.mark.parametrize("evidence", ModelEvidence)
def test_a_model_may_be_delivered_again(
    inbox: Inbox, coordinator: Coordinator, custody_of: OpenCustody, evidence: ModelEvidence
) -> None:
    approve_all(coordinator, [custody_of(NAME)], home_study())
    made = delivered(home_study(), coordinator.signer)
    for _ in range(2):
        inbox.delivered(made.delivery, made.envelope, made.model, made.card, evidence)
