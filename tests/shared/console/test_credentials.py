"""What is kept of passwords, factors and tokens, and what is accepted for them."""

import os

import pytest

from fieldfare.shared.console.credentials import (
    code_of,
    code_step,
    factor_of,
    factor_uri,
    form_token,
    is_form_token,
    is_password,
    is_token,
    kept_token,
    new_token,
    no_password,
    password_hash,
)
from fieldfare.shared.errors import UsageError

RFC_6238: bytes = b"12345678901234567890"


@pytest.mark.usefixtures("quick_passwords")
def test_a_password_fits_itself_alone() -> None:
    kept = password_hash("correct horse battery", os.urandom)
    assert kept != password_hash("correct horse battery", os.urandom)  # a salt of its own
    assert is_password("correct horse battery", kept)
    for other in ("correct horse batterx", "", "\ud800", "x" * 10_000):
        assert not is_password(other, kept)


def test_passwords_cost_what_the_standard_recommends() -> None:
    """RFC 9106, 4: the second recommended choice; an unknown name is compared at the same cost."""
    kept = password_hash("correct horse battery", os.urandom)
    assert kept.rpartition("$")[0].rpartition("$")[0] == "$argon2id$v=19$m=65536,t=3,p=4"
    assert kept.split("$")[:4] == no_password().split("$")[:4]
    assert [len(part) for part in kept.split("$")] == [len(p) for p in no_password().split("$")]


@pytest.mark.parametrize("password", ["short", "aaaaaaaaaaaaaaaaaa", "abababababab", "x" * 257])
def test_a_plain_password_is_refused(password: str) -> None:
    with pytest.raises(UsageError, match="choose a longer one") as refused:
        password_hash(password, os.urandom)
    assert password not in str(refused.value)


@pytest.mark.parametrize(("now", "code"), [(59, "287082"), (1111111109, "081804")])
def test_codes_are_those_of_the_standard(now: int, code: str) -> None:
    """RFC 6238, appendix B, the last six digits."""
    assert code_of(RFC_6238, now) == code
    assert code_step(RFC_6238, f" {code[:3]} {code[3:]}", now, 0) == now // 30


def test_a_code_counts_once_and_around_its_time() -> None:
    code = code_of(RFC_6238, 3000)
    assert code_step(RFC_6238, code, 3000, 0) == 100
    assert code_step(RFC_6238, code, 3000, 100) is None
    assert code_step(RFC_6238, code, 3030, 99) == 100
    assert code_step(RFC_6238, code, 3060, 0) is None
    for odd in ("", "12345", "1234567", "abcdef", "١٢٣٤٥٦", "-12345"):
        assert code_step(RFC_6238, odd, 3000, 0) is None


def test_a_factor_follows_from_its_link_and_no_other() -> None:
    assert factor_of("a", "v") == factor_of("a", "v")
    assert len({factor_of(*one) for one in (("a", "v"), ("b", "v"), ("a", "w"))}) == 3
    assert factor_uri(factor_of("a", "v"), "anna", "bank-a").startswith("otpauth://totp/")


def test_tokens_are_told_from_other_texts() -> None:
    token = new_token(os.urandom)
    assert is_token(token)
    assert token not in kept_token(token)
    assert not any(map(is_token, ("", token[:-1], f"{token}a", f"{token[:-1]}'", f"{token}\n")))


def test_a_forms_token_belongs_to_one_visit() -> None:
    assert is_form_token(form_token("a"), "a")
    assert not any(is_form_token(found, "a") for found in (form_token("b"), "", "é", "a"))
