"""A frame in, a frame out: the custodian's own bytes, or the fixed refusal."""

import logging
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.federations.bench import Bench, Run, evaluate
from tests.support.runs.steps import open_federation

from fieldfare.client.custodian.answering import answer
from fieldfare.client.custodian.ports import HelloAnswer
from fieldfare.client.node.client_app import decode_answer
from fieldfare.client.wire import frame_pb2 as pb
from fieldfare.client.wire.calls import CALLS
from fieldfare.client.wire.frames import LONGEST_LIST, FieldKind, decode, encode
from fieldfare.server.run.channel import GridChannel
from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.errors import RefusalCode
from fieldfare.shared.protocol.delivery import Delivery
from fieldfare.shared.protocol.flower_record import REFUSAL, Call
from fieldfare.shared.protocol.messages import Refusal, sign_envelope
from fieldfare.shared.protocol.roster import COORDINATOR
from fieldfare.shared.transcript.heads import ShownLog
from fieldfare.shared.transcript.leaves import EndRecord, tree_head

MALFORMED = {REFUSAL: Refusal(RefusalCode.MALFORMED).to_bytes()}
UNKNOWN_STUDY = {REFUSAL: Refusal(RefusalCode.UNKNOWN_STUDY).to_bytes()}
BY_STUDY = {Call.HELLO, Call.AGREE, Call.COSIGN}  # a name comes first, not an envelope


@pytest.fixture(scope="module")
def run(shared: Bench) -> Run:
    return shared.open_run()


def ask(bench: Bench, call: Call, **asked: Any) -> dict[str, Any]:
    return told(bench, call, encode(CALLS[call].question, asked))


def told(bench: Bench, call: Call, frame: bytes) -> dict[str, Any]:
    return decode_answer(call, answer(bench.custodian("bank-b"), call, frame))


def hello(bench: Bench, **asked: bytes) -> dict[str, Any]:
    return ask(bench, Call.HELLO, **{"study": bench.study.id.encode(), "last_reply": b""} | asked)


def names(bench: Bench, run: str) -> dict[str, bytes]:
    return {"study": bench.study.id.encode(), "run": run.encode()}


def second_step(bench: Bench, run: Run) -> dict[str, Any]:
    request, last = run.request(step=1), run.last(1)
    return {
        "request": bench.sign(request),
        "parameters": run.parameters(request.kind, 1),
        "last_request": last.request,
        "last_replies": [*last.replies],
        "last_vectors": [*last.vectors],
        "last_statements": [*last.statements],
    }


def test_describe_frames_the_approval(shared: Bench) -> None:
    described = shared.custodian("bank-b").describe(shared.study.id, run="r", nonce="1" * 64)
    assert isinstance(described, HelloAnswer)
    assert hello(shared) == {"approval": described.approval}
    found = hello(shared, run=b"r", nonce=b"1" * 64)
    assert found == {name: value for name, value in vars(described).items() if value}


def test_a_reply_that_is_shown_is_passed_on(bench: Bench) -> None:
    run = bench.open_run()
    last = run.answer("bank-b", run.request()).reply
    assert set(hello(bench, last_reply=last)) == {"approval"}
    assert hello(bench, last_reply=b"forged") == MALFORMED


def test_a_run_is_opened_and_agreed_on_in_frames(bench: Bench) -> None:
    """The opening and the offers of a run that was opened without frames, once more."""
    seen: dict[str, Any] = {}

    def watch(message: Any) -> None:
        metadata = message.metadata
        if not metadata.reply_to_message_id:
            seen[metadata.message_type] = message.content["fieldfare"]

    job = bench.federation.job("r")
    open_federation(GridChannel(bench.federation.grid(tap=watch)), job.terms)
    sent, offers = seen["query.open"], seen["query.agree"]["offers"]
    found = ask(bench, Call.OPEN, **sent)
    assert found == {"offer": offers[bench.names.index("bank-b")]}
    assert ask(bench, Call.AGREE, **names(bench, "r"), offers=offers) == {"agreed": b""}


def test_release_frames_what_the_door_let_out(bench: Bench) -> None:
    run = bench.open_run()
    signed = bench.sign(run.request())
    found = ask(bench, Call.RELEASE, request=signed, parameters=bench.parameters())
    assert found == vars(run.commit("bank-b", run.request()))


def test_the_last_sum_is_framed_with_what_follows_from_it(bench: Bench) -> None:
    run = bench.open_run()
    asked = second_step(bench, run)
    short = asked | {"last_vectors": asked["last_vectors"][:-1]}
    refused = Refusal(RefusalCode.NOT_RECOMPUTED).to_bytes()
    assert ask(bench, Call.RELEASE, **short) == {REFUSAL: refused}
    found = ask(bench, Call.RELEASE, **asked)
    assert found == vars(run.commit("bank-b", run.request(step=1)))


