from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from tests.support.federations.bench import Bench, MakeBench, make_study
from tests.support.runs.transcripts import Recorder

from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.messages import (
    Commitment,
    ReleaseKind,
    Reply,
    Request,
    open_envelope,
    statements_hash,
)
from fieldfare.shared.ring import decode, encode
from fieldfare.shared.run.replay import (
    add_words,
    decoded_sum,
    initial_state,
    model_hash,
    state_hash,
    stepped,
    words_hash,
)
from fieldfare.shared.transcript.file import Misfit
from fieldfare.shared.transcript.leaves import (
    EndRecord,
    Leaf,
    LeafKind,
    MetricsRecord,
    ModelRecord,
    ParametersRecord,
    SumRecord,
)

H = "0" * 64
STEP_0 = 1  # the second request, and the second sum: the first are the rehearsal's


def found_in(recorder: Recorder, content: bytes) -> Misfit:
    found = recorder.audit(content).misfit
    assert found is not None, "the lie was not found"
    return found


# -- replies ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"request": H}, "request"),
        ({"institution": "bank-c"}, "signature"),
        ({"signer": "bank-c"}, "signature"),
        ({"answer": H}, "answer"),
        ({"debit": 1}, "debit"),
        ({"epoch": 9}, "epoch"),
        ({"institution": "bank-a", "signer": "bank-a"}, "order"),
    ],
)
def test_a_reply_that_does_not_fit_is_named(
    recorded: Recorder, changes: Mapping[str, Any], reason: str
) -> None:
    at = recorded.find(LeafKind.REPLY, 5)
    found = recorded.misfit_with(at, recorded.forged(at, Reply, **changes))
    assert (found.leaf, found.kind, found.step) == (at, "reply", 0)
    assert found.institution == changes.get("institution", "bank-b")
    assert reason in found.reason


def test_a_reply_by_somebody_who_was_not_asked_is_named(recorded: Recorder) -> None:
    at = recorded.find(LeafKind.REPLY, -2)  # bank-b's, after bank-c was lost
    found = recorded.misfit_with(
        at, recorded.forged(at, Reply, institution="bank-c", signer="bank-c")
    )
    assert (found.leaf, found.institution) == (at, "bank-c")
    assert "participant" in found.reason


def test_a_reply_that_signs_another_vector_than_it_committed_to_is_named(
    recorded: Recorder,
) -> None:
    at = recorded.find(LeafKind.REPLY, 5)
    found = recorded.misfit_with(at, recorded.forged(at, Reply, vector=H))
    assert (found.leaf, found.kind) == (at, "reply")
    assert "the vector of the commitment" in found.reason


# -- sums -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"request": H}, "request"),
        ({"participants": ("bank-a", "bank-b", "bank-d")}, "who answered"),
        ({"words": H}, "sum of the vectors"),
    ],
)
def test_a_sum_that_does_not_fit_is_named(
    recorded: Recorder, changes: Mapping[str, Any], reason: str
) -> None:
    at = recorded.find(LeafKind.SUM, STEP_0)
    record = SumRecord.from_bytes(recorded.leaves[at].content).model_copy(update=changes)
    found = recorded.misfit_with(at, record.leaf())
    assert (found.leaf, found.kind, found.step) == (at, "sum", 0)
    assert reason in found.reason


def poisoned(recorder: Recorder, number: int, amount: int) -> bytes:
    """One member signs a vector of its own; the coordinator adds it up as it came.

    All the others open for the list that has its commitment: they cannot know.
    """
    total, count = recorder.find(LeafKind.SUM, number), len(recorder.present)
    replies, promised = range(total - count, total), range(total - 2 * count, total - count)
    at, first = replies[0], promised[0]
    reply, request = body(recorder, at, Reply), body(recorder, first - 1, Request)
    terms = recorder.bench.plan.terms(request.kind)
    bits, entries = terms.word_bits, terms.vectors.entries
    words = decode(recorder.blobs[reply.vector], bits, entries)
    words[0] += np.uint64(amount)
    vector = encode(words, bits)
    others = [recorder.blobs[body(recorder, i, Reply).vector] for i in replies[1:]]
    seeds = [body(recorder, i, Reply).seed for i in replies]
    added = words_hash(add_words([vector, *others], bits, entries, seeds), bits)
    blobs = dict(recorder.blobs)
    recorder.blobs = {k: v for k, v in blobs.items() if k != reply.vector}
    recorder.blobs[bytes_hash(vector)] = vector

    def lie(leaves: list[Leaf]) -> None:
        leaves[first] = recorder.forged(first, Commitment, vector=bytes_hash(vector))
        listed = statements_hash([leaves[i].content for i in promised])
        for i in replies:
            own = {"vector": bytes_hash(vector)} if i == at else {}
            leaves[i] = recorder.forged(i, Reply, statements=listed, **own)
        record = SumRecord.from_bytes(leaves[total].content)
        leaves[total] = record.model_copy(update={"words": added}).leaf()

    try:
        return recorder.lie(lie)
    finally:
        recorder.blobs = blobs


