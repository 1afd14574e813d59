"""Who lied in a rehearsal: every liar is named, and nobody else is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldfare.shared.protocol.messages import (
    KeyOffer,
    Participant,
    RehearsalKeys,
    Request,
    RunAnswer,
    encode_key,
    offers_hash,
)
from fieldfare.shared.protocol.secure_sum import (
    MLKEM_CIPHERTEXT_BYTES,
    EphemeralKeys,
    RunKeys,
    decapsulate,
    encapsulate,
    pair_key,
    seed_stream,
)
from fieldfare.shared.ring import WordBits, add, encode, to_ring
from fieldfare.shared.run.blame import FailedRehearsal, Lie, blame
from fieldfare.shared.run.replay import add_words

NAMES: Final = ("alder", "birch", "cedar", "dogwood")
STUDY, OPENING, HASH = "1" * 64, "3" * 64, "2" * 64
ENTRIES: Final = 3


@cache
def keys_of(name: str) -> EphemeralKeys:
    del name  # one set of fresh keys for each
    return EphemeralKeys.generate()


@dataclass
class Rehearsed:
    """A rehearsal of four, in which each may send or publish something else."""

    bits: WordBits = WordBits.K64
    answers: dict[str, RunAnswer] = field(default_factory=dict)
    offers: dict[str, KeyOffer] = field(default_factory=dict)
    kem: dict[tuple[str, str], bytes] = field(default_factory=dict)
    vectors: dict[str, bytes] = field(default_factory=dict)
    seeds: dict[str, str] = field(default_factory=dict)
    published: dict[str, RehearsalKeys] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in NAMES:
            x25519, mlkem768 = keys_of(name).public
            self.answers[name] = RunAnswer(
                approval=HASH,
                study=STUDY,
                roster=HASH,
                run="r",
                institution=name,
                nonce=HASH,
                boot=HASH,
                x25519=x25519,
                mlkem768=mlkem768,
            )
        for name in NAMES:
            self.offer(name)
        for name in NAMES:
            self.publish(name)
            self.send(name)

    def offer(self, low: str, **changed: str) -> None:
        sent = {}
        for high in (name for name in NAMES if name > low):
            self.kem[low, high], sent[high] = encapsulate(self.answers[high])
        self.offers[low] = KeyOffer(
            opening=OPENING, institution=low, ciphertexts=sent | changed, time=0
        )

    def publish(self, name: str, keys: EphemeralKeys | None = None) -> None:
        x25519, mlkem768 = (keys or keys_of(name)).private
        self.published[name] = RehearsalKeys(
            study=STUDY,
            run="r",
            opening=OPENING,
            request=self.request.hash,
            institution=name,
            answer=self.answers[name].hash,
            offers=offers_hash(self.offers.values()),
            x25519=x25519,
            mlkem768=mlkem768,
        )

    def send(self, name: str, extra: Any = 0, request: str = "") -> None:
        """Send masked zeros, or something added to them, or the masks of another request."""
        pairs = {}
        for peer in set(NAMES) - {name}:
            low, high = sorted((name, peer))
            ciphertext = self.offers[low].ciphertexts[high]
            kem = self.kem[low, high] if name == low else decapsulate(keys_of(high), ciphertext)
            pairs[peer] = pair_key(
                keys_of(name),
                kem,
                self.answers[name],
                self.answers[peer],
                opening=OPENING,
                ciphertext=ciphertext,
            )
        asked, peers = request or self.request.hash, frozenset(pairs)
        masks = RunKeys(0, pairs).mask(name, peers, asked, ENTRIES, self.bits)
        seed = bytes([NAMES.index(name)] * 32)
        hidden = add(masks, seed_stream(seed, ENTRIES, self.bits), self.bits)
        added = to_ring(np.zeros(ENTRIES, dtype=np.int64) + extra, self.bits)
        self.vectors[name] = encode(add(hidden, added, self.bits), self.bits)
        self.seeds[name] = seed.hex()

    @property
    def request(self) -> Request:
        return Request.model_validate(
            {
                "protocol": 2,
                "study": STUDY,
                "roster": HASH,
                "run": "r",
                "opening": OPENING,
                "step": 0,
                "attempt": 0,
                "kind": "rehearsal",
                "participants": tuple(
                    Participant(institution=name, answer=self.answers[name].hash) for name in NAMES
                ),
                "n": len(NAMES),
                "t": 1,
                "multiplicity": 1,
                "clipping_norm": 1.0,
                "sigma": 1.0,
                "gamma_bits": 28,
                "word_bits": self.bits.value,
                "entries": ENTRIES,
                "dtype": self.bits.dtype.str,
                "parameters": HASH,
            }
        )

    @property
    def found(self) -> FailedRehearsal:
        return FailedRehearsal(
            self.request, self.answers, self.offers, self.vectors, self.seeds, self.published
        )

    @property
    def cancels(self) -> bool:
        vectors, seeds = list(self.vectors.values()), list(self.seeds.values())
        return not add_words(vectors, self.bits, ENTRIES, seeds).any()

    def named(self) -> dict[str, Lie]:
        return dict(blame(self.found).named)


Lying = Callable[[Rehearsed, str], None]


def _adds_something(made: Rehearsed, name: str) -> None:
    made.send(name, extra=[0, 0, 1])


def _masks_for_another_request(made: Rehearsed, name: str) -> None:
    made.send(name, request="9" * 64)


def _opens_with_another_stream(made: Rehearsed, name: str) -> None:
    made.seeds[name] = (b"\x99" * 32).hex()


def _sends_noise(made: Rehearsed, name: str) -> None:
    made.vectors[name] = encode(to_ring(np.arange(ENTRIES, dtype=np.int64), made.bits), made.bits)


def _publishes_others(made: Rehearsed, name: str) -> None:
    made.publish(name, EphemeralKeys.generate())


def _publishes_half(made: Rehearsed, name: str) -> None:
    made.publish(name, replace(keys_of(name), x25519=EphemeralKeys.generate().x25519))


def _publishes_rubbish(made: Rehearsed, name: str) -> None:
    short = made.published[name].model_copy(update={"mlkem768": encode_key(b"short")})
    made.published[name] = short


def _says_other_offers(made: Rehearsed, name: str) -> None:
    made.published[name] = made.published[name].model_copy(update={"offers": HASH})


def _publishes_nothing(made: Rehearsed, name: str) -> None:
    del made.published[name]


LIES: Final[dict[Lying, Lie]] = {
    _adds_something: Lie.MASKS,
    _masks_for_another_request: Lie.MASKS,
    _opens_with_another_stream: Lie.MASKS,
    _sends_noise: Lie.MASKS,
    _publishes_others: Lie.KEYS,
    _publishes_half: Lie.KEYS,
    _publishes_rubbish: Lie.KEYS,
    _says_other_offers: Lie.OFFERS,
    _publishes_nothing: Lie.SILENT,
}
lies = st.sampled_from(list(LIES))
members = st.sampled_from(NAMES)


@pytest.mark.parametrize("bits", WordBits)
def test_honest_masks_follow_from_honest_keys(bits: WordBits) -> None:
    made = Rehearsed(bits)
    assert made.cancels
    assert made.named() == {}
    assert blame(made.found).unchecked == ()


@pytest.mark.parametrize("lying", LIES)
@pytest.mark.parametrize("name", NAMES)
def test_one_liar_is_named_and_nobody_else(lying: Lying, name: str) -> None:
    made = Rehearsed()
    lying(made, name)
    assert made.named() == {name: LIES[lying]}


@settings(deadline=None, max_examples=20)
@given(st.dictionaries(members, lies, min_size=2, max_size=3), st.sampled_from(WordBits))
def test_several_liars_are_named_or_wait_for_a_liars_keys(
    lying: Mapping[str, Lying], bits: WordBits
) -> None:
    made = Rehearsed(bits)
    for name, lie in lying.items():
        lie(made, name)
    found = blame(made.found)
    assert set(found.named) <= set(lying)  # never an honest one
    for name, lie in lying.items():
        assert found.named.get(name, LIES[lie]) is LIES[lie]
        if name not in found.named:
            assert name in found.unchecked
    # Whoever cannot be checked needs keys of somebody above it who is named for not giving them.
    silent = [name for name, lie in found.named.items() if lie is not Lie.MASKS]
    assert all(any(name < other for other in silent) for name in found.unchecked)


@settings(deadline=None, max_examples=20)
@given(members, members, st.integers(-(2**40), 2**40).filter(bool))
def test_whatever_is_added_names_who_added_it(first: str, second: str, extra: int) -> None:
    made = Rehearsed()
    made.send(first, extra=extra)
    assert made.named() == {first: Lie.MASKS}
    made.send(second, extra=-extra)
    if first != second:  # together they cancel: no rehearsal fails, and yet both are seen
        assert made.cancels
        assert made.named() == {first: Lie.MASKS, second: Lie.MASKS}


@pytest.mark.parametrize("low", NAMES[:-1])
def test_a_ciphertext_of_nothing_names_who_sent_it(low: str) -> None:
    """Its receiver decapsulates something that the sender cannot know (FIPS 203, implicit)."""
    made, high = Rehearsed(), NAMES[-1]
    made.offer(low, **{high: encode_key(bytes(MLKEM_CIPHERTEXT_BYTES))})
    for name in NAMES:
        made.send(name)
        made.publish(name)
    assert not made.cancels
    assert made.named() == {low: Lie.MASKS}


def test_nobody_is_named_for_a_peer_whose_key_has_a_small_order() -> None:
    """No private key has such a public one: its owner is named, and the others wait."""
    made, liar = Rehearsed(), NAMES[0]
    answer = made.answers[liar].model_copy(update={"x25519": encode_key(bytes(32))})
    made.answers[liar] = answer
    found = blame(made.found)
    assert found.named == {liar: Lie.KEYS}
    assert found.unchecked == NAMES[1:]


def test_who_is_named_is_said_in_one_line() -> None:
    made = Rehearsed()
    _publishes_nothing(made, "birch")
    _adds_something(made, "cedar")
    assert blame(made.found).text == (
        "rehearsal failed: cedar's masked zeros do not follow from its keys; birch published no "
        "keys; not checked for want of these: alder"
    )


def test_nobody_is_proved_a_liar_by_offers_that_it_was_not_sent() -> None:
    """A member signs two offers: the coordinator relays one, and writes the other down."""
    made = Rehearsed()  # the victim masks with this offer of the colluder's
    kept = dict(made.offers["alder"].ciphertexts)
    made.kem["alder", "dogwood"], kept["dogwood"] = encapsulate(made.answers["dogwood"])
    made.offers["alder"] = made.offers["alder"].model_copy(update={"ciphertexts": kept})
    made.send("alder")
    for name in NAMES[:-1]:
        made.publish(name)
    assert not made.cancels
    assert made.named() == {"dogwood": Lie.OFFERS}
