"""What a custodian can be asked: nine calls, each with the fields that the table names."""

from dataclasses import replace
from typing import Any, Final

import pytest

from fieldfare.client.node.client_app import decode_answer
from fieldfare.client.wire import calls
from fieldfare.client.wire.calls import (
    CALLS,
    LARGEST_FRAME,
    REJECTED,
    SERVICE,
    path_of,
)
from fieldfare.client.wire.frames import LONGEST_LIST, LONGEST_TEXT, Field, encode
from fieldfare.shared.errors import ProtocolError, RefusalCode
from fieldfare.shared.protocol.delivery import LARGEST_CARD, LARGEST_MODEL
from fieldfare.shared.protocol.flower_record import REFUSAL, REJECTION, Call
from fieldfare.shared.protocol.messages import MAX_MESSAGE_BYTES, Refusal
from fieldfare.shared.protocol.plan import MOST_WORDS
from fieldfare.shared.study.study import MAX_STUDY_BYTES
from fieldfare.shared.transcript.heads import MOST_SHOWN

REFUSAL_BYTES: Final = Refusal(RefusalCode.UNKNOWN_STUDY).to_bytes()
ANSWERS: Final = {  # as coordinators of every version read them
    Call.HELLO: ["approval", "answer", "question"],
    Call.RECALL: ["memories"],
    Call.OPEN: ["offer"],
    Call.AGREE: ["agreed"],
    Call.RELEASE: ["commitment", "vector"],
    Call.REVEAL: ["reply"],
    Call.PUBLISH: ["keys"],
    Call.COSIGN: ["cosigned"],
    Call.DELIVER: ["received"],
}


def whole(call: Call) -> dict[str, Any]:
    """An answer that has every field."""
    return {one.name: [b"x"] if one.empty == [] else b"x" for one in CALLS[call].answer}


def test_every_call_of_a_coordinator_stands_in_the_table_and_no_other() -> None:
    assert list(CALLS) == list(Call)
    assert {call: [one.name for one in shape.answer] for call, shape in CALLS.items()} == ANSWERS
    assert max(shape.largest for shape in CALLS.values()) == LARGEST_FRAME
    assert {call for call, shape in CALLS.items() if shape.seconds > 60} == {Call.RELEASE}


def test_no_answer_can_be_mistaken_for_a_refusal() -> None:
    for shape in CALLS.values():
        assert not {one.name for one in shape.answer} & {REFUSAL, REJECTION}


@pytest.mark.parametrize("call", Call)
def test_an_answer_is_what_the_table_names_or_a_refusal(call: Call) -> None:
    shape, content = CALLS[call].answer, whole(call)
    assert decode_answer(call, encode(shape, content)) == content
    refusal = {REFUSAL: REFUSAL_BYTES}
    assert decode_answer(call, encode(CALLS[call].refused, refusal)) == refusal
    more = {Field("record"), Field("vector"), Field("reply")} - set(shape)
    for other in (shape[1:], *((*shape, one) for one in more), tuple(more)):
        fields = dict.fromkeys([one.name for one in more], b"x") | content
        with pytest.raises(ProtocolError, match="found another"):
            decode_answer(call, encode(other, fields))


@pytest.mark.parametrize("call", Call)
def test_a_rejection_stands_beside_the_refusal_of_a_hello_alone(call: Call) -> None:
    said = {REFUSAL: REFUSAL_BYTES, REJECTION: b"signed"}
    if call is Call.HELLO:
        assert decode_answer(call, encode(REJECTED, said)) == said
    else:
        with pytest.raises(ProtocolError, match="found another"):
            decode_answer(call, encode(REJECTED, said))


