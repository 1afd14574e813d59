"""The pack's indicators over published simulations: one row for each account, to try studies on."""

import tempfile
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fieldfare.client.records.amlsim import BANKS_PER_SIMULATION, SIMULATIONS
from fieldfare.client.records.importers.amlsim import import_amlsim
from fieldfare.client.records.importers.folder import LABELS
from fieldfare.client.records.importers.keying import KEY_BYTES, KeyedHash
from fieldfare.client.records.importers.options import FIRST_DAY, ImportOptions
from fieldfare.client.typologies.extract import open_extract
from fieldfare.client.typologies.features import UNIT, FeatureTable, feature_table
from fieldfare.client.typologies.pack import Pack, own_pack
from fieldfare.shared.errors import UsageError

LAST_DAY: Final[date] = FIRST_DAY + timedelta(days=149)  # the samples' last step
PUBLISHED: Final = KeyedHash(bytes(KEY_BYTES))  # nobody to protect, and the same bytes everywhere


def derive_amlsim_pack(folder: Path, out: Path) -> list[str]:
    """Write unit, institution, label and indicators of AMLSim's two samples to a Parquet file.

    The same accounts, banks and labels as `derive_amlsim`; records go through the importer. What
    the samples lack the fields for is left out, and named in the lines that are returned.

    Raises:
        RecordsError: a file is missing or is none of AMLSim's.
        UsageError: `out` is no Parquet file's name, or cannot be written.
    """
    if out.suffix != ".parquet":
        raise UsageError(f"--out: expected a name that ends in .parquet, found {out.name}")
    pack = own_pack()
    parts = [_units(folder, name, pack) for name in SIMULATIONS]
    missing = parts[0][1].missing
    kept = [one.id for one in pack.indicators if one.id not in missing]
    try:
        pq.write_table(pa.concat_tables(table for table, _ in parts), out, compression="zstd")
    except OSError as error:
        raise UsageError(
            f"--out: expected a file that can be written, found: {error.strerror}"
        ) from None
    lacking = [
        f"{name}: missing, without {', '.join(columns)}" for name, columns in missing.items()
    ]
    return [f"computed: {', '.join(kept)}", *lacking]


def _units(folder: Path, simulation: str, pack: Pack) -> tuple[Any, FeatureTable]:
    files = [folder / simulation / name for name in ("nodes.csv.gz", "transactions.csv.gz")]
    with tempfile.TemporaryDirectory() as room:
        canonical = Path(room) / "canonical"
        import_amlsim(files, canonical, ImportOptions(PUBLISHED))
        with open_extract(canonical, LAST_DAY) as extract:
            computed = feature_table(extract, pack)
        labels = pq.read_table(canonical / f"{LABELS}.parquet")
    nodes = computed.table.column(UNIT)
    place = pc.index_in(nodes, labels.column("customer_id").combine_chunks())
    prefix = simulation.removeprefix("bank_")
    banks = [f"{simulation}_{int(node) % BANKS_PER_SIMULATION}" for node in nodes.to_pylist()]
    columns = {
        UNIT: pc.binary_join_element_wise(prefix, nodes, "-"),
        "institution": pa.array(banks),
        "label": labels.column("label").take(place),
    }
    columns |= {name: computed.table.column(name) for name in _computed(computed, pack)}
    table = pa.table(columns)
    return table.sort_by([("institution", "ascending"), (UNIT, "ascending")]), computed


def _computed(computed: FeatureTable, pack: Pack) -> list[str]:
    return [
        spec.name
        for one in pack.indicators
        if one.id not in computed.missing
        for spec in one.typology.features
    ]
