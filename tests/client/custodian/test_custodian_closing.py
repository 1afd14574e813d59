"""What comes beside a run: offers of studies, heads to co-sign, finished models."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import pytest
from tests.support.federations.bench import (
    NAMES,
    STEPS,
    Bench,
    MakeBench,
    Run,
    evaluate,
    make_study,
)

from fieldfare.client.custodian.custodian import Custodian
from fieldfare.client.custodian.ports import HelloAnswer, ModelEvidence, NoInbox
from fieldfare.client.sums.study_sums import StudySums
from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.errors import LedgerError, PolicyRefusal, RefusalCode
from fieldfare.shared.protocol.delivery import Delivery
from fieldfare.shared.protocol.messages import (
    IdentitySigner,
    Refusal,
    ReleaseKind,
    parameters_to_bytes,
    sign_envelope,
)
from fieldfare.shared.protocol.roster import COORDINATOR
from fieldfare.shared.protocol.signed_files import offer_study
from fieldfare.shared.run.replay import model_hash
from fieldfare.shared.study.study import Study
from fieldfare.shared.transcript.heads import CosignedHead, ShownLog
from fieldfare.shared.transcript.leaves import EndRecord, Leaf, ModelRecord, tree_head

NAME: Final = "bank-b"
MALFORMED: Final = Refusal(RefusalCode.MALFORMED)
BAD_SIGNATURE: Final = Refusal(RefusalCode.BAD_SIGNATURE)
UNKNOWN_STUDY: Final = Refusal(RefusalCode.UNKNOWN_STUDY)
UNKNOWN_RUN: Final = Refusal(RefusalCode.UNKNOWN_RUN)
LEAVES: Final = [EndRecord(state="stopped", reason=str(place)).leaf() for place in range(20)]
HASHES: Final = [leaf.hash for leaf in LEAVES]


@dataclass(frozen=True)
class Box(NoInbox):
    """An inbox in memory, which may refuse."""

    offered: list[tuple[bytes, Study]] = field(default_factory=list)
    models: list[tuple[Delivery, bytes, bytes, bytes]] = field(default_factory=list)
    evidence: list[ModelEvidence] = field(default_factory=list)
    error: Exception | None = None

    def study_offered(self, offer: bytes, study: Study) -> None:
        self._fail()
        self.offered.append((offer, study))

    def delivered(
        self,
        delivery: Delivery,
        envelope: bytes,
        model: bytes,
        card: bytes,
        evidence: ModelEvidence,
    ) -> None:
        self._fail()
        self.evidence.append(evidence)
        self.models.append((delivery, envelope, model, card))

    def _fail(self) -> None:
        if self.error:
            raise self.error


def give_inbox(bench: Bench, error: Exception | None = None) -> Box:
    """Put a custodian with an inbox in place of one, over the same ledger and keys."""
    box, old = Box(error=error), bench.custodian(NAME)
    custodian = Custodian(bench.party(NAME), bench.ledger(NAME), old._noise._source, None, box)
    custodian.approve(bench.study, lambda: bench.sums[NAME])
    bench.remembers(NAME, custodian)
    return box


def coordinator(bench: Bench) -> Any:
    return bench.federation.identities.coordinator


def given(sums: StudySums) -> StudySums:
    return sums


# -- offers --------------------------------------------------------------------------------------


def test_an_unknown_study_goes_to_the_inbox_and_is_refused(bench: Bench) -> None:
    box, study = give_inbox(bench), make_study(name="another")
    offer = offer_study(study, coordinator(bench))
    for _ in range(2):  # what is kept twice is the inbox's own affair
        assert bench.custodian(NAME).describe(study.id, b"", offer) == UNKNOWN_STUDY
    assert box.offered == [(offer, study)] * 2
    assert bench.custodian(NAME).describe(study.id) == UNKNOWN_STUDY
    assert box.offered == [(offer, study)] * 2


def test_an_approved_study_is_answered_and_its_offer_kept_by_nobody(bench: Bench) -> None:
    box = give_inbox(bench)
    offer = offer_study(bench.study, coordinator(bench))
    approval = bench.custodian(NAME).describe(bench.study.id)
    assert isinstance(approval, HelloAnswer)
    for sent in (offer, b"rubbish", b""):
        assert bench.custodian(NAME).describe(bench.study.id, b"", sent) == approval
    assert box.offered == []


def test_an_offer_by_somebody_else_or_of_another_study_is_not_kept(bench: Bench) -> None:
    box, study = give_inbox(bench), make_study(name="another")
    honest = offer_study(study, coordinator(bench))
    forged = offer_study(study, bench.federation.identities.signers["bank-a"])
    custodian = bench.custodian(NAME)
    assert custodian.describe(study.id, b"", forged) == BAD_SIGNATURE
    assert custodian.describe("0" * 64, b"", honest) == MALFORMED
    assert custodian.describe(study.id, b"", b"rubbish") == MALFORMED
    assert custodian.describe(study.id, b"", honest[:-1]) == MALFORMED
    assert box.offered == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PolicyRefusal(RefusalCode.UNKNOWN_STUDY, "too many"), RefusalCode.UNKNOWN_STUDY),
        (LedgerError("the disk is full"), RefusalCode.LEDGER_UNAVAILABLE),
    ],
)
def test_what_an_inbox_cannot_keep_is_refused(
    error: Exception, code: RefusalCode, bench: Bench
) -> None:
    give_inbox(bench, error)
    study = make_study(name="another")
    offer = offer_study(study, coordinator(bench))
    assert bench.custodian(NAME).describe(study.id, b"", offer) == Refusal(code)


def test_a_custodian_that_is_behind_takes_no_offer(bench: Bench) -> None:
    box, study = give_inbox(bench), make_study(name="another")
    bench.ledger(NAME).close()
    offer = offer_study(study, coordinator(bench))
    broken = Refusal(RefusalCode.LEDGER_UNAVAILABLE)
    assert bench.custodian(NAME).describe(study.id, b"", offer) == broken
    assert box.offered == []


# -- heads ---------------------------------------------------------------------------------------


def head(run: Run, size: int, /, **changes: object) -> bytes:
    body = tree_head(run.bench.study.id, run.federation.run, HASHES[:size])
    return sign_envelope(body.model_copy(update=changes), COORDINATOR, coordinator(run.bench))


def cosign(
    run: Run, content: bytes, leaves: Sequence[Leaf] = (), name: str = NAME
) -> bytes | Refusal:
    shown = ShownLog(content, b"\n".join(leaf.to_bytes() for leaf in leaves))
    return run.bench.custodian(name).cosign(run.bench.study.id, run.federation.run, shown)


def test_a_log_that_grows_is_cosigned_again_and_again(bench: Bench) -> None:
    run = bench.open_run()
    for size in (1, 2, 7, 8, 20):
        cosigned = cosign(run, head(run, size), LEAVES[:size])
        assert isinstance(cosigned, bytes)
        found = bench.party("bank-a").from_member(cosigned, CosignedHead, NAME).body
        assert found.head == tree_head(bench.study.id, run.federation.run, HASHES[:size])
        assert (found.checked, found.misfit) == ("recomputed", None)  # there is no sum
    assert bench.ledger(NAME).spent() == 0


def test_a_log_that_is_too_large_to_show_is_signed_by_its_hashes(bench: Bench) -> None:
    run = bench.open_run()
    shown = ShownLog(head(run, 20), hashes=b"".join(HASHES))
    cosigned = bench.custodian(NAME).cosign(bench.study.id, run.federation.run, shown)
    assert isinstance(cosigned, bytes)
    found = bench.party("bank-a").from_member(cosigned, CosignedHead, NAME).body
    assert (found.checked, found.misfit) == ("hashes only", None)


def test_the_first_leaf_that_does_not_fit_is_signed(bench: Bench) -> None:
    """A member that found something says so under its name; nobody has to believe it."""
    run = bench.open_run()
    leaves = [*LEAVES[:3], ModelRecord(model="0" * 64, steps=1).leaf(), *LEAVES[3:5]]
    hashes = [leaf.hash for leaf in leaves]
    body = tree_head(bench.study.id, run.federation.run, hashes)
    cosigned = cosign(run, sign_envelope(body, COORDINATOR, coordinator(bench)), leaves)
    assert isinstance(cosigned, bytes)
    assert bench.party("bank-a").from_member(cosigned, CosignedHead, NAME).body.misfit == 3


@pytest.mark.parametrize("restart", [False, True])
def test_a_head_that_was_cosigned_is_cosigned_again(bench: Bench, *, restart: bool) -> None:
    run = bench.open_run()
    first = cosign(run, head(run, 5), LEAVES[:5])
    if restart:
        bench.restart(NAME)
    assert cosign(run, head(run, 5), LEAVES[:5]) == first


@pytest.mark.parametrize("restart", [False, True])
def test_a_log_that_shrank_changed_or_is_not_shown_is_not_cosigned(
    bench: Bench, *, restart: bool
) -> None:
    run = bench.open_run()
    assert isinstance(cosign(run, head(run, 5), LEAVES[:5]), bytes)
    if restart:  # what was co-signed is on the disk
        bench.restart(NAME)
    rewritten = [*LEAVES[:3], LEAVES[19], *LEAVES[4:9]]
    other = tree_head(bench.study.id, run.federation.run, [leaf.hash for leaf in rewritten])
    changed = sign_envelope(other, COORDINATOR, coordinator(bench))
    refused: list[tuple[bytes, Sequence[Leaf]]] = [
        (head(run, 4), LEAVES[:4]),
        (head(run, 0), ()),
        (head(run, 5, root="0" * 64), LEAVES[:5]),
        (head(run, 9), ()),
        (head(run, 9), LEAVES[:8]),
        (head(run, 9), rewritten),
        (head(run, 17, root="13" * 32), ()),
        (changed, rewritten),
    ]
    for content, given in refused:
        assert cosign(run, content, given) == MALFORMED
    assert isinstance(cosign(run, head(run, 9), LEAVES[:9]), bytes)


def test_a_head_by_somebody_else_is_not_cosigned(bench: Bench) -> None:
    run = bench.open_run()
    body = tree_head(bench.study.id, run.federation.run, HASHES[:5])
    identities = bench.federation.identities
    for signer_id, signer in (
        ("bank-a", identities.signers["bank-a"]),
        (COORDINATOR, identities.signers["bank-a"]),
        (NAME, identities.signers[NAME]),
    ):
        assert cosign(run, sign_envelope(body, signer_id, signer), LEAVES[:5]) == BAD_SIGNATURE
    assert cosign(run, b"rubbish") == MALFORMED
    assert isinstance(cosign(run, head(run, 2), LEAVES[:2]), bytes)  # none of them counted


def test_a_head_is_of_the_run_that_is_asked_for(bench: Bench) -> None:
    run, other = bench.open_run(), bench.open_run()
    assert cosign(run, head(other, 5), LEAVES[:5]) == MALFORMED
    assert cosign(run, head(run, 5, study="0" * 64), LEAVES[:5]) == MALFORMED
    custodian, study = bench.custodian(NAME), bench.study.id
    shown = ShownLog(head(run, 5))
    assert custodian.cosign("0" * 64, run.federation.run, shown) == UNKNOWN_STUDY
    assert custodian.cosign(study, "elsewhere", shown) == UNKNOWN_RUN
    # Each run has a log of its own.
    assert isinstance(cosign(run, head(run, 9), LEAVES[:9]), bytes)
    assert isinstance(cosign(other, head(other, 5), LEAVES[:5]), bytes)


def test_an_approval_anew_does_not_forget_what_was_cosigned(bench: Bench) -> None:
    """The study's states go; the head stays beside them, so that no past can be rewritten."""
    run = bench.open_run("r")
    assert isinstance(cosign(run, head(run, 9), LEAVES[:9]), bytes)
    for name in NAMES:
        bench.custodian(name).finish(bench.study.id)
        bench.custodian(name).approve(bench.study, partial(given, bench.sums[name]))
    again = bench.open_run("r")
    assert cosign(again, head(again, 3), LEAVES[:3]) == MALFORMED
    assert isinstance(cosign(again, head(again, 20), LEAVES), bytes)


