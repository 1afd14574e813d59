"""Notes, checkpoints and cosignatures as the C2SP specifications write them."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.support.network.witnesses import SpecWitness

from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.protocol.messages import IdentitySigner
from fieldfare.shared.transcript.notes import (
    COSIGNED,
    SIGNED,
    LogCheckpoint,
    Note,
    NoteKey,
    NoteSignature,
    add_checkpoint_body,
    cosigners_of,
    distinct_witnesses,
    signatures_in,
)

# signed-note v1.0.0, "Verifier keys", "Example"
KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
NOTE = (
    "This is an example message.\n\n\u2014 example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi"
    "2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
).encode()
PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = PRIVATE.public_key().public_bytes_raw()
CHECKPOINT = LogCheckpoint("fieldfare.heads/ab", 3, bytes(32))


def signed() -> bytes:
    return CHECKPOINT.signed(IdentitySigner(PRIVATE), PUBLIC)


def test_the_example_of_the_specification_verifies() -> None:
    key = NoteKey.from_text(KEY, SIGNED)
    assert key.text == KEY
    assert Note.from_bytes(NOTE).is_signed_by(key)


def test_one_bit_of_the_example_does_not_verify() -> None:
    key = NoteKey.from_text(KEY, SIGNED)
    with pytest.raises(ProtocolError, match="valid signature"):
        Note.from_bytes(NOTE.replace(b"message", b"massage")).is_signed_by(key)


def test_a_checkpoint_is_three_lines_and_our_signature() -> None:
    note = Note.from_bytes(signed())
    assert note.text == f"fieldfare.heads/ab\n3\n{'A' * 43}=\n"
    assert note.is_signed_by(NoteKey("fieldfare.heads/ab", SIGNED, PUBLIC))
    assert LogCheckpoint.from_text(note.text) == CHECKPOINT
    assert b"\x00" not in signed()  # and every other signed message has one after its type


def test_another_key_of_the_same_name_has_signed_nothing() -> None:
    other = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    note = Note.from_bytes(signed())
    assert not note.is_signed_by(NoteKey("fieldfare.heads/ab", SIGNED, other))
    assert not note.is_signed_by(NoteKey("fieldfare.heads/ac", SIGNED, PUBLIC))


def test_a_cosignature_covers_its_time_and_the_text() -> None:
    witness = SpecWitness()
    line = witness.cosigned(CHECKPOINT.text)
    whole = Note.from_bytes(signed() + line.encode())
    assert cosigners_of(whole, [witness.key]) == {witness.name: witness.now}
    assert cosigners_of(whole, [SpecWitness().key]) == {}
    told = NoteSignature.from_line(line.rstrip("\n"))
    later = (witness.now + 1).to_bytes(8, "big") + told.signature[8:]
    changed = NoteSignature(told.name, told.id, later).line
    with pytest.raises(ProtocolError, match="valid signature"):
        Note.from_bytes(signed() + changed.encode()).cosigned_at(witness.key)


def test_a_logs_signature_is_no_witnesss() -> None:
    with pytest.raises(ProtocolError, match="type 04"):
        NoteKey.from_text(KEY, COSIGNED)
    ours = NoteKey("fieldfare.heads/ab", COSIGNED, PUBLIC)
    assert Note.from_bytes(signed()).cosigned_at(ours) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        KEY.replace("530d", "530e"),
        KEY + "=",
        KEY.replace("example.com/foo", "example.com/ foo"),
        "a+b+c",
        KEY[:-4],
    ],
)
def test_what_is_no_verifier_key(text: str) -> None:
    with pytest.raises(ProtocolError, match="verifier key"):
        NoteKey.from_text(text, SIGNED)


def test_no_changed_byte_of_a_note_is_taken() -> None:
    content, key = signed(), NoteKey("fieldfare.heads/ab", SIGNED, PUBLIC)
    for at in range(len(content)):
        for new in (content[at] ^ 1, content[at] ^ 0x80):
            changed = content[:at] + bytes([new]) + content[at + 1 :]
            try:
                assert not Note.from_bytes(changed).is_signed_by(key)
            except ProtocolError:
                continue


@pytest.mark.parametrize(
    "text",
    ["x\n3\n", "x\n03\n" + "A" * 43 + "=\n", "x\n3\n" + "A" * 43 + "=\nmore\n", "a b\n3\nAAAA\n"],
)
def test_what_is_no_checkpoint(text: str) -> None:
    with pytest.raises(ProtocolError, match="checkpoint"):
        LogCheckpoint.from_text(text)


@pytest.mark.parametrize(
    "lines", ["", "\n", "- a AAAAAAAA\n", "\u2014 a AAAA\n", "\u2014 a AAAAAAAA"]
)
def test_what_is_no_signature_line(lines: str) -> None:
    with pytest.raises(ProtocolError):
        signatures_in(lines)


def test_a_witness_counts_once() -> None:
    one, other = SpecWitness("a.example/1"), SpecWitness("a.example/2")
    assert distinct_witnesses([one.key.text, other.key.text]) == (one.key, other.key)
    same = NoteKey("b.example/3", COSIGNED, one.key.public)
    for twice in ([one.key.text, one.key.text], [one.key.text, same.text]):
        with pytest.raises(ProtocolError, match="one twice"):
            distinct_witnesses(twice)


def test_the_body_of_a_request_is_size_proof_and_note() -> None:
    body = add_checkpoint_body(2, [bytes(32)], b"note")
    assert body == b"old 2\n" + b"A" * 43 + b"=\n\nnote"
    assert add_checkpoint_body(0, [], b"note") == b"old 0\n\nnote"
