"""Runs that a coordinator made alone, or with a few members, and the stranger's verifier."""

import runpy
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tests.support.network.witnesses import SpecWitness
from tests.support.runs.transcripts import Recorder
from tests.support.runs.witnessed import heads_of, witnessed

from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.messages import (
    ReleaseKind,
    Reply,
    Request,
    RunOpening,
    open_envelope,
    parameters_hash,
)
from fieldfare.shared.run.replay import (
    decoded_sum,
    initial_state,
    model_hash,
    state_hash,
    stepped,
    words_hash,
)
from fieldfare.shared.transcript import merkle
from fieldfare.shared.transcript.heads import CosignedHead
from fieldfare.shared.transcript.leaves import (
    Leaf,
    LeafKind,
    ModelRecord,
    ParametersRecord,
    SumRecord,
)

PROGRAM = Path(__file__).parents[2] / "docs" / "verifier" / "verify.py"
WITNESS = SpecWitness("w.example/1")


def said(lie: Recorder, folder: Path) -> str:
    (folder / "run.transcript").write_bytes(lie.to_bytes())
    (folder / "run.witnessed").write_bytes(witnessed(lie, heads_of(lie), [WITNESS]))
    main = runpy.run_path(str(PROGRAM))["main"]
    return str(main(folder, lie.trust.roster_key, WITNESS.key.text))


def copied(recorded: Recorder, leaves: Sequence[Leaf]) -> Recorder:
    return Recorder(recorded.bench, recorded.run, list(leaves), dict(recorded.blobs))


def opened_by_nobody(lie: Recorder, number: int) -> None:
    roster = lie.bench.federation.identities.roster.hash
    opening = RunOpening(
        study=lie.bench.study.id, roster=roster, run=lie.run, number=number, participants=()
    )
    lie.leaves.append(Leaf(LeafKind.OPENING, lie.signed(opening)))
    lie.opening = opening.hash


def summed_of_nobody(lie: Recorder, request: Request) -> None:
    """A request to nobody, a sum of nothing, and the step that follows from it."""
    assert lie.state is not None
    asked = request.model_copy(
        update={
            "opening": lie.opening,
            "step": lie.state.step,
            "attempt": 0,
            "participants": (),
            "n": 0,
            "parameters": parameters_hash(lie.parameters(request.kind)),
        }
    )
    terms = lie.bench.plan.terms(asked.kind)
    zeros = np.zeros(terms.vectors.entries, asked.dtype)
    words = words_hash(zeros, terms.word_bits)
    lie.leaves += [
        Leaf(LeafKind.REQUEST, lie.signed(asked)),
        SumRecord.model_construct(request=asked.hash, participants=(), words=words).leaf(),
    ]
    if asked.kind is ReleaseKind.TRAINING:
        lie.state = stepped(lie.bench.plan, lie.state, decoded_sum(zeros, terms, 4), 4)
        record = ParametersRecord(step=lie.state.step, parameters=state_hash(lie.state))
        lie.leaves.append(record.leaf())


def requests(recorded: Recorder) -> dict[ReleaseKind, Request]:
    roster = recorded.bench.federation.identities.roster
    found = [one.content for one in recorded.leaves if one.kind is LeafKind.REQUEST]
    bodies = [open_envelope(one, Request, roster, Protection.EXACT).body for one in found]
    return {body.kind: body for body in bodies}


def test_a_coordinator_alone_makes_no_run(recorded: Recorder, tmp_path: Path) -> None:
    lie = copied(recorded, recorded.leaves[:2])  # roster and study
    opened_by_nobody(lie, 0)
    lie.state, asked = initial_state(lie.bench.study), requests(recorded)
    while lie.state.step < lie.bench.study.training.steps:
        summed_of_nobody(lie, asked[ReleaseKind.TRAINING])
    summed_of_nobody(lie, asked[ReleaseKind.EVALUATION])
    lie.leaves.append(ModelRecord(model=model_hash(lie.state), steps=lie.state.step).leaf())
    lie.blobs = {}
    lie.end()
    lie.sign_head()
    assert said(lie, tmp_path).startswith("REFUSED")


def test_an_opening_by_nobody_frees_of_no_co_signature(recorded: Recorder, tmp_path: Path) -> None:
    lie = copied(recorded, recorded.leaves)
    opened_by_nobody(lie, recorded.opened)
    lie.sign_head()
    assert "co-signatures" in said(lie, tmp_path)


def test_a_sum_counts_once(recorded: Recorder, tmp_path: Path) -> None:
    """Every member lies along: the verifier's own arithmetic has to find it."""
    again = recorded.find(LeafKind.SUM, 1)
    leaves = [*recorded.leaves[: again + 1], recorded.leaves[again]]
    leaves = [one for one in leaves if one.kind is not LeafKind.PARAMETERS]
    lie, roster = copied(recorded, leaves), recorded.bench.federation.identities.roster
    replies = [one.content for one in leaves if one.kind is LeafKind.REPLY]
    used = {open_envelope(one, Reply, roster, Protection.EXACT).body.vector for one in replies}
    lie.blobs = {name: lie.blobs[name] for name in lie.blobs if name in used}
    lie.sign_head()
    root = merkle.root([one.hash for one in leaves]).hex()
    for name, content in recorded.cosignatures.items():
        body = open_envelope(content, CosignedHead, roster, Protection.EXACT).body
        changes = {"size": len(leaves), "root": root, "checked": "recomputed", "misfit": None}
        lie.cosignatures[name] = lie.signed_by(name, body.model_copy(update=changes))
    assert "the parameters of the last sum" in said(lie, tmp_path)
