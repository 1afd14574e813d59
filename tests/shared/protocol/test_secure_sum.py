import base64
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from itertools import combinations

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.protocol.messages import RunAnswer, encode_key
from fieldfare.shared.protocol.secure_sum import (
    MLKEM_CIPHERTEXT_BYTES,
    MLKEM_PUBLIC_BYTES,
    X25519_PRIME,
    EphemeralKeys,
    RunKeys,
    check_answer_keys,
    decapsulate,
    encapsulate,
    mask_stream,
    next_chain_key,
    pair_key,
)
from fieldfare.shared.ring import Word, WordBits, add, centre, encode, subtract, to_ring

STUDY, ROSTER, OPENING = "1" * 64, "2" * 64, "3" * 64
REQUEST, OTHER_REQUEST = "4" * 64, "5" * 64
NAMES = ("alder", "birch", "cedar", "dogwood")
RINGS = pytest.mark.parametrize("bits", WordBits)
UNLIKELY, CERTAIN = 1e-7, 1e-12

# Every u whose X25519 secret is all zeros for any private key: RFC 7748, section 6.1, and the
# list of small-order points at cr.yp.to/ecdh.html.
SMALL_ORDER = {
    "zero": 0,
    "one": 1,
    "order 8": 325606250916557431795983626356110631294008115727848805560023387167927233504,
    "order 8, the other": (
        39382357235489614581723060781553021112529911719440698176882885853963445705823
    ),
    "p - 1": X25519_PRIME - 1,
}
# X25519 ignores the top bit and reduces modulo p (RFC 7748, section 5).
SECOND_SPELLINGS = {
    "p": X25519_PRIME,
    "p + 1": X25519_PRIME + 1,
    **{f"{name}, with the top bit": point + 2**255 for name, point in SMALL_ORDER.items()},
}


@cache
def keys_of(name: str) -> EphemeralKeys:
    del name  # one set of fresh keys for each
    return EphemeralKeys.generate()


def answer_of(name: str, keys: EphemeralKeys | None = None, **changes: str) -> RunAnswer:
    x25519, mlkem768 = (keys or keys_of(name)).public
    fields = {"study": STUDY, "x25519": x25519, "mlkem768": mlkem768, "institution": name}
    rest = {"approval": ROSTER, "roster": ROSTER, "run": "r", "nonce": ROSTER, "boot": ROSTER}
    return RunAnswer.model_validate({**rest, **fields, **changes})


def both_sides(
    low: str, high: str, answers: Mapping[str, RunAnswer] | None = None
) -> tuple[bytes, bytes]:
    """The key of a pair as each side derives it, through a real encapsulation."""
    known = answers or {name: answer_of(name) for name in (low, high)}
    secret, ciphertext = encapsulate(known[high])
    sides = []
    for own, peer, kem in (
        (low, high, secret),
        (high, low, decapsulate(keys_of(high), ciphertext)),
    ):
        sides.append(
            pair_key(
                keys_of(own), kem, known[own], known[peer],
                opening=OPENING, ciphertext=ciphertext,
            )
        )  # fmt: skip
    return sides[0], sides[1]


@cache
def run_keys() -> dict[str, RunKeys]:
    keys: dict[str, dict[str, bytes]] = {name: {} for name in NAMES}
    for low, high in combinations(NAMES, 2):
        keys[low][high], keys[high][low] = both_sides(low, high)
    return {name: RunKeys(0, pairs) for name, pairs in keys.items()}


def masks(
    entries: int,
    bits: WordBits,
    request: str = REQUEST,
    step: int = 0,
    names: tuple[str, ...] = NAMES,
) -> dict[str, Word]:
    return {
        name: run_keys()[name]
        .at(step)
        .mask(name, frozenset(names) - {name}, request, entries, bits)
        for name in names
    }


def total(vectors: Mapping[str, Word], bits: WordBits) -> Word:
    entries = len(next(iter(vectors.values())))
    result: Word = np.zeros(entries, dtype=np.uint64)
    for vector in vectors.values():
        result = add(result, vector, bits)
    return result


# --- masks ------------------------------------------------------------------------------------


