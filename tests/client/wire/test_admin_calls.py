"""What the administration of a custodian can be asked: no call of it decides."""

import pytest
from pydantic import ValidationError
from tests.support.homes.administrations import status_with

from fieldfare.client.wire.admin_calls import RELOAD, STATUS, CustodianStatus, LedgerStatus
from fieldfare.shared.desk.calls import DeskCall, Nothing, answer_bytes, read_answer
from fieldfare.shared.errors import ProtocolError


@pytest.mark.parametrize("call", [STATUS, RELOAD], ids=lambda call: call.name)
def test_nothing_can_be_told_to_it_but_to_look(call: DeskCall[Nothing, CustodianStatus]) -> None:
    assert not call.asked.model_fields
    with pytest.raises(ValidationError):
        call.asked.model_validate_json('{"study": "x"}')


def test_a_status_is_waited_for_shortly_and_a_reload_while_records_load() -> None:
    assert (STATUS.seconds, RELOAD.seconds) == (5, 600)


def test_a_status_travels_as_it_is() -> None:
    status = status_with(yearly_left=3)
    assert read_answer(answer_bytes(status), CustodianStatus) == status


@pytest.mark.parametrize(
    ("old", "new"), [(b'"format":1', b'"format":2'), (b'"busy"', b'"more":1,"busy"')]
)
def test_what_another_version_tells_is_not_read(old: bytes, new: bytes) -> None:
    content = answer_bytes(status_with())
    assert old in content
    with pytest.raises(ProtocolError):
        read_answer(content.replace(old, new), CustodianStatus)


@pytest.mark.parametrize(
    ("changed", "near"),
    [
        ({}, False),
        ({"yearly_left": 9}, True),
        ({"lifetime_left": 99}, True),
        ({"yearly_left": 10, "lifetime_left": 100}, False),
    ],
)
def test_a_budget_of_which_little_is_left_nears_its_end(
    changed: dict[str, int], near: bool
) -> None:
    ledger = status_with("", **changed).ledger
    assert isinstance(ledger, LedgerStatus)
    assert ledger.nears_its_end(0.1) is near
