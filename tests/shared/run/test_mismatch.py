import pytest

from fieldfare.shared.errors import RefusalCode, StudyError
from fieldfare.shared.run.mismatch import MismatchError, expect


def test_a_mismatch_says_what_was_expected_and_what_was_found() -> None:
    expect("a step", 1, 1)
    with pytest.raises(MismatchError, match=r"^expected a step: 1; found: 2$") as found:
        expect("a step", 1, 2, RefusalCode.NOT_IN_PLAN)
    assert found.value.code is RefusalCode.NOT_IN_PLAN
    assert str(MismatchError("a sum", found="none")) == "expected a sum, found none"
    assert str(MismatchError("a sum", institution="bank-a")) == "expected a sum"
    assert MismatchError("a sum", institution="bank-a").institution == "bank-a"


def test_an_error_keeps_its_words() -> None:
    found = MismatchError.because(StudyError("no budget"), RefusalCode.NOT_IN_PLAN, "bank-b")
    assert (str(found), found.code) == ("no budget", RefusalCode.NOT_IN_PLAN)
    assert found.institution == "bank-b"
