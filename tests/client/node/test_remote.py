"""A custodian over a socket is a custodian: the same bytes, or an error that says what to do."""

import socket
import threading
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from tests.support.federations.bench import (
    NAMES,
    STEPS,
    Bench,
    MakeBench,
    evaluate,
    make_study,
    make_sums,
)
from tests.support.network.calling import connected
from tests.support.network.served import Gated, served, serving

from fieldfare.client.custodian.ports import (
    CommitmentReply,
    HelloAnswer,
    NoInbox,
    ReportedRejection,
)
from fieldfare.client.node import remote_custodian
from fieldfare.client.node.client_app import client_app
from fieldfare.client.wire import calls
from fieldfare.client.wire.calls import CALLS, LARGEST_FRAME, CallShape, CustodianPort
from fieldfare.server.run.server_app import Outcome
from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.errors import RefusalCode, RunError
from fieldfare.shared.protocol.delivery import Delivery
from fieldfare.shared.protocol.flower_record import RECORD, Call
from fieldfare.shared.protocol.messages import (
    NO_LAST_SUM,
    Refusal,
    Rejection,
    ReleaseKind,
    sign_envelope,
)
from fieldfare.shared.protocol.roster import COORDINATOR
from fieldfare.shared.protocol.signed_files import offer_study
from fieldfare.shared.system.sockets import UnixSocket
from fieldfare.shared.transcript.heads import CosignedHead, ShownLog
from fieldfare.shared.transcript.leaves import EndRecord, TreeHead, tree_head
from fieldfare.simulations.federation.federation import FIRST_NODE
from fieldfare.simulations.federation.grid import InProcessGrid


def test_every_call_gives_the_custodians_own_answer(bench: Bench, room: Path) -> None:
    inside = bench.custodian("bank-b")
    with served(bench, "bank-b", room) as remote:
        run = bench.open_run()  # bank-b describes, opens and agrees over the socket
        request = run.request()
        committed = run.commit("bank-b", request)
        opened = run.answer("bank-b", request)
        approval = remote.describe(bench.study.id)
    assert approval == inside.describe(bench.study.id)
    signed, statements = bench.sign(request), run.everybody(request).statements
    assert committed == inside.release(signed, bench.parameters())
    assert opened.reply == inside.reveal(signed, statements)


def test_the_last_sum_goes_over_the_socket(bench: Bench, room: Path) -> None:
    """A whole run, in which nothing is answered for parameters that do not follow."""
    run = bench.open_run()
    with served(bench, "bank-b", room) as remote:
        for step in range(STEPS):
            request, content = run.request(step=step), run.parameters(ReleaseKind.TRAINING, step)
            last = run.last(step) if step else NO_LAST_SUM
            if step:
                short = replace(last, vectors=last.vectors[:-1])
                refused = Refusal(RefusalCode.NOT_RECOMPUTED)
                assert remote.release(bench.sign(request), content, short) == refused
            answer = remote.release(bench.sign(request), content, last)
            assert isinstance(answer, CommitmentReply)
    run.everybody(run.request(step=STEPS - 1))
    assert bench.ledger("bank-b").position().sequence == STEPS


