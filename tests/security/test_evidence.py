"""Attacks H2: what a coordinator forges, strips or tells twice, and the exit status of each."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.rows import one_of_each
from tests.support.runs.transcripts import FORGED_METRICS, Recorder

from fieldfare.shared.audit.verdict import AuditVerdict
from fieldfare.shared.cli.root import run
from fieldfare.shared.transcript.heads import CosignedHead
from fieldfare.shared.transcript.leaves import EndRecord, Leaf, LeafKind, tree_head

FAILED = EndRecord(state="failed", reason="bank-c did not answer in time").leaf()


def forged_metrics(recorded: Recorder) -> bytes:
    """AUROC .9991 in the metrics leaf, under a new signed head."""
    at = recorded.find(LeafKind.METRICS)

    def lie(leaves: list[Leaf]) -> None:
        leaves[at] = FORGED_METRICS.leaf()

    return recorded.lie(lie)


def stripped(recorded: Recorder) -> bytes:
    """The evaluation's sum is dropped, and what ends the run is a failure that never was."""
    at = recorded.find(LeafKind.SUM, 4)
    return purged(recorded, [*recorded.leaves[:at], FAILED])


def stripped_well(recorded: Recorder) -> bytes:
    """The same, and the last reply is hidden: the file contradicts itself nowhere."""
    at = recorded.find(LeafKind.SUM, 4)
    return purged(recorded, [*recorded.leaves[: at - 1], FAILED])


def purged(recorded: Recorder, leaves: list[Leaf]) -> bytes:
    blobs, recorded.blobs = recorded.blobs, {}
    try:
        return recorded.lie(lambda found: found.__setitem__(slice(None), leaves))
    finally:
        recorded.blobs = blobs


def blown_up(recorded: Recorder, leaves: list[Leaf]) -> bytes:
    """A finished run and over 12 MiB that nobody else wrote, co-signed blindly."""
    before = (recorded.leaves, recorded.head, recorded.cosignatures)
    recorded.leaves = [*recorded.leaves, *leaves]
    try:
        recorded.sign_head()
        hashes = [leaf.hash for leaf in recorded.leaves]
        head = tree_head(recorded.bench.study.id, recorded.run, hashes)
        blind = CosignedHead(
            study=head.study,
            run=head.run,
            size=head.size,
            root=head.root,
            checked="hashes only",
            misfit=None,
        )
        names = recorded.participants
        recorded.cosignatures = {name: recorded.signed_by(name, blind) for name in names}
        return recorded.to_bytes()
    finally:
        recorded.leaves, recorded.head, recorded.cosignatures = before


def ends(*, differ: bool) -> list[Leaf]:
    """More ends than fit into one message, after a finished run."""
    reason = "x" * 3990
    return [
        EndRecord(state="failed", reason=f"{reason}{at if differ else 0}").leaf()
        for at in range(3000)
    ]


ATTACKS: dict[str, tuple[Callable[[Recorder], bytes], AuditVerdict]] = {
    "an honest run": (Recorder.to_bytes, AuditVerdict.FITS),
    "vectors are deleted": (lambda one: one.to_bytes(purged=True), AuditVerdict.AS_FAR_AS_KEPT),
    "nobody co-signed": (lambda one: one.lie(lambda _: None), AuditVerdict.NOT_COSIGNED),
    "forged metrics": (forged_metrics, AuditVerdict.DOES_NOT_FIT),
    "a stripped run": (stripped, AuditVerdict.DOES_NOT_FIT),
    "a stripped run, a reply hidden": (stripped_well, AuditVerdict.NOT_COSIGNED),
    "ends without end": (lambda one: blown_up(one, ends(differ=True)), AuditVerdict.NOT_COSIGNED),
    "one end for ever": (lambda one: blown_up(one, ends(differ=False)), AuditVerdict.NOT_COSIGNED),
    "no leaves": (lambda one: purged(one, []), AuditVerdict.NOT_COSIGNED),
    "an end alone": (lambda one: purged(one, [FAILED]), AuditVerdict.NOT_COSIGNED),
    "a roster alone": (lambda one: purged(one, one.leaves[:1]), AuditVerdict.NOT_COSIGNED),
    "a roster and an end": (
        lambda one: purged(one, [one.leaves[0], FAILED]),
        AuditVerdict.NOT_COSIGNED,
    ),
}


@pytest.mark.parametrize("attack", one_of_each(ATTACKS, lambda attack: ATTACKS[attack][1]))
def test_the_audit_tells_them_apart_by_its_exit_status(
    recorded: Recorder, tmp_path: Path, capsys: pytest.CaptureFixture[str], attack: str
) -> None:
    """At 3e9b33f every row but the first two said "FITS", exit status 0."""
    make, verdict = ATTACKS[attack]
    path = tmp_path / "transcript"
    path.write_bytes(make(recorded))
    asked = ["audit", "transcript", str(path)]
    given = ["--coordinator-key", recorded.trust.roster_key]
    if attack in {"no leaves", "an end alone"}:  # no roster says whose head that is
        assert run([*asked, *given]) == AuditVerdict.DOES_NOT_FIT.value
        capsys.readouterr()
        (tmp_path / "roster").write_bytes(recorded.leaves[0].content)
        given = ["--roster", str(tmp_path / "roster")]
    assert run([*asked, *given, "--json"]) == verdict.value
    said = json.loads(capsys.readouterr().out)
    assert (said["verdict"], said["exit_status"]) == (verdict.word, verdict.value)


def test_who_has_to_co_sign_can_be_said(recorded: Recorder, tmp_path: Path) -> None:
    """bank-c was lost in the run: with n - t of four its signature is not needed."""
    path = tmp_path / "transcript"
    kept = recorded.cosignatures
    recorded.cosignatures = {name: kept[name] for name in ("bank-a", "bank-b", "bank-d")}
    try:
        path.write_bytes(recorded.to_bytes())
    finally:
        recorded.cosignatures = kept
    asked = ["audit", "transcript", str(path), "--coordinator-key", recorded.trust.roster_key]
    assert [run([*asked, "--require-cosigned", who]) for who in ("enough", "all", "none")] == [
        AuditVerdict.FITS.value,
        AuditVerdict.NOT_COSIGNED.value,
        AuditVerdict.FITS.value,
    ]
