"""The one-shot secure sum: hybrid pair keys, a one-way chain, masks that cancel.

Every pair of institutions shares a key from X25519 (RFC 7748) and ML-KEM-768
(FIPS 203), both fresh for each opening of a run and signed into answers and offers. For a
request R one side adds and the other subtracts the same ChaCha20 stream, so all masks cancel in
the sum of the participants that R names, and nothing else does. Nothing is ever unmasked for
anyone.

A seed of each institution hides its vector a second time, from everybody, until all vectors of R
are fixed: who knows its peers' vectors, and their keys, cannot choose its own by them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import rfc8785
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand
from numpy.typing import NDArray

from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.protocol.messages import RunAnswer, decode_key, encode_key
from fieldfare.shared.ring import Word, WordBits

PAIR_LABEL: Final = b"fieldfare.pair-key.v1"
CHAIN_LABEL: Final = b"fieldfare.chain.v1"
MASK_LABEL: Final = b"fieldfare.mask.v1"
X25519_BYTES: Final = 32
X25519_PRIME: Final = 2**255 - 19
MLKEM_PUBLIC_BYTES: Final = 1184
MLKEM_CIPHERTEXT_BYTES: Final = 1088
MLKEM_SEED_BYTES: Final = 64
KEY_BYTES: Final = 32
SEED_BYTES: Final = 32


@dataclass(frozen=True, repr=False)
class EphemeralKeys:
    """One institution's fresh keys for one opening of a run: in memory only."""

    x25519: X25519PrivateKey
    mlkem: MLKEM768PrivateKey

    @classmethod
    def generate(cls) -> "EphemeralKeys":
        """Make fresh keys from operating-system entropy."""
        return cls(X25519PrivateKey.generate(), MLKEM768PrivateKey.generate())

    @property
    def public(self) -> tuple[str, str]:
        """Base64 public keys, X25519 first, as an answer to `hello` carries them."""
        return (
            encode_key(self.x25519.public_key().public_bytes_raw()),
            encode_key(self.mlkem.public_key().public_bytes_raw()),
        )

    @property
    def private(self) -> tuple[str, str]:
        """Base64 private keys, X25519 first, as they are published after a failed rehearsal."""
        return (
            encode_key(self.x25519.private_bytes_raw()),
            encode_key(self.mlkem.private_bytes_raw()),
        )

    @classmethod
    def from_private(cls, x25519: str, mlkem768: str) -> "EphemeralKeys":
        """Read published private keys.

        Raises:
            ProtocolError: no keys of these lengths.
        """
        return cls(
            X25519PrivateKey.from_private_bytes(decode_key(x25519, X25519_BYTES)),
            MLKEM768PrivateKey.from_seed_bytes(decode_key(mlkem768, MLKEM_SEED_BYTES)),
        )


def check_answer_keys(answers: Mapping[str, RunAnswer]) -> None:
    """Refuse keys that are malformed or held by two institutions.

    Raises:
        ProtocolError: wrong length, a second spelling of a key, or a key that appears
            twice (docs/protocol.md, "Keys").
    """
    for answer in answers.values():
        x25519 = decode_key(answer.x25519, X25519_BYTES)
        # RFC 7748, section 5, reads 2^255 and above, and p and above, as a smaller number:
        # the same key under another spelling would not be seen to appear twice.
        if int.from_bytes(x25519, "little") >= X25519_PRIME:
            raise ProtocolError("expected an X25519 key below 2^255 - 19")
        decode_key(answer.mlkem768, MLKEM_PUBLIC_BYTES)
    for kind in ("x25519", "mlkem768"):
        keys = [getattr(answer, kind) for answer in answers.values()]
        if len(set(keys)) != len(keys):
            raise ProtocolError(f"expected a {kind} key of its own for each institution")


def encapsulate(recipient: RunAnswer) -> tuple[bytes, str]:
    """Encapsulate to a recipient's ML-KEM key (FIPS 203, section 7.2).

    Returns:
        The 32-byte shared secret and the base64 ciphertext.

    Raises:
        ProtocolError: the key is no ML-KEM-768 key.
    """
    try:
        key = MLKEM768PublicKey.from_public_bytes(
            decode_key(recipient.mlkem768, MLKEM_PUBLIC_BYTES)
        )
    except ValueError:
        raise ProtocolError("expected an ML-KEM-768 public key") from None
    secret, ciphertext = key.encapsulate()
    return secret, encode_key(ciphertext)


def decapsulate(keys: EphemeralKeys, ciphertext: str) -> bytes:
    """Decapsulate (FIPS 203, section 7.3).

    Raises:
        ProtocolError: a ciphertext of another length.
    """
    return keys.mlkem.decapsulate(decode_key(ciphertext, MLKEM_CIPHERTEXT_BYTES))


