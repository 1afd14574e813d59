import base64
import copy
import gc
import json
import math
import pickle
import warnings
import weakref
from collections.abc import Callable
from enum import Enum
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import numpy as np
import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import BaseModel

from fieldfare.shared.canonical import bytes_hash, content_hash
from fieldfare.shared.errors import ProtocolError, RefusalCode
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol import messages
from fieldfare.shared.protocol.messages import (
    MAX_MESSAGE_BYTES,
    Approval,
    Commitment,
    IdentitySigner,
    KeyOffer,
    MessageBody,
    NoSigner,
    Participant,
    Refusal,
    ReleaseKind,
    Reply,
    Request,
    RunAnswer,
    RunOpening,
    decode_key,
    encode_key,
    open_envelope,
    parameters_from_bytes,
    parameters_hash,
    parameters_to_bytes,
    sign_envelope,
)
from fieldfare.shared.protocol.roster import COORDINATOR, Member, Roster

KEYS = {name: Ed25519PrivateKey.from_private_bytes(name.encode() * 32) for name in "abc"}
KEYS[COORDINATOR] = Ed25519PrivateKey.from_private_bytes(b"-" * 32)
PUBLIC = {name: key.public_key().public_bytes_raw().hex() for name, key in KEYS.items()}
ROSTER = Roster(
    version=1,
    coordinator=PUBLIC[COORDINATOR],
    members=tuple(Member(id=name, key=PUBLIC[name]) for name in "abc"),
)
SIMULATED_ROSTER = Roster(
    version=1, coordinator="", members=tuple(Member(id=name, key="") for name in "abc")
)
H1, H2 = "1" * 64, "2" * 64

PARTICIPANTS = tuple(Participant(institution=name, answer=H1) for name in "abc")
REQUEST = Request(
    protocol=2,
    study=H1,
    roster=H2,
    run="run-1",
    opening=H2,
    step=3,
    attempt=0,
    kind=ReleaseKind.TRAINING,
    participants=PARTICIPANTS,
    n=3,
    t=1,
    multiplicity=1,
    clipping_norm=1.0,
    sigma=30.25,
    gamma_bits=28,
    word_bits=64,
    entries=229,
    dtype="<u8",
    parameters=H1,
    geometry=H2,
)
BODIES: list[MessageBody] = [
    Approval(study=H1, roster=H2, institution="a", number=1, epoch=0),
    RunAnswer(
        approval=H1, study=H1, roster=H2, run="run-1", institution="a", nonce=H1, boot=H2,
        x25519="AAAA", mlkem768="BBBB",
    ),
    PARTICIPANTS[0],
    RunOpening(study=H1, roster=H2, run="run-1", number=0, participants=PARTICIPANTS),
    KeyOffer(
        opening=H1, institution="a", ciphertexts={"b": "AAAA", "c": "BBBB"}, time=9,
        remembered="AAAA",
    ),
    REQUEST,
    Commitment(request=H1, institution="a", answer=H2, vector=H1, seed=H2),
    Reply(
        request=H1, institution="a", answer=H2, vector=H1, statements=H1, seed=H2, debit=10,
        ledger_sequence=4, ledger_head=H2, cumulative=40, debited=40, epoch=0,
    ),
]  # fmt: skip
every_body = pytest.mark.parametrize("body", BODIES, ids=lambda body: type(body).__name__)


def signed(body: MessageBody, signer: str = "a") -> bytes:
    return sign_envelope(body, signer, IdentitySigner(KEYS[signer]))


def opened(content: bytes, body_type: type[MessageBody] = Request) -> MessageBody:
    return open_envelope(content, body_type, ROSTER, Protection.EXACT).body


def refused(content: bytes, body_type: type[MessageBody] = Request) -> RefusalCode:
    """A hostile message is refused in both ways to run; returns the code of the exact one."""
    with pytest.raises(ProtocolError) as caught:
        open_envelope(content, body_type, ROSTER, Protection.EXACT)
    assert len(str(caught.value)) < 200  # nothing of the message is repeated
    return caught.value.code


def envelope(body: MessageBody = REQUEST) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(signed(body))
    return content


def signed_again(content: dict[str, Any], change: Callable[[dict[str, Any]], None]) -> bytes:
    """Change a body and sign the result as a hostile member would, with its own key."""
    change(content["body"])
    signed = content["type"].encode() + b"\x00" + rfc8785.dumps(content["body"])
    content["signature"] = base64.b64encode(KEYS["a"].sign(signed)).decode()
    return rfc8785.dumps(content)


