"""The ClientApp: whatever stands in a message, a fixed answer; whatever fails, no text."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.federations.bench import NAMES, Bench, make_study, make_sums

from fieldfare.client.custodian.answering import answer as custodian_answer
from fieldfare.client.node.client_app import client_app
from fieldfare.client.sums.study_sums import StudySums
from fieldfare.client.wire.calls import CALLS, REFUSED, REJECTED, CustodianPort
from fieldfare.client.wire.frames import Field, Shape, encode
from fieldfare.shared.errors import (
    AccountingError,
    FieldfareError,
    LedgerError,
    PolicyRefusal,
    ProtocolError,
    RecordsError,
    RefusalCode,
    StudyError,
)
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.flower_record import RECORD, REFUSAL, REJECTION, Call
from fieldfare.shared.protocol.messages import NO_LAST_SUM, LastSum, Refusal
from fieldfare.shared.transcript.heads import ShownLog
from fieldfare.simulations.federation.federation import FIRST_NODE, LocalFederation
from fieldfare.simulations.federation.grid import InProcessGrid

NAME: Final = "bank-b"
NODE: Final = FIRST_NODE + NAMES.index(NAME)
MALFORMED: Final = Refusal(RefusalCode.MALFORMED)
POLICY: Final = Refusal(RefusalCode.POLICY)
UNLIKE: Final = {REFUSED: REJECTED, REJECTED: REFUSED}
VALUE: Final = "customer 4711"


def ask(grid: InProcessGrid, call: Call, record: Any, name: str = RECORD) -> Message:
    """One message through the grid, with any kind of record in it."""
    content = RecordDict({name: record})
    message = Message(content, dst_node_id=NODE, message_type=call.message_type)
    (reply,) = grid.send_and_receive([message])
    return reply


def answer(reply: Message) -> dict[str, Any]:
    assert not reply.has_error(), reply.error
    assert list(reply.content) == [RECORD]
    record = reply.content[RECORD]
    assert isinstance(record, ConfigRecord)
    return dict(record)


def refusal(reply: Message) -> Refusal:
    content = answer(reply)
    assert list(content) == [REFUSAL]
    return Refusal.from_bytes(content[REFUSAL])


NEEDED: Final[dict[Call, dict[str, Any]]] = {
    Call.HELLO: {"study": b"0" * 64, "last_reply": b""},
    Call.RECALL: {"questions": [b""]},
    Call.OPEN: {"opening": b"", "answers": [b""], "approvals": [b""]},
    Call.AGREE: {"study": b"0" * 64, "run": b"r", "offers": [b""]},
    Call.RELEASE: {"request": b"", "parameters": b""},
    Call.REVEAL: {"request": b"", "statements": [b""]},
    Call.PUBLISH: {"request": b"", "replies": [b""], "vectors": [b""], "statements": [b""]},
    Call.COSIGN: {"study": b"0" * 64, "run": b"r", "head": b""},
    Call.DELIVER: {"delivery": b"", "model": b"", "card": b""},
}
# Left out where there is nothing to say: the first step has no last sum.
OPTIONAL: Final[dict[Call, dict[str, Any]]] = {
    Call.RECALL: {"memories": [b""]},
    Call.HELLO: {"offer": b"", "run": b"", "nonce": b""},
    Call.RELEASE: {
        "last_request": b"",
        "last_replies": [b""],
        "last_vectors": [b""],
        "last_statements": [b""],
    },
    Call.COSIGN: {"log": b"l", "hashes": b"h", "vectors": [b""]},
}
LISTS: Final = {
    *("answers", "approvals", "offers", "last_replies", "last_vectors", "last_statements"),
    *("statements", "vectors", "replies", "questions", "memories"),
}
TEXTS: Final = {"study", "run", "nonce"}
NO_BYTES: Final[list[Any]] = ["text", 1, 1.5, True, [b"x"], ["text"], [1, 2], [1.5]]
NO_LISTS: Final[list[Any]] = [b"x", "text", 1, ["text"], [1], [1.5], [True]]
NO_TEXTS: Final[list[Any]] = [b"\xff", b"x" * 129, "text".encode("utf-16"), "é".encode()]


def malformed() -> list[tuple[Call, dict[str, Any]]]:
    """Every call with every name missing or of every wrong type."""
    rows: list[tuple[Call, dict[str, Any]]] = []
    for call, needed in NEEDED.items():
        rows.append((call, {}))
        for name in needed:
            rows.append((call, {k: v for k, v in needed.items() if k != name}))
            wrong = NO_LISTS if name in LISTS else NO_BYTES
            wrong = wrong + (NO_TEXTS if name in TEXTS else [])
            rows += [(call, needed | {name: value}) for value in wrong]
        for name in OPTIONAL.get(call, {}):
            wrong = NO_LISTS if name in LISTS else NO_BYTES
            wrong = wrong + (NO_TEXTS if name in TEXTS else [])
            rows += [(call, needed | {name: value}) for value in wrong]
    return rows


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessGrid]:

    study = make_study()
    sums = {name: make_sums(study, 20) for name in NAMES}
    folder = tmp_path_factory.mktemp("ledgers")
    with LocalFederation(study, sums, Protection.EXACT, seed=0, directory=folder) as federation:
        yield federation.grid()


def test_malformed_contents_get_the_fixed_refusal(grid: InProcessGrid) -> None:
    rows = malformed()
    assert len(rows) > 130
    assert {call for call, _ in rows} == set(Call)
    for call, content in rows:
        assert refusal(ask(grid, call, ConfigRecord(content))) == MALFORMED, (call, content)


@pytest.mark.parametrize("call", Call)
def test_a_record_of_another_kind_or_name_gets_it_too(call: Call, grid: InProcessGrid) -> None:
    arrays = ArrayRecord({name: Array(np.zeros(2)) for name in NEEDED[call]})
    metrics = MetricRecord(dict.fromkeys(NEEDED[call], 1.0))
    assert refusal(ask(grid, call, arrays)) == MALFORMED
    assert refusal(ask(grid, call, metrics)) == MALFORMED
    assert refusal(ask(grid, call, ConfigRecord(NEEDED[call]), "another")) == MALFORMED


def test_well_formed_nonsense_is_refused_by_the_custodian_itself(grid: InProcessGrid) -> None:
    codes = {
        Call.HELLO: RefusalCode.UNKNOWN_STUDY,
        Call.RECALL: RefusalCode.MALFORMED,
        Call.OPEN: RefusalCode.MALFORMED,
        Call.AGREE: RefusalCode.UNKNOWN_STUDY,
        Call.RELEASE: RefusalCode.MALFORMED,
        Call.REVEAL: RefusalCode.MALFORMED,
        Call.PUBLISH: RefusalCode.MALFORMED,
        Call.COSIGN: RefusalCode.UNKNOWN_STUDY,
        Call.DELIVER: RefusalCode.MALFORMED,
    }
    assert set(codes) == set(Call)
    for call, code in codes.items():
        whole = NEEDED[call] | OPTIONAL.get(call, {})
        for content in (NEEDED[call], whole):
            assert refusal(ask(grid, call, ConfigRecord(content))) == Refusal(code)


values = st.one_of(
    st.binary(max_size=200),
    st.text(max_size=20),
    st.integers(-(2**31), 2**31),
    st.floats(allow_nan=False),
    st.lists(st.binary(max_size=50), max_size=4),
)


@settings(deadline=None)
@given(
    call=st.sampled_from(Call),
    content=st.dictionaries(
        st.sampled_from(
            sorted({k for table in (NEEDED, OPTIONAL) for part in table.values() for k in part})
        ),
        values,
    ),
)
def test_any_content_gets_a_refusal_and_nothing_else(
    call: Call, content: dict[str, Any], grid: InProcessGrid
) -> None:
    assert isinstance(refusal(ask(grid, call, ConfigRecord(content))), Refusal)


def test_each_call_gets_its_answer_under_its_name(bench: Bench) -> None:
    """And in a whole run no node ever answers with anything else."""
    names: set[tuple[str, tuple[str, ...]]] = set()

    def tap(message: Message) -> None:
        record = message.content[RECORD]
        assert isinstance(record, ConfigRecord)
        if message.metadata.reply_to_message_id:
            names.add((message.metadata.message_type, tuple(sorted(record))))

    bench.federation.run(bench.federation.job(), bench.federation.grid(tap=tap))
    assert names == {
        ("query.release", ("commitment", "vector")),
        ("query.reveal", ("reply",)),
        ("query.hello", ("answer", "approval")),
        ("query.open", ("offer",)),
        ("query.agree", ("agreed",)),
    }


class Recording:
    """A custodian that writes down what it is asked, and refuses."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []

    def __getattr__(self, name: str) -> Any:
        def write_down(*given: Any, **named: Any) -> Refusal:
            self.asked.append((name, named or given))
            return MALFORMED

        return write_down


