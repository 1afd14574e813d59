"""A stolen home and a transcript: no reply of a run can be unmasked, while it goes on or later.

Every secret of a run is caught as it is made: private keys, ML-KEM secrets,
pair keys at every step. None of them is in a file or a state, in any spelling, and what any 32
bytes of a file would make as a key is nobody's mask. An earlier version failed all of it: it kept
private keys until a person withdrew the study, and the transcript did the rest.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from tests.support.federations.bench import NAMES, STEPS, Bench, Run
from tests.support.runs.transcripts import Recorder

from fieldfare.client.custodian import key_agreement
from fieldfare.shared.protocol import secure_sum
from fieldfare.shared.protocol.messages import ReleaseKind, encode_key
from fieldfare.shared.protocol.secure_sum import EphemeralKeys, mask_stream, next_chain_key
from fieldfare.shared.ring import WordBits

VICTIM: Final = "bank-b"
KEY: Final = 32
FIRST_WORDS: Final = 2  # of a mask: a wrong key meets them once in 2^128


@dataclass
class Caught:
    """Every secret of every custodian in this process."""

    secrets: set[bytes] = field(default_factory=set)
    masks: set[tuple[int, ...]] = field(default_factory=set)
    asked: set[str] = field(default_factory=set)

    def spellings(self) -> Iterator[bytes]:
        for secret in self.secrets:
            yield secret
            yield secret.hex().encode()
            yield encode_key(secret).encode()


@pytest.fixture
def caught(monkeypatch: pytest.MonkeyPatch) -> Caught:
    """Listen to all that makes a key or a mask."""
    found = Caught()
    generate, encapsulate = EphemeralKeys.generate, secure_sum.encapsulate
    pair_key, stream = secure_sum.pair_key, secure_sum.mask_stream

    def generated() -> EphemeralKeys:
        keys = generate()
        found.secrets |= {keys.x25519.private_bytes_raw(), keys.mlkem.private_bytes_raw()}
        return keys

    def encapsulated(recipient: Any) -> tuple[bytes, str]:
        secret, ciphertext = encapsulate(recipient)
        found.secrets.add(secret)
        return secret, ciphertext

    def derived(*given: Any, **named: Any) -> bytes:
        key = pair_key(*given, **named)
        for _ in range(STEPS + 3):
            found.secrets.add(key)
            key = next_chain_key(key)
        return pair_key(*given, **named)

    def masked(key: bytes, request: str, entries: int, bits: WordBits) -> Any:
        mask = stream(key, request, entries, bits)
        found.asked.add(request)
        found.masks.add(tuple(int(word) for word in mask[:FIRST_WORDS]))
        return mask

    monkeypatch.setattr(EphemeralKeys, "generate", generated)
    monkeypatch.setattr(key_agreement, "encapsulate", encapsulated)
    monkeypatch.setattr(key_agreement, "pair_key", derived)
    monkeypatch.setattr(secure_sum, "mask_stream", masked)
    return found


def stolen(bench: Bench, name: str) -> Mapping[str, bytes]:
    """A home: its files, and every state by its name."""
    ledger, studies = bench.ledger(name), (bench.study.id, ":ledger")
    states = {
        f"{study}/{run}": ledger.run_state(study, run) or b""
        for study in studies
        for run in ledger.run_names(study)
    }
    return {"files": bench.files(name), **states}


def check(bench: Bench, caught: Caught) -> None:
    for name in NAMES:
        for where, content in stolen(bench, name).items():
            assert not any(text in content for text in caught.spellings()), (name, where)


def test_no_key_is_in_a_home_at_any_moment_of_a_run(bench: Bench, caught: Caught) -> None:
    """Before it, between its exchanges and steps, after a restart, at its end and after it."""
    recorder = Recorder(bench)
    check(bench, caught)
    recorder.open()
    check(bench, caught)
    recorder.rehearse()
    for step in range(STEPS):
        recorder.train(step + 1)
        check(bench, caught)
        if not step:
            bench.restart(VICTIM)
            recorder.open_anew()
            check(bench, caught)
    recorder.evaluate()
    recorder.end()
    recorder.cosign()
    check(bench, caught)
    openings = 2
    assert len(caught.secrets) > openings * len(NAMES) * 2  # it did listen
    transcript = recorder.to_bytes()
    assert not any(text in transcript for text in caught.spellings())


@pytest.fixture
def run(bench: Bench, caught: Caught) -> Run:
    """A run that has answered a step; the keys of the next one are in memory."""
    del caught  # it listens from here on
    run = bench.open_run()
    for name in NAMES:
        run.answer(name, run.request())
    return run


def test_nothing_that_a_home_holds_makes_a_mask_of_its_run(
    bench: Bench, caught: Caught, run: Run
) -> None:
    """Any 32 bytes of any file, as they are and read as hex, as a key of any step."""
    request, terms = run.answered[0].hash, bench.plan.terms(ReleaseKind.TRAINING)
    assert caught.asked == {request}
    keys = bench.run_keys(VICTIM, run)
    assert all(_masks(key, request, terms.word_bits) & caught.masks for key in keys.keys.values())
    content = bench.files(VICTIM)
    for key in _candidates(content):
        assert not _masks(key, request, terms.word_bits) & caught.masks


def _masks(key: bytes, request: str, bits: WordBits) -> set[tuple[int, ...]]:
    """The beginnings of the masks that a key would make."""
    return {tuple(int(w) for w in mask_stream(key, request, FIRST_WORDS, bits))}


def _candidates(content: bytes) -> Iterator[bytes]:
    """Every different 32 bytes; zeros fill most of a database."""
    seen: set[bytes] = set()
    for at in range(len(content) - KEY):
        raw, text = content[at : at + KEY], content[at : at + 2 * KEY]
        if raw not in seen and raw.strip(b"\0"):
            seen.add(raw)
            yield raw
        try:
            yield bytes.fromhex(text.decode("ascii"))
        except ValueError:
            continue


def test_a_run_that_is_over_leaves_no_key_in_memory(bench: Bench) -> None:
    recorder = Recorder(bench).open().finish()
    for name in NAMES:
        held = bench.held(name)
        assert [*held._fresh, *held._opened, *held._agreed] == []
    assert recorder.audit().misfit is None