def test_a_head_is_cosigned_and_a_model_taken_in_frames(bench: Bench) -> None:
    run = bench.open_run()
    study, coordinator = bench.study.id, bench.federation.identities.coordinator
    leaf = EndRecord(state="stopped", reason="").leaf()
    head = sign_envelope(
        tree_head(study, run.federation.run, [leaf.hash]), COORDINATOR, coordinator
    )
    shown = ShownLog(head, leaf.to_bytes())
    named = names(bench, run.federation.run)
    found = ask(bench, Call.COSIGN, **named, head=head, log=shown.log)
    assert found["cosigned"] == bench.custodian("bank-b").cosign(study, run.federation.run, shown)
    other = sign_envelope(
        tree_head(study, run.federation.run, [b"1" * 32] * 2), COORDINATOR, coordinator
    )
    assert ask(bench, Call.COSIGN, **named, head=other, hashes=b"1" * 64) == MALFORMED

    body = Delivery(
        study=study,
        run=run.federation.run,
        model="0" * 64,
        file=bytes_hash(b"model"),
        card=bytes_hash(b"card"),
    )
    evaluate(bench.ledger("bank-b"), study, run.federation.run, body.model)
    delivery = sign_envelope(body, COORDINATOR, coordinator)
    handed = {"delivery": delivery, "model": b"model", "card": b"card"}
    assert ask(bench, Call.DELIVER, **handed) == {"received": b""}
    assert ask(bench, Call.DELIVER, **handed | {"model": b"card", "card": b"model"}) == MALFORMED


@pytest.mark.parametrize("call", Call)
def test_a_refusal_is_framed_as_it_is(call: Call, shared: Bench) -> None:
    """A question whose fields are all empty: whatever refuses it, the custodian did."""
    empty = {one.name: one.empty for one in CALLS[call].question}
    assert ask(shared, call, **empty) == (UNKNOWN_STUDY if call in BY_STUDY else MALFORMED)


@pytest.mark.parametrize("call", Call)
@pytest.mark.parametrize("frame", [b"", b"\xff", b"\x0a\xff", b"\x0a\x02\xff\xfe", bytes(100)])
def test_no_frame_is_refused_and_logged_without_its_content(
    frame: bytes, call: Call, shared: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert told(shared, call, frame) == MALFORMED
    assert f"malformed ({call.value}: expected a frame" in caplog.text


@pytest.mark.parametrize("call", Call)
def test_a_frame_of_another_call_is_malformed(call: Call, shared: Bench) -> None:
    empty = {one.name: one.empty for one in CALLS[call].question}
    frame = encode(CALLS[call].question, empty)
    for other in set(Call) - {call}:
        if CALLS[other].question != CALLS[call].question:
            assert told(shared, other, frame) == MALFORMED


def test_long_lists_and_names_are_refused_before_a_custodian_sees_them(shared: Bench) -> None:
    """No node of this version makes such a frame: here is one that another program made."""
    long = [b""] * (LONGEST_LIST + 1)
    for call, shape in CALLS.items():
        for index, one in enumerate(shape.question):
            items = {FieldKind.TEXT: [b"s" * 129], FieldKind.BYTES: [], FieldKind.LIST: long}
            frame = pb.Frame()
            for field in shape.question:
                frame.fields.add(name=field.name, items=[] if field.empty == [] else [b""])
            frame.fields[index].items[:] = items[one.kind]
            assert told(shared, call, frame.SerializeToString()) == MALFORMED, (call, one)


@pytest.mark.parametrize("name", [":approval", ":ledger", "opening:", "", "\x00"])
def test_no_name_reaches_another_state(name: str, shared: Bench) -> None:
    unknown = {REFUSAL: Refusal(RefusalCode.UNKNOWN_RUN).to_bytes()}
    assert hello(shared, study=name.encode()) == UNKNOWN_STUDY
    named = names(shared, name)
    assert ask(shared, Call.AGREE, **named, offers=[]) == unknown
    assert ask(shared, Call.COSIGN, **named, head=b"") == unknown


# -- fuzzing: whatever comes, an answer's frame goes back and nothing is spent ---------------------


@settings(max_examples=300, deadline=None)
@given(call=st.sampled_from(Call), frame=st.binary(max_size=300))
def test_any_bytes_are_refused(call: Call, frame: bytes, shared: Bench) -> None:
    before = shared.ledger("bank-b").position()
    assert REFUSAL in told(shared, call, frame)
    assert shared.ledger("bank-b").position() == before


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_fault_in_a_good_frame_is_refused(data: st.DataObject, shared: Bench, run: Run) -> None:
    """One fault anywhere: in the frame's bytes, in the envelope or in the parameters."""
    asked = second_step(shared, run)
    frame = encode(CALLS[Call.RELEASE].question, asked)
    at = data.draw(st.integers(0, len(frame) - 1))
    cut = data.draw(st.integers(0, 4))
    put = data.draw(st.binary(max_size=4).filter(lambda put: put != frame[at : at + cut]))
    before = shared.ledger("bank-b").position()
    faulty = frame[:at] + put + frame[at + cut :]
    if REFUSAL not in told(shared, Call.RELEASE, faulty):
        # What was answered before is handed out again for the request alone, at no cost.
        read = decode(faulty, CALLS[Call.RELEASE].question)
        assert [read[name] for name in ("request", "parameters")] == [
            asked[name] for name in ("request", "parameters")
        ]
    assert shared.ledger("bank-b").position() == before
