"""Many members: what a step of each costs as a + b n, and what the machine could do at best.

    python -m tests.benchmarks.scale.members [--counts 10,20,50,100] [--units 1000] [--json]

Real custodians with exact noise, signatures, masks, two messages a release and ledgers on disk, in
one process beside their coordinator; medians, of processor time and of the time that passes. On
two cores the second is less: noise is drawn beside what a member does else. In one process a
signature is verified once for everybody, so what a member that stands alone pays more for each
peer, two signatures and the reading of two messages, is measured by itself and stated beside it.
"""

import os
import statistics
import time
from collections.abc import Callable
from typing import Annotated, Any, Final

import numpy as np
import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.benchmarks.harness import Bench, BenchRow, apart, at_most, numbers
from tests.benchmarks.peers.ours import round_seconds

from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.privacy.samplers import ExactNoise
from fieldfare.shared.protocol.messages import (
    Commitment,
    IdentitySigner,
    MessageBody,
    Reply,
    open_envelope,
    sign_envelope,
)
from fieldfare.shared.protocol.roster import Member, Roster, verify_by
from fieldfare.shared.protocol.secure_sum import mask_stream, next_chain_key, seed_words
from fieldfare.shared.ring import WordBits

ENTRIES: Final = 401  # 40 features of 8 knots, with their slots, and the bias
NAME: Final = "bank-001"
HASH: Final = "ab" * 32
MEGABYTE: Final = 1 << 20
COPIED: Final = 64 * MEGABYTE  # more than a cache holds
MILLISECONDS_A_PEER: Final = 0.1
SECONDS_OF_A_HUNDRED: Final = 1.5


def step_milliseconds(members: int, units: int) -> dict[str, float]:
    """Return a step's medians: time that passes, processor time, and a member's part of that."""
    steps, entries = round_seconds(members, Protection.EXACT, units)
    median = 1000 * statistics.median(step.processor for step in steps)
    elapsed = 1000 * statistics.median(step.wall for step in steps)
    return {
        "members": members,
        "entries": entries,
        "elapsed_milliseconds": elapsed,
        "step_milliseconds": median,
        "member_milliseconds": median / members,
    }


def spent(call: Callable[[], object], repeats: int = 200) -> float:
    """Return the microseconds of processor time that a call takes."""
    call()
    started = time.process_time()
    for _ in range(repeats):
        call()
    return 1e6 * (time.process_time() - started) / repeats


def parts() -> dict[str, float]:
    """Return microseconds: what a member does for each peer at a step, and its noise."""
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes_raw().hex()
    roster = Roster(version=1, coordinator="", members=(Member(id=NAME, key=public),))
    secret, signed = bytes(32), bytes(500)
    signature = key.sign(signed)
    said = {"request": HASH, "institution": NAME, "answer": HASH, "vector": HASH}
    commitment = Commitment.model_validate({**said, "seed": HASH})
    noise = ExactNoise()
    return {
        "signature": spent(lambda: verify_by(public, signature, signed)),
        "reading_commitment": _reading(commitment, key, roster),
        "reading_reply": _reading(_reply(said), key, roster),
        "chain_key": spent(lambda: next_chain_key(secret)),
        "mask": spent(lambda: mask_stream(secret, HASH, ENTRIES, WordBits.K64)),
        "seed": spent(lambda: seed_words(secret, ENTRIES, WordBits.K64)),
        "exact_noise": spent(lambda: noise.sample(ENTRIES, 2.0**20), 20),
    }


def _reply(said: dict[str, str]) -> Reply:
    counts = dict.fromkeys(
        ("debit", "ledger_sequence", "cumulative", "debited", "epoch"), 123_456_789
    )
    return Reply.model_validate({**said, **counts, "ledger_head": HASH})


def _reading(body: MessageBody, key: Ed25519PrivateKey, roster: Roster) -> float:
    """Return what parsing takes: messages that are each new, signatures left out."""
    signer, count = IdentitySigner(key), 200
    made = [body.model_copy(update={"vector": f"{place:064x}"}) for place in range(count)]
    messages = iter([sign_envelope(one, NAME, signer) for one in made])
    return spent(
        lambda: open_envelope(next(messages), type(body), roster, Protection.SIMULATED), count - 1
    )


