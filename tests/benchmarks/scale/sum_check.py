"""What a member takes in to check a sum: everybody's vector, or a point of a curve for each.

    pip install rbcl==1.1.2 py-arkworks-bls12381==0.5.0
    python -m tests.benchmarks.scale.sum_check [--counts 3,20,100] [--keep]

A Pedersen commitment without blinding, the sum of v_j G_j over a vector's words, is linear: the
points of all participants add up to that of their sum over the integers, wraps of the ring not
taken off, so a member needs that sum once in place of n vectors. Measured: bytes of a step's real
messages, and the processor time of committing, checking one sum, and of today's check of the same.
libsodium has ristretto255, one base at a time; arkworks takes all bases at once, of BLS12-381.
"""

import hashlib
import importlib
import os
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final

import numpy as np
import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.benchmarks.harness import Bench, numbers
from tests.benchmarks.scale.members import ENTRIES, HASH, NAME, spent

from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.errors import RunError
from fieldfare.shared.protocol.messages import (
    Commitment,
    IdentitySigner,
    Participant,
    Reply,
    Request,
    sign_envelope,
)
from fieldfare.shared.ring import WordBits
from fieldfare.shared.run.replay import add_words

WORD: Final = 8  # bytes
POINT: Final = 32
NAMED_POINT: Final = len(',"point":""') + 2 * POINT  # in a signed commitment
CARRY: Final = 1  # byte: at most 255 wraps of a word
LIBRARIES: Final = ("rbcl", "arkworks")


def message_bytes(members: int) -> dict[str, int]:
    """Return what a member takes in and sends at a step, today and with points."""
    signer = IdentitySigner(Ed25519PrivateKey.generate())
    count = {"debit": 10**9, "ledger_sequence": 1000, "cumulative": 10**11, "debited": 10**11}
    named = {"request": HASH, "institution": NAME, "answer": HASH, "vector": HASH, "seed": HASH}
    said = {**named, **count, "statements": HASH, "ledger_head": HASH, "epoch": 1}
    request = len(sign_envelope(_request(members), "coordinator", signer))
    reply = len(sign_envelope(Reply.model_validate(said), NAME, signer))
    commitment = len(sign_envelope(Commitment.model_validate(named), NAME, signer))
    vector = WORD * ENTRIES
    # R and parameters; R and L; and of the sum before R, replies and L, then what checks it.
    fixed = 3 * request + vector + members * (reply + 2 * commitment)
    sent = commitment + vector + reply
    return {
        "members": members,
        "vectors_in": fixed + members * vector,
        "points_in": fixed + 2 * members * NAMED_POINT + ENTRIES * (WORD + CARRY),
        "vectors_out": sent,
        "points_out": sent + NAMED_POINT,
    }


def _request(members: int) -> Request:
    participants = tuple(
        Participant(institution=f"bank-{place:03}", answer=HASH) for place in range(members)
    )
    hashes = dict.fromkeys(("study", "roster", "opening", "parameters"), HASH)
    frame = {"protocol": 2, "run": HASH[:32], "step": 10, "attempt": 0, "kind": "training"}
    terms = {"t": 1, "multiplicity": 1, "clipping_norm": 1.0, "sigma": 12.3456789, "gamma_bits": 20}
    ring = {"word_bits": 64, "entries": ENTRIES, "dtype": "<u8", "n": members}
    return Request.model_validate(
        {**hashes, **frame, **terms, **ring, "participants": participants}
    )


def today(members: int) -> float:
    """Return the milliseconds in which a member hashes and adds up so many vectors."""
    vectors = [os.urandom(WORD * ENTRIES) for _ in range(members)]

    def check() -> None:
        for vector in vectors:
            bytes_hash(vector)
        add_words(vectors, WordBits.K64, ENTRIES)

    return spent(check) / 1000


