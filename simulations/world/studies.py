"""The banks' training data in an invented world: indicators of the pack, one row a customer.

Indicators come from each bank's own canonical files, as they would in its own house. Labels are
what the bank knew on the day of training, which lags and misses; in worlds of version 1 they are
the truth. Persona and age band serve fairness audits and are no model input (harm rules 4 and 5).

The questions to a written world's NGOs and hotlines: region and month, nothing else.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fieldfare.client.records.assembling import Names, read_labels
from fieldfare.client.scoring.readings import COLUMNS
from fieldfare.client.typologies.extract import open_extract
from fieldfare.client.typologies.features import UNIT, feature_table
from fieldfare.client.typologies.pack import Pack, own_pack
from fieldfare.shared.features.features import columns_behind
from fieldfare.shared.study.study import Study
from fieldfare.simulations.beside import ALONE, SideProcess
from fieldfare.simulations.metrics import UNKNOWN
from fieldfare.simulations.world.observed import LATEST
from fieldfare.simulations.world.tables import as_date
from fieldfare.simulations.world.writing import MARGINALS, TRUTH

CUSTOMER: Final = "customer"
INSTITUTION: Final = "institution"
LABEL: Final = "label"
PERSONA: Final = "persona"
AUDIT: Final = (INSTITUTION, LABEL, PERSONA)
AGE_BAND: Final = "age_band"

OnBank = Callable[[str, int, int], None]


def pack_for(features: Sequence[str], pack: Pack) -> Pack:
    """Return the indicators of a pack that give some features; others need not be computed.

    Raises:
        UsageError: a feature is of no indicator of the pack.
    """
    return pack.chosen(dict.fromkeys(name.partition("_")[0] for name in features))


def pack_of(study: Study) -> Pack:
    """Return the own pack's indicators that a study reads, and those that the order of review does.

    Harmless readings stand beside a study's features (client/scoring/readings.py): whoever ranks
    without them looks at farm contractors 20 times as often as at others.

    Raises:
        UsageError: a feature is of no indicator of the pack.
    """
    return pack_for((*columns_behind(study.features), *COLUMNS), own_pack())


def banks_of(world: Path) -> list[str]:
    """Return the names of a written world's banks."""
    found = json.loads((world / MARGINALS).read_text(encoding="utf-8"))
    return [one["name"] for one in found["institutions"] if one["kind"] == "bank"]


def last_day(world: Path) -> Any:
    """Return the last day of a written world: a public date."""
    found = json.loads((world / MARGINALS).read_text(encoding="utf-8"))
    return as_date(found["asked"]["days"]) - timedelta(days=1)


def day_of_training(world: Path) -> date | None:
    """Return when a written world's banks learn: once all is known that ever will be.

    None in version 1, whose banks know every case.
    """
    found = json.loads((world / MARGINALS).read_text(encoding="utf-8"))
    late = found["asked"]["version"] > 1
    return last_day(world) + timedelta(days=LATEST) if late else None


def bank_units(
    world: Path,
    bank: str,
    pack: Pack,
    *,
    banks: tuple[str, ...] = (),
    known_by: date | None = None,
    threads: int | None = None,
) -> Any:
    """Return one bank's customers, in their order, as Arrow.

    Payments with customers of `banks` are left out (`bank_codes`), so that the promise covers the
    person. Labels are those that the bank knew by a day (1: the newest says so), else the truth.

    Columns: institution, label (int8), persona (`UNKNOWN` for cases that the bank does not know),
    age_band, customer; the pack's features (float64, null where missing). All else strings; a
    business has no age. `threads` of the engine change no bit.
    """
    with open_extract(world / bank, last_day(world), banks=banks, threads=threads) as extract:
        table = feature_table(extract, pack).table
    truth = pq.read_table(world / TRUTH / "customers.parquet").filter(pc.field(INSTITUTION) == bank)
    place = pc.index_in(table[UNIT], truth["customer_id"].combine_chunks())
    known = truth.select(list(AUDIT)).take(place)
    own = pq.read_table(world / bank / "customers.parquet", columns=["customer_id", AGE_BAND])
    columns = {name: known[name] for name in AUDIT}
    if known_by is not None:
        columns |= _as_known(world / bank, table[UNIT], columns, known_by)
    columns[AGE_BAND] = own[AGE_BAND].take(pc.index_in(table[UNIT], own["customer_id"]))
    columns[CUSTOMER] = table[UNIT]
    said = {field.name: field.metadata for field in table.schema if field.name != UNIT}
    columns |= {name: table[name] for name in said}
    made = pa.table(columns)
    fields = [field.with_metadata(said.get(field.name)) for field in made.schema]
    return made.cast(pa.schema(fields))  # what fields say of features stays with them