@every_body
def test_what_was_signed_is_unsigned(body: MessageBody) -> None:
    content = signed(body)
    result = open_envelope(content, type(body), ROSTER, Protection.EXACT)
    assert (result.body, result.signer, result.content) == (body, "a", content)
    assert type(result.body) is type(body)
    assert result.body.hash == body.hash
    unsigned = sign_envelope(body, "a", NoSigner())
    assert open_envelope(unsigned, type(body), SIMULATED_ROSTER, Protection.SIMULATED).body == body


def test_unsigned_messages_are_never_taken_where_signatures_count() -> None:
    unsigned = sign_envelope(REQUEST, COORDINATOR, NoSigner())
    assert refused(unsigned) is RefusalCode.BAD_SIGNATURE
    with pytest.raises(ProtocolError):
        open_envelope(unsigned, Request, SIMULATED_ROSTER, Protection.EXACT)


def test_what_was_taken_once_is_looked_at_anew_under_other_keys() -> None:
    content = signed(REQUEST)
    for _ in range(2):
        assert open_envelope(content, Request, ROSTER, Protection.EXACT).body == REQUEST
    other = Ed25519PrivateKey.generate().public_key().public_bytes_raw().hex()
    replaced = tuple(m.model_copy(update={"key": other}) for m in ROSTER.members if m.id == "a")
    with pytest.raises(ProtocolError, match="valid signature"):
        open_envelope(
            content, Request, ROSTER.model_copy(update={"members": replaced}), Protection.EXACT
        )
    with pytest.raises(ProtocolError, match="of type"):
        open_envelope(content, Approval, ROSTER, Protection.EXACT)


def test_no_more_long_messages_are_kept_than_are_known_again() -> None:
    names = [f"{'n' * 60}{number:03}" for number in range(20)]
    named = tuple(Participant(institution=name, answer=H1) for name in names)
    long = REQUEST.model_copy(update={"participants": named, "n": len(named)})
    kept = []
    for step in range(messages.KEPT_LONG + 2):
        content = signed(long.model_copy(update={"step": step}), COORDINATOR)
        assert messages.SHORT_BYTES < len(content) <= messages.LONG_BYTES
        kept.append(weakref.ref(open_envelope(content, Request, ROSTER, Protection.EXACT)))
    assert kept[-1]() is not None
    gc.collect()
    assert kept[0]() is None


def other_values(value: Any) -> list[Any]:
    """Valid and invalid replacements of one field's value."""
    others: list[Any] = [None, [], {}, "x", "<u4", -1, 32, 2**53 - 1, 1.5, True, "-1", H2.upper()]
    if isinstance(value, bool | int | float):
        others += [value + 1, value - 1, value + 2**-20, str(value), float(value) + 0.5]
    if isinstance(value, str):
        others += [H2 if value == H1 else H1, value + "A", value[:-1], value.upper() + "B"]
        others += [kind.value for kind in ReleaseKind]
    if isinstance(value, list):
        others += [value[1:], value[::-1], [*value, *value]]
    if isinstance(value, dict):
        others += [dict(list(value.items())[1:]), {**value, "d": "AAAA"}]
    return [other for other in others if other != value or type(other) is not type(value)]


@every_body
def test_a_signature_covers_every_field(body: MessageBody) -> None:
    for field in type(body).model_fields:
        value = envelope(body)["body"][field]
        for other in other_values(value):
            changed = envelope(body)
            changed["body"][field] = other
            refused(rfc8785.dumps(changed), type(body))


@every_body
def test_every_field_moves_the_hash(body: MessageBody) -> None:
    seen = {body.hash}
    for field in type(body).model_fields:
        accepted = 0
        for other in other_values(envelope(body)["body"][field]):

            def change(content: dict[str, Any], name: str = field, new: Any = other) -> None:
                content[name] = new

            try:
                changed = opened(signed_again(envelope(body), change), type(body))
            except ProtocolError:
                continue
            accepted += 1
            assert changed != body
            assert changed.hash not in seen
        # A format and a choice of one have no other value; n is bound to the participants.
        assert accepted or field in {"format", "n", "participants"}, field


def test_types_signers_and_signatures_are_covered() -> None:
    for change in (
        {"type": "fieldfare.reply.v3"},
        {"type": "fieldfare.request.v1"},
        {"type": ""},
        {"signer": "b"},
        {"signer": COORDINATOR},
        {"signer": "nobody"},
        {"signer": ""},
        {"signature": ""},
        {"signature": base64.b64encode(bytes(64)).decode()},
        {"signature": envelope(BODIES[0])["signature"]},
        {"extra": 1},
    ):
        refused(rfc8785.dumps({**envelope(), **change}))
    for key in envelope():
        rest = {k: v for k, v in envelope().items() if k != key}
        refused(rfc8785.dumps(rest))