# -- models --------------------------------------------------------------------------------------


def delivery(run: Run, /, **changes: object) -> Delivery:
    body = Delivery(
        study=run.bench.study.id,
        run=run.federation.run,
        model="0" * 64,
        file=bytes_hash(b"model"),
        card=bytes_hash(b"card"),
    )
    return body.model_copy(update=changes)


def deliver(
    run: Run, body: Delivery, model: bytes = b"model", card: bytes = b"card"
) -> bytes | Refusal:
    content = sign_envelope(body, COORDINATOR, coordinator(run.bench))
    return run.bench.custodian(NAME).deliver(content, model, card)


def finished(bench: Bench) -> Run:
    run = bench.open_run()
    for name in NAMES:
        run.answer(name, run.request(ReleaseKind.EVALUATION, STEPS))
    return run


def test_the_model_that_was_recomputed_is_taken(make_bench: MakeBench) -> None:
    bench = make_bench(make_study(training={"steps": STEPS, "average_last": 1.0}))
    box, run = give_inbox(bench), finished(bench)
    state = run.state(STEPS)
    body = delivery(run, model=model_hash(state))
    assert deliver(run, body) == b""
    content = sign_envelope(body, COORDINATOR, coordinator(bench))
    assert box.models == [(body, content, b"model", b"card")]
    assert box.evidence == [ModelEvidence.RECOMPUTED]
    wrong = [
        bytes_hash(parameters_to_bytes(state.parameters)),  # the last iterate, not the average
        bytes_hash(parameters_to_bytes(run.state(STEPS - 1).model)),
        "0" * 64,
    ]
    for model in wrong:
        assert deliver(run, replace_model(body, model)) == Refusal(RefusalCode.NOT_RECOMPUTED)
    assert len(box.models) == 1
    assert bench.ledger(NAME).position().sequence == STEPS + 1