@RINGS
@pytest.mark.parametrize("count", [2, 3, 4])
def test_all_masks_together_are_exactly_zero(bits: WordBits, count: int) -> None:
    for step in (0, 1, 5):
        assert not total(masks(501, bits, step=step, names=NAMES[:count]), bits).any()


@RINGS
def test_masked_vectors_add_up_to_the_sum(bits: WordBits) -> None:
    rng = np.random.default_rng(1)
    half = 2 ** (bits.value - 4)
    vectors = {name: rng.integers(-half, half, 64) for name in NAMES}
    masked = {
        name: add(to_ring(vectors[name], bits), mask, bits)
        for name, mask in masks(64, bits).items()
    }
    assert (centre(total(masked, bits), bits) == sum(vectors.values())).all()


def byte_p_value(vector: Word, bits: WordBits) -> float:
    """Chi-square of the wire's bytes against uniform."""
    counts = np.bincount(np.frombuffer(encode(vector, bits), dtype=np.uint8), minlength=256)
    return float(stats.chisquare(counts).pvalue)


@RINGS
def test_any_masked_replies_but_all_are_uniform(bits: WordBits) -> None:
    entries = 16_384
    made = masks(entries, bits)
    constant = to_ring(np.full(entries, 12345), bits)  # as unlike noise as a vector can be
    masked = {name: add(constant, mask, bits) for name, mask in made.items()}
    for count in (1, 2, 3):
        for names in combinations(NAMES, count):
            partial = total({name: masked[name] for name in names}, bits)
            assert byte_p_value(partial, bits) > UNLIKELY, names
            # ... and none of them gives another away.
            for name in names:
                rest = subtract(partial, masked[name], bits)
                assert not np.array_equal(rest, constant)
    assert byte_p_value(total(masked, bits), bits) < CERTAIN  # all of them: no mask is left


@RINGS
def test_replies_are_independent_of_one_another(bits: WordBits) -> None:
    made = masks(16_384, bits)
    for left, right in combinations(NAMES, 2):
        both = (made[left] ^ made[right]) & np.uint64(2**bits.value - 1)
        assert byte_p_value(both, bits) > UNLIKELY


@RINGS
def test_the_uniformity_test_sees_a_biased_stream(bits: WordBits) -> None:
    # Power: one value in fifty is off, as a broken generator or a reused mask would have it.
    entries = 16_384
    stream = masks(entries, bits)[NAMES[0]].copy()
    assert byte_p_value(stream, bits) > UNLIKELY
    biased = stream.copy()
    biased[::50] = 0
    assert byte_p_value(biased, bits) < CERTAIN
    assert byte_p_value(stream & ~np.uint64(1), bits) < CERTAIN  # the lowest bit is lost
    one_mask = masks(entries, bits, names=NAMES[:2])[NAMES[0]]
    small = to_ring(np.random.default_rng(2).integers(0, 9, entries), bits)
    again = subtract(add(small, one_mask, bits), one_mask, bits)
    assert byte_p_value(again, bits) < CERTAIN  # a mask that is used twice is no mask


@RINGS
def test_masks_differ_from_request_to_request_and_step_to_step(bits: WordBits) -> None:
    made = [
        masks(64, bits, request, step)[NAMES[0]].tolist()
        for request in (REQUEST, OTHER_REQUEST)
        for step in (0, 1, 2)
    ]
    for left, right in combinations(made, 2):
        assert sum(a == b for a, b in zip(left, right, strict=True)) <= 1


@RINGS
def test_masks_of_other_participants_do_not_cancel(bits: WordBits) -> None:
    full, fewer = masks(64, bits), masks(64, bits, names=NAMES[:3])
    mixed = {**fewer, NAMES[3]: full[NAMES[3]]}
    assert total(mixed, bits).any()
    for name in NAMES:
        rest = {other: mask for other, mask in full.items() if other != name}
        assert np.count_nonzero(total(rest, bits)) >= 63


