"""An institution's own voice, and whom it listens to."""

from dataclasses import replace

import pytest
from tests.support.federations.bench import Bench

from fieldfare.client.custodian.party import Party
from fieldfare.shared.errors import ProtocolError, RefusalCode
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.messages import (
    Approval,
    IdentitySigner,
    NoSigner,
    RunOpening,
    sign_envelope,
)
from fieldfare.shared.protocol.roster import COORDINATOR


@pytest.fixture
def party(bench: Bench) -> Party:
    return bench.party("bank-b")


@pytest.fixture
def opening(bench: Bench) -> RunOpening:
    return RunOpening(
        study=bench.study.id,
        roster=bench.federation.identities.roster.hash,
        run="r",
        number=0,
        participants=(),
    )


def test_what_it_signs_is_read_as_its_own(party: Party, opening: RunOpening, bench: Bench) -> None:
    content = party.sign(opening)
    opened = bench.party("bank-a").from_member(content, RunOpening, "bank-b")
    assert (opened.body, opened.signer, opened.content) == (opening, "bank-b", content)


def test_only_the_coordinator_speaks_for_the_coordinator(
    party: Party, opening: RunOpening, bench: Bench
) -> None:
    identities = bench.federation.identities
    right = sign_envelope(opening, COORDINATOR, identities.coordinator)
    assert party.from_coordinator(right, RunOpening).body == opening
    for signer_id, signer in (
        ("bank-a", identities.signers["bank-a"]),
        ("bank-b", identities.signers["bank-b"]),
        (COORDINATOR, identities.signers["bank-a"]),
        ("bank-x", identities.coordinator),
    ):
        with pytest.raises(ProtocolError) as found:
            party.from_coordinator(sign_envelope(opening, signer_id, signer), RunOpening)
        assert found.value.code is RefusalCode.BAD_SIGNATURE


def test_a_member_is_heard_under_its_own_name_only(
    party: Party, opening: RunOpening, bench: Bench
) -> None:
    content = bench.party("bank-a").sign(opening)
    assert party.from_member(content, RunOpening, "bank-a").signer == "bank-a"
    for other in ("bank-b", "bank-c", COORDINATOR):
        with pytest.raises(ProtocolError) as found:
            party.from_member(content, RunOpening, other)
        assert found.value.code is RefusalCode.BAD_SIGNATURE


def test_a_message_of_another_type_is_malformed(party: Party, opening: RunOpening) -> None:
    with pytest.raises(ProtocolError) as found:
        party.from_member(party.sign(opening), Approval, "bank-b")
    assert found.value.code is RefusalCode.MALFORMED


def test_simulations_check_no_signature_but_still_the_name(
    party: Party, opening: RunOpening
) -> None:
    simulated = replace(party, signer=NoSigner(), protection=Protection.SIMULATED)
    content = simulated.sign(opening)
    assert simulated.from_member(content, RunOpening, "bank-b").body == opening
    with pytest.raises(ProtocolError):
        simulated.from_coordinator(content, RunOpening)
    with pytest.raises(ProtocolError):
        party.from_member(content, RunOpening, "bank-b")


def test_a_party_does_not_show_its_key(party: Party) -> None:
    assert isinstance(party.signer, IdentitySigner)
    secret = party.signer.key.private_bytes_raw()
    assert secret.hex() not in repr(party)
    assert repr(secret)[2:-1] not in repr(party)
