import json

import pytest
import rfc8785
from tests.support.federations.bench import Bench
from tests.support.runs.transcripts import Recorder

from fieldfare.shared.audit.opening import Trust
from fieldfare.shared.transcript.file import Misfit
from fieldfare.shared.transcript.heads import CosignedHead
from fieldfare.shared.transcript.leaves import EndRecord, Leaf, LeafKind, TreeHead, tree_head

H = "0" * 64


def honest(recorded: Recorder) -> CosignedHead:
    hashes = [leaf.hash for leaf in recorded.leaves]
    return cosigned_head(tree_head(recorded.bench.study.id, recorded.run, hashes))


def cosigned_head(head: TreeHead, misfit: int | None = None) -> CosignedHead:
    """What an institution says of a head."""
    return CosignedHead(
        study=head.study,
        run=head.run,
        size=head.size,
        root=head.root,
        checked="recomputed",
        misfit=misfit,
    )


def with_head(recorded: Recorder, envelope: bytes) -> Misfit | None:
    kept = recorded.head
    recorded.head = envelope
    try:
        return recorded.audit().misfit
    finally:
        recorded.head = kept


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"study": H}, "study"),
        ({"run": "run-9"}, "run"),
        ({"size": 3}, "every leaf"),
        ({"size": 10_000}, "every leaf"),
        ({"root": H}, "root"),
    ],
)
def test_a_head_over_something_else_is_named(
    recorded: Recorder, change: dict[str, object], reason: str
) -> None:
    body = honest(recorded).head.model_copy(update=change)
    found = with_head(recorded, recorded.signed(body))
    assert found is not None
    assert found.kind == "head"
    assert found.line == 2 + len(recorded.leaves) + len(recorded.blobs) + 1
    assert reason in found.reason


def test_a_head_by_an_institution_is_named(recorded: Recorder) -> None:
    found = with_head(recorded, recorded.signed_by("bank-a", honest(recorded).head))
    assert found is not None
    assert found.kind == "head"


def test_a_list_of_other_hashes_is_named(recorded: Recorder) -> None:
    lines = recorded.to_bytes().splitlines(keepends=True)
    at = 1 + len(recorded.leaves) + len(recorded.blobs)
    for listed in (b'{"hashes":""}\n', lines[at].replace(b"A", b"B", 1)):
        found = recorded.audit(b"".join([*lines[:at], listed, *lines[at + 1 :]])).misfit
        assert found is not None
        assert (found.line, found.kind) == (at + 1, "hashes")


def test_an_end_that_was_changed_after_signing_is_named(recorded: Recorder) -> None:
    """Nothing but the head holds what the coordinator merely says."""
    at = recorded.find(LeafKind.END)
    other = EndRecord(state="finished", reason="all went well").leaf()
    lines = recorded.to_bytes().splitlines(keepends=True)
    lines[at + 1] = other.to_bytes() + b"\n"
    found = recorded.audit(b"".join(lines)).misfit
    assert found is not None
    assert (found.line, found.leaf, found.kind) == (at + 2, at, "end")
    assert recorded.leaves[at].hash.hex() in found.reason


def test_a_leaf_and_the_list_changed_together_are_blamed_on_the_head(recorded: Recorder) -> None:
    """Nobody can tell which leaf it was; that the head is over others is sure."""

    def relabel(leaves: list[Leaf]) -> None:
        leaves[-1] = EndRecord(state="finished", reason="all went well").leaf()

    forged = recorded.lie(relabel).splitlines(keepends=True)
    genuine = recorded.to_bytes().splitlines(keepends=True)
    head = 2 + len(recorded.leaves) + len(recorded.blobs)
    found = recorded.audit(b"".join([*forged[:head], *genuine[head:]])).misfit
    assert found is not None
    assert (found.line, found.kind) == (head + 1, "head")