@every_body
def test_no_message_is_read_as_one_of_another_type(body: MessageBody) -> None:
    content = signed(body)
    for other in BODIES:
        if type(other) is not type(body):
            refused(content, type(other))
            lied = {**envelope(body), "type": type(other).TYPE}
            refused(rfc8785.dumps(lied), type(other))


def test_types_are_each_their_own() -> None:
    types = [type(body).TYPE for body in BODIES]
    assert len(set(types)) == len(types)
    assert not any(one != other and other.startswith(one) for one in types for other in types)
    assert all("\x00" not in name for name in types)


def spelled(text: str) -> dict[str, bytes]:
    """Other spellings of a message: the same to a lenient reader, not the same bytes."""
    return {
        "utf-16": text.encode("utf-16"),
        "utf-32": text.encode("utf-32"),
        "byte order mark": b"\xef\xbb\xbf" + text.encode(),
        "space before": b" " + text.encode(),
        "line end": text.encode() + b"\n",
        "zero after": text.encode() + b"\x00",
        "second message": text.encode() * 2,
        "spaces": text.replace(",", ", ").encode(),
        "duplicate key": text.replace('{"body"', '{"body":{},"body"').encode(),
        "duplicate field": text.replace('"n":3', '"n":3,"n":3').encode(),
        "hidden duplicate": text.replace('"n":3', '"n":9,"n":3').encode(),
        "escape": text.replace("run-1", "run\\u002d1").encode(),
        "true for one": text.replace('"format":1', '"format":true').encode(),
        "real for whole": text.replace('"n":3', '"n":3.0').encode(),
        "real format": text.replace('"format":1', '"format":1.0').encode(),
        "exponent": text.replace("30.25", "3025e-2").encode(),
        "minus zero": text.replace('"attempt":0', '"attempt":-0').encode(),
        "default left out": text.replace('"format":1,', "").encode(),
        "padding": text.replace('=="', '="').encode(),
    }


@pytest.mark.parametrize("spelling", spelled(""))
def test_only_one_spelling_of_a_message_is_taken(spelling: str) -> None:
    text = signed(REQUEST).decode()
    content = spelled(text)[spelling]
    assert content != text.encode()
    refused(content)
    with pytest.raises(ProtocolError):
        open_envelope(content, Request, SIMULATED_ROSTER, Protection.SIMULATED)


def test_a_loose_base64_signature_is_another_spelling() -> None:
    changed = envelope()
    signature = changed["signature"]
    assert signature.endswith("==")
    last = chr(ord(signature[-3]) + 1)  # changes bits that no byte uses
    changed["signature"] = signature[:-3] + last + "=="
    assert base64.b64decode(changed["signature"]) == base64.b64decode(signature)
    refused(rfc8785.dumps(changed))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sigma", "NaN"), ("sigma", "Infinity"), ("sigma", "-Infinity"), ("sigma", "1e999"),
        ("clipping_norm", "NaN"), ("n", "true"), ("n", "3.5"), ("n", '"3"'), ("n", "null"),
        ("protocol", "9" * 5000), ("protocol", "9" * 400), ("protocol", str(2**53)),
        ("step", str(2**53)), ("step", "-1"), ("entries", str(2**64)), ("entries", "9" * 4000),
        ("gamma_bits", "41"), ("word_bits", "48"), ("kind", '"everything"'), ("kind", "1"),
        ("dtype", '"<f8"'), ("run", '""'), ("run", '"../x"'), ("run", '"a\\nb"'),
        ("study", '"' + "A" * 64 + '"'), ("study", '"' + "1" * 65 + '"'),
        ("participants", "{}"), ("participants", '"abc"'), ("participants", "[]"),
        ("participants", "[" * 100_000), ("participants", '{"a":' * 50_000),
        ("run", '"\\ud800"'), ("parameters", "null"), ("format", "2"), ("format", "[]"),
    ],
)  # fmt: skip
def test_values_out_of_place_are_refused(field: str, value: str) -> None:
    fields = {k: json.dumps(v) for k, v in envelope()["body"].items()}
    fields[field] = value
    body = ",".join(f'"{k}":{v}' for k, v in fields.items())
    whole = signed(REQUEST).decode()
    text = whole.replace(rfc8785.dumps(envelope()["body"]).decode(), f"{{{body}}}")
    assert text != whole
    assert refused(text.encode()) is RefusalCode.MALFORMED
    with pytest.raises(ProtocolError):
        open_envelope(text.encode(), Request, SIMULATED_ROSTER, Protection.SIMULATED)