def test_what_stands_in_a_message_reaches_the_custodian_as_it_is() -> None:
    custodian: Any = Recording()
    port = partial(custodian_answer, custodian)
    grid = InProcessGrid(client_app(lambda _: port), {NAME: NODE})
    questions: dict[Call, dict[str, Any]] = {
        Call.HELLO: {"study": b"s", "last_reply": b"l", "offer": b"o", "run": b"r", "nonce": b"n"},
        Call.RECALL: {"questions": [b"1"], "memories": [b"2", b"3"]},
        Call.OPEN: {"opening": b"o", "answers": [b"3"], "approvals": [b"1", b"2"]},
        Call.AGREE: {"study": b"s", "run": b"r", "offers": [b"1", b""]},
        Call.RELEASE: {
            "request": b"q",
            "parameters": b"p",
            "last_request": b"l",
            "last_replies": [b"1", b"2"],
            "last_vectors": [b"3", b"4"],
            "last_statements": [b"5", b"6"],
        },
        Call.REVEAL: {"request": b"q", "statements": [b"5", b"6"]},
        Call.PUBLISH: {
            "request": b"q",
            "replies": [b"1"],
            "vectors": [b"3"],
            "statements": [b"5", b"6"],
        },
        Call.COSIGN: {
            "study": b"s",
            "run": b"r",
            "head": b"h",
            "log": b"l",
            "vectors": [b"1", b"2"],
        },
        Call.DELIVER: {"delivery": b"d", "model": b"m", "card": b"c"},
    }
    for call, content in questions.items():
        assert refusal(ask(grid, call, ConfigRecord(content))) == MALFORMED
    ask(grid, Call.RELEASE, ConfigRecord({"request": b"q", "parameters": b"p"}))
    ask(grid, Call.COSIGN, ConfigRecord({"study": b"s", "run": b"r", "head": b"h"}))
    ask(grid, Call.HELLO, ConfigRecord({"study": b"s", "last_reply": b""}))
    assert custodian.asked == [
        ("describe", {"study": "s", "last_reply": b"l", "offer": b"o", "run": "r", "nonce": "n"}),
        ("recall", {"questions": (b"1",), "memories": (b"2", b"3")}),
        ("open_run", {"opening": b"o", "answers": (b"3",), "approvals": (b"1", b"2")}),
        ("agree", {"study": "s", "run": "r", "offers": (b"1", b"")}),
        ("release", (b"q", b"p", LastSum(b"l", (b"1", b"2"), (b"3", b"4"), (b"5", b"6")))),
        ("reveal", {"request": b"q", "statements": (b"5", b"6")}),
        ("publish", (LastSum(b"q", (b"1",), (b"3",), (b"5", b"6")),)),
        ("cosign", ("s", "r", ShownLog(b"h", b"l", b"", (b"1", b"2")))),
        ("deliver", {"delivery": b"d", "model": b"m", "card": b"c"}),
        ("release", (b"q", b"p", NO_LAST_SUM)),
        ("cosign", ("s", "r", ShownLog(b"h"))),
        ("describe", {"study": "s", "last_reply": b"", "offer": b"", "run": "", "nonce": ""}),
    ]