def test_one_side_adds_what_the_other_subtracts() -> None:
    key, bits = b"k" * 32, WordBits.K64
    low = RunKeys(0, {"b": key}).mask("a", frozenset("b"), REQUEST, 9, bits)
    high = RunKeys(0, {"a": key}).mask("b", frozenset("a"), REQUEST, 9, bits)
    stream = mask_stream(key, REQUEST, 9, bits)
    assert low.tolist() == stream.tolist()
    assert high.tolist() == [-int(x) % 2**64 for x in stream]


@RINGS
def test_streams_are_chacha20_under_a_key_of_their_own(bits: WordBits) -> None:
    stream = mask_stream(b"k" * 32, REQUEST, 100, bits)
    assert stream.dtype == np.dtype(f"u{bits.value // 8}")  # words of the ring's own width
    assert stream.max() >= 2 ** (bits.value - 1)  # all of its width
    assert stream.tolist() == mask_stream(b"k" * 32, REQUEST, 100, bits).tolist()
    assert stream[:40].tolist() == mask_stream(b"k" * 32, REQUEST, 40, bits).tolist()
    assert len(mask_stream(b"k" * 32, REQUEST, 0, bits)) == 0
    direct = Cipher(ChaCha20(b"k" * 32, bytes(16)), mode=None).encryptor()
    assert encode(stream, bits) != direct.update(bytes(100 * bits.value // 8))


def test_a_stranger_has_no_mask() -> None:
    keys = run_keys()["alder"]
    for peers in ({"elm"}, {"birch", "elm"}, {"alder"}):
        with pytest.raises(ProtocolError, match="participants of this run"):
            keys.mask("alder", frozenset(peers), REQUEST, 3, WordBits.K64)


# --- the chain --------------------------------------------------------------------------------


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 6), max_size=5))
def test_skipping_steps_agrees_with_stepping(jumps: list[int]) -> None:
    keys = run_keys()["alder"]
    for jump in jumps:
        keys = keys.at(keys.step + jump)
    direct = run_keys()["alder"].at(sum(jumps))
    assert (direct.step, dict(direct.keys)) == (keys.step, dict(keys.keys))
    for peer, key in run_keys()["alder"].keys.items():
        expected = key
        for _ in range(sum(jumps)):
            expected = next_chain_key(expected)
        assert direct.keys[peer] == expected


def test_earlier_keys_cannot_be_had_back() -> None:
    later = run_keys()["alder"].at(3)
    assert later.at(3) == later
    for step in (0, 2, -1):
        with pytest.raises(ProtocolError, match="step 3 or later"):
            later.at(step)


def test_every_step_has_keys_of_its_own() -> None:
    seen = {key for step in range(30) for key in run_keys()["birch"].at(step).keys.values()}
    assert len(seen) == 30 * 3
    assert all(len(key) == 32 for key in seen)


def test_keys_are_not_printed_and_have_no_form_for_a_store() -> None:
    keys, mine = run_keys()["alder"].at(2), keys_of("alder")
    private = (mine.x25519.private_bytes_raw(), mine.mlkem.private_bytes_raw())
    for secret in (*keys.keys.values(), *private):
        assert secret.hex() not in repr(keys) + repr(mine) + str(keys) + str(mine)
    for thing in (keys, mine):
        assert not {"to_bytes", "model_dump", "__bytes__"} & set(dir(thing))


# --- pair keys ----------------------------------------------------------------------------------


def test_both_sides_derive_the_same_key_and_every_pair_its_own() -> None:
    keys = []
    for low, high in combinations(NAMES, 2):
        one, other = both_sides(low, high)
        assert one == other
        assert len(one) == 32
        keys.append(one)
    assert len(set(keys)) == len(keys)


def test_encapsulating_again_gives_another_key() -> None:
    assert both_sides("alder", "birch")[0] != both_sides("alder", "birch")[0]


Terms = dict[str, object]


def derived(terms: Terms) -> bytes:
    own, peer = terms["own"], terms["peer"]
    keys, kem = terms["keys"], terms["kem"]
    assert isinstance(own, RunAnswer)
    assert isinstance(peer, RunAnswer)
    assert isinstance(keys, EphemeralKeys)
    assert isinstance(kem, bytes)
    return pair_key(
        keys, kem, own, peer, opening=str(terms["opening"]), ciphertext=str(terms["ciphertext"])
    )