def replace_model(body: Delivery, model: str) -> Delivery:
    return body.model_copy(update={"model": model})


def test_a_model_is_taken_after_a_restart_too(bench: Bench) -> None:
    run = finished(bench)
    bench.restart(NAME)
    box = give_inbox(bench)
    assert deliver(run, delivery(run)) == Refusal(RefusalCode.NOT_RECOMPUTED)
    assert deliver(run, delivery(run, model=model_hash(run.state(STEPS)))) == b""
    assert len(box.models) == 1


def test_the_model_of_a_run_that_did_not_finish_here_is_not_taken(bench: Bench) -> None:
    """Attack H3: a model of a run that never ran was kept, and `score` ranked with it."""
    box, run = give_inbox(bench), bench.open_run()
    run.answer(NAME, run.request(step=1))
    for body in (delivery(run), delivery(run, run="elsewhere")):
        assert deliver(run, body) == Refusal(RefusalCode.NOT_RECOMPUTED)
    assert box.models == []


def test_a_model_too_large_to_recompute_is_the_one_that_was_evaluated(bench: Bench) -> None:
    box, run = give_inbox(bench), bench.open_run()
    evaluate(bench.ledger(NAME), bench.study.id, run.federation.run, "ab" * 32)
    assert deliver(run, delivery(run)) == Refusal(RefusalCode.NOT_RECOMPUTED)
    assert deliver(run, delivery(run, model="ab" * 32)) == b""
    assert box.evidence == [ModelEvidence.FINISHED]


