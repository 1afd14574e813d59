"""A transcript's head among those that witnesses signed: found, missing, contradicted."""

import io
import random

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.support.network.witnesses import SpecWitness
from tests.support.runs.transcripts import Recorder
from tests.support.runs.witnessed import heads_of, with_entry, witnessed

from fieldfare.shared.audit.audit import AuditReport, audit
from fieldfare.shared.audit.verdict import AuditVerdict, verdict_of
from fieldfare.shared.audit.verdict import witnesses as count
from fieldfare.shared.audit.witnessed import WitnessClaim, check_witnessed
from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.protocol.identity import public_hex
from fieldfare.shared.protocol.messages import IdentitySigner
from fieldfare.shared.protocol.signed_files import offer_roster
from fieldfare.shared.transcript.head_log import WitnessedHeads
from fieldfare.shared.transcript.leaves import tree_head
from fieldfare.shared.transcript.notes import LogCheckpoint, Note

WITNESSES = (SpecWitness("w.example/1"), SpecWitness("w.example/2"))
KEYS = tuple(one.key for one in WITNESSES)


def audited(recorded: Recorder, content: bytes, log: int = 1, keys: object = KEYS) -> AuditReport:
    claim = WitnessClaim(content, keys, log)  # type: ignore[arg-type]
    return audit(io.BytesIO(recorded.to_bytes()), recorded.trust, claim)


def test_two_witnesses_saw_the_end(recorded: Recorder) -> None:
    content = witnessed(recorded, heads_of(recorded, 12, len(recorded.leaves)), WITNESSES)
    report = audited(recorded, content)
    found = report.witnessed
    assert found is not None
    assert (found.size, found.heads, found.others, found.contradicting) == (2, 2, 0, None)
    assert found.times == {one.name: one.now for one in WITNESSES}
    assert verdict_of(report, required_witnesses=2) is AuditVerdict.FITS


@pytest.mark.parametrize("signed", [0, 1])
def test_too_few_witnesses_are_said(recorded: Recorder, signed: int) -> None:
    content = witnessed(recorded, heads_of(recorded), WITNESSES[:signed])
    report = audited(recorded, content)
    assert count(report) == signed
    assert verdict_of(report) is AuditVerdict.FITS  # nobody asked for one
    assert verdict_of(report, required_witnesses=signed) is AuditVerdict.FITS
    assert verdict_of(report, required_witnesses=signed + 1) is AuditVerdict.NOT_WITNESSED


def test_a_witness_that_nobody_named_is_counted_apart(recorded: Recorder) -> None:
    content = witnessed(recorded, heads_of(recorded), WITNESSES)
    report = audited(recorded, content, keys=KEYS[:1])
    assert report.witnessed is not None
    assert (count(report), report.witnessed.others) == (1, 1)


def test_a_second_log_of_the_run_is_two_stories(recorded: Recorder) -> None:
    leaves = [leaf.hash for leaf in recorded.leaves]
    other = tree_head(recorded.bench.study.id, recorded.run, [*leaves[:-1], bytes(32)])
    for heads in ([other, *heads_of(recorded)], [*heads_of(recorded), other]):
        report = audited(recorded, witnessed(recorded, heads, WITNESSES))
        assert verdict_of(report, required_witnesses=2) is AuditVerdict.TWO_STORIES


def test_heads_of_other_runs_say_nothing_of_this_one(recorded: Recorder) -> None:
    other = tree_head(recorded.bench.study.id, "another-run", [bytes(32)])
    report = audited(recorded, witnessed(recorded, [other, *heads_of(recorded), other], WITNESSES))
    assert report.misfit is None
    assert report.witnessed is not None
    assert (report.witnessed.size, report.witnessed.heads) == (3, 1)


def test_what_does_not_fit_is_named(recorded: Recorder) -> None:
    whole = heads_of(recorded)
    longer = whole[0].model_copy(update={"size": whole[0].size + 1})
    honest = witnessed(recorded, whole, WITNESSES)
    cases = {
        "expected the transcript's head": witnessed(recorded, heads_of(recorded, 12), WITNESSES),
        "newest head of the run": witnessed(recorded, [*whole, longer], WITNESSES),
        "expected the log fieldfare.heads": witnessed(recorded, whole, WITNESSES, log=2),
        "expected a checkpoint over": with_entry(honest, size=3),
        "canonical form": b"{}",
    }
    for reason, content in cases.items():
        misfit = audited(recorded, content).misfit
        assert misfit is not None
        assert misfit.kind == "witnessed head"
        assert reason in misfit.reason
    assert audited(recorded, witnessed(recorded, whole, log=2), log=2).misfit is None


