import pytest

from fieldfare.shared import errors
from fieldfare.shared.errors import (
    AccountingError,
    FieldfareError,
    KeysError,
    LedgerError,
    NeedsPersonError,
    NoticeError,
    PackageError,
    PolicyRefusal,
    ProtocolError,
    RecordsError,
    RefusalCode,
    RunError,
    StudyError,
    SumRangeError,
    UsageError,
)

EXIT_CODES: list[tuple[type[FieldfareError], int]] = [
    (FieldfareError, 1),
    (StudyError, 2),
    (PackageError, 2),
    (RecordsError, 2),
    (UsageError, 2),
    (KeysError, 2),
    (PolicyRefusal, 3),
    (AccountingError, 1),
    (ProtocolError, 1),
    (LedgerError, 1),
    (RunError, 1),
    (SumRangeError, 1),
    (NeedsPersonError, 1),
    (NoticeError, 1),
]


@pytest.mark.parametrize(("error", "code"), EXIT_CODES, ids=str)
def test_each_error_says_whose_fault_it_is_by_its_exit_code(
    error: type[FieldfareError], code: int
) -> None:
    assert error.exit_code == code
    assert issubclass(error, FieldfareError)


def test_every_error_is_listed_here() -> None:
    known = {error for error, _ in EXIT_CODES}
    defined = {
        item
        for item in vars(errors).values()
        if isinstance(item, type) and issubclass(item, FieldfareError)
    }
    assert defined == known


def test_a_study_error_shows_all_its_problems_one_a_line() -> None:
    assert StudyError("one").problems == ["one"]
    several = StudyError(("one", "two"))
    assert several.problems == ["one", "two"]
    assert str(several) == "one\ntwo"


def test_refusals_and_protocol_errors_carry_a_fixed_code() -> None:
    refusal = PolicyRefusal(RefusalCode.BUDGET_EXHAUSTED, "0")
    assert (refusal.code, str(refusal)) == (RefusalCode.BUDGET_EXHAUSTED, "0")
    assert ProtocolError("x").code is RefusalCode.MALFORMED
    assert ProtocolError("x", RefusalCode.BAD_KEYS).code is RefusalCode.BAD_KEYS


def test_refusal_codes_are_short_ascii_words_each_once() -> None:
    values = [code.value for code in RefusalCode]
    assert len(set(values)) == len(values)
    assert all(value.isascii() and value.replace("_", "").isalpha() for value in values)
    assert max(map(len, values)) <= 32
