import pytest
from pydantic import ValidationError

from fieldfare.shared.protocol.delivery import Delivery

FIELDS = {"study": "a" * 64, "run": "r1", "model": "b" * 64, "file": "c" * 64, "card": "d" * 64}


def test_a_delivery_binds_study_run_and_three_hashes() -> None:
    whole = Delivery.model_validate(FIELDS)
    for name in FIELDS:
        changed = Delivery.model_validate(FIELDS | {name: "e" * 64})
        assert changed.hash != whole.hash


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_each_field_is_needed(name: str) -> None:
    with pytest.raises(ValidationError):
        Delivery.model_validate({key: value for key, value in FIELDS.items() if key != name})