def test_a_commitment_that_nobody_paid_for_is_no_finished_run(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A free commitment to any model once had it taken as that of a run that finished here."""
    monkeypatch.setattr("fieldfare.shared.protocol.plan.MOST_WORDS", 1)
    bench = make_bench(make_study(aggregation={"opening": "on", "participants": "fixed"}))
    box, run = give_inbox(bench), bench.open_run()
    crafted = bench.parameters(-1.0)
    request = run.request(ReleaseKind.EVALUATION, STEPS, parameters=crafted)
    run.commit(NAME, request)
    body = delivery(run, model=request.parameters)
    assert deliver(run, body) == Refusal(RefusalCode.NOT_RECOMPUTED)
    assert box.models == []
    run.everybody(request)
    run.commit(NAME, run.request(ReleaseKind.EVALUATION, STEPS, 1, parameters=bench.parameters()))
    assert deliver(run, body) == b""
    assert box.evidence == [ModelEvidence.FINISHED]


def test_a_delivery_binds_both_files_and_their_study(bench: Bench) -> None:
    box, run = give_inbox(bench), bench.open_run()
    body = delivery(run)
    assert deliver(run, body, model=b"other") == MALFORMED
    assert deliver(run, body, card=b"other") == MALFORMED
    assert deliver(run, body, model=b"card", card=b"model") == MALFORMED
    assert deliver(run, body, model=b"", card=b"") == MALFORMED
    assert deliver(run, delivery(run, study="0" * 64)) == UNKNOWN_STUDY
    assert box.models == []


@pytest.mark.parametrize("signer_id", ["bank-a", COORDINATOR, NAME])
def test_a_delivery_by_somebody_else_is_not_taken(bench: Bench, signer_id: str) -> None:
    box, run = give_inbox(bench), bench.open_run()
    signer: IdentitySigner | Any = bench.federation.identities.signers[
        NAME if signer_id == NAME else "bank-a"
    ]
    content = sign_envelope(delivery(run), signer_id, signer)
    assert bench.custodian(NAME).deliver(content, b"model", b"card") == BAD_SIGNATURE
    assert bench.custodian(NAME).deliver(b"", b"model", b"card") == MALFORMED
    assert box.models == []


def test_a_repeated_delivery_reaches_the_inbox_which_knows_what_it_has(bench: Bench) -> None:
    box, run = give_inbox(bench), finished(bench)
    body = delivery(run, model=model_hash(run.state(STEPS)))
    assert [deliver(run, body) for _ in range(2)] == [b"", b""]
    assert box.models[0] == box.models[1]


def test_another_model_of_a_run_is_refused_by_the_inbox(bench: Bench) -> None:
    error = PolicyRefusal(RefusalCode.REPLAY_CHANGED, "the model that was delivered before")
    give_inbox(bench, error)
    run = finished(bench)
    body = delivery(run, model=model_hash(run.state(STEPS)))
    assert deliver(run, body) == Refusal(RefusalCode.REPLAY_CHANGED)


def test_a_finished_study_takes_no_more_models_and_signs_no_more_heads(bench: Bench) -> None:
    box, run = give_inbox(bench), bench.open_run()
    bench.custodian(NAME).finish(bench.study.id)
    assert deliver(run, delivery(run)) == UNKNOWN_STUDY
    assert cosign(run, head(run, 1), LEAVES[:1]) == UNKNOWN_STUDY
    assert box.models == []


CALLS: Final[dict[str, Callable[[Run], bytes | Refusal]]] = {
    "cosign": lambda run: cosign(run, head(run, 1), LEAVES[:1]),
    "deliver": lambda run: deliver(run, delivery(run)),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_ledger_that_cannot_be_read_answers_nothing(call: str, bench: Bench) -> None:
    run = bench.open_run()
    bench.ledger(NAME).close()
    assert CALLS[call](run) == Refusal(RefusalCode.LEDGER_UNAVAILABLE)


def test_without_an_inbox_a_delivery_is_looked_at_and_kept_nowhere(bench: Bench) -> None:
    run = finished(bench)
    assert deliver(run, delivery(run, model=model_hash(run.state(STEPS)))) == b""