def body(recorder: Recorder, at: int, kind: Any) -> Any:
    roster = recorder.bench.federation.identities.roster
    return open_envelope(recorder.leaves[at].content, kind, roster, Protection.EXACT).body


@pytest.fixture
def complete(bench: Bench) -> Recorder:
    """A finished run that lost nobody."""
    return Recorder(bench).open().finish()


def test_a_sum_out_of_range_is_named(complete: Recorder) -> None:
    found = found_in(complete, poisoned(complete, STEP_0, 1 << 60))
    assert (found.kind, found.step) == ("sum", 0)
    assert "out of range" in found.reason


def test_a_small_poison_moves_the_parameters(complete: Recorder) -> None:
    """A sum within range is a member's word; what follows from it is still recomputed."""
    found = found_in(complete, poisoned(complete, STEP_0, 1 << 20))
    assert (found.kind, found.step) == ("parameters", 0)


LOCAL = make_study(training={"mode": "local", "steps": 3, "local_steps": 4})


@pytest.fixture
def local(make_bench: MakeBench) -> Recorder:
    """A finished run in local mode."""
    return Recorder(make_bench(LOCAL)).open().finish()


def test_local_changes_are_averaged_again_over_those_who_are_in(make_bench: MakeBench) -> None:
    """Custodians followed it before; the audit takes every average again, to the model."""
    local = Recorder(make_bench(LOCAL)).open().finish(lost={1: ["bank-c"]})
    report, plan = local.audit(), local.bench.plan
    assert report.misfit is None, report.misfit
    assert local.state is not None
    assert report.model == model_hash(local.state)
    assert (report.steps, report.recomputed, report.sums) == (3, 5, 5)
    stayed = max(4 * plan.training.cost, plan.evaluation.cost)
    assert report.institutions["bank-a"].spent.debits == stayed


@pytest.mark.parametrize(
    ("poison", "kind", "reason"),
    [(1 << 36, "sum", "within 64"), (1 << 20, "parameters", "follow from the sum")],
)
def test_local_changes_of_which_one_was_poisoned_are_named(
    local: Recorder, poison: int, kind: str, reason: str
) -> None:
    """Four institutions move a parameter by 16 each at most."""
    found = found_in(local, poisoned(local, STEP_0, poison))
    assert (found.kind, found.step) == (kind, 0)
    assert reason in found.reason


def test_an_average_over_others_than_those_who_are_in_is_named(local: Recorder) -> None:
    """As if the coordinator had divided by three where four answered."""
    start = initial_state(local.bench.study)
    terms, at = local.bench.plan.training, local.find(LeafKind.PARAMETERS)
    last = local.find(LeafKind.SUM, 1)
    replies = [body(local, i, Reply) for i in range(last - 4, last)]
    vectors, seeds = [local.blobs[one.vector] for one in replies], [one.seed for one in replies]
    total = add_words(vectors, terms.word_bits, terms.vectors.entries, seeds)
    values = decoded_sum(total, terms, 4)
    honest = ParametersRecord.from_bytes(local.leaves[at].content)
    right, wrong = (state_hash(stepped(local.bench.plan, start, values, n)) for n in (4, 3))
    assert honest.parameters == right
    found = local.misfit_with(at, honest.model_copy(update={"parameters": wrong}).leaf())
    assert (found.kind, found.step) == ("parameters", 0)


def test_nothing_follows_a_rehearsal_with_a_remainder(complete: Recorder) -> None:
    found = found_in(complete, poisoned(complete, 0, 1))
    assert (found.kind, found.step) == ("request", 0)
    assert found.reason == "expected end or keys, found request"


# -- order ------------------------------------------------------------------------------


@pytest.mark.parametrize("ended", [False, True])
def test_a_sum_may_not_be_thrown_away(complete: Recorder, *, ended: bool) -> None:
    """Everybody answered; the coordinator would rather have another sum."""
    start = complete.find(LeafKind.SUM, STEP_0)
    attempt = complete.find(LeafKind.REQUEST, STEP_0)

    def lie(leaves: list[Leaf]) -> None:
        again = complete.forged(attempt, Request, attempt=1)
        end = [EndRecord(state="failed", reason="killed").leaf()] if ended else []
        leaves[start:] = [*end, again, *leaves[start:]]

    found = found_in(complete, complete.lie(lie))
    assert (found.leaf, found.kind) == (start, "end" if ended else "request")
    assert "the sum of an attempt that everybody answered" in found.reason


def test_nobody_joins_for_another_attempt(bench: Bench) -> None:
    recorder = Recorder(bench).open()
    recorder.rehearse()
    three = recorder.request(ReleaseKind.TRAINING, 0, 0, recorder.present[:3])
    recorder.ask(three, silent=["bank-a"])
    recorder.ask(recorder.request(ReleaseKind.TRAINING, 0, 1), silent=["bank-a"])
    recorder.sign_head()
    found = found_in(recorder, recorder.to_bytes())
    assert (found.leaf, found.kind) == (recorder.find(LeafKind.REQUEST, -1), "request")
    assert "same or fewer participants" in found.reason