def test_heads_models_and_offers_go_over_the_socket(bench: Bench, room: Path) -> None:
    run, coordinator = bench.open_run(), bench.federation.identities.coordinator
    study, name = bench.study.id, run.federation.run
    leaves = [EndRecord(state="stopped", reason=str(at)).leaf() for at in range(5)]
    hashes = [leaf.hash for leaf in leaves]
    heads = [
        sign_envelope(tree_head(study, name, hashes[:size]), COORDINATOR, coordinator)
        for size in (2, 5)
    ]
    body = Delivery(
        study=study, run=name, model="0" * 64, file=bytes_hash(b"model"), card=bytes_hash(b"card")
    )
    other = make_study(name="another")
    with served(bench, "bank-b", room) as remote:
        for head, size in zip(heads, (2, 5), strict=True):
            log = b"\n".join(leaf.to_bytes() for leaf in leaves[:size])
            cosigned = remote.cosign(study, name, ShownLog(head, log))
            assert isinstance(cosigned, bytes)
            party = bench.party("bank-a")
            signed = party.from_member(cosigned, CosignedHead, "bank-b").body
            assert signed.head == party.from_coordinator(head, TreeHead).body
        delivery = sign_envelope(body, COORDINATOR, coordinator)
        evaluate(bench.ledger("bank-b"), study, name, body.model)
        assert remote.deliver(delivery, b"model", b"card") == b""
        offer = offer_study(other, coordinator)
        unknown = Refusal(RefusalCode.UNKNOWN_STUDY)
        assert remote.describe(other.id, b"", offer) == unknown
        assert remote.describe(study, b"", offer) == bench.custodian("bank-b").describe(study)


@dataclass(frozen=True)
class Refusing(NoInbox):
    """Whose people said no."""

    def said_no(self, study: str) -> ReportedRejection | None:
        del study
        return ReportedRejection("rejected", "too wide")


def test_a_rejection_goes_over_the_socket_beside_the_fixed_refusal(
    bench: Bench, room: Path
) -> None:
    study, coordinator = make_study(name="another"), bench.federation.identities.coordinator
    offer = offer_study(study, coordinator)
    bench.custodian("bank-b")._inbox = Refusing()
    with served(bench, "bank-b", room) as remote:
        answer = remote.describe(study.id, b"", offer)
        silent = remote.describe(study.id)
    assert isinstance(answer, Refusal)
    assert (answer.code, silent) == (RefusalCode.UNKNOWN_STUDY, Refusal(answer.code))
    assert answer.to_bytes() == Refusal(answer.code).to_bytes()
    body = bench.party("bank-a").from_member(answer.rejection, Rejection, "bank-b").body
    assert (body.study, body.institution) == (study.id, "bank-b")
    assert (body.decision, body.reason) == ("rejected", "too wide")


# -- no answer -----------------------------------------------------------------------------------


def test_nobody_there(room: Path) -> None:
    with connected(room) as remote, pytest.raises(RunError, match="found UNAVAILABLE: start it"):
        remote.describe("study")


def test_a_dead_socket(room: Path) -> None:
    room.parent.mkdir()
    with closing(socket.socket(socket.AF_UNIX)) as gone:
        gone.bind(str(room))
    with connected(room) as remote, pytest.raises(RunError, match="UNAVAILABLE"):
        remote.describe("study")


def test_a_custodian_that_comes_back_is_found(bench: Bench, room: Path) -> None:
    custodian = bench.custodian("bank-b")
    with connected(room) as remote:
        for _ in range(2):
            with serving(custodian, UnixSocket(room)):
                # Within a second or two, where gRPC left to itself would take two minutes.
                assert any(describes(remote, bench) for _ in range(600))
            assert not describes(remote, bench)


def describes(remote: Any, bench: Bench) -> bool:
    try:
        return isinstance(remote.describe(bench.study.id), HelloAnswer)
    except RunError:
        threading.Event().wait(0.05)
        return False


def in_a_moment() -> dict[Call, CallShape]:
    """The calls of a node that does not wait for the sum over all records."""
    return {call: replace(shape, seconds=0.2) for call, shape in CALLS.items()}


