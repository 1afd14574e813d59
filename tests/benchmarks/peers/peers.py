"""Beside peers, in one run on one machine, each in an environment of its own.

    python -m tests.benchmarks.peers.peers --environments DIR [--counts 10,100] [--json]

A round of institutions that do next to nothing, so that the engine is what is measured: Fieldfare's
sums in one pass, and real custodians behind their door (processor seconds; simulated noise, and
exact noise with signatures, masks and ledgers), Flower's Ray engine, FLARE's simulator (seconds
of a clock: they run as several processes and wait) and pfl-research. A secure sum of 100,000
parameters beside Flower's SecAgg+, and a private step beside Opacus. DIR keeps environments for
the next time, and is no place inside the repository. What does not install is left out, with a note
that says why.
"""

import logging
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer
from tests.benchmarks import mlp
from tests.benchmarks.harness import Bench, BenchRow, numbers
from tests.benchmarks.peers.environments import Peer, PeerError, environment, rounds
from tests.benchmarks.peers.ours import one_pass_seconds, round_seconds, secure_sum
from tests.benchmarks.peers.secagg_plus import secagg_plus

from fieldfare.shared.privacy.protection import Protection

PEERS: Final = (
    Peer("Flower's Ray engine", "flwr[simulation]==1.42.*", "flower_ray"),
    Peer("FLARE's simulator", "nvflare>=2.9,<3", "flare_rounds"),
    Peer("pfl-research", "pfl>=0.6,<0.7", "pfl_rounds"),
)
OWN_SUMS: Final = "Fieldfare, sums in one pass"
ENTRIES: Final = 100_000  # of a secure sum
ROUNDS: Final = 5
AHEAD: Final = 10.0  # times
STEP_UNITS: Final = 4096


def measure(
    environments: Annotated[Path, typer.Option()],
    counts: str = "10,100",
    sums: str = "5,20,100",
    seconds: float = 600.0,
) -> dict[str, Any]:
    """Return seconds of rounds, secure sums and private steps, ours and peers'."""
    logging.getLogger("flwr").setLevel(logging.ERROR)
    found: dict[str, Any] = {"rounds": [], "sums": [], "notes": []}
    for count in numbers(counts):
        row, entries = _own_rounds(count)
        for peer in PEERS:
            try:
                python = environment(peer, environments)
                each = rounds(peer, python, (count, entries, ROUNDS), seconds)
                row[peer.name] = statistics.median(each)
            except PeerError as why:
                found["notes"].append(f"{peer.name}, {count} institutions: left out: {why}")
        found["rounds"].append(_told(row))
    for count in numbers(sums):
        found["sums"].append(_told(_secure_sums(count)))
    found["steps"] = mlp.measured(STEP_UNITS)
    return found


def _own_rounds(count: int) -> tuple[dict[str, Any], int]:
    row: dict[str, Any] = {"institutions": count}
    entries = 0
    row[OWN_SUMS] = one_pass_seconds(count)
    for protection in Protection:
        row[f"Fieldfare, {protection.value} noise"], entries = round_seconds(count, protection)
    return row, entries


def _secure_sums(count: int) -> dict[str, Any]:
    random = np.random.default_rng(0)
    vectors = [random.integers(-4096, 4096, ENTRIES) for _ in range(count)]
    keys, once = secure_sum(vectors)
    return {
        "institutions": count,
        "Fieldfare": once,
        "Fieldfare's keys, once a run": keys,
        "SecAgg+": secagg_plus([vector / 1024 for vector in vectors]),
    }


def _told(row: dict[str, Any]) -> dict[str, Any]:
    """Say a row as soon as it is there."""
    typer.echo(_line(row), err=True)
    return row


def _line(row: dict[str, Any]) -> str:
    parts = (
        f"{name} {value * 1000:,.1f} ms" for name, value in row.items() if name != "institutions"
    )
    return f"{row['institutions']:>4} institutions: {', '.join(parts)}"


def words(found: dict[str, Any]) -> Iterator[str]:
    """Yield the figures for people."""
    yield "A round:"
    yield from map(_line, found["rounds"])
    yield f"A secure sum of {ENTRIES:,} parameters, processor time:"
    yield from map(_line, found["sums"])
    yield from mlp.table([found["steps"]])
    yield from found["notes"]


def promises(found: dict[str, Any]) -> Sequence[BenchRow]:
    """Return how far ahead of each peer a round, a secure sum and a private step are."""
    rows = []
    for row in found["rounds"]:
        own = row[OWN_SUMS]
        rows += [
            ahead(
                f"a round of {row['institutions']} institutions, {peer.name}", own, row[peer.name]
            )
            for peer in PEERS
            if peer.name in row
        ]
    for row in found["sums"]:
        what = f"a secure sum of {row['institutions']}, SecAgg+"
        rows.append(ahead(what, row["Fieldfare"], row["SecAgg+"]))
    steps = found["steps"]["seconds"]
    rows += [
        ahead(f"a private step, Opacus {kind}", steps["private"], steps[kind])
        for kind in ("hooks", "ghost")
    ]
    return rows


def ahead(what: str, own: float, other: float) -> BenchRow:
    """Return a peer's time as times ours; 10 is aimed at."""
    times = other / own
    return BenchRow(what, f"{times:.1f} x ours", f"{AHEAD:g} x", times >= AHEAD)


BENCH: Final = Bench(measure, promises, words)

if __name__ == "__main__":
    BENCH.app()()
