"""The records of each institution in a simulation: files, a column, or a seeded partition."""

import hashlib
import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from fieldfare.client.records import LoadedRecords, holdout_mask, read_records
from fieldfare.client.records.encoding.holdout import unit_order
from fieldfare.client.records.sources.source import Table, table_at
from fieldfare.client.scoring.readings import COLUMNS
from fieldfare.client.sums.study_sums import StudySums
from fieldfare.shared.errors import RecordsError, UsageError
from fieldfare.shared.features.basis import EncodedUnits, concatenate
from fieldfare.shared.privacy.samplers import SimulatedNoise
from fieldfare.shared.protocol.roster import is_institution_id
from fieldfare.shared.study.study import Study
from fieldfare.simulations.engines.one_pass import InstitutionUnits
from fieldfare.simulations.federation.federation import holdout_key, noise_stream


@dataclass(frozen=True)
class Partition:
    """The rule that deals rows of one file to institutions.

    The rules are those that others call by these names, so that figures can be compared: Dirichlet
    over labels (Yurochkin et al. 2019, "Bayesian nonparametric federated learning of neural
    networks"), Dirichlet over sizes (Li et al. 2022, "Federated learning on non-IID data silos",
    quantity skew), and rank by a number blended with noise (flwr-datasets, ContinuousPartitioner).

    Attributes:
        institutions: how many.
        alpha: None for iid; else the Dirichlet concentration over institutions: of each class, or
            with `quantity` of all units.
        quantity: whether institutions differ in size alone.
        column: a number by which units are ranked and then cut into equal parts.
        strictness: of that ranking, 0 (iid) to 1 (nothing but the number).
    """

    institutions: int
    alpha: float | None = None
    quantity: bool = False
    column: str | None = None
    strictness: float = 0.0

    @classmethod
    def parse(cls, institutions: int, text: str) -> "Partition":
        """Parse `iid`, `dirichlet:A`, `quantity:A` or `skew:COLUMN:S`.

        Raises:
            UsageError: another form, A not above 0, or S not between 0 and 1.
        """
        kind, _, rest = text.partition(":")
        column, _, last = rest.rpartition(":")
        try:
            number = float(last) if last else math.nan
        except ValueError:
            number = math.nan
        if text == "iid":
            return cls(institutions)
        if kind in {"dirichlet", "quantity"} and not column and 0 < number < math.inf:
            return cls(institutions, number, quantity=kind == "quantity")
        if kind == "skew" and column and 0 <= number <= 1:
            return cls(institutions, column=column, strictness=number)
        raise UsageError(
            "--partition: expected iid, dirichlet:A or quantity:A with A > 0, or skew:COLUMN:S "
            f"with S from 0 to 1, found {text}"
        )

    def assign(
        self,
        units: Iterable[str],
        labels: NDArray[np.uint8],
        *,
        seed: int,
        values: NDArray[np.float32] | None = None,
    ) -> NDArray[np.str_]:
        """Return str (units,): each unit's institution, by its id, its label and the seed alone.

        A unit stays where it is when others come or go, so shares hold on average only; where units
        are ranked by a number, parts are equal and a unit may move.

        Args:
            units: ids.
            labels: 0 or 1.
            seed: of all chance.
            values: float32 (units,), the column's numbers; NaN counts as their mean.
        """
        places = unit_order(units, key=hashlib.sha256(f"partition {seed}".encode()).digest())
        if values is not None:
            return np.array(self.names)[self._ranked(places, values)]
        generator = np.random.default_rng([seed, 2**17])
        owners = np.empty(len(labels), dtype=np.int64)
        for rows in [labels >= 0] if self.quantity else [labels == 0, labels == 1]:
            shares = np.full(self.institutions, 1 / self.institutions)
            if self.alpha is not None:
                shares = generator.dirichlet(np.full(self.institutions, self.alpha))
            bounds = np.cumsum(shares) * 2.0**64
            found = np.searchsorted(bounds, places[rows].astype(np.float64), side="right")
            owners[rows] = found.clip(0, self.institutions - 1)
        return np.array(self.names)[owners]

    def _ranked(self, places: NDArray[np.uint64], values: NDArray[np.float32]) -> NDArray[np.int64]:
        known = ~np.isnan(values)
        standard, spread = np.zeros(len(values)), float(values[known].std()) if known.any() else 0.0
        if spread:
            standard[known] = (values[known] - values[known].mean()) / spread
        noise = ndtri((places.astype(np.float64) + 0.5) / 2.0**64)
        blended = self.strictness * standard + (1 - self.strictness) * noise
        owners = np.empty(len(values), dtype=np.int64)
        ranks = np.arange(len(values), dtype=np.int64)
        owners[np.lexsort((places, blended))] = ranks * self.institutions // max(1, len(values))
        return owners

    @property
    def names(self) -> list[str]:
        """Every institution, also one that was dealt nothing: it takes part like any other."""
        width = len(str(self.institutions))
        return [f"institution-{i + 1:0{width}d}" for i in range(self.institutions)]