def test_another_partys_signature_is_none(recorded: Recorder) -> None:
    identities = recorded.bench.federation.identities
    key = identities.roster_key  # it signs rosters, and no log
    content = witnessed(recorded, heads_of(recorded))
    found = WitnessedHeads.from_bytes(content)
    text = Note.from_bytes(found.note.encode()).text
    public = bytes.fromhex(identities.roster.roster_key)
    note = LogCheckpoint.from_text(text).signed(key, public).decode()
    misfit = audited(recorded, found.model_copy(update={"note": note}).to_bytes()).misfit
    assert misfit is not None
    assert "online key" in misfit.reason


def test_a_log_that_was_signed_by_the_key_of_a_later_roster_fits(recorded: Recorder) -> None:
    """A coordinator with a new online key signs its whole log anew; the roster key names both."""
    identities = recorded.bench.federation.identities
    roster, key = identities.roster, Ed25519PrivateKey.generate()
    changes = {"version": 2, "coordinator": public_hex(key)}
    later = roster.model_copy(update=changes)
    found = WitnessedHeads.from_bytes(witnessed(recorded, heads_of(recorded), WITNESSES))
    checkpoint = LogCheckpoint.from_text(Note.from_bytes(found.note.encode()).text)
    note = checkpoint.signed(IdentitySigner(key), bytes.fromhex(later.coordinator)).decode()
    note += "".join(one.cosigned(checkpoint.text) for one in WITNESSES)
    content = found.model_copy(update={"note": note}).to_bytes()

    def report(*offers: bytes) -> AuditReport:
        claim = WitnessClaim(content, KEYS, later=offers)
        return audit(io.BytesIO(recorded.to_bytes()), recorded.trust, claim)

    whole = report(offer_roster(later, identities.roster_key))
    assert verdict_of(whole, required_witnesses=2) is AuditVerdict.FITS
    for offers, reason in {
        (): "--later-roster",
        (offer_roster(roster, identities.roster_key),): "--later-roster",
        (offer_roster(later, identities.coordinator),): "expected",
        (
            offer_roster(
                later.model_copy(update={"version": roster.version}), identities.roster_key
            ),
        ): "of one history",
        (offer_roster(later.model_copy(update={"version": 0}), identities.roster_key),): "expected",
    }.items():
        misfit = report(*offers).misfit
        assert misfit is not None
        assert reason in misfit.reason


def test_two_online_keys_of_one_coordinator_are_no_others(recorded: Recorder) -> None:
    """While a key is renewed both may sign one checkpoint."""
    identities = recorded.bench.federation.identities
    roster, key = identities.roster, Ed25519PrivateKey.generate()
    later = roster.model_copy(update={"version": 2, "coordinator": public_hex(key)})
    found = WitnessedHeads.from_bytes(witnessed(recorded, heads_of(recorded), WITNESSES))
    checkpoint = LogCheckpoint.from_text(Note.from_bytes(found.note.encode()).text)
    note = checkpoint.signed(IdentitySigner(key), bytes.fromhex(later.coordinator)).decode()
    second = note.splitlines(keepends=True)[-1]
    content = found.model_copy(update={"note": found.note + second}).to_bytes()
    offers = (offer_roster(later, identities.roster_key),) * 2
    claim = WitnessClaim(content, KEYS, later=offers)
    seen = audit(io.BytesIO(recorded.to_bytes()), recorded.trust, claim).witnessed
    assert seen is not None
    assert (len(seen.times), seen.others) == (len(WITNESSES), 0)


def test_no_changed_byte_is_taken(recorded: Recorder) -> None:
    content = witnessed(recorded, heads_of(recorded, 12, len(recorded.leaves)), WITNESSES)
    roster, head = recorded.bench.federation.identities.roster, heads_of(recorded)[0]
    hashes = [leaf.hash for leaf in recorded.leaves]

    def witnesses_of(changed: bytes) -> int:
        claim = WitnessClaim(changed, KEYS)
        found = check_witnessed(claim, roster.roster_key, roster, head, hashes)
        return len(found.times)

    assert witnesses_of(content) == 2
    draw = random.Random(18)  # noqa: S311 -- where bytes change
    for _ in range(300):
        at, bit = draw.randrange(len(content)), 1 << draw.randrange(8)
        try:
            found = witnesses_of(content[:at] + bytes([content[at] ^ bit]) + content[at + 1 :])
        except ProtocolError:
            continue
        assert found < 2