def changed(name: str, **fields: str) -> Callable[[Terms], Terms]:
    def change(terms: Terms) -> Terms:
        approval = terms[name]
        assert isinstance(approval, RunAnswer)
        return {**terms, name: approval.model_copy(update=fields)}

    return change


def with_term(**terms: object) -> Callable[[Terms], Terms]:
    return lambda old: {**old, **terms}


@pytest.mark.parametrize(
    "change",
    [
        changed("own", institution="aspen"),
        changed("peer", institution="beech"),
        changed("peer", institution="aaa"),  # the order turns round
        changed("own", study=ROSTER),
        changed("own", x25519=encode_key(b"\x01" * 32)),
        changed("own", mlkem768=encode_key(b"\x01" * 1184)),
        changed("peer", mlkem768=encode_key(b"\x01" * 1184)),
        changed("peer", x25519=answer_of("cedar").x25519),
        with_term(kem=b"\x01" * 32),
        with_term(opening=ROSTER),
        with_term(ciphertext=encode_key(b"\x01" * 1088)),
        with_term(keys=keys_of("cedar")),
    ],
)
def test_every_term_changes_the_key(change: Callable[[Terms], Terms]) -> None:
    terms: Terms = {
        "keys": keys_of("alder"),
        "kem": b"\x00" * 32,
        "own": answer_of("alder"),
        "peer": answer_of("birch"),
        "opening": OPENING,
        "ciphertext": encode_key(bytes(1088)),
    }
    assert derived(terms) == derived(dict(terms))
    assert derived(change(terms)) != derived(terms)


def test_a_key_needs_both_secrets() -> None:
    # Hybrid: whoever breaks X25519 alone, or ML-KEM alone, has nothing.
    alder, birch = answer_of("alder"), answer_of("birch")
    secret, ciphertext = encapsulate(birch)
    whole = pair_key(keys_of("alder"), secret, alder, birch, opening=OPENING, ciphertext=ciphertext)
    without_kem = pair_key(
        keys_of("alder"), bytes(32), alder, birch, opening=OPENING, ciphertext=ciphertext
    )
    stranger = replace(EphemeralKeys.generate(), mlkem=keys_of("alder").mlkem)
    without_x25519 = pair_key(
        stranger, secret, alder, birch, opening=OPENING, ciphertext=ciphertext
    )
    assert len({whole, without_kem, without_x25519}) == 3


def test_a_changed_ciphertext_gives_another_key_and_no_error() -> None:
    # FIPS 203 rejects implicitly: the rehearsal finds it, nothing can be learnt from an error.
    secret, ciphertext = encapsulate(answer_of("birch"))
    content = bytearray(base64.b64decode(ciphertext))
    content[0] ^= 1
    other = decapsulate(keys_of("birch"), encode_key(bytes(content)))
    assert len(other) == 32
    assert other != secret
    assert decapsulate(keys_of("cedar"), ciphertext) != secret


# --- hostile keys -------------------------------------------------------------------------------


def with_x25519(number: int) -> RunAnswer:
    return answer_of("birch", x25519=encode_key(number.to_bytes(32, "little")))


@pytest.mark.parametrize("point", SMALL_ORDER.values(), ids=SMALL_ORDER)
def test_points_of_small_order_are_refused(point: int) -> None:
    with pytest.raises(ProtocolError, match="full order"):
        pair_key(
            keys_of("alder"), bytes(32), answer_of("alder"), with_x25519(point),
            opening=OPENING, ciphertext="",
        )  # fmt: skip


@pytest.mark.parametrize("point", SECOND_SPELLINGS.values(), ids=SECOND_SPELLINGS)
def test_second_spellings_of_points_are_refused(point: int) -> None:
    with pytest.raises(ProtocolError, match="below 2\\^255 - 19"):
        check_answer_keys({"birch": with_x25519(point)})
    with pytest.raises(ProtocolError, match="full order"):  # and they are of small order
        pair_key(
            keys_of("alder"), bytes(32), answer_of("alder"), with_x25519(point),
            opening=OPENING, ciphertext="",
        )  # fmt: skip


