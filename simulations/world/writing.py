"""A world as files: one folder for each institution, and the truth apart.

DIR/<bank>/transactions.parquet accounts.parquet customers.parquet labels.parquet
DIR/<ngo>/cases.parquet         DIR/<hotline>/signals.parquet
DIR/truth/...                   what no institution knows; for evaluation only
DIR/world.json                  what was asked for, and the world's own marginals
"""

import json
import shutil
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fieldfare.shared.errors import UsageError
from fieldfare.shared.system.whole_files import empty_folder
from fieldfare.simulations.world import observed as truth
from fieldfare.simulations.world.cases import (
    Cases,
    Signals,
    case_table,
    draw_cases,
    draw_signals,
    growing_region,
    signal_table,
)
from fieldfare.simulations.world.making import Society, WorldPlan, blocks, make_society
from fieldfare.simulations.world.marginals import Counts, marginals
from fieldfare.simulations.world.observed import observe
from fieldfare.simulations.world.scenarios import ROLES
from fieldfare.simulations.world.society import Concern, IntArray, stream
from fieldfare.simulations.world.tables import (
    Books,
    accounts,
    customer_ids,
    customer_table,
    shown,
    transactions,
)

TRUTH: Final = "truth"
MARGINALS: Final = "world.json"


def books_of(plan: WorldPlan, holder: int) -> Books:
    """Return how an institution with accounts writes; its salt follows from the seed."""
    names = tuple(one.name for one in plan.holders)
    return Books(plan.holders[holder], salt_of(plan, holder), names, two_sided=plan.version > 1)


def salt_of(plan: WorldPlan, place: int) -> int:
    """Return the salt of an institution's keys: no two share one."""
    return int(stream(plan.seed, Concern.COVERAGE, place).integers(1 << 62))


def write_world(plan: WorldPlan, out: Path) -> dict[str, Any]:
    """Make a world and write it to an empty or new folder; returns its marginals.

    Whatever ends it before that leaves nothing there, so that the same command may be typed again.

    Raises:
        UsageError: the folder holds something, or no such world can be.
    """
    _check_room(out)
    society = make_society(plan)
    _check_room(out)  # again: that took a minute, and what came since is somebody else's
    with ExitStack() as undone:
        new = not out.exists()
        (out / TRUTH).mkdir(parents=True)
        undone.callback(_take_away, out, folder=new)
        found = _write(society, out)
        undone.pop_all()
    return found


def _check_room(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out}: expected an empty or new folder, found another")


def _take_away(out: Path, *, folder: bool) -> None:
    """Remove what was written of a world, and its folder, if that was made for it."""
    if folder:
        shutil.rmtree(out, ignore_errors=True)
        return
    with suppress(OSError):  # what ended it is told
        empty_folder(out)


def _write(society: Society, out: Path) -> dict[str, Any]:
    plan, counts = society.plan, Counts.empty(society.plan)
    served = []
    for holder in range(len(plan.holders)):
        served.append(_write_holder(society, holder, out, counts))
        _write_labels(society, holder, out)
    cases, signals = _draw_help(society)
    _write_help(plan, cases, signals, out)
    tables = truth.tables(
        society,
        cases,
        signals,
        [books_of(plan, h) for h in range(len(plan.holders))],
        {one.name: salt for one, salt in _helpers(plan)},
    )
    tables["transactions"] = pa.concat_tables(served)
    for name, table in tables.items():
        pq.write_table(table, out / TRUTH / f"{name}.parquet")
    found = marginals(society, counts, cases=cases.day.size, signals=signals.minute.size)
    (out / MARGINALS).write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return found