def test_a_late_answer(make_bench: MakeBench, room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was asked for is done all the same, and asking again gives it."""
    study = make_study()
    sums = {name: make_sums(study, 100, seed=i) for i, name in enumerate(NAMES)}
    gate = Gated(sums["bank-b"].model.vectors.entries)
    sums["bank-b"] = replace(sums["bank-b"], training=gate)
    bench = make_bench(study, sums)
    run = bench.open_run()
    content = bench.sign(run.request())
    with serving(bench.custodian("bank-b"), UnixSocket(room)):
        with connected(room) as hasty, monkeypatch.context() as soon:
            soon.setattr(remote_custodian, "CALLS", in_a_moment())
            with pytest.raises(RunError, match="found DEADLINE_EXCEEDED: see its load"):
                hasty.release(content, bench.parameters())
        gate.gate.set()
        with connected(room) as patient:
            answer = patient.release(content, bench.parameters())
    assert isinstance(answer, CommitmentReply)
    assert gate.sums == 1
    run.answer("bank-b", run.request())
    assert gate.sums == 1
    assert bench.ledger("bank-b").position().sequence == 1


def test_a_message_that_is_too_large(bench: Bench, room: Path) -> None:
    with served(bench, "bank-b", room) as remote:
        with pytest.raises(RunError, match="RESOURCE_EXHAUSTED"):
            remote.release(b"", bytes(LARGEST_FRAME))
        assert isinstance(remote.describe(bench.study.id), HelloAnswer)


# -- another version ------------------------------------------------------------------------------


def test_a_custodian_of_another_version_is_named_as_one(
    bench: Bench, room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It knows other fields, and would refuse for good what it read wrong."""
    with served(bench, "bank-b", room) as remote:
        assert isinstance(remote.describe(bench.study.id), HelloAnswer)
        monkeypatch.setattr(calls, "SERVICE", "fieldfare.custodian.v1.Custodian")
        with pytest.raises(RunError, match="UNIMPLEMENTED: run the same version of both"):
            remote.describe(bench.study.id)
        sent: dict[str, Any] = {"study": bench.study.id.encode(), "last_reply": b""}
        app = client_app(lambda _: remote.port)
        message = Message(
            RecordDict({RECORD: ConfigRecord(sent)}),
            dst_node_id=FIRST_NODE,
            message_type=Call.HELLO.message_type,
        )
        (reply,) = InProcessGrid(app, {"bank-b": FIRST_NODE}).send_and_receive([message])
        assert reply.has_error()  # which a coordinator asks again, and no refusal


def test_the_environment_chooses_no_proxy(
    bench: Bench, room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("grpc_proxy", "https_proxy", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with served(bench, "bank-b", room) as remote:
        assert isinstance(remote.describe(bench.study.id), HelloAnswer)


# -- a whole run -----------------------------------------------------------------------------------


def run_over_sockets(bench: Bench, room: Path, *, leave_out: str = "") -> Outcome:
    """One run in which every ClientApp has a socket and nothing else of its institution."""
    federation = bench.federation
    with ExitStack() as stack:
        far: dict[str, CustodianPort] = {}
        for name in bench.names:
            path = room.with_name(f"{name}.sock")
            if name != leave_out:
                stack.enter_context(serving(bench.custodian(name), UnixSocket(path)))
            far[name] = stack.enter_context(connected(path)).port
        app = client_app(lambda context: far[str(context.node_config["institution"])])
        nodes = {name: FIRST_NODE + index for index, name in enumerate(bench.names)}
        return federation.run(federation.job("over-sockets"), InProcessGrid(app, nodes))


def three_banks(make_bench: MakeBench) -> Bench:
    study = make_study()
    return make_bench(
        study, {name: make_sums(study, 100, seed=i) for i, name in enumerate(NAMES[:3])}
    )


def test_three_institutions_run_over_their_sockets(make_bench: MakeBench, room: Path) -> None:
    bench = three_banks(make_bench)
    outcome = run_over_sockets(bench, room)
    assert outcome.participants == tuple(NAMES[:3])
    plan = bench.plan
    planned = plan.run_costs.total
    for name in bench.names:
        assert bench.ledger(name).spent() == planned
        bench.ledger(name).verify()


def test_an_institution_whose_custodian_is_down_is_absent(bench: Bench, room: Path) -> None:
    outcome = run_over_sockets(bench, room, leave_out="bank-d")
    assert outcome.participants == tuple(NAMES[:3])
