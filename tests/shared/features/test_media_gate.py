"""Thirty and more disguised pictures, recordings and stories; and what has to pass."""

import base64
import hashlib
import json
import re
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldfare.shared.errors import RecordsError
from fieldfare.shared.features import media_gate
from fieldfare.shared.features.media_gate import (
    has_number_run,
    magic_of,
    media_in,
    name_problem,
    pixel_rows,
    pixels_problem,
    prose_problem,
    refuse_names,
    value_problem,
)

JPEG = bytes.fromhex("ffd8ffe000104a46494600010101004800480000ffdb0043") + bytes(range(60, 120))
PNG = (
    bytes.fromhex("89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489") + b"x" * 40
)
WEBP = b"RIFF\x24\x00\x00\x00WEBPVP8 " + bytes(range(40))
GIF = b"GIF89a\x01\x00\x01\x00\x80\x00\x00" + bytes(range(40))
MP4 = b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00isomiso2" + bytes(range(30))
HEIC = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(range(30))
WEBM = b"\x1a\x45\xdf\xa3\x01\x00\x00\x00" + bytes(range(40))
AVI = b"RIFF\x24\x00\x00\x00AVI LIST" + bytes(range(40))
TIFF = b"II*\x00\x08\x00\x00\x00" + bytes(range(40))
OGG = b"OggS\x00\x02" + bytes(range(40))
PDF = b"%PDF-1.7\n" + b"1" * 40
RANDOM = np.random.default_rng(7)
GREY = RANDOM.integers(0, 256, (8, 8))


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


DISGUISED = {
    "jpeg bytes": JPEG,
    "png bytes": PNG,
    "webp bytes": bytearray(WEBP),
    "gif bytes": memoryview(GIF),
    "any bytes": b"no picture, but bytes",
    "jpeg base64": b64(JPEG),
    "png base64": b64(PNG),
    "webp base64": b64(WEBP),
    "gif base64": b64(GIF),
    "mp4 base64": b64(MP4),
    "heic base64": b64(HEIC),
    "webm base64": b64(WEBM),
    "avi base64": b64(AVI),
    "tiff base64": b64(TIFF),
    "ogg base64": b64(OGG),
    "pdf base64": b64(PDF),
    "url-safe base64": base64.urlsafe_b64encode(JPEG).decode().rstrip("="),
    "base64 in lines": "\n".join(b64(JPEG)[i : i + 20] for i in range(0, 100, 20)),
    "base64 with a prefix": f"base64,{b64(PNG)}",
    "hex": JPEG.hex(),
    "hex with colons": GIF.hex(":"),
    "hex escapes": "".join(f"\\x{byte:02x}" for byte in JPEG),
    "data uri": f"data:image/png;base64,{b64(PNG)}",
    "data uri in capitals": f"DATA:IMAGE/GIF;BASE64,{b64(GIF)}",
    "data uri of a style": f"url(data:image/webp;base64,{b64(WEBP)})",
    "data uri in quotes": f'"data:video/mp4;base64,{b64(MP4)}"',
    "svg": "<svg xmlns='http://www.w3.org/2000/svg'><circle r='9'/></svg>",
    "markup": "<p><img src='a'></p>",
    "raw jpeg as text": JPEG.decode("latin-1"),
    "raw png as text": PNG.decode("latin-1"),
    "list of bytes": list(JPEG),
    "list of signed bytes": [byte - 128 for byte in JPEG],
    "list of bytes as text": str(list(JPEG)),
    "bytes with spaces": " ".join(map(str, JPEG)),
    "array of bytes": np.frombuffer(JPEG, dtype=np.uint8),
    "list of base64 chunks": [b64(JPEG), b64(JPEG)],
    "pixels": GREY.tolist(),
    "pixels in colour": RANDOM.random((4, 4, 3)).tolist(),
    "array of pixels": GREY,
    "scaled pixels": (GREY.ravel() / 255).tolist(),
    "centred pixels": ((GREY.ravel() % 16 - 8) / 3.7).tolist(),
    "json of pixels": json.dumps(GREY.tolist()),
    "json that hides one": json.dumps({"a": {"b": b64(PNG)}}),
    "json with a photo": json.dumps({"photo": "x"}),
    "mapping with a face": {"face_template": [0.25]},
    "long random base64": b64(RANDOM.bytes(300)),
    "a story": "She said that he took her papers and that she could not leave the house",
}


@pytest.mark.parametrize("name", DISGUISED)
def test_a_disguised_payload_is_refused(name: str) -> None:
    assert value_problem(DISGUISED[name])
    assert str(DISGUISED[name])[:12] not in value_problem(DISGUISED[name])


