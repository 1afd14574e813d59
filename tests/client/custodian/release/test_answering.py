"""A frame in, a frame out: the custodian's own bytes, or the fixed refusal."""

import logging
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.federations.bench import Bench, Run, evaluate

from fieldfare.client.custodian.answering import CALLS, answer
from fieldfare.client.wire import custodian_pb2 as pb
from fieldfare.client.wire.frames import LONGEST_LIST
from fieldfare.server.run.channel import GridChannel
from fieldfare.server.run.opening import open_federation
from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.errors import RefusalCode
from fieldfare.shared.protocol.delivery import Delivery
from fieldfare.shared.protocol.messages import Refusal, sign_envelope
from fieldfare.shared.protocol.roster import COORDINATOR
from fieldfare.shared.transcript.heads import ShownLog
from fieldfare.shared.transcript.leaves import EndRecord, tree_head

MALFORMED = Refusal(RefusalCode.MALFORMED).to_bytes()
UNKNOWN_STUDY = Refusal(RefusalCode.UNKNOWN_STUDY).to_bytes()
ANSWERS: dict[str, Any] = {
    "Describe": pb.DescribeAnswer,
    "Recall": pb.RecallAnswer,
    "OpenRun": pb.OpenRunAnswer,
    "Agree": pb.AgreeAnswer,
    "Release": pb.ReleaseAnswer,
    "Reveal": pb.RevealAnswer,
    "Publish": pb.PublishAnswer,
    "Cosign": pb.CosignAnswer,
    "Deliver": pb.DeliverAnswer,
}
BY_STUDY = {"Describe", "Agree", "Cosign"}  # a name comes first, not an envelope


@pytest.fixture(scope="module")
def run(shared: Bench) -> Run:
    return shared.open_run()


def ask(bench: Bench, call: str, asked: Any) -> Any:
    frame = answer(bench.custodian("bank-b"), call, asked.SerializeToString())
    return ANSWERS[call].FromString(frame)


def release(bench: Bench, run: Run, **changes: object) -> pb.ReleaseRequest:
    request = replace(run).request().model_copy(update=changes)
    return pb.ReleaseRequest(request=bench.sign(request), parameters=bench.parameters())


def second_step(bench: Bench, run: Run) -> pb.ReleaseRequest:
    request, last = run.request(step=1), run.last(1)
    return pb.ReleaseRequest(
        request=bench.sign(request),
        parameters=run.contents[request.parameters],
        last_request=last.request,
        last_replies=last.replies,
        last_vectors=last.vectors,
    )


def test_describe_frames_the_approval(shared: Bench) -> None:
    found = ask(shared, "Describe", pb.DescribeRequest(study=shared.study.id))
    assert found.approval == shared.described("bank-b", "r", "1" * 64).approval
    assert not found.run_answer
    asked = pb.DescribeRequest(study=shared.study.id, run="r", nonce="1" * 64)
    found = ask(shared, "Describe", asked)
    answer = shared.described("bank-b", "r", "1" * 64)
    assert (found.approval, found.run_answer) == (answer.approval, answer.answer)


def test_a_reply_that_is_shown_is_passed_on(bench: Bench) -> None:
    run = bench.open_run()
    last = run.answer("bank-b", run.request()).reply
    asked = pb.DescribeRequest(study=bench.study.id, last_reply=last)
    assert ask(bench, "Describe", asked).WhichOneof("answer") == "approval"
    forged = pb.DescribeRequest(study=bench.study.id, last_reply=b"forged")
    assert ask(bench, "Describe", forged).refusal == MALFORMED


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
    asked = pb.OpenRunRequest(
        opening=sent["opening"], answers=sent["answers"], approvals=sent["approvals"]
    )
    assert ask(bench, "OpenRun", asked).offer == offers[bench.names.index("bank-b")]
    agreed = pb.AgreeRequest(study=bench.study.id, run="r", offers=offers)
    found = ask(bench, "Agree", agreed)
    assert (found.WhichOneof("answer"), found.agreed) == ("agreed", b"")