# -- answers -------------------------------------------------------------------------------------


def answering(frame: bytes) -> InProcessGrid:
    """A node whose custodian answers everything with the same frame."""

    def port(call: Call, asked: bytes) -> bytes:
        del call, asked
        return frame

    return InProcessGrid(client_app(lambda _: port), {NAME: NODE})


@pytest.mark.parametrize("call", Call)
def test_what_is_no_answer_of_the_call_does_not_leave_the_node(call: Call) -> None:
    """Whatever speaks in the custodian's place, no other field and no other text goes out."""
    value, shape, refused = VALUE.encode(), CALLS[call].answer, CALLS[call].refused
    content: dict[str, Any] = {one.name: [value] if one.empty == [] else value for one in shape}
    frames = [
        b"",
        value,
        encode(shape[1:], content),
        encode((*shape, Field("record")), content | {"record": value}),
        encode((*shape, *refused), content | {REFUSAL: POLICY.to_bytes()}),
        encode(refused, {REFUSAL: value}),
        encode(refused, {REFUSAL: POLICY.to_bytes() + value}),
        encode(UNLIKE[refused], {REFUSAL: POLICY.to_bytes(), REJECTION: value}),
        encode(shape, content) + b"\x12" + bytes([len(value)]) + value,
    ]
    for frame in frames:
        assert refusal(ask(answering(frame), call, ConfigRecord(NEEDED[call]))) == MALFORMED
    assert (
        answer(ask(answering(encode(shape, content)), call, ConfigRecord(NEEDED[call]))) == content
    )