def _write_holder(society: Society, holder: int, out: Path, counts: Counts) -> Any:
    """Write one institution's three tables; returns which transactions serve a ring."""
    plan, books = society.plan, books_of(society.plan, holder)
    folder = out / books.one.name
    folder.mkdir()
    writer, first, served = None, 0, []
    for number, block in enumerate(blocks(society, holder)):
        keep = shown(block.lines, books.one)
        lines = block.lines.take(keep)
        rng = stream(plan.seed, Concern.COVERAGE, holder, 0, number)
        table = transactions(rng, lines, society.customers, books, first)
        if writer is None:
            path = folder / "transactions.parquet"
            writer = pq.ParquetWriter(path, table.schema, compression="zstd")  # a third less
        writer.write_table(table)
        counts.add(holder, lines, society.customers.life)
        marked = np.flatnonzero(block.served[keep])
        served.append(table["txn_id"].take(pa.array(marked)))
        first += table.num_rows
    if writer is not None:
        writer.close()
    rows = society.customers_of(holder)
    rng = stream(plan.seed, Concern.COVERAGE, holder, 1)
    pq.write_table(accounts(society.customers, rows, books), folder / "accounts.parquet")
    table = customer_table(rng, society.customers, rows, books)
    pq.write_table(table, folder / "customers.parquet")
    ids = pa.chunked_array([c for part in served for c in part.chunks] or [], pa.string())
    return pa.table(
        {"institution": pa.array([books.one.name] * len(ids), pa.string()), "txn_id": ids}
    )


def begun_of(society: Society) -> Any:
    """Return the day on which each customer's account began to serve a ring; NaN for all others."""
    begun = np.full(len(society.customers), np.nan)
    begun[society.rings.customer] = np.floor(society.rings.start[society.rings.ring])
    return begun


def _write_labels(society: Society, holder: int, out: Path) -> None:
    plan, books = society.plan, books_of(society.plan, holder)
    rows = society.customers_of(holder)
    labels = observe(
        stream(plan.seed, Concern.LABELS, holder),
        rows=rows,
        begun=begun_of(society)[rows],
        life=society.customers.life[rows],
        seen=books.one.seen,
        days=plan.months.days,
    )
    table = labels.table(customer_ids(books, labels.customer))
    pq.write_table(table, out / books.one.name / "labels.parquet")


def possible_victims(society: Society) -> IntArray:
    """Return which of the rings' members may be victims (index into members)."""
    victim = np.array([role.party == "potential_victim" for role in ROLES.values()] + [False])
    return np.flatnonzero(victim[society.rings.role])


def _draw_help(society: Society) -> tuple[Cases, Signals]:
    plan = society.plan
    rng = stream(plan.seed, Concern.CASES)
    growing = growing_region(rng)
    facts = {"people": plan.people, "days": plan.months.days, "growing": growing}
    cases = draw_cases(
        rng, plan.institutions.of("ngo"), society.rings, possible_victims(society), **facts
    )
    signals = draw_signals(
        stream(plan.seed, Concern.SIGNALS), plan.institutions.of("hotline"), cases, **facts
    )
    return cases, signals


def _helpers(plan: WorldPlan) -> list[tuple[Any, int]]:
    """Return NGOs and hotlines with their salts."""
    ones = plan.institutions.of("ngo") + plan.institutions.of("hotline")
    return [(one, salt_of(plan, len(plan.holders) + place)) for place, one in enumerate(ones)]


def _write_help(plan: WorldPlan, cases: Cases, signals: Signals, out: Path) -> None:
    counted = {"ngo": 0, "hotline": 0}
    for number, (one, salt) in enumerate(_helpers(plan)):
        folder = out / one.name
        folder.mkdir()
        index = counted[one.kind]
        counted[one.kind] += 1
        if one.kind == "ngo":
            rng = stream(plan.seed, Concern.CASES, number)
            rows = np.flatnonzero(cases.ngo == index)
            pq.write_table(case_table(rng, cases, rows, one.name, salt), folder / "cases.parquet")
        else:
            rng = stream(plan.seed, Concern.SIGNALS, number)
            rows = np.flatnonzero(signals.hotline == index)
            pq.write_table(signal_table(rng, signals, rows, salt), folder / "signals.parquet")
