"""Canonical bank records take what belongs in them and nothing else."""

from datetime import datetime
from typing import Any

import pytest
from pydantic import ValidationError

from fieldfare.client.records.canonical_bank import Account, Customer, Transaction
from fieldfare.shared.features.media_gate import name_problem
from fieldfare.shared.harm_rules import is_protected

PAYMENT = {
    "txn_id": "t1", "account_id": "a1", "ts_utc": "2026-01-05T10:00:00", "direction": "in",
    "amount_minor": 12_50, "currency": "CAD", "channel": "P2P",
}  # fmt: skip


def test_a_payment_needs_little() -> None:
    payment = Transaction.model_validate(PAYMENT)
    assert payment.ts_utc == datetime(2026, 1, 5, 10)  # noqa: DTZ001 -- canonical: UTC without zone
    assert payment.mcc is None
    assert not payment.is_attempted


@pytest.mark.parametrize(
    "change",
    [
        {"amount_minor": -1}, {"amount_minor": 10**14}, {"direction": "sideways"},
        {"channel": "CASH"}, {"mcc": "701"}, {"currency": "cad"}, {"branch_items": 11},
        {"txn_id": "x" * 65}, {"txn_id": "two words"}, {"counterparty_key": "data:image/png,AAAA"},
        {"merchant_city": "data:image/png;base64"}, {"terminal_city": "<img>"}, {"memo": "for mum"},
        {"tz_offset_min": 900}, {"counterparty_country": "CAN"},
    ],
)  # fmt: skip
def test_a_wrong_payment_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Transaction.model_validate({**PAYMENT, **change})


def test_harm_rule_4_and_6_hold_in_the_schema() -> None:
    for model in (Transaction, Account, Customer):
        assert not [name for name in model.model_fields if name_problem(name)]
    protected = {name for model in (Transaction, Account, Customer) for name in model.model_fields
                 if is_protected(name)}  # fmt: skip
    assert protected == {"age_band"}  # for the fairness audit inside the institution


def test_accounts_and_customers() -> None:
    Account.model_validate({"account_id": "a1", "customer_id": "c1", "home_city": "Port Alder"})
    Customer.model_validate({"customer_id": "c1", "kind": "business", "employee_band": "5-9"})
    with pytest.raises(ValidationError):
        Customer.model_validate({"customer_id": "c1", "declared_income_band": "42000"})