def _as_known(folder: Path, units: Any, truth: Mapping[str, Any], day: date) -> dict[str, Any]:
    """Return a bank's labels as it knew them by a day, and personas without cases unknown to it."""
    labels = read_labels(folder / "labels.parquet", Names(CUSTOMER, LABEL), day).table
    cases = labels.filter(pc.equal(labels[LABEL], "1"))["unit"]
    known = pc.is_in(units, cases.combine_chunks())
    unknown = pc.and_(pc.equal(truth[LABEL], 1), pc.invert(known))
    return {
        LABEL: known.cast(pa.int8()),
        PERSONA: pc.if_else(unknown, pa.scalar(UNKNOWN), truth[PERSONA]),
    }


def write_units(
    world: Path,
    pack: Pack,
    out: Path,
    on_bank: OnBank | None = None,
    *,
    left_out: tuple[str, ...] = (),
    known_by: date | None = None,
    both: SideProcess = ALONE,
) -> None:
    """Write every bank's customers to one file; `on_bank` hears of each before it is begun.

    Payments with customers of the banks `left_out` are, so that the promise covers the person.
    Labels are those that banks knew by a day; None: the truth.
    The first banks are computed here and the last ones beside; the bytes are the same.
    """
    banks = banks_of(world)

    def said(place: int) -> None:
        if on_bank:
            on_bank(f"indicators of {banks[place]}", place, len(banks))

    # One thread for each: with more, the engine copies what it inserts twice or three times.
    units = partial(bank_units, banks=left_out, known_by=known_by, threads=1)
    parts = both.share(units, [(world, bank, pack) for bank in banks], said)
    pq.write_table(pa.concat_tables(parts), out, compression="zstd")


# -- helplines ------------------------------------------------------------------------------------

_MONTH: Final = "%Y-%m"


def write_help_records(world: Path, out: Path) -> None:
    """Write one row for each case whose person consented to research, and for each contact.

    Columns: institution, unit, region, month (2025-01), label int8 (1: a case).
    """
    cases = sorted(world.glob("*/cases.parquet"))
    contacts = sorted(world.glob("*/signals.parquet"))
    apart = {TRUTH}
    parts = [_cases(path) for path in cases if path.parent.name not in apart]
    parts += [_contacts(path) for path in contacts if path.parent.name not in apart]
    pq.write_table(pa.concat_tables(parts), out)


def _cases(path: Path) -> Any:
    table = pq.read_table(path).filter(pc.field("consent_research"))
    return _rows(path, table, ("case_id", "opened"), label=1)


def _contacts(path: Path) -> Any:
    return _rows(path, pq.read_table(path), ("signal_id", "ts"), label=0)


def _rows(path: Path, table: Any, names: tuple[str, str], *, label: int) -> Any:
    unit, when = names
    size = table.num_rows
    return pa.table(
        {
            "institution": pa.array([path.parent.name] * size, pa.string()),
            "unit": table[unit],
            "region": table["region_exploit" if label else "region"],
            "month": pc.strftime(table[when], format=_MONTH),
            "label": pa.array([label] * size, pa.int8()),
        }
    )


def growth(answer: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the region whose cases and calls grew most from the first month to the last.

    Args:
        answer: of results.json, by region and month.

    Returns:
        region, first, last (months), before, after (noised counts) and margin: half the width
        of the widest of the two 95 % intervals; None where an answer was held back throughout.
    """
    found = {
        (cell[0], cell[1]): (value, interval)
        for cell, value, interval in zip(
            answer["cells"], answer["value"], answer["interval"], strict=True
        )
        if value is not None
    }
    months = sorted({month for _, month in found if month[:1].isdigit()})
    regions = sorted({region for region, _ in found if region.startswith("region-")})
    if not months:
        return None
    first, last = months[0], months[-1]
    both = [r for r in regions if (r, first) in found and (r, last) in found]
    if not both or first == last:
        return None
    most = max(both, key=lambda r: found[r, last][0] - found[r, first][0])
    ends = [found[most, month] for month in (first, last)]
    return {
        "region": most,
        "first": first,
        "last": last,
        "before": ends[0][0],
        "after": ends[1][0],
        "margin": max(_half(interval) for _, interval in ends),
    }


def _half(interval: Sequence[float]) -> float:
    return (interval[1] - interval[0]) / 2