def test_release_frames_what_the_door_let_out(bench: Bench) -> None:
    run = bench.open_run()
    found = ask(bench, "Release", release(bench, run)).committed
    committed = run.commit("bank-b", run.request())
    assert (found.commitment, found.vector) == (committed.commitment, committed.vector)


def test_the_last_sum_is_framed_with_what_follows_from_it(bench: Bench) -> None:
    run = bench.open_run()
    request, last = run.request(step=1), run.last(1)
    asked = pb.ReleaseRequest(
        request=bench.sign(request),
        parameters=run.parameters(request.kind, 1),
        last_request=last.request,
        last_replies=last.replies,
        last_vectors=last.vectors[:-1],
        last_statements=last.statements,
    )
    refused = Refusal(RefusalCode.NOT_RECOMPUTED).to_bytes()
    assert ask(bench, "Release", asked).refusal == refused
    asked.last_vectors.append(last.vectors[-1])
    found = ask(bench, "Release", asked).committed
    assert found.commitment == run.commit("bank-b", request).commitment


def test_a_head_is_cosigned_and_a_model_taken_in_frames(bench: Bench) -> None:
    run = bench.open_run()
    study, coordinator = bench.study.id, bench.federation.identities.coordinator
    leaf = EndRecord(state="stopped", reason="").leaf()
    head = sign_envelope(
        tree_head(study, run.federation.run, [leaf.hash]), COORDINATOR, coordinator
    )
    shown = ShownLog(head, leaf.to_bytes())
    asked = pb.CosignRequest(study=study, run=run.federation.run, head=head, log=shown.log)
    found = ask(bench, "Cosign", asked)
    assert found.cosigned == bench.custodian("bank-b").cosign(study, run.federation.run, shown)
    other = sign_envelope(
        tree_head(study, run.federation.run, [b"1" * 32] * 2), COORDINATOR, coordinator
    )
    forged = pb.CosignRequest(study=study, run=run.federation.run, head=other, hashes=b"1" * 64)
    assert ask(bench, "Cosign", forged).refusal == MALFORMED

    body = Delivery(
        study=study,
        run=run.federation.run,
        model="0" * 64,
        file=bytes_hash(b"model"),
        card=bytes_hash(b"card"),
    )
    evaluate(bench.ledger("bank-b"), study, run.federation.run, body.model)
    delivery = sign_envelope(body, COORDINATOR, coordinator)
    handed = pb.DeliverRequest(delivery=delivery, model=b"model", card=b"card")
    found = ask(bench, "Deliver", handed)
    assert (found.WhichOneof("answer"), found.received) == ("received", b"")
    swapped = pb.DeliverRequest(delivery=delivery, model=b"card", card=b"model")
    assert ask(bench, "Deliver", swapped).refusal == MALFORMED


@pytest.mark.parametrize("call", ANSWERS)
def test_a_refusal_is_framed_as_it_is(call: str, shared: Bench) -> None:
    """An empty frame is a question without content: whatever refuses it, the custodian did."""
    found = ANSWERS[call].FromString(answer(shared.custodian("bank-b"), call, b""))
    expected = UNKNOWN_STUDY if call in BY_STUDY else MALFORMED
    assert found.refusal == expected