@pytest.mark.parametrize(
    "value",
    [
        "P2P", "in", "2026-03-01T10:00:00", "Port Alder", "São Tomé", "東京", "7011", "", "a" * 64,
        hashlib.sha256(b"x").hexdigest(), "u0000123", "30-38", "1 234,50", "CA-ON", None, True, 3,
        2.5, [0.5, 0.25], ["ForcedLabour", "Other"], {"channel": "call", "crisis": False},
        "0f8e9c52-7d36-4c5b-bb7e-0e8f4f8d9a61", "a few words only", "12,14,16", "PK1", "BM",
    ],
)  # fmt: skip
def test_codes_keys_numbers_and_places_pass(value: object) -> None:
    assert not value_problem(value)


@given(st.binary(min_size=32, max_size=32))
def test_keyed_hashes_pass_in_hex(key: bytes) -> None:
    if not magic_of(key):
        assert not value_problem(key.hex())


@pytest.mark.parametrize(
    "name",
    [
        "photo", "Photo_1", "faceTemplate", "face-id", "imageUrl", "IMAGE", "selfie", "video",
        "first_name", "lastName", "NAME", "customer_name", "full name", "adText", "ad_text",
        "case_narrative", "body", "audio_clip", "thumbnail", "biometric_hash", "passport",
    ],
)  # fmt: skip
def test_a_key_named_like_a_picture_or_a_person_is_refused(name: str) -> None:
    assert name_problem(name)
    with pytest.raises(RecordsError, match="leave it out"):
        refuse_names(["unit", name], "file")


@pytest.mark.parametrize(
    "name",
    ["unit", "R01", "surface", "username_count_x", "counterparty_key", "facility", "imagine",
     "file_name", "merchant_city", "case_id", "n_cities_14d", "picklist", "template_cluster_id"],
)  # fmt: skip
def test_other_keys_pass(name: str) -> None:
    assert not name_problem(name)


def test_vectors_of_a_tool_pass() -> None:
    for size in (8, 64, 512, 1024):
        made = RANDOM.normal(size=size)
        assert not pixels_problem((made / np.linalg.norm(made)).tolist())
        assert not pixels_problem(made.astype(np.float32).tolist())
        assert not pixels_problem(np.maximum(made, 0).tolist())  # half of them zero: a ReLU


@pytest.mark.parametrize(
    "value",
    [
        [float(level) for level in range(64)],
        (GREY.ravel() / 255).tolist(),
        GREY.ravel().astype(float) - 128,
    ],
)
def test_pixels_are_no_vector(value: Sequence[float]) -> None:
    assert pixels_problem(value)


def test_nesting_without_end_is_refused() -> None:
    value: object = "x"
    for _ in range(50):
        value = {"a": value}
    assert "without end" in value_problem(value)


# -- texts that are to be hashed: sentences may pass, media may not -----------------------------


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Win £1000 cash now! Call 09061701461 or http://example.org/a?b=c&d=e#f",
        "i will be there in a while so please wait for me at the station and do not be late " * 3,
        "BMW for sale, 2015, 84000 km; PKW too. II* stars. ID3 tags? %PDF is fine inside a text",
        "Бесплатно! Звоните сейчас " * 20,
        "รับเงินฟรีวันนี้" * 30,
        "😀👍🏽" * 100,
        "שלום עולם " * 40,
        "Soooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooo good",
        "https://www.example.org/" + "path-of-a-link/" * 12,
        "draws: 4, 8, 15, 16, 23, 42; and 1, 2, 3",
        "a < b, <b>bold</b> <br /> and <a href='x'>link</a>",
        "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft",
    ],
)
def test_what_people_write_passes(text: str) -> None:
    assert prose_problem(text) == ""


@pytest.mark.parametrize(
    "text",
    [
        *(b64(medium) for medium in (JPEG, PNG, WEBP, GIF, MP4, HEIC, WEBM, AVI, OGG, PDF)),
        *(medium.hex() for medium in (JPEG, PNG, GIF)),
        *(medium.decode("latin-1") for medium in (JPEG, PNG, GIF)),
        f"look at this: {b64(JPEG)} nice?",
        "data:image/png;base64," + b64(PNG),
        "see DATA:video/mp4;base64," + b64(MP4),
        "\n".join(b64(RANDOM.bytes(300))[i : i + 76] for i in range(0, 400, 76)),
        "photo " + b64(RANDOM.bytes(120)),
        RANDOM.bytes(100).hex(),
        "hello <img src='x.png'>",
        "<SVG onload=1>",
        ", ".join(map(str, GREY.ravel())),
        str(GREY.ravel().tolist()),
        "pixels: " + " ".join(map(str, GREY.ravel())),
        " ".join(f"{v / 255:.4f}" for v in RANDOM.integers(0, 256, 100)),
        "\0\0\0 ftyp",
        JPEG.decode("utf-8", "replace"),
    ],
)
def test_media_in_a_text_are_refused(text: str) -> None:
    assert prose_problem(text)