def test_an_answer_is_as_every_version_of_a_coordinator_reads_it() -> None:
    """What is empty and may be missing is left out; an empty answer is there."""
    rejected = {REFUSAL: MALFORMED.to_bytes(), REJECTION: b"signed"}
    rows: list[tuple[Call, Shape, dict[str, Any]]] = [
        (Call.HELLO, CALLS[Call.HELLO].answer, {"approval": b"a"}),
        (Call.AGREE, CALLS[Call.AGREE].answer, {"agreed": b""}),
        (Call.DELIVER, CALLS[Call.DELIVER].answer, {"received": b""}),
        (Call.RECALL, CALLS[Call.RECALL].answer, {"memories": []}),
        (Call.HELLO, REJECTED, rejected),
    ]
    for call, shape, content in rows:
        grid = answering(encode(shape, content))
        assert answer(ask(grid, call, ConfigRecord(NEEDED[call]))) == content


def test_what_a_newer_coordinator_says_beside_is_left_out(grid: InProcessGrid) -> None:
    more = NEEDED[Call.HELLO] | {"newer": b"x", "older": [b"y"]}
    unknown = Refusal(RefusalCode.UNKNOWN_STUDY)
    assert refusal(ask(grid, Call.HELLO, ConfigRecord(more))) == unknown


# -- failures ------------------------------------------------------------------------------------


def failing(error: BaseException) -> Callable[[Context], CustodianPort]:
    """A custodian in which everything goes wrong in the same way."""

    def fail(call: Call, frame: bytes) -> bytes:
        del call, frame
        raise error

    return lambda _: fail


OWN_ERRORS: Final[list[Callable[[str], FieldfareError]]] = [
    AccountingError,
    LedgerError,
    RecordsError,
    StudyError,
    lambda text: PolicyRefusal(RefusalCode.NOT_IN_PLAN, text),
]


@pytest.mark.parametrize("call", Call)
@pytest.mark.parametrize("make", OWN_ERRORS)
def test_an_error_inside_is_answered_without_its_text(
    make: Callable[[str], FieldfareError], call: Call
) -> None:
    grid = InProcessGrid(client_app(failing(make(VALUE))), {NAME: NODE})
    reply = ask(grid, call, ConfigRecord(NEEDED[call]))
    assert reply.has_error()
    assert VALUE not in repr(vars(reply.error)) + repr(vars(reply.metadata))
    assert type(make(VALUE)).__name__ not in repr(vars(reply.error))


@pytest.mark.parametrize("call", Call)
def test_a_defect_inside_shows_no_text_to_whoever_runs_the_app(call: Call) -> None:
    """Flower's own nodes send str(error) to the coordinator."""
    app = client_app(failing(ValueError(VALUE)))
    grid = InProcessGrid(app, {NAME: NODE})
    with pytest.raises(RuntimeError) as found:
        ask(grid, call, ConfigRecord(NEEDED[call]))
    assert VALUE not in str(found.value)
    assert VALUE in str(found.value.__cause__), "the local traceback keeps the cause"


def test_a_node_without_a_custodian_shows_no_text_either() -> None:
    def nobody(context: Context) -> CustodianPort:
        raise RecordsError(f"{VALUE} {context.node_id}")

    grid = InProcessGrid(client_app(nobody), {NAME: NODE})
    reply = ask(grid, Call.HELLO, ConfigRecord(NEEDED[Call.HELLO]))
    assert reply.has_error()
    assert VALUE not in repr(vars(reply.error))


@pytest.mark.parametrize("call", Call)
def test_a_refusal_that_a_custodian_raises_is_its_code(call: Call) -> None:
    error = ProtocolError(VALUE, RefusalCode.BAD_KEYS)
    grid = InProcessGrid(client_app(failing(error)), {NAME: NODE})
    reply = ask(grid, call, ConfigRecord(NEEDED[call]))
    assert refusal(reply) == Refusal(RefusalCode.BAD_KEYS)
    assert VALUE not in repr(answer(reply))


def test_an_interruption_is_not_swallowed() -> None:
    grid = InProcessGrid(client_app(failing(KeyboardInterrupt())), {NAME: NODE})
    with pytest.raises(KeyboardInterrupt):
        ask(grid, Call.HELLO, ConfigRecord(NEEDED[Call.HELLO]))


def test_an_exception_over_records_shows_none_of_them(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def vector(self: StudySums, *_: Any) -> Any:
        raise RecordsError(f"row {VALUE}")

    run = bench.open_run()
    request = run.request()
    monkeypatch.setattr(StudySums, "vector", vector)
    content: dict[str, Any] = {"request": bench.sign(request), "parameters": bench.parameters()}
    reply = ask(bench.federation.grid(), Call.RELEASE, ConfigRecord(content))
    assert reply.has_error()
    assert VALUE not in repr(vars(reply.error))
    assert bench.ledger(NAME).spent() == 0