@dataclass(frozen=True)
class RecordsChoice:
    """The records of a simulation, and what says whose each one is.

    Attributes:
        records: FILE, or NAME=FILE for each institution, as the command line names them; or
            tables by institution, one of all under "".
        institution_column: names the institution, in the one table of all.
        institutions: how many the rows of the one table are dealt to.
        partition: how, for `Partition.parse`; iid where nothing is said.
        audit_column: kept beside the units; never an input.
        units: how many take part, of all; None: every one.
    """

    records: Sequence[str] | Mapping[str, Table]
    institution_column: str | None = None
    institutions: int | None = None
    partition: str | None = None
    audit_column: str | None = None
    units: int | None = None


@dataclass(frozen=True, eq=False)
class Population:
    """Records by institution, and which of their units are held out.

    Attributes:
        records: by institution name, sorted.
        holdout: bool (units,) by institution name.
    """

    records: Mapping[str, LoadedRecords]
    holdout: Mapping[str, NDArray[np.bool_]]

    @cached_property
    def training(self) -> dict[str, EncodedUnits]:
        """Units by institution, held-out ones left out."""
        return {
            name: records.select(~self.holdout[name]).data for name, records in self.records.items()
        }

    @cached_property
    def held(self) -> dict[str, EncodedUnits]:
        """Held-out units by institution."""
        return {
            name: records.select(self.holdout[name]).data for name, records in self.records.items()
        }


@dataclass(frozen=True)
class Overlap:
    """At how many institutions units stand.

    Attributes:
        by_id: told by ids; else by rows that are equal in everything, which may be chance.
        units: different ones.
        several: at two institutions or more.
        beyond: at more than the study's multiplicity.
        most: the most institutions at which one stands; 0 without units.
    """

    by_id: bool
    units: int
    several: int
    beyond: int
    most: int

    @classmethod
    def of(cls, study: Study, population: Population) -> "Overlap":
        """Count a population's units."""
        seen = Counter(u for records in population.records.values() for u in set(records.units))
        sizes = np.array(list(seen.values()), dtype=np.int64)
        multiplicity = study.privacy.multiplicity
        return cls(
            by_id=study.records.unit is not None,
            units=len(sizes),
            several=int(np.count_nonzero(sizes > 1)),
            beyond=int(np.count_nonzero(sizes > multiplicity)),
            most=int(sizes.max(initial=0)),
        )


def check_minimum(study: Study, institutions: int) -> None:
    """Refuse fewer institutions than a study's sums need.

    Raises:
        UsageError: fewer.
    """
    least = study.aggregation.minimum_institutions
    if institutions < least:
        raise UsageError(
            f"expected at least {least} institutions (the study's minimum), found {institutions}"
        )


def institutions_of(study: Study, population: Population, *, seed: int) -> list[InstitutionUnits]:
    """Return everybody's units, and the stream that each one's simulated noise comes from.

    Args:
        study: that the population was read for.
        population: its records, and which are held out.
        seed: of the split and of the noise.
    """
    key, asks = holdout_key(seed), bool(study.asks or study.groups)
    return [
        InstitutionUnits(
            name,
            records.data,
            population.holdout[name],
            SimulatedNoise(noise_stream(seed, index)),
            records.asked_units(name, key=key) if asks else None,
        )
        for index, (name, records) in enumerate(population.records.items())
    ]


def prepared_sums(study: Study, population: Population, *, seed: int) -> dict[str, StudySums]:
    """Return every institution's units, ready for each release; see `institutions_of`."""
    return {one.name: one.sums(study) for one in institutions_of(study, population, seed=seed)}


def load_population(study: Study, choice: RecordsChoice, *, seed: int) -> Population:
    """Read records and deal them to institutions.

    Raises:
        UsageError: options that do not go together, or fewer than three institutions.
        RecordsError: records that do not fit the study, none at all, or of one class alone.
    """
    named = _named_tables(choice)
    if named:
        records = {
            name: read_records(
                [table], study, audit_column=choice.audit_column, whole=True, beside=COLUMNS
            )
            for name, table in named.items()
        }
    else:
        records = _dealt_records(study, choice, seed)
    _check_classes(study, list(records.values()))
    if choice.units is not None:
        records = _sampled(records, choice.units, seed)
    check_minimum(study, len(records))
    share = study.evaluation.holdout
    key = holdout_key(seed)
    holdout = {n: holdout_mask(r.units, key=key, share=share) for n, r in records.items()}
    return Population(dict(sorted(records.items())), holdout)


