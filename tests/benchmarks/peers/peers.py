"""Beside peers, in one run on one machine, each in an environment of its own.

    python -m tests.benchmarks.peers.peers --environments DIR [--page PAGE] [--json]

The page is docs/measurements/engines.md.

A round of institutions that do next to nothing, so that the engine is what is measured: Fieldfare's
sums in one pass, and real custodians behind their door (simulated noise, and exact noise with
signatures, masks and ledgers), Flower's Ray engine, FLARE's simulator and pfl-research. A secure
sum of 100,000 parameters beside Flower's SecAgg+, and a private step beside Opacus. Ours and each
peer's take turns, so that what else the machine does falls on both; compared is processor time, of
all processes together. DIR keeps environments for the next time, and is no place inside the
repository. What does not install is left out, with a note that says why.
"""

import logging
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer
from tests.benchmarks import mlp
from tests.benchmarks.harness import Bench, BenchRow, numbers
from tests.benchmarks.peers.environments import Peer, PeerError, Spent, environment, rounds
from tests.benchmarks.peers.ours import one_pass_seconds, round_seconds, secure_sum
from tests.benchmarks.peers.secagg_plus import secagg_plus

from fieldfare.shared.privacy.protection import Protection

PEERS: Final = (
    Peer("Flower's Ray engine", "flwr[simulation]==1.42.*", "flower_ray"),
    Peer("pfl-research", "pfl>=0.6,<0.7", "pfl_rounds"),
    Peer("FLARE's simulator", "nvflare>=2.9,<3", "flare_rounds", rounds=1, turns=1, most=10),
)
OWN_SUMS: Final = "Fieldfare, sums in one pass"
OWN_SECURE: Final = "Fieldfare"
SECAGG: Final = "Flower's SecAgg+"
ENTRIES: Final = 100_000  # of a secure sum
TURNS: Final = 2  # of a round
SECURE_TURNS: Final = 3  # where few take part; of many once, for it takes minutes
MANY: Final = 50
AHEAD: Final = 10.0  # times
STEP_UNITS: Final = 4096
BEGIN, END = "<!-- written by tests.benchmarks.peers.peers -->", "<!-- as far as here -->"

Row = dict[str, Any]


def measure(
    environments: Annotated[Path, typer.Option()],
    counts: str = "10,100",
    sums: str = "5,20,100",
    seconds: float = 600.0,
    page: Path | None = None,
) -> dict[str, Any]:
    """Measure rounds, secure sums and private steps, ours and peers'; write a page's tables."""
    logging.getLogger("flwr").setLevel(logging.ERROR)
    found: dict[str, Any] = {"rounds": [], "notes": []}
    found["sums"] = [_told(_secure_sums(count)) for count in numbers(sums)]
    found["steps"] = mlp.measured(STEP_UNITS)
    for count in numbers(counts):
        found["rounds"].append(_told(_rounds(count, environments, seconds, found["notes"])))
    if page is not None:
        page.write_text(within(page.read_text("utf-8"), tables(found)), "utf-8")
    return found


def _rounds(count: int, environments: Path, seconds: float, notes: list[str]) -> Row:
    """Return what a round took: ours and each peer's in turn, and once more."""
    each: dict[str, list[Spent]] = {}
    out = {peer.name for peer in PEERS if count > peer.most}
    notes += [f"{name}, {count} institutions: left out: a round takes many minutes" for name in out]
    for turn in range(TURNS):
        entries = _own_rounds(count, each)
        for peer in PEERS:
            if peer.name in out or turn >= peer.turns:
                continue
            try:
                python = environment(peer, environments)
                each.setdefault(peer.name, []).extend(
                    rounds(peer, python, (count, entries, peer.rounds), seconds)
                )
            except PeerError as why:
                notes.append(f"{peer.name}, {count} institutions: left out: {why}")
                out.add(peer.name)
    return _row(count, each)


def _own_rounds(count: int, each: dict[str, list[Spent]]) -> int:
    entries = 0
    each.setdefault(OWN_SUMS, []).extend(one_pass_seconds(count))
    for protection in Protection:
        took, entries = round_seconds(count, protection)
        each.setdefault(f"Fieldfare, custodians, {protection.value} noise", []).extend(took)
    return entries