@pytest.mark.parametrize("order", ["ba", "aab", "acb", "aa"])
@pytest.mark.parametrize("message", [REQUEST, BODIES[2]], ids=["request", "opening"])
def test_unsorted_and_repeated_participants_are_refused_though_signed(
    order: str, message: MessageBody
) -> None:
    def change(body: dict[str, Any]) -> None:
        body["participants"] = [{"format": 1, "institution": i, "answer": H1} for i in order]
        if "n" in body:
            body["n"] = len(order)

    refused(signed_again(envelope(message), change), type(message))


def test_n_is_the_number_of_participants() -> None:
    def change(body: dict[str, Any]) -> None:
        body["n"] = 4

    refused(signed_again(envelope(), change))


@pytest.mark.parametrize("key", ["extra", "n ", "N", "__class__", ""])
def test_unknown_fields_are_refused_though_signed(key: str) -> None:
    def change(body: dict[str, Any]) -> None:
        body[key] = 1

    refused(signed_again(envelope(), change))


def test_minus_zero_is_zero_in_what_is_signed() -> None:
    assert REQUEST.model_copy(update={"sigma": -0.0}).hash == (
        REQUEST.model_copy(update={"sigma": 0.0}).hash
    )


def test_messages_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        REQUEST.n = 4  # type: ignore[misc]


@every_body
def test_a_copy_has_the_hash_of_what_it_holds(body: MessageBody) -> None:
    kept = body.hash
    for field in type(body).model_fields:
        if field != "format":
            changed = body.model_copy(update={field: "another"})
            with warnings.catch_warnings(action="ignore"):  # a text where a number belongs
                assert changed.hash != kept
            assert body.hash == kept
    same = (copy.copy(body), copy.deepcopy(body), pickle.loads(pickle.dumps(body)))  # noqa: S301
    for other in (*same, body.model_copy(), body.model_copy(deep=True)):
        assert other == body
        assert other.hash == kept


@settings(deadline=None)
@given(st.integers(0, 2**53 - 1), st.integers(0, 2**53 - 1), st.floats(1e-6, 1e6))
def test_a_changed_request_has_another_hash(step: int, attempt: int, sigma: float) -> None:
    change = {"step": step, "attempt": attempt, "sigma": sigma}
    before, changed = REQUEST.hash, REQUEST.model_copy(update=change)
    same = all(getattr(REQUEST, name) == value for name, value in change.items())
    assert (changed.hash == before) is same
    anew = Request.model_validate({**REQUEST.model_dump(), **change})
    assert anew.hash == changed.hash
    assert changed.model_copy(update=REQUEST.model_dump(include=set(change))).hash == before


def test_a_hash_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    computed = list[str]()

    def counted(kind: str, body: MessageBody) -> str:
        computed.append(kind)
        return content_hash(kind, body)

    monkeypatch.setattr(messages, "content_hash", counted)
    request = REQUEST.model_copy()
    assert request.hash == request.hash == REQUEST.hash
    assert computed == [Request.TYPE]