@pytest.mark.parametrize("call", ANSWERS)
@pytest.mark.parametrize("frame", [b"\xff", b"\x0a\xff", b"\x0a\x02\xff\xfe", bytes(100)])
def test_no_frame_is_refused_and_logged_without_its_content(
    frame: bytes, call: str, shared: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        found = ANSWERS[call].FromString(answer(shared.custodian("bank-b"), call, frame))
    if call in BY_STUDY or frame != b"\x0a\x02\xff\xfe":  # there it is an envelope
        assert f"malformed ({call}: malformed frame (DecodeError))" in caplog.text
    assert found.refusal == MALFORMED


def test_long_lists_and_names_are_refused(shared: Bench) -> None:
    items = [b""] * (LONGEST_LIST + 1)
    assert ask(shared, "OpenRun", pb.OpenRunRequest(approvals=items)).refusal == MALFORMED
    study = shared.study.id
    assert ask(shared, "Agree", pb.AgreeRequest(study=study, offers=items)).refusal == MALFORMED
    assert ask(shared, "Agree", pb.AgreeRequest(study=study, run="é")).refusal == MALFORMED
    assert ask(shared, "Describe", pb.DescribeRequest(study="s" * 129)).refusal == MALFORMED
    assert ask(shared, "Release", pb.ReleaseRequest(last_replies=items)).refusal == MALFORMED
    assert ask(shared, "Release", pb.ReleaseRequest(last_vectors=items)).refusal == MALFORMED
    assert ask(shared, "Cosign", pb.CosignRequest(study=study, vectors=items)).refusal == MALFORMED
    assert ask(shared, "Cosign", pb.CosignRequest(study=study, run="é")).refusal == MALFORMED
    assert ask(shared, "Cosign", pb.CosignRequest(study="s" * 129)).refusal == MALFORMED


@pytest.mark.parametrize("name", [":approval", ":ledger", "opening:", "", "\x00"])
def test_no_name_reaches_another_state(name: str, shared: Bench) -> None:
    unknown = Refusal(RefusalCode.UNKNOWN_RUN).to_bytes()
    assert ask(shared, "Describe", pb.DescribeRequest(study=name)).refusal == UNKNOWN_STUDY
    asked = pb.AgreeRequest(study=shared.study.id, run=name)
    assert ask(shared, "Agree", asked).refusal == unknown
    cosign = pb.CosignRequest(study=shared.study.id, run=name)
    assert ask(shared, "Cosign", cosign).refusal == unknown


def test_every_call_has_an_answer_for_a_refusal() -> None:
    assert {name: call.answer for name, call in CALLS.items()} == ANSWERS


# -- fuzzing: whatever comes, an answer's frame goes back and nothing is spent ---------------------


@settings(max_examples=300, deadline=None)
@given(call=st.sampled_from(sorted(ANSWERS)), frame=st.binary(max_size=300))
def test_any_bytes_are_refused(call: str, frame: bytes, shared: Bench) -> None:
    before = shared.ledger("bank-b").position()
    found = ANSWERS[call].FromString(answer(shared.custodian("bank-b"), call, frame))
    assert found.WhichOneof("answer") == "refusal"
    assert shared.ledger("bank-b").position() == before


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_fault_in_a_good_frame_is_refused(data: st.DataObject, shared: Bench, run: Run) -> None:
    """One fault anywhere: in protobuf's bytes, in the envelope or in the parameters."""
    frame = second_step(shared, run).SerializeToString()
    at = data.draw(st.integers(0, len(frame) - 1))
    cut = data.draw(st.integers(0, 4))
    put = data.draw(st.binary(max_size=4).filter(lambda put: put != frame[at : at + cut]))
    before = shared.ledger("bank-b").position()
    faulty = frame[:at] + put + frame[at + cut :]
    found = pb.ReleaseAnswer.FromString(answer(shared.custodian("bank-b"), "Release", faulty))
    after = shared.ledger("bank-b").position()
    if found.WhichOneof("answer") == "released":  # protobuf has more than one spelling
        asked, meant = parsed(faulty), parsed(frame)
        # What was answered before is handed out again for the request alone, at no cost.
        assert asked == meant if after != before else asked[:2] == meant[:2]
        return
    assert after == before


def parsed(frame: bytes) -> tuple[object, ...]:
    asked = pb.ReleaseRequest.FromString(frame)
    last = asked.last_request, *asked.last_replies, *asked.last_vectors
    return asked.request, asked.parameters, last