def _secure_sums(count: int) -> Row:
    random = np.random.default_rng(0)
    vectors = [random.integers(-4096, 4096, ENTRIES) for _ in range(count)]
    each: dict[str, list[Spent]] = {OWN_SECURE: [], "its keys, once a run": [], SECAGG: []}
    for _ in range(SECURE_TURNS if count < MANY else 1):
        keys, once = secure_sum(vectors)
        each[OWN_SECURE].append(once)
        each["its keys, once a run"].append(keys)
        each[SECAGG].append(secagg_plus([vector / 1024 for vector in vectors]))
    return _row(count, each)


def _row(count: int, each: Mapping[str, Sequence[Spent]]) -> Row:
    """Return medians by name."""
    row: Row = {"institutions": count}
    for name, took in each.items():
        walls, processors = zip(*took, strict=True)
        row[name] = {"wall": statistics.median(walls), "processor": statistics.median(processors)}
    return row


def _told(row: Row) -> Row:
    """Say a row as soon as it is there."""
    typer.echo(_line(row), err=True)
    return row


def _line(row: Row) -> str:
    parts = (f"{name} {_shown(took)}" for name, took in row.items() if name != "institutions")
    return f"{row['institutions']:>4} institutions: {'; '.join(parts)}"


def _shown(took: Mapping[str, float]) -> str:
    return f"{_time(took['processor'])} (clock {_time(took['wall'])})"


def _time(seconds: float) -> str:
    """Return seconds to three digits."""
    if seconds < 1:
        return f"{float(f'{seconds * 1000:.3g}'):g} ms"
    return f"{float(f'{seconds:.3g}'):g} s"


def tables(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield the page's tables: processor time, a clock's in brackets, and how far ahead ours is."""
    yield from _table("a round", found["rounds"], OWN_SUMS)
    yield ""
    yield from _table(f"a secure sum of {ENTRIES:,} parameters", found["sums"], OWN_SECURE)
    yield ""
    took = found["steps"]["seconds"]
    yield f"| a private step of {STEP_UNITS:,} units | a clock's time | of ours |"
    yield "|---|---|---|"
    names = {"private": "Fieldfare", "ghost": "Opacus, ghost", "hooks": "Opacus, hooks"}
    for kind, name in names.items():
        yield f"| {name} | {_time(took[kind])} | {took[kind] / took['private']:.1f} |"
    yield from (f"\n{note}" for note in found["notes"])


def _table(what: str, rows: Sequence[Row], own: str) -> Iterator[str]:
    yield f"| {what} | {' | '.join(str(row['institutions']) for row in rows)} |"
    yield "|---" * (len(rows) + 1) + "|"
    names = dict.fromkeys(name for row in rows for name in row if name != "institutions")
    for name in names:
        cells = (_cell(name, row, own) for row in rows)
        yield f"| {name} | {' | '.join(cells)} |"


def _cell(name: str, row: Row, own: str) -> str:
    if name not in row:
        return "left out"
    took = row[name]
    if name not in {SECAGG, *(peer.name for peer in PEERS)}:
        return _shown(took)
    times = float(f"{took['processor'] / row[own]['processor']:.3g}")
    return f"{_shown(took)}, {times:,g} x"


def within(text: str, lines: Iterable[str]) -> str:
    """Return a page with other lines between its two marks.

    Raises:
        ValueError: it has none.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"expected {BEGIN} and {END}, found none")
    return "\n".join((before + begin, "", *lines, "", end + after))


def words(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield the figures for people."""
    yield "A round, processor time:"
    yield from map(_line, found["rounds"])
    yield f"A secure sum of {ENTRIES:,} parameters:"
    yield from map(_line, found["sums"])
    yield from mlp.table([found["steps"]])
    yield from found["notes"]


def promises(found: Mapping[str, Any]) -> Sequence[BenchRow]:
    """Return how far ahead of each peer a round, a secure sum and a private step are."""
    rows = []
    for row in found["rounds"]:
        what = f"a round of {row['institutions']} institutions"
        rows += [
            ahead(f"{what}, {peer.name}", row[OWN_SUMS]["processor"], row[peer.name]["processor"])
            for peer in PEERS
            if peer.name in row
        ]
    for row in found["sums"]:
        what = f"a secure sum of {row['institutions']}, SecAgg+"
        rows.append(ahead(what, row[OWN_SECURE]["processor"], row[SECAGG]["processor"]))
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