def changeable(annotation: Any) -> bool:
    """Tell whether a value of this type can be changed in place."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if not annotation.model_config.get("frozen"):
            return True
        return any(changeable(one.annotation) for one in annotation.model_fields.values())
    inner = get_args(annotation)
    if get_origin(annotation) is Annotated:
        return changeable(inner[0])
    if get_origin(annotation) is Literal:
        return False
    plain = {str, int, float, bytes, bool, tuple, type(None), Ellipsis, UnionType, Union}
    kind = get_origin(annotation) or annotation
    enumerated = isinstance(kind, type) and issubclass(kind, Enum)
    return not (enumerated or kind in plain) or any(map(changeable, inner))


def test_no_message_that_can_be_changed_in_place_keeps_its_hash() -> None:
    kinds = {*MessageBody.__subclasses__()}
    assert Request in kinds
    assert {
        kind
        for kind in kinds
        if kind.hash is MessageBody.hash
        and any(changeable(one.annotation) for one in kind.model_fields.values())
    } == set()
    offer = next(body for body in BODIES if isinstance(body, KeyOffer)).model_copy(deep=True)
    before = offer.hash
    offer.ciphertexts["b"] = "CCCC"
    assert offer.hash != before


def test_too_large_a_message_is_not_parsed() -> None:
    assert refused(b" " * (MAX_MESSAGE_BYTES + 1)) is RefusalCode.MALFORMED
    huge = json.dumps({**envelope(), "type": "x" * MAX_MESSAGE_BYTES}).encode()
    refused(huge)


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=300))
def test_random_bytes_are_refused(content: bytes) -> None:
    refused(content)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=5,
)


@settings(deadline=None, max_examples=400)
@given(
    st.sampled_from(sorted(type(REQUEST).model_fields)),
    json_values,
    st.sampled_from(["body", "signer", "signature", "type", None]),
)
def test_random_json_is_refused(field: str, value: Any, outer: str | None) -> None:
    content = envelope()
    if outer is None:
        if content["body"][field] == value:
            return
        content["body"][field] = value
    else:
        content[outer] = value
    refused(json.dumps(content, separators=(",", ":"), sort_keys=True).encode())


@settings(deadline=None, max_examples=300)
@given(st.integers(0, len(signed(REQUEST)) - 1), st.integers(1, 255))
def test_every_changed_byte_is_noticed(place: int, flip: int) -> None:
    content = bytearray(signed(REQUEST))
    content[place] ^= flip
    refused(bytes(content))


# --- refusals -------------------------------------------------------------------------------


@pytest.mark.parametrize("code", RefusalCode)
def test_refusals_are_a_code_and_nothing_else(code: RefusalCode) -> None:
    content = Refusal(code).to_bytes()
    assert content == b"fieldfare.refusal.v1\x00" + code.value.encode()
    assert Refusal.from_bytes(content) == Refusal(code)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\x00", b"fieldfare.refusal.v1", b"fieldfare.refusal.v1\x00",
        b"fieldfare.refusal.v1\x00no_such_code", b"fieldfare.refusal.v1\x00malformed\x00",
        b"fieldfare.refusal.v1\x00malformed ", b"fieldfare.refusal.v1\x00\xff",
        b"fieldfare.refusal.v2\x00malformed", b" fieldfare.refusal.v1\x00malformed",
    ],
)  # fmt: skip
def test_other_bytes_are_no_refusal(content: bytes) -> None:
    with pytest.raises(ProtocolError, match="a refusal"):
        Refusal.from_bytes(content)


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=60))
def test_random_bytes_are_no_refusal(content: bytes) -> None:
    with pytest.raises(ProtocolError):
        Refusal.from_bytes(b"fieldfare.refusal.v1\x00" + content + b"!")
    with pytest.raises(ProtocolError):
        Refusal.from_bytes(content)


# --- parameters and keys ----------------------------------------------------------------------


def test_parameters_travel_bit_for_bit() -> None:
    parameters = np.array([0.0, -0.0, 1.5, -1e4, 5e-324])
    content = parameters_to_bytes(parameters)
    assert content == parameters.astype("<f8").tobytes()
    assert parameters_from_bytes(content, 5, 1e4).tobytes() == parameters.tobytes()
    assert parameters_hash(content) == bytes_hash(content)
    swapped: NDArray[np.float64] = parameters.astype(">f8")
    assert parameters_to_bytes(swapped) == content


@pytest.mark.parametrize(
    "bad", [math.nan, -math.nan, math.inf, -math.inf, 1e300, -1e300, math.nextafter(1e4, 2e4)]
)
def test_parameters_that_are_not_finite_or_too_large_are_refused(bad: float) -> None:
    with pytest.raises(ProtocolError, match="magnitude"):
        parameters_from_bytes(parameters_to_bytes(np.array([0.0, bad, 0.0])), 3, 1e4)


def test_every_nan_is_refused() -> None:
    for pattern in (0x7FF0_0000_0000_0001, 0x7FF8_0000_0000_0000, 0xFFFF_FFFF_FFFF_FFFF):
        with pytest.raises(ProtocolError):
            parameters_from_bytes(pattern.to_bytes(8, "little"), 1, math.inf)


@pytest.mark.parametrize(("length", "entries"), [(0, 1), (7, 1), (9, 1), (16, 1), (8, 2**53)])
def test_parameters_of_another_length_are_refused(length: int, entries: int) -> None:
    with pytest.raises(ProtocolError, match="bytes of parameters"):
        parameters_from_bytes(bytes(length), entries, 1e4)


def test_keys_have_one_spelling_and_one_length() -> None:
    assert decode_key(encode_key(b"k" * 32), 32) == b"k" * 32
    text = encode_key(b"k" * 32)
    loose = text[:-2] + chr(ord(text[-2]) + 1) + "="
    assert base64.b64decode(loose, validate=True) == b"k" * 32
    for bad in (loose, text[:-1], text + "=", text + "\n", " " + text, "", "é", "-" * 44, "A" * 43):
        with pytest.raises(ProtocolError):
            decode_key(bad, 32)
    with pytest.raises(ProtocolError, match="expected 32 bytes, found 31"):
        decode_key(encode_key(b"k" * 31), 32)
