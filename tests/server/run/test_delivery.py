"""Composing a delivery: three files that fit each other under one signature."""

from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.support.homes.institutions import home_study
from tests.support.runs.finished import FINISHED, RUN, delivered, facts_of, parameters_of

from fieldfare.server.run.closing import compose
from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.finished_model.card import ModelCard
from fieldfare.shared.finished_model.card_writing import check_card
from fieldfare.shared.finished_model.file import model_from_bytes
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.delivery import Delivery
from fieldfare.shared.protocol.identity import public_hex
from fieldfare.shared.protocol.messages import (
    IdentitySigner,
    open_envelope,
    parameters_hash,
    parameters_to_bytes,
)
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.protocol.roster import COORDINATOR, Roster

STUDY = home_study()
KEY = Ed25519PrivateKey.generate()
SIGNER = IdentitySigner(KEY)
ROSTER = Roster(version=1, coordinator=public_hex(KEY), members=())


def test_what_is_signed_names_the_three_hashes() -> None:
    made = delivered(STUDY, SIGNER)
    opened = open_envelope(made.envelope, Delivery, ROSTER, Protection.EXACT)
    assert (opened.signer, opened.body) == (COORDINATOR, made.delivery)
    assert (opened.body.study, opened.body.run) == (STUDY.id, RUN)
    assert opened.body.file == bytes_hash(made.model)
    assert opened.body.card == bytes_hash(made.card)
    assert opened.body.model == parameters_hash(parameters_to_bytes(parameters_of(STUDY)))


def test_the_files_fit_the_study_and_each_other() -> None:
    made = delivered(STUDY, SIGNER)
    parameters = model_from_bytes(made.model, STUDY, RUN)
    card = ModelCard.from_bytes(made.card)
    check_card(card, plan_for(STUDY), parameters)
    assert card.model.parameters == made.delivery.model


def test_the_same_run_is_the_same_bytes() -> None:
    assert delivered(STUDY, SIGNER) == delivered(STUDY, SIGNER)
    later = delivered(STUDY, SIGNER, at=FINISHED + timedelta(seconds=1))
    assert later.model == delivered(STUDY, SIGNER).model
    assert later.card != delivered(STUDY, SIGNER).card


def test_hidden_metrics_do_not_stop_a_delivery() -> None:
    assert ModelCard.from_bytes(delivered(STUDY, SIGNER, metrics=None).card).metrics is None


def test_parameters_of_another_size_are_no_model() -> None:
    with pytest.raises(ProtocolError, match="of parameters"):
        compose(plan_for(STUDY), parameters_of(STUDY)[1:], facts_of(STUDY), SIGNER, FINISHED)