def points(library: str) -> dict[str, float]:
    """Return milliseconds: a vector of 64 bits committed to, a sum of 72 opened, a point added.

    Raises:
        RunError: a library is not installed.
    """
    commit, add = {"rbcl": _rbcl, "arkworks": _arkworks}[library]()
    vector = np.frombuffer(os.urandom(WORD * ENTRIES), dtype=np.uint64).tolist()
    summed = [word << 8 | 0x55 for word in vector]
    check_linear(commit, add)
    one, other = commit(vector), commit(summed)
    return {
        "commit": spent(lambda: commit(vector), 5) / 1000,
        "open": spent(lambda: commit(summed), 5) / 1000,
        "add": spent(lambda: add(one, other)) / 1000,
    }


def check_linear(commit: Callable[[Sequence[int]], Any], add: Callable[[Any, Any], Any]) -> None:
    """Check that the points of two vectors add up to that of their sum, a wrap and all.

    Raises:
        RunError: they do not.
    """
    one, other = [2**64 - 1, 5, 2**40], [2**64 - 1, 7, 3]
    both = [first + second for first, second in zip(one, other, strict=True)]
    if add(commit(one), commit(other)) != commit(both) or commit(one) == commit(other):
        raise RunError("expected points that add up as their vectors do, found others")


_Group = tuple[Callable[[Sequence[int]], Any], Callable[[Any, Any], Any]]


def _rbcl() -> _Group:
    """Ristretto255 of libsodium: a multiplication in constant time for each base."""
    sodium = _installed("rbcl")
    seeds = (hashlib.sha512(b"base %d" % place).digest() for place in range(ENTRIES))
    bases = [sodium.crypto_core_ristretto255_from_hash(seed) for seed in seeds]
    add = sodium.crypto_core_ristretto255_add

    def commit(words: Sequence[int]) -> Any:
        total = None
        for base, word in zip(bases, words, strict=False):
            part = sodium.crypto_scalarmult_ristretto255(word.to_bytes(32, "little"), base)
            total = part if total is None else add(total, part)
        return total

    return commit, add


def _arkworks() -> _Group:
    """BLS12-381 of arkworks, in Rust, which takes all bases at once."""
    curve = _installed("py_arkworks_bls12381")
    bases = [curve.G1Point() * curve.Scalar(3**40 + place) for place in range(ENTRIES)]

    def commit(words: Sequence[int]) -> Any:
        scalars = [curve.Scalar.from_le_bytes(word.to_bytes(32, "little")) for word in words]
        return curve.G1Point.multiexp_unchecked(bases[: len(scalars)], scalars)

    return commit, lambda one, other: one + other


def _installed(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise RunError(f"expected {name}, found: {error}; the first lines say what to do") from None


def measure(
    counts: Annotated[str, typer.Option(help="Members of each federation.")] = "3,20,100",
) -> dict[str, Any]:
    """Measure what a member takes in at a step, and what it computes to check one sum."""
    took = {library: points(library) for library in LIBRARIES}
    sizes = []
    for members in numbers(counts):
        checks = {
            library: found["commit"] + found["open"] + members * found["add"]
            for library, found in took.items()
        }
        sizes.append({**message_bytes(members), "today": today(members), **checks})
    return {"entries": ENTRIES, "milliseconds": took, "sizes": sizes}


def words(found: dict[str, Any]) -> list[str]:
    """Return the figures for people: kilobytes, milliseconds, and what a line must not carry."""
    lines = ["members  vectors   points     out   today" + "".join(f"{n:>14}" for n in LIBRARIES)]
    for size in found["sizes"]:
        saved = size["vectors_in"] - size["points_in"] - NAMED_POINT
        checks = "".join(
            f"{size[name]:6.1f} ms{8e-3 * saved / (size[name] - size['today']):5.1f}"
            for name in LIBRARIES
        )
        lines.append(
            f"{size['members']:7} {size['vectors_in'] / 1e3:5.1f} kB {size['points_in'] / 1e3:5.1f}"
            f" kB {size['vectors_out'] / 1e3:4.1f} kB {size['today']:4.2f} ms{checks}"
        )
    lines.append("behind each: megabits a second, above which sending all vectors is faster")
    lines += [
        f"{name:12} commits in {took['commit']:.1f}, opens in {took['open']:.1f},"
        f" adds a point in {took['add']:.3f} ms"
        for name, took in found["milliseconds"].items()
    ]
    return lines


BENCH: Final = Bench(measure, words=words)

if __name__ == "__main__":
    BENCH.app()()
