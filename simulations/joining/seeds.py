"""One seed after another: its records, what is learned from them, and the rows that come of it.

A finished seed is kept in a file, so that a command that was interrupted goes on where it was.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from fieldfare.client.own_model.own_customers import NEWCOMER, SHARES, HomeFits, OwnCustomers
from fieldfare.shared.errors import UsageError
from fieldfare.shared.joining.figures import FORMAT
from fieldfare.shared.joining.rows import KindRow, MonthsRow, PairedRow
from fieldfare.shared.study.study import Study
from fieldfare.simulations.federation.homes import JointTrainer, customers_of, training_of
from fieldfare.simulations.federation.population import RecordsChoice
from fieldfare.simulations.joining.new_scenario import months_until_found
from fieldfare.simulations.joining.worlds import COLUMNS, WorldTerms
from fieldfare.simulations.world.studies import INSTITUTION

SCENARIOS_A_SEED: Final = 2  # that begin anew; seeds take turns
MOST_LEFT_OUT: Final = 12  # scenarios

Said = Callable[[str, int, int], None]


def unsaid(what: str, done: int, total: int) -> None:
    """Tell nobody."""


class SeedRows(BaseModel):
    """The rows of one seed.

    Attributes:
        key: hash of everything that they depend on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    rows: tuple[PairedRow, ...]
    kinds: tuple[KindRow, ...] = ()
    months: tuple[MonthsRow, ...] = ()


@dataclass(frozen=True)
class Records:
    """Given records; a seed is of split, partition and noise.

    Attributes:
        choice: where they are.
        columns: the column of roles ("rare") and of scenarios ("left out"), where there is one.
    """

    choice: RecordsChoice
    columns: dict[str, str]


@dataclass(frozen=True)
class JoinTask:
    """What is compared.

    Attributes:
        study: the public plan.
        source: an invented world, made anew for each seed, or given records.
        seeds: all of them.
        out: folder of the seeds' files.
        shares: of the labels.
        whole: whether newcomers, left-out and new scenarios are asked about too.
    """

    study: Study
    source: WorldTerms | Records
    seeds: Sequence[int]
    out: Path
    shares: Sequence[float] = SHARES
    whole: bool = True

    def key(self, seed: int) -> str:
        """Return what a seed's rows depend on, hashed."""
        source = self.source
        facts: dict[str, object] = {
            "format": FORMAT, "version": version("fieldfare"), "study": self.study.id,
            "seed": seed, "whole": self.whole, "shares": [str(share) for share in self.shares],
        }  # fmt: skip
        if isinstance(source, Records):
            facts |= {"choice": str(source.choice), "columns": source.columns}
            facts["files"] = [_digest(text) for text in source.choice.records]
        else:
            facts["world"] = str(source)
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _digest(text: str) -> str:
    path = Path(text if Path(text).exists() else text.partition("=")[2])
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else str(path)
    except OSError as error:
        raise UsageError(f"{path}: expected a file of records, found: {error.strerror}") from None


def seed_rows(task: JoinTask, seed: int, said: Said) -> SeedRows:
    """Return the rows of one seed: those that are kept, or measured now and kept.

    Raises:
        UsageError, RecordsError: records or study do not fit.
    """
    path, key = task.out / f"seed-{seed}.json", task.key(seed)
    try:
        kept = SeedRows.model_validate_json(path.read_bytes())
        if kept.key == key:
            return kept
    except (OSError, ValidationError):
        pass  # there is none, or of something else: measured anew
    found = _measured(task, seed, key, said)
    part = path.with_name(path.name + ".part")
    part.write_text(found.model_dump_json(), encoding="utf-8")
    part.replace(path)
    return found