def limits() -> dict[str, float]:
    """Return what this machine's one core does at best, megabytes a second."""
    source, target = np.ones(COPIED, dtype=np.uint8), np.empty(COPIED, dtype=np.uint8)
    words = MEGABYTE // 8
    return {
        "memory": 2e6 * COPIED / MEGABYTE / spent(lambda: np.copyto(target, source), 5),
        "chacha20": 1e6 / spent(lambda: seed_words(bytes(32), words, WordBits.K64), 50),
        "entropy": 1e6 / spent(lambda: os.urandom(MEGABYTE), 20),
    }


def line_through(sizes: list[dict[str, float]]) -> tuple[float, float]:
    """Return a and b of a + b n: a member's milliseconds, by least squares."""
    counts = [size["members"] for size in sizes]
    slope, start = np.polyfit(counts, [size["member_milliseconds"] for size in sizes], 1)
    return float(start), float(slope)


def measure(
    counts: Annotated[str, typer.Option(help="Members of each federation.")] = "10,20,50,100",
    units: Annotated[int, typer.Option(min=20, help="Of each member.")] = 1000,
) -> dict[str, Any]:
    """Measure a step of many members, its parts, and this machine's limits."""
    sizes = [apart(step_milliseconds, count, units) for count in numbers(counts)]
    start, slope = line_through(sizes)
    found = apart(parts)
    alone = 2 * found["signature"] + found["reading_commitment"] + found["reading_reply"]
    return {
        "units": units,
        "sizes": sizes,
        "milliseconds_a_member": start,
        "milliseconds_a_peer": slope,
        "milliseconds_a_peer_alone": slope + alone / 1000,
        "microseconds": found,
        "megabytes_a_second": apart(limits),
    }


def promises(found: dict[str, Any]) -> list[BenchRow]:
    """Return what is promised of a federation of a hundred."""
    rows = [
        at_most("a peer more, in one process", found["milliseconds_a_peer"],
                MILLISECONDS_A_PEER, "ms", digits=3)
    ]  # fmt: skip
    return rows + [
        at_most("a step of 100 members, elapsed", size["elapsed_milliseconds"] / 1000,
                SECONDS_OF_A_HUNDRED, "s", digits=2)
        for size in found["sizes"]
        if size["members"] == 100
    ]  # fmt: skip


def words(found: dict[str, Any]) -> list[str]:
    """Return the figures for people, with each part's distance from the machine's limit."""
    lines = ["members    a step  processor  a member of it"]
    lines += [
        f"{size['members']:7} {size['elapsed_milliseconds']:6.0f} ms"
        f" {size['step_milliseconds']:7.0f} ms"
        f" {size['member_milliseconds']:12.1f} ms"
        for size in found["sizes"]
    ]
    start, slope = found["milliseconds_a_member"], found["milliseconds_a_peer"]
    lines.append(f"a member's step: {start:.1f} ms + {slope:.3f} ms for each of n, in one process")
    alone = found["milliseconds_a_peer_alone"]
    lines.append(f"in a process of its own: {alone:.3f} ms for each of n (reckoned)")
    rates, took = found["megabytes_a_second"], found["microseconds"]
    lines += [f"{name:20} {value:8.1f} us" for name, value in took.items()]
    lines += [f"{name:20} {value:8.0f} MB/s" for name, value in rates.items()]
    # bytes over MB/s are microseconds
    stream = 8 * ENTRIES / rates["chacha20"]
    lines.append(f"a mask takes {took['mask'] / stream:.1f} x its ChaCha20 stream alone")
    drawn = 16 * ENTRIES / rates["entropy"]
    lines.append(f"noise takes {took['exact_noise'] / drawn:.0f} x 16 bytes of entropy an entry")
    return lines


BENCH: Final = Bench(measure, promises, words)

if __name__ == "__main__":
    BENCH.app()()