def _check_classes(study: Study, records: Sequence[LoadedRecords]) -> None:
    """Refuse records that say nothing; one institution's may be empty or of one class."""
    units = sum(map(len, records))
    if not units:
        raise RecordsError("records: expected at least one record in all, found none")
    positives = sum(int(np.count_nonzero(one.data.labels)) for one in records)
    if study.trains and positives in {0, units}:
        labels = study.records
        found = "all labelled" if positives else "none labelled"
        raise RecordsError(
            f"label {labels.label}: expected labelled and unlabelled units, found {units:,} units, "
            f"{found}; the study calls a unit labelled where it is {labels.positive!r}"
        )


def _sampled(
    records: Mapping[str, LoadedRecords], count: int, seed: int
) -> dict[str, LoadedRecords]:
    """Keep so many units by a hash of their ids: those of fewer are among those of more.

    Raises:
        UsageError: there are not as many.
    """
    key = hashlib.sha256(f"sample {seed}".encode()).digest()
    places = {name: unit_order(one.units, key=key) for name, one in records.items()}
    everybody = np.sort(np.concatenate(list(places.values())))
    if not 0 < count <= len(everybody):
        raise UsageError(f"expected 1 to {len(everybody)} units (all there are), found {count}")
    last = everybody[count - 1]
    return {name: one.select(places[name] <= last) for name, one in records.items()}


@dataclass(frozen=True, eq=False)
class MeasuredUnits:
    """The units that models are measured on.

    Attributes:
        data: encoded units.
        owners: str (units,): each unit's institution; "" where none is named.
        audit: text (units,) of the audit column; None without one.
    """

    data: EncodedUnits
    owners: NDArray[Any]
    audit: NDArray[Any] | None

    def of(self, name: str) -> NDArray[np.int64]:
        """Return int64 (own units,): where an institution's units stand."""
        return self._places.get(name, np.empty(0, dtype=np.int64))

    @cached_property
    def _places(self) -> dict[str, NDArray[np.int64]]:
        """Where each owner's units stand: by one sort, not by comparing all with each name."""
        names = list(dict.fromkeys(self.owners.tolist()))
        placed = _placed(self.owners, names)
        ends = np.cumsum(np.bincount(placed, minlength=len(names)))[:-1]
        order = np.argsort(placed, kind="stable")
        return dict(zip(names, np.split(order, ends), strict=False))


def held_out(population: Population) -> MeasuredUnits:
    """Return the hold-outs of all institutions, one after the other."""
    chosen = {
        name: records.select(population.holdout[name])
        for name, records in population.records.items()
    }
    return _pooled([(part, np.full(len(part), name)) for name, part in chosen.items()])


def _pooled(parts: Sequence[tuple[LoadedRecords, NDArray[Any]]]) -> MeasuredUnits:
    """Put units and their owners one after the other."""
    audits = [records.audit for records, _ in parts if records.audit is not None]
    return MeasuredUnits(
        concatenate([records.data for records, _ in parts]),
        np.concatenate([owners for _, owners in parts]),
        np.concatenate(audits) if audits else None,
    )


def given_holdout(
    study: Study,
    choice: RecordsChoice,
    given: Sequence[str] | Mapping[str, Table],
    names: Collection[str],
) -> MeasuredUnits:
    """Read `--holdout-file`, in place of the hold-outs.

    Units are an institution's own where the files say whose they are: NAME=FILE, or the
    institution column, where the one file has it.

    Args:
        study: the public plan.
        choice: how the records themselves were given.
        given: as `RecordsChoice.records`; an institution may have none.
        names: of the institutions.

    Raises:
        UsageError: names that are no institution's, or several files without names.
        RecordsError: a file that does not fit the study.
    """
    named = _by_name(given, "--holdout-file")
    if strangers := sorted(set(named) - set(names)):
        raise UsageError(
            f"--holdout-file NAME=FILE: expected names of institutions with records, found "
            f"{len(strangers)} other; the first is {strangers[0]!r}"
        )
    column = choice.institution_column
    parts = []
    for name, table in named.items() if named else [("", _of_all(given))]:
        whose = column if column and not named and _has_column(table, column) else None
        records = read_records(
            [table], study, institution_column=whose, audit_column=choice.audit_column, whole=True
        )
        owners = np.full(len(records), name) if whose is None else records.institutions
        parts.append((records, np.asarray(owners, dtype=str)))
    return _pooled(parts)


def _has_column(table: Table, column: str) -> bool:
    with table.parts[0].open() as source:
        return column in source.columns


