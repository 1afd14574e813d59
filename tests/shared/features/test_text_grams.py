# ruff: noqa: RUF001 -- letters of many scripts are the matter here
import hashlib
import unicodedata
from collections import Counter
from math import isqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldfare.shared.features import text_hashing as text_grams
from fieldfare.shared.features.text_hashing import (
    MAX_CHARACTERS,
    WORD_WEIGHT,
    TextEncoder,
    bucket_of,
    grams_of,
    normalised,
)

BUCKETS = 2048
# Fixed for ever: a model of one version is read by the next. Hashes of a row's places and values.
VECTORS = {
    "Win £1000 cash now! Call 09061701461": "7a104fcf9f2f8774",
    "Café CAFÉ": "6a1c035744e09342",
    "Бесплатно! Звоните": "126fdd4cc4959891",
    "รับเงินฟรีวันนี้": "55805d308eb42ae1",
    "😀👍🏽": "05ad7d66f891177b",
    "שלום עולם": "8633ea8ceadf2550",
    "مرحبا بالعالم": "f7dc8160de8dbc2e",
}


@pytest.mark.parametrize(("text", "digest"), VECTORS.items())
def test_rows_are_the_same_on_every_platform_and_version(text: str, digest: str) -> None:
    row = TextEncoder(BUCKETS).rows([text])
    content = row.places.astype("<u2").tobytes() + row.values.astype("<i2").tobytes()
    assert hashlib.sha256(content).hexdigest()[:16] == digest


@pytest.mark.parametrize(
    ("gram", "bucket"),
    [("wfree", 395), ("gfre", 1544), ("g fr", 1977), ("wпривет", 731), ("gที่", 1334), ("w😀", 243)],
)
def test_buckets_are_fixed(gram: str, bucket: int) -> None:
    assert bucket_of(gram, BUCKETS) == bucket


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("café", "cafe\u0301"),  # composed or not
        ("ＦＲＥＥ ｃａｓｈ", "free cash"),  # full width
        ("ﬁne", "fine"),  # a ligature
        ("STRASSE", "straße"),  # ß folds to ss
        ("ΟΔΟΣ", "οδος"),  # final sigma
        ("free\u200bcash", "freecash"),  # a zero-width space to slip past filters
        ("\u202bשלום\u202c", "שלום"),  # direction marks
        ("❤\ufe0f", "❤"),  # variation selectors
        ("a\tb\r\n c", "a b c"),
        ("call 0906", "call 9999"),  # digits are one: no number is learned
        ("٣٤", "12"),  # of any script
    ],
)
def test_what_reads_alike_is_alike(one: str, other: str) -> None:
    assert normalised(one) == normalised(other)


def test_grams_and_words_of_a_short_text() -> None:
    assert grams_of("Hi, you!") == [
        *("whi", "wyou"),
        *("g hi", "ghi,", "gi, ", "g, y", "g yo", "gyou", "gou!", "gu! "),
        *("g hi,", "ghi, ", "gi, y", "g, yo", "g you", "gyou!", "gou! "),
    ]


def test_scripts_without_spaces_and_emoji_have_grams() -> None:
    assert "gเงิ" in grams_of("รับเงินฟรี")
    assert "w😀" in grams_of("😀 hello")
    assert "g你好世" in grams_of("你好世界")


@pytest.mark.parametrize("text", ["", " ", "\n\t", "\u200b", "\x00", "\ud800"])
def test_a_text_that_says_nothing_is_a_row_of_zeros(text: str) -> None:
    row = TextEncoder(BUCKETS).rows([text])
    assert len(row) == 1
    assert len(row.values) == 0


def test_rows_against_a_slow_exact_oracle() -> None:
    text = "Free entry in 2 a wkly comp to win! Free free FREE 😀"
    weights: Counter[int] = Counter()
    for gram in grams_of(text):
        weights[bucket_of(gram, BUCKETS)] += WORD_WEIGHT if gram[0] == "w" else 1
    total = sum(weights.values())
    expected = {place: isqrt((count << 20) // total) for place, count in weights.items()}
    row = TextEncoder(BUCKETS).rows([text])
    assert dict(zip(row.places.tolist(), row.values.tolist(), strict=True)) == expected
    assert row.places.tolist() == sorted(row.places.tolist())


@given(st.lists(st.text(max_size=60), max_size=6), st.integers(1, 4096))
@settings(max_examples=60, deadline=None)
def test_norms_are_at_most_one_and_rows_their_own(texts: list[str], buckets: int) -> None:
    encoder = TextEncoder(buckets)
    rows = encoder.rows(texts)
    assert len(rows) == len(texts)
    assert (rows.squared_norms() <= 1 << 20).all()
    for index, text in enumerate(texts):
        alone = encoder.rows([text])
        part = slice(int(rows.starts[index]), int(rows.starts[index + 1]))
        assert np.array_equal(rows.places[part], alone.places)
        assert np.array_equal(rows.values[part], alone.values)


@given(st.text(max_size=80))
@settings(max_examples=100, deadline=None)
def test_normalising_twice_changes_nothing(text: str) -> None:
    once = normalised(text)
    assert normalised(once) == once
    assert not any(unicodedata.category(c) in {"Cc", "Cf"} for c in once)


def test_remembered_buckets_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = TextEncoder(BUCKETS).rows(["one two three four", "five six"])
    monkeypatch.setattr(text_grams, "MAX_KNOWN", 3)
    forgetful = TextEncoder(BUCKETS).rows(["one two three four", "five six"])
    assert np.array_equal(whole.places, forgetful.places)
    assert np.array_equal(whole.values, forgetful.values)


def test_only_the_start_of_an_endless_text_is_read() -> None:
    assert len(normalised("ab " * MAX_CHARACTERS)) == MAX_CHARACTERS


@given(st.text(max_size=80), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_reasons_are_the_texts_own_and_add_up_to_its_score(text: str, seed: int) -> None:
    encoder, weights = TextEncoder(97), np.random.default_rng(seed).normal(size=97)
    reasons = encoder.contributions(text, weights)
    assert sorted(gram for gram, _ in reasons) == sorted(set(grams_of(text)))
    row = encoder.rows([text])
    score = float((row.values / 1024) @ weights[row.places])
    assert sum(part for _, part in reasons) == pytest.approx(score, abs=1e-12)
    sizes = [abs(part) for _, part in reasons]
    assert sizes == sorted(sizes, reverse=True)
