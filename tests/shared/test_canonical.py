import hashlib
import json
import math
from typing import Final

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from fieldfare.shared.canonical import (
    MAX_EXACT_INT,
    bytes_hash,
    canonical_bytes,
    chained_hash,
    content_bytes,
    content_hash,
    is_sha256,
    json_text,
    typed_bytes,
)

TYPE = "fieldfare.test.v1"


class Sample(BaseModel):
    model_config = ConfigDict(frozen=True)

    number: int | float = 1
    text: str = "ä"
    tags: tuple[str, ...] = ("b", "a")
    nested: dict[str, int] = {"z": 1, "a": 2}


def test_bytes_are_rfc_8785_with_defaults_filled_in() -> None:
    expected = '{"nested":{"a":2,"z":1},"number":1,"tags":["b","a"],"text":"ä"}'
    assert canonical_bytes(Sample()) == expected.encode()
    assert canonical_bytes(Sample(nested={"a": 2, "z": 1}, number=1.0)) == expected.encode()


def test_keys_are_sorted_as_utf_16() -> None:
    # RFC 8785, section 3.2.3: U+1F600 is two surrogates, which sort before U+FB33.
    written = canonical_bytes(Sample(nested={"\ufb33": 1, "\U0001f600": 2}))
    assert written.index("\U0001f600".encode()) < written.index("\ufb33".encode())


@pytest.mark.parametrize(
    ("number", "text"),
    [(0.1, "0.1"), (1e21, "1e+21"), (-0.0, "0"), (5e-324, "5e-324"), (1e-6, "0.000001"),
     (MAX_EXACT_INT, "9007199254740991"), (100.0, "100")],
)  # fmt: skip
def test_numbers_are_written_as_ecmascript_does(number: float, text: str) -> None:
    assert f'"number":{text},'.encode() in canonical_bytes(Sample(number=number))


@pytest.mark.parametrize("number", [MAX_EXACT_INT + 1, -MAX_EXACT_INT - 1, math.nan, math.inf])
def test_numbers_that_no_double_holds_have_no_canonical_bytes(number: float) -> None:
    with pytest.raises(rfc8785.CanonicalizationError):
        canonical_bytes(Sample.model_construct(number=number))


class Real(BaseModel):
    number: float
    text: str


@settings(deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False), st.text())
def test_reading_canonical_bytes_back_gives_the_same_value_and_bytes(
    number: float, text: str
) -> None:
    if any(0xD800 <= ord(character) < 0xE000 for character in text):
        return  # no Unicode text: refused by pydantic
    written = canonical_bytes(Real(number=number, text=text))
    read = Real.model_validate(json.loads(written))
    assert (read.number, read.text) == (number, text)
    assert canonical_bytes(read) == written


def test_hashes_cover_the_type_a_zero_byte_and_the_bytes() -> None:
    body = canonical_bytes(Sample())
    assert typed_bytes(TYPE, Sample()) == TYPE.encode() + b"\x00" + body
    assert content_hash(TYPE, Sample()) == hashlib.sha256(typed_bytes(TYPE, Sample())).hexdigest()
    assert content_hash(TYPE, Sample()) != content_hash("fieldfare.other.v1", Sample())
    assert content_hash(TYPE, Sample()) != content_hash(TYPE, Sample(text="a"))


def test_a_hash_does_not_depend_on_who_computes_it() -> None:
    assert content_hash(TYPE, Sample()) == (
        "30dfb482d4db9c72f9d4b69a8853b83163bcc82a4ccc7fc4df7fcfccac92a393"
    )


def test_bytes_are_hashed_as_fips_180_says() -> None:
    assert bytes_hash(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_link_covers_what_is_before_it_and_canonical_bytes() -> None:
    start = chained_hash(b"", {"b": 1, "a": "\u00e9"})
    assert start == hashlib.sha256(b'{"a":"\xc3\xa9","b":1}').hexdigest()
    assert chained_hash(bytes.fromhex(start), {}) == (
        hashlib.sha256(bytes.fromhex(start) + b"{}").hexdigest()
    )
    with pytest.raises(rfc8785.CanonicalizationError):
        chained_hash(b"", {"a": 2**53})


@pytest.mark.parametrize(
    "value", ["a" * 63, "a" * 65, "A" * 64, "g" * 64, "a" * 64 + "\n", 1, None]
)
def test_what_is_no_sha256_is_told_from_one(value: object) -> None:
    assert is_sha256("0" * 64)
    assert not is_sha256(value)


ASCII = st.text(st.characters(max_codepoint=127))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX_EXACT_INT, MAX_EXACT_INT) | st.text() | ASCII
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner) | st.dictionaries(ASCII | st.text(), inner),
)  # fmt: skip


@given(VALUES)
def test_the_faster_encoder_writes_the_same_bytes(value: object) -> None:
    assert content_bytes(value) == rfc8785.dumps(value)  # type: ignore[arg-type]


def test_every_character_of_ascii_is_written_alike() -> None:
    text = "".join(map(chr, range(128)))
    assert content_bytes({text: text}) == rfc8785.dumps({text: text})


@pytest.mark.parametrize(
    "value", [MAX_EXACT_INT + 1, [-MAX_EXACT_INT - 1], math.nan, "\ud800", {1: "one"}, {None: 1}]
)
def test_the_faster_encoder_takes_nothing_that_is_refused(value: object) -> None:
    with pytest.raises(rfc8785.CanonicalizationError):
        content_bytes(value)


# -- how many values ------------------------------------------------------------------------------

COUNTED: Final = [  # JSON, and how many lists, objects, commas and texts it has
    (b"", 0),
    (b"1", 0),
    (b"[]", 1),
    (b"[[],{}]", 4),
    (b"[0,0,0]", 3),
    (b'{"a":"b"}', 3),
    (b'"[[,,{"', 1),
    (rb'"a\"[[[\\"', 1),
    (rb'["\\",[]]', 4),
    (rb'["\\\"[[["]', 2),
    ('["ä[","\U0001f600{"]'.encode(), 4),
    (b'["never ends [[', 3),  # more than there are: it is no JSON
]


@pytest.mark.parametrize(("content", "values"), COUNTED)
def test_values_are_counted_outside_of_texts(content: bytes, values: int) -> None:
    assert json_text(content, values) == content.decode()
    if values:
        with pytest.raises(ValueError, match="fewer values"):
            json_text(content, values - 1)
