"""An amount is whole minor units of its own currency, or it is refused."""

import pytest

from fieldfare.client.records.money import minor_digits, minor_units


@pytest.mark.parametrize(
    ("text", "currency", "units"),
    [
        ("12.5", "EUR", 1250), ("12", "EUR", 1200), ("12.", "EUR", 1200), ("0.010", "EUR", 1),
        ("700", "JPY", 700), ("700.00", "JPY", 700), ("1.234", "KWD", 1234), ("0", "EUR", 0),
        ("9" * 18, "EUR", int("9" * 18 + "00")),
    ],
)  # fmt: skip
def test_what_an_amount_is(text: str, currency: str, units: int) -> None:
    assert minor_units(text, currency) == units


@pytest.mark.parametrize(
    "text", ["", "-1", "1,5", "1e3", "1.234", "+1", "9" * 19, " 1", "1.000001", "\u0661"]
)
def test_what_is_none(text: str) -> None:
    assert minor_units(text, "EUR") is None
    assert text != "1.234" or minor_units(text, "KWD") == 1234


def test_digits() -> None:
    assert [minor_digits(one) for one in ("EUR", "JPY", "BHD", "CLF")] == [2, 0, 3, 4]