# What the gate used to try, which takes quadratic or exponential time on texts that do not fit.
_NUMBER_RUN = re.compile(r"(?:[\[(,;\s]+-?\d*\.\d+(?:[eE][+-]?\d+)?){64,}")
_BYTE_RUN = re.compile(r"(?<![\d.])\d{1,3}(?:[,;\s]+\d{1,3}){31,}(?![\d.])")
_BYTE_TEXT = re.compile(r"[\[({]?\s*\d{1,3}(?:\s*[,;\s]\s*\d{1,3}){15,}\s*[,;]?\s*[\])}]?")


def listed(least: int, number: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Texts of about so many numbers with separators and now and then something else."""
    odd = st.one_of(st.just(""), st.text(" ,;.()[]-+eE1x\u2003\u0663", max_size=3))
    between = st.sampled_from([",", " ", ";", ", ", "(", "", "\t", "\u2003", "e"])
    body = st.tuples(st.integers(-3, 5), number, st.sampled_from([",", " ", "; "]))
    run = body.map(lambda one: (one[2] + one[1]) * (least + one[0]))
    return st.lists(st.one_of(run, number, odd, between), max_size=8).map("".join)


@given(listed(64, st.from_regex(r"-?[0-9]{0,2}\.[0-9]{1,2}([eE][+-]?[0-9])?", fullmatch=True)))
def test_numbers_in_a_row_are_found_as_the_old_pattern_did(text: str) -> None:
    assert has_number_run(text) == bool(_NUMBER_RUN.search(text))


@given(listed(31, st.from_regex(r"[0-9]{1,4}", fullmatch=True)))
def test_bytes_in_a_row_are_found_as_the_old_pattern_did(text: str) -> None:
    assert bool(media_gate._BYTE_RUN.search(text)) == bool(_BYTE_RUN.search(text))


@given(
    st.sampled_from(["", "[", "( ", "x"]),
    st.lists(st.sampled_from([",1", " 22", "; 7", " , 255", ",\t3"]), max_size=20),
    st.sampled_from(["", "]", " ,)", ", x", "  ", "1 1", ";;"]),
)
def test_bytes_as_text_are_found_as_the_old_pattern_did(
    start: str, numbers: list[str], end: str
) -> None:
    text = f"{start}9{''.join(numbers)}{end}"
    assert bool(media_gate._BYTE_TEXT.fullmatch(text)) == bool(_BYTE_TEXT.fullmatch(text))


@given(st.text(max_size=200))
def test_the_gate_answers_whatever_is_written(text: str) -> None:
    assert isinstance(prose_problem(text), str)


LEVELS = st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.0, -1.0, 0.1, 0.25, 127 / 255, 255.0, 256.0])
NUMBERS = st.floats(-1e6, 1e6, allow_nan=False)


@given(
    st.one_of(
        st.lists(LEVELS, min_size=64, max_size=64),
        st.lists(NUMBERS, min_size=64, max_size=64),
        st.lists(st.one_of(LEVELS, NUMBERS), min_size=64, max_size=64),
        st.lists(st.integers(-255, 255).map(float), min_size=64, max_size=64),
        st.lists(st.integers(0, 255).map(lambda v: v / 255), min_size=64, max_size=64),
    )
)
def test_many_vectors_are_judged_as_each_alone(values: list[float]) -> None:
    found = pixel_rows(np.array([values, values[::-1]]))
    expected = pixels_problem(values) if any(values) else ""
    for problem, where in found.items():
        assert where.tolist() == [problem == expected] * 2


def test_media_are_found_wherever_they_stand_in_a_structure() -> None:
    structure = {"a": ["plain", {"b": b64(PNG)}], "c": 7, "d": ("short", "<img src='x'>")}
    assert dict(media_in(structure)) == {
        "a.1.b": "found bytes that begin like PNG",
        "d.1": "found markup of a picture or page",
    }
    assert list(media_in({"a": "words", "b": [1, 2, None]})) == []