def _of_all(given: Sequence[str] | Mapping[str, Table]) -> Table:
    """Return the one table of all institutions."""
    return given[""] if isinstance(given, Mapping) else table_at(Path(given[0]))


def _by_name(given: Sequence[str] | Mapping[str, Table], option: str) -> dict[str, Table]:
    """Return tables by name; nothing for one of all, as for one FILE without a NAME.

    Raises:
        UsageError: several files, some without a name, or a name twice.
    """
    if isinstance(given, Mapping):
        return {} if "" in given else dict(given)
    # A file whose own path holds "=" is a file, not a name.
    pairs = [("", "", text) if Path(text).exists() else text.partition("=") for text in given]
    if not all(separator for _, separator, _ in pairs):
        if len(given) > 1:
            raise UsageError(
                f"expected one {option} FILE, or NAME=FILE for each institution, found several "
                "without a name"
            )
        return {}
    files = {name: Path(file) for name, _, file in pairs}
    if len(files) != len(pairs):
        raise UsageError(f"{option} NAME=FILE: expected each institution once, found one twice")
    return {name: table_at(path) for name, path in files.items()}


def _named_tables(choice: RecordsChoice) -> dict[str, Table]:
    """Return tables by institution when all are given by name, else nothing."""
    if not choice.records:
        raise UsageError(
            "expected --records FILE or --records NAME=FILE, found neither: say where records are"
        )
    files = _by_name(choice.records, "--records")
    if not files:
        return {}
    if choice.institution_column or choice.institutions or choice.partition:
        raise UsageError(
            "--records NAME=FILE already says who holds what: leave out --institution-column, "
            "--institutions and --partition"
        )
    _check_names(files)
    return files


def _dealt_records(study: Study, choice: RecordsChoice, seed: int) -> dict[str, LoadedRecords]:
    """Split one file by a column or by a seeded partition."""
    if (choice.institution_column is None) == (choice.institutions is None):
        raise UsageError(
            "expected either --institution-column COL or --institutions N for one records file, "
            "found both or neither"
        )
    if choice.partition and choice.institutions is None:
        raise UsageError("--partition goes with --institutions N")
    partition = None
    if choice.institutions is not None:
        partition = Partition.parse(choice.institutions, choice.partition or "iid")
    ranked = (partition.column,) if partition and partition.column else ()
    whole = [
        read_records(
            [_of_all(choice.records)],
            study,
            institution_column=choice.institution_column,
            audit_column=choice.audit_column,
            whole=True,
            beside=(*COLUMNS, *ranked),
        )
    ]
    if partition is not None:
        owners = _owners(partition, whole, seed)
        return _by_owner(whole, owners, partition.names)
    owners = np.asarray(whole[0].institutions)
    names = sorted(set(owners.tolist()))
    _check_names(names)
    return _by_owner(whole, owners, names)


def _owners(partition: Partition, whole: list[LoadedRecords], seed: int) -> NDArray[Any]:
    """Deal units; the column by which they are ranked is not kept beside them."""
    values = None
    if partition.column and whole[0].beside is not None:
        beside = whole[0].beside
        values = beside[-1].copy()
        whole[0] = replace(whole[0], beside=beside[:-1])
        if np.isnan(values).all():
            raise UsageError(
                f"--partition skew:{partition.column}: expected a column of numbers, found none"
            )
    return partition.assign(whole[0].units, whole[0].data.labels, seed=seed, values=values)


def _placed(owners: NDArray[Any], names: Sequence[str]) -> NDArray[np.int32]:
    """Return int32 (units,): the place of each unit's owner among names."""
    places = {name: place for place, name in enumerate(names)}
    return np.array([places[name] for name in owners.tolist()], dtype=np.int32)


def _by_owner(
    whole: list[LoadedRecords], owners: NDArray[Any], names: Sequence[str]
) -> dict[str, LoadedRecords]:
    """Part records by halves of the names: each is copied log2(names) times, not compared by all.

    `whole` is let go as it is parted, so that no more than it and one half are held at a time.
    """
    waiting = [(0, len(names), _placed(owners, names))] if names else []
    found: dict[str, LoadedRecords] = {}
    while waiting:
        first, last, owned = waiting.pop()
        records = whole.pop()
        if last - first == 1:
            found[names[first]] = records
            continue
        middle = (first + last) // 2
        left = owned < middle
        waiting += [(middle, last, owned[~left]), (first, middle, owned[left])]
        whole += [records.select(~left), records.select(left)]
    return found


def _check_names(names: Sequence[str] | Mapping[str, Table]) -> None:
    for name in names:
        if not is_institution_id(name):
            raise UsageError(
                "expected institution names of 1 to 64 printable characters (and none called "
                '"coordinator"), found another'
            )