@pytest.mark.parametrize("text", [b"", b"no", REFUSAL_BYTES + b" because", b"record 4711"])
def test_a_refusal_has_a_fixed_code_and_no_text(text: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_answer(Call.HELLO, encode(REJECTED, {REFUSAL: text}))


@pytest.mark.parametrize("call", [Call.AGREE, Call.DELIVER])
def test_an_empty_answer_is_one(call: Call) -> None:
    (field,) = CALLS[call].answer
    content = {field.name: b""}
    assert decode_answer(call, encode(CALLS[call].answer, content)) == content


def test_no_memory_is_an_answer_too() -> None:
    frame = encode(CALLS[Call.RECALL].answer, {"memories": []})
    assert decode_answer(Call.RECALL, frame) == {"memories": []}


# -- sizes ------------------------------------------------------------------------------------


def size(call: Call, **content: Any) -> int:
    return len(encode(CALLS[call].question, content))


def test_the_largest_message_fits_its_frame() -> None:
    found = size(Call.RELEASE, request=b"x", parameters=bytes(MAX_MESSAGE_BYTES))
    assert MAX_MESSAGE_BYTES < found <= CALLS[Call.RELEASE].largest


def test_the_largest_last_sum_fits_beside_its_step() -> None:
    """2^18 words of 64 bits in all, a reply of 2 KiB of each of a thousand participants."""
    vectors = [bytes(8 * MOST_WORDS // 1024)] * LONGEST_LIST
    found = size(
        Call.RELEASE,
        request=bytes(512 * 1024),
        parameters=bytes(8 * MOST_WORDS // 1024),
        last_request=bytes(512 * 1024),
        last_replies=[bytes(2048)] * LONGEST_LIST,
        last_vectors=vectors,
    )
    assert sum(map(len, vectors)) == 8 * MOST_WORDS
    assert found <= CALLS[Call.RELEASE].largest


def test_the_largest_model_study_and_proof_fit_their_frames() -> None:
    model = {"model": bytes(LARGEST_MODEL), "card": bytes(LARGEST_CARD)}
    assert size(Call.DELIVER, delivery=bytes(4096), **model) <= CALLS[Call.DELIVER].largest
    offer = {"last_reply": bytes(4096), "offer": bytes(MAX_STUDY_BYTES + 4096)}
    assert size(Call.HELLO, study=b"0" * 64, **offer) <= CALLS[Call.HELLO].largest
    names = {"study": b"0" * 64, "run": b"r" * LONGEST_TEXT}
    log = {"head": bytes(4096), "log": bytes(MOST_SHOWN)}
    assert size(Call.COSIGN, **names, **log) <= CALLS[Call.COSIGN].largest


# -- two versions -----------------------------------------------------------------------------


def test_paths_are_what_grpc_calls() -> None:
    assert path_of(Call.RELEASE) == f"/{SERVICE}/release"
    assert SERVICE.startswith("fieldfare.custodian.")


def test_another_table_or_other_refusals_are_another_service(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So two programs that would read each other wrong never read each other."""
    hello = CALLS[Call.HELLO]
    others = [
        {**CALLS, Call.HELLO: replace(hello, question=(*hello.question, Field("more")))},
        {**CALLS, Call.HELLO: replace(hello, question=hello.question[::-1])},
        {**CALLS, Call.HELLO: replace(hello, answer=hello.answer[:-1])},
        {**CALLS, Call.HELLO: replace(hello, refused=calls.REFUSED)},
        {call: shape for call, shape in CALLS.items() if call is not Call.RECALL},
    ]
    found = {calls._version()}
    for other in others:
        monkeypatch.setattr(calls, "CALLS", other)
        found.add(calls._version())
    assert len(found) == 1 + len(others)
    monkeypatch.setattr(calls, "CALLS", CALLS)
    for name, value in [
        ("RefusalCode", list(RefusalCode)[:-1]),
        ("LONGEST_LIST", LONGEST_LIST - 1),
        ("LONGEST_TEXT", LONGEST_TEXT + 1),
    ]:
        with monkeypatch.context() as other:
            other.setattr(calls, name, value)
            found.add(calls._version())
    assert len(found) == 1 + len(others) + 3
    limits = {**CALLS, Call.HELLO: replace(hello, largest=1, seconds=1.0)}
    monkeypatch.setattr(calls, "CALLS", limits)
    assert SERVICE.endswith(calls._version())  # no frame reads otherwise for these