@pytest.mark.parametrize("name", ["run", "study"])
def test_a_header_of_another_run_is_named(recorded: Recorder, name: str) -> None:
    lines = recorded.to_bytes().splitlines(keepends=True)
    header = json.loads(lines[0])
    header |= {"run": "run-2"} if name == "run" else {"study": H}
    lines[0] = rfc8785.dumps(header) + b"\n"
    found = recorded.audit(b"".join(lines)).misfit
    assert found is not None
    assert (found.line, found.kind) == (1, "header")


def test_a_header_is_compared_with_the_head_where_no_run_was_opened(bench: Bench) -> None:
    recorder = Recorder(bench).open()
    del recorder.leaves[recorder.find(LeafKind.APPROVAL) :]
    recorder.end("failed", "nobody came")
    recorder.sign_head()
    assert recorder.audit().misfit is None
    other = recorder.to_bytes().replace(b'"run":"run-1"', b'"run":"run-2"', 1)
    found = recorder.audit(other).misfit
    assert found is not None
    assert found.kind == "header"


# -- co-signatures ----------------------------------------------------------------------


def test_an_earlier_head_may_be_cosigned(bench: Bench) -> None:
    recorder = Recorder(bench).open()
    recorder.rehearse()
    recorder.end("stopped", "asked for")
    recorder.cosign()
    early = recorder.cosigned
    recorder.train()
    recorder.evaluate()
    recorder.end()
    recorder.cosign(["bank-a", "bank-b", "bank-c"])  # bank-d was absent
    report = recorder.audit()
    assert report.misfit is None
    whole = len(recorder.leaves)
    assert report.cosigned == {"bank-a": whole, "bank-b": whole, "bank-c": whole, "bank-d": early}


def cosigned(recorded: Recorder, *envelopes: bytes) -> Misfit | None:
    lines = recorded.to_bytes().splitlines(keepends=True)
    kept = recorded.cosignatures
    try:
        recorded.cosignatures = {str(i): one for i, one in enumerate(envelopes)}
        found = recorded.audit().misfit
    finally:
        recorded.cosignatures = kept
    head = len(lines) - len(kept)
    assert found is None or head < found.line <= head + len(envelopes)
    return found


def test_a_cosignature_by_the_coordinator_counts_for_nothing(recorded: Recorder) -> None:
    found = cosigned(recorded, recorded.signed(honest(recorded)))
    assert found is not None
    assert "institution" in found.reason


def test_nobody_cosigns_a_log_without_a_roster(bench: Bench) -> None:
    recorder = Recorder(bench).open()
    cosigned_by = recorder.bench.federation.identities.roster.ids[0]
    recorder.leaves = []
    recorder.end("failed", "nobody came")
    recorder.sign_head()
    head = tree_head(bench.study.id, recorder.run, [leaf.hash for leaf in recorder.leaves])
    recorder.cosignatures = {cosigned_by: recorder.signed_by(cosigned_by, cosigned_head(head))}
    roster = recorder.bench.federation.identities.roster
    for trust, kind in (
        (recorder.trust, "head"),
        (Trust(roster.roster_key, roster), "cosignature"),
    ):
        found = recorder.audit(trust=trust).misfit
        assert found is not None
        assert found.kind == kind
        assert "roster" in found.reason


def test_cosignatures_stand_in_order_and_once(recorded: Recorder) -> None:
    a, b = recorded.cosignatures["bank-a"], recorded.cosignatures["bank-b"]
    assert cosigned(recorded, a, b) is None
    for envelopes in ((b, a), (a, a)):
        found = cosigned(recorded, *envelopes)
        assert found is not None
        assert "order" in found.reason


@pytest.mark.parametrize("change", [{"study": H}, {"run": "run-9"}, {"root": H}, {"size": 10_000}])
def test_a_cosignature_of_another_head_is_named(
    recorded: Recorder, change: dict[str, object]
) -> None:
    body = honest(recorded).model_copy(update=change)
    found = cosigned(recorded, recorded.signed_by("bank-a", body))
    assert found is not None
    assert found.kind == "cosignature"