def pair_key(
    keys: EphemeralKeys,
    kem_secret: bytes,
    own: RunAnswer,
    peer: RunAnswer,
    *,
    opening: str,
    ciphertext: str,
) -> bytes:
    """Derive the pair's first chain key.

    HKDF (RFC 5869) over both shared secrets; salt is the study's hash; info is the
    label, the run's opening, and both ids and both public keys in order. Without ids
    and keys in info a colluder that copies another's key would cancel an honest mask.

    Args:
        keys: own private keys.
        kem_secret: 32 bytes from ML-KEM.
        own: own answer to `hello`.
        peer: the peer's.
        opening: hash of the signed run opening, so that runs never share masks.
        ciphertext: base64, as offered by the lower id.

    Returns:
        32 bytes, the same at both sides.

    Raises:
        ProtocolError: the X25519 secret would be all zeros (RFC 7748, section 6.1).
    """
    public = X25519PublicKey.from_public_bytes(decode_key(peer.x25519, X25519_BYTES))
    try:
        shared = keys.x25519.exchange(public)
    except ValueError:
        raise ProtocolError("expected an X25519 key of full order, found a small one") from None
    low, high = sorted((own, peer), key=lambda answer: answer.institution)
    context = {
        "opening": opening,
        "ciphertext": ciphertext,
        "pair": [[a.institution, a.x25519, a.mlkem768] for a in (low, high)],
    }
    info = PAIR_LABEL + b"\x00" + rfc8785.dumps(context)
    derivation = HKDF(hashes.SHA256(), KEY_BYTES, salt=bytes.fromhex(own.study), info=info)
    return derivation.derive(shared + kem_secret)


def next_chain_key(key: bytes) -> bytes:
    """Move a pair key one step along its one-way chain (HKDF-Expand, RFC 5869 section 2.3)."""
    return HKDFExpand(hashes.SHA256(), KEY_BYTES, CHAIN_LABEL).derive(key)


def mask_stream(chain_key: bytes, request: str, entries: int, bits: WordBits) -> NDArray[Any]:
    """Return the pair's mask for one request: ChaCha20 (RFC 8439) over zeros.

    Args:
        chain_key: the pair's key at the request's step.
        request: hash(R), hex; every term of R therefore changes the whole mask.
        entries: length of the vector.
        bits: the ring.

    Returns:
        unsigned words of k bits (entries,), uniform in Z_2^k; they wrap as the ring does.
    """
    info = MASK_LABEL + b"\x00" + bytes.fromhex(request)
    return _words(HKDFExpand(hashes.SHA256(), KEY_BYTES, info).derive(chain_key), entries, bits)


def seed_stream(seed: bytes, entries: int, bits: WordBits) -> Word:
    """Return the stream that hides a vector until its seed is known: ChaCha20 (RFC 8439).

    Args:
        seed: 32 fresh bytes, used for one vector.
        entries: length of the vector.
        bits: the ring.

    Returns:
        uint64 (entries,), uniform in Z_2^k for everybody without the seed.

    Raises:
        ProtocolError: a seed of another length.
    """
    return seed_words(seed, entries, bits).astype(np.uint64)


def seed_words(seed: bytes, entries: int, bits: WordBits) -> NDArray[Any]:
    """Return the same stream as unsigned words of k bits (entries,), which wrap as the ring does.

    Raises:
        ProtocolError: a seed of another length.
    """
    if len(seed) != SEED_BYTES:
        raise ProtocolError(f"expected a seed of {SEED_BYTES} bytes, found {len(seed)}")
    return _words(seed, entries, bits)


def _words(key: bytes, entries: int, bits: WordBits) -> NDArray[Any]:
    """Return a stream as words of the ring's own width, which wrap as the ring does."""
    # The key serves this one stream, so a constant nonce repeats nothing.
    stream = Cipher(ChaCha20(key, bytes(16)), mode=None).encryptor()
    return np.frombuffer(stream.update(bytes(entries * bits.value // 8)), dtype=bits.dtype)


@dataclass(frozen=True, repr=False)
class RunKeys:
    """One institution's pair keys in one run, at one step of the chain."""

    step: int
    keys: Mapping[str, bytes]  # by peer

    def at(self, step: int) -> "RunKeys":
        """Return the keys at a later step; earlier ones cannot be had back.

        Raises:
            ProtocolError: a step that the chain has passed.
        """
        if step < self.step:
            raise ProtocolError(f"expected step {self.step} or later, found {step}")
        keys = dict(self.keys)
        for _ in range(step - self.step):
            keys = {peer: next_chain_key(key) for peer, key in keys.items()}
        return RunKeys(step, keys)

    def mask(
        self, own: str, peers: frozenset[str], request: str, entries: int, bits: WordBits
    ) -> Word:
        """Return the mask that `own` adds to its vector.

        Args:
            own: this institution's id.
            peers: the other participants of the request.
            request: hash(R), hex.
            entries: length of the vector.
            bits: the ring.

        Formal Guarantees:
            Over all participants of R the masks sum to zero in Z_2^k. To a party without the key of
            one honest pair, each of its two masked vectors is uniform.

        Raises:
            ProtocolError: no key is shared with a peer.
        """
        total = np.zeros(entries, dtype=bits.dtype)
        for peer in sorted(peers):
            if peer not in self.keys:
                raise ProtocolError("expected participants of this run, found another")
            words = mask_stream(self.keys[peer], request, entries, bits)
            (np.add if own < peer else np.subtract)(total, words, out=total)
        return total.astype(np.uint64)