def _measured(task: JoinTask, seed: int, key: str, said: Said) -> SeedRows:
    study, source, days = task.study, task.source, None
    if isinstance(source, WorldTerms):
        said(f"seed {seed}: making a world", 0, 1)
        units = task.out / f"units-{seed}.parquet"
        days = source.write_units(study, seed, units)
        choice = RecordsChoice((str(units),), institution_column=INSTITUTION)
        source = Records(choice, COLUMNS)
    customers = customers_of(study, source.choice, seed=seed, columns=source.columns)
    asked = SeedQuestions(JointTrainer.of(study, seed), customers, days, said)
    rows, kinds = asked.labels(task.shares)
    if not task.whole:
        return SeedRows(key=key, rows=tuple(rows), kinds=tuple(kinds))
    return SeedRows(
        key=key,
        rows=(*rows, *asked.newcomers()),
        kinds=(*kinds, *asked.left_out()),
        months=tuple(asked.months()),
    )


@dataclass(frozen=True, eq=False)
class SeedQuestions:
    """The questions to one seed's institutions.

    Attributes:
        together: study and seed.
        customers: every institution's.
        days: of the window, where a world says which day an account began and was known of.
        said: told what is done.
    """

    together: JointTrainer
    customers: Sequence[OwnCustomers]
    days: int | None
    said: Said

    @property
    def _budget(self) -> float:
        return self.together.study.evaluation.alert_budget

    def _tell(self, what: str, done: int, total: int) -> None:
        self.said(f"seed {self.together.seed}: {what}", done, total)

    def labels(self, shares: Sequence[float]) -> tuple[list[PairedRow], list[KindRow]]:
        """Return own customers from each share of the labels, and roles that are rare here."""
        rows: list[PairedRow] = []
        kinds: list[KindRow] = []
        for done, share in enumerate(shares):
            self._tell(f"{share:.0%} of the labels", done, len(shares))
            kept = [own.with_share(share) for own in self.customers]
            for own, scores, row in self.together.rows(kept, share, beside=True):
                rows.append(row)
                if share == 1.0:
                    kinds += own.rare(scores, self._budget)
        return rows, kinds

    def newcomers(self) -> Iterator[PairedRow]:
        """Yield each institution with few labels, beside a model of all others."""
        study = self.together.study
        for done, own in enumerate(self.customers):
            self._tell(f"{own.name} as a newcomer", done, len(self.customers))
            others = [other for other in self.customers if other is not own]
            shared = self.together.shared(training_of(others))
            for count in NEWCOMER:
                if count <= int(own.training.labels.sum()):
                    new = own.with_cases(count)
                    fits = HomeFits.of(study, shared, new.training)
                    yield new.row(float(count), fits.scores(shared, own.held), self._budget)

    def left_out(self) -> Iterator[KindRow]:
        """Yield each institution without each scenario, while others have it.

        In each round every institution lacks another one, so that one model serves all of them.
        """
        scenarios = self._scenarios()[:MOST_LEFT_OUT]
        study = self.together.study
        for turn in range(len(scenarios)):
            self._tell("a scenario left out", turn, len(scenarios))
            lacking = {
                own.name: scenarios[(turn + place) % len(scenarios)]
                for place, own in enumerate(self.customers)
            }
            without = [own.unseen(lacking[own.name]) for own in self.customers]
            shared = self.together.shared(training_of(without))
            for own in without:
                if lacking[own.name] in own.scenarios():
                    fits = HomeFits.of(study, shared, own.training)
                    scores = fits.scores(shared, own.held)
                    yield own.left_out(lacking[own.name], scores, self._budget)

    def months(self) -> Iterator[MonthsRow]:
        """Yield months until scenarios that begin are found, by seed other ones."""
        scenarios = self._scenarios()
        if self.days is None or not scenarios:
            return
        for turn in range(min(SCENARIOS_A_SEED, len(scenarios))):
            self._tell("a scenario that is new", turn, SCENARIOS_A_SEED)
            at = (SCENARIOS_A_SEED * self.together.seed + turn) % len(scenarios)
            yield from months_until_found(self.together, self.customers, scenarios[at], self.days)

    def _scenarios(self) -> list[str]:
        return sorted({one for own in self.customers for one in own.scenarios()})