@pytest.mark.parametrize("attempt", [1, 2])
def test_an_attempt_may_not_be_left_out(complete: Recorder, attempt: int) -> None:
    at = complete.find(LeafKind.REQUEST, STEP_0)
    found = complete.misfit_with(at, complete.forged(at, Request, attempt=attempt))
    assert found.leaf == at
    assert "attempt" in found.reason


def test_attempts_do_not_repeat_with_another_request(recorded: Recorder) -> None:
    at = recorded.find(LeafKind.REQUEST, 3)  # the second attempt of step 1
    found = recorded.misfit_with(at, recorded.forged(at, Request, attempt=0))
    assert "expected the next attempt: 1; found: 0" in found.reason


def test_attempts_are_limited(bench: Bench) -> None:
    recorder = Recorder(bench).open()
    recorder.rehearse()
    for attempt in range(bench.study.aggregation.attempts + 1):
        request = recorder.request(ReleaseKind.TRAINING, 0, attempt)
        recorder.ask(request, silent=recorder.present)
    recorder.end("failed", "nobody answered")
    recorder.sign_head()
    found = found_in(recorder, recorder.to_bytes())
    assert (found.kind, found.step) == ("request", 0)
    assert "at most 3 attempts" in found.reason


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (LeafKind.PARAMETERS, "parameters"),
        (LeafKind.METRICS, "metrics"),
        (LeafKind.MODEL, "model"),
        (LeafKind.SUM, "commitment or end or hello or reply or request or sum"),
    ],
)
def test_nothing_may_be_left_out(recorded: Recorder, kind: LeafKind, expected: str) -> None:
    at = recorded.find(kind)

    def lie(leaves: list[Leaf]) -> None:
        del leaves[at]

    found = found_in(recorded, recorded.lie(lie))
    assert found.leaf in {at, at + 1}
    assert expected in found.reason or kind is LeafKind.SUM


def test_a_step_is_not_answered_twice(complete: Recorder) -> None:
    start, end = complete.find(LeafKind.REQUEST, STEP_0), complete.find(LeafKind.REQUEST, 2)

    def lie(leaves: list[Leaf]) -> None:
        leaves[end:end] = leaves[start:end]

    found = found_in(complete, complete.lie(lie))
    assert (found.leaf, found.kind) == (end, "request")
    assert "the next step: 1; found: 0" in found.reason


# -- what follows -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "record", "changes", "reason"),
    [
        (LeafKind.PARAMETERS, ParametersRecord, {"step": 2}, "step"),
        (LeafKind.PARAMETERS, ParametersRecord, {"parameters": H}, "follow from the sum"),
        (LeafKind.MODEL, ModelRecord, {"model": H}, "evaluated"),
        (LeafKind.MODEL, ModelRecord, {"steps": 2}, "step"),
    ],
)
def test_a_record_that_does_not_follow_is_named(
    recorded: Recorder, kind: LeafKind, record: Any, changes: dict[str, Any], reason: str
) -> None:
    at = recorded.find(kind)
    honest = record.from_bytes(recorded.leaves[at].content)
    found = recorded.misfit_with(at, honest.model_copy(update=changes).leaf())
    assert (found.leaf, found.kind) == (at, kind.value)
    assert reason in found.reason


def test_crafted_parameters_in_a_request_are_named(recorded: Recorder) -> None:
    at = recorded.find(LeafKind.REQUEST, 2)
    found = recorded.misfit_with(at, recorded.forged(at, Request, parameters=H))
    assert (found.leaf, found.kind, found.step) == (at, "request", 1)
    assert "the parameters that follow" in found.reason


def test_a_run_that_starts_elsewhere_is_named(recorded: Recorder) -> None:
    at = recorded.find(LeafKind.REQUEST)
    found = recorded.misfit_with(at, recorded.forged(at, Request, parameters=H))
    assert (found.leaf, found.step) == (at, 0)
    assert "prevalence" in found.reason


def test_an_evaluation_of_another_model_is_named(recorded: Recorder) -> None:
    at = recorded.find(LeafKind.REQUEST, -1)
    before = recorded.leaves[recorded.find(LeafKind.PARAMETERS, -2)].content
    earlier = ParametersRecord.from_bytes(before).parameters
    found = recorded.misfit_with(at, recorded.forged(at, Request, parameters=earlier))
    assert (found.leaf, found.kind) == (at, "request")


def test_a_record_that_is_none_is_named(recorded: Recorder) -> None:
    for kind in (LeafKind.SUM, LeafKind.PARAMETERS, LeafKind.METRICS, LeafKind.MODEL):
        at = recorded.find(kind)
        found = recorded.misfit_with(at, Leaf(kind, MetricsRecord(metrics="").to_bytes() + b" "))
        assert (found.leaf, found.kind) == (at, kind.value)