def answers(**changed: RunAnswer) -> dict[str, RunAnswer]:
    return {name: changed.get(name, answer_of(name)) for name in NAMES}


def test_keys_of_their_own_are_accepted() -> None:
    check_answer_keys(answers())


@pytest.mark.parametrize("kind", ["x25519", "mlkem768"])
def test_a_key_that_two_hold_is_refused(kind: str) -> None:
    copied = answer_of("birch", **{kind: getattr(answer_of("alder"), kind)})
    with pytest.raises(ProtocolError, match=f"a {kind} key of its own"):
        check_answer_keys(answers(birch=copied))


def test_a_key_spelled_in_another_way_is_still_seen_to_be_copied() -> None:
    key = base64.b64decode(answer_of("alder").x25519)
    with_top_bit = encode_key(key[:-1] + bytes([key[-1] | 0x80]))
    peer = X25519PublicKey.from_public_bytes(base64.b64decode(with_top_bit))
    mine = keys_of("cedar").x25519
    assert mine.exchange(peer) == mine.exchange(keys_of("alder").x25519.public_key())
    text = answer_of("alder").x25519
    loose = text[:-2] + chr(ord(text[-2]) + 1) + "="
    assert base64.b64decode(loose) == key
    for spelling in (with_top_bit, loose):
        with pytest.raises(ProtocolError):
            check_answer_keys(answers(birch=answer_of("birch", x25519=spelling)))


@pytest.mark.parametrize("kind", ["x25519", "mlkem768"])
@pytest.mark.parametrize("text", ["", "AAAA", encode_key(bytes(33)), encode_key(bytes(1183)), "é"])
def test_keys_of_another_length_are_refused(kind: str, text: str) -> None:
    bad = answer_of("birch").model_copy(update={kind: text})
    with pytest.raises(ProtocolError):
        check_answer_keys(answers(birch=bad))


def test_bytes_that_are_no_ml_kem_key_are_refused() -> None:
    # FIPS 203, section 7.2: coefficients of a public key are below 3329.
    for content in (b"\xff" * MLKEM_PUBLIC_BYTES, bytes(10)):
        with pytest.raises(ProtocolError):
            encapsulate(answer_of("birch", mlkem768=encode_key(content)))


@pytest.mark.parametrize("length", [0, 1, MLKEM_CIPHERTEXT_BYTES - 1, MLKEM_CIPHERTEXT_BYTES + 1])
def test_ciphertexts_of_another_length_are_refused(length: int) -> None:
    with pytest.raises(ProtocolError, match="expected 1088 bytes"):
        decapsulate(keys_of("birch"), encode_key(bytes(length)))


@RINGS
def test_a_member_that_copies_anothers_keys_cancels_no_honest_mask(bits: WordBits) -> None:
    """Cedar publishes birch's public keys as its own and relays birch's ciphertext.

    Were ids and keys not in the derivation, alder would share one key with both, and with
    `alder < birch < cedar` the colluder could cancel the mask that hides alder's vector.
    """
    alder, birch = answer_of("alder"), answer_of("birch")
    copied = answer_of("cedar", keys_of("birch"))
    assert (copied.x25519, copied.mlkem768) == (birch.x25519, birch.mlkem768)
    secret, ciphertext = encapsulate(birch)
    with_birch = pair_key(
        keys_of("alder"), secret, alder, birch, opening=OPENING, ciphertext=ciphertext
    )
    with_cedar = pair_key(
        keys_of("alder"), secret, alder, copied, opening=OPENING, ciphertext=ciphertext
    )
    assert with_birch != with_cedar
    left = mask_stream(with_birch, REQUEST, 4096, bits)
    right = mask_stream(with_cedar, REQUEST, 4096, bits)
    for combined in (
        add(left, right, bits),
        subtract(left, right, bits),
        subtract(right, left, bits),
    ):
        assert np.count_nonzero(combined) >= 4090
        assert byte_p_value(combined, bits) > UNLIKELY
    # The protocol refuses the copy before it comes to that.
    with pytest.raises(ProtocolError, match="key of its own"):
        check_answer_keys({"alder": alder, "birch": birch, "cedar": copied})
