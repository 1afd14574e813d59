"""A check of whether records load under a study, with every value in them that does not fit.

No record decides whether they load; values that do not fit count as zero and are listed here.

It runs the load itself, so it cannot disagree with it. Counts and row numbers are about an
institution's records: they are for its own eyes and never leave (harm rule 7).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np

from fieldfare.client.records.columns import told_by
from fieldfare.client.records.covering import covers_line
from fieldfare.client.records.load import Load
from fieldfare.client.records.problems import (
    Effect,
    Finding,
    count_rows,
    zero_lines,
    zero_words,
)
from fieldfare.client.records.source import Table
from fieldfare.shared.errors import RecordsError
from fieldfare.shared.study import Study

_NO_UNIT: Final = (
    "the study names no unit: it can be simulated, and an institution runs it only with a column "
    "of ids in its records.unit"
)


@dataclass(frozen=True)
class Report:
    """The result of a check.

    Attributes:
        study: the study's name.
        tables: those that were read, in order.
        rows: how many rows that was.
        zero: of those, how many count as zero.
        findings: values that do not fit; those that refuse come first.
        covers: the records that the promise covers, in words.
    """

    study: str
    tables: tuple[str, ...]
    rows: int
    findings: tuple[Finding, ...]
    covers: str
    zero: int = 0

    @property
    def loads(self) -> bool:
        """Whether the records would load."""
        return all(found.effect is not Effect.REFUSED for found in self.findings)


def check_records(tables: Sequence[Table], study: Study, *, today: date) -> Report:
    """Read `tables` as a load would, and report instead of handing over.

    Args:
        tables: read in order, as one.
        study: the public plan.
        today: the last date that is none of the future.

    Raises:
        StudyError: a mapping names columns that nothing reads.
    """
    load = Load(study, today=today)
    for table in tables:
        load.read(table)
    load.settle()
    if study.records.unit is None:
        load.problems.add_error(RecordsError(_NO_UNIT))
    noted = [Finding(Effect.NONE, text, 0) for text in _whole(load, study)]
    findings = (*load.problems.findings(), *noted)
    covers = covers_line(told_by(study), load.covered or {})
    unread = load.problems.unread
    zero = int(np.count_nonzero(~load.problems.fits(load.rows))) + unread
    return Report(study.name, tuple(load.tables), load.rows + unread, findings, covers, zero)


def _whole(load: Load, study: Study) -> Iterator[str]:
    """Say what is odd about all rows together; it refuses none (docs/design.md, "Refusals")."""
    if load.rows == 0:
        yield "no row was read: the institution would take part with nothing"
    elif load.positives in {0, load.rows}:
        few = "no label is" if load.positives == 0 else "all labels are"
        yield (
            f"{few} positive under the study's records.positive ({study.records.positive}): "
            "compare it with how labels are written here"
        )
    if load.rows > study.records.units:
        yield (
            f"{load.rows} rows here, {study.records.units} units of all institutions in the "
            "study's records.units: one of them is a mistake"
        )


def report_lines(report: Report) -> list[str]:
    """Return a report for a terminal: a line for each finding, then whether it would load."""
    width = max(len(effect.value) for effect in Effect)
    refused = sum(found.effect is Effect.REFUSED for found in report.findings)
    rows = count_rows(report.rows)
    fits = zero_words(report.rows, report.zero) or rows
    verdict = f"would load: {fits}" if report.loads else (
        f"would not load: {refused} {'problem refuses' if refused == 1 else 'problems refuse'} it"
    )  # fmt: skip
    return [
        f"{report.study} over {', '.join(report.tables)}: {rows}",
        *(f"  {found.effect.value:<{width}}  {_short(found, report)}" for found in report.findings),
        *([] if report.findings else ["  everything fits"]),
        verdict,
        f"the promise {report.covers}",
        "this was read on this machine and stays here; counts and row numbers are not for others",
    ]


def records_words(report: Report) -> list[str]:
    """Return, for a person who decides on a study, what in the records counts and what does not."""
    if not report.loads:
        refused = (one.text for one in report.findings if one.effect is Effect.REFUSED)
        return ["would not load:", *(f"  {text}" for text in refused)]
    if not report.zero:
        return [f"{count_rows(report.rows)}, none of which counts as zero"]
    return [f"{zero_words(report.rows, report.zero)}:", *zero_lines(report.findings)]


def _short(found: Finding, report: Report) -> str:
    """Leave out the table's name where there is only one."""
    return (
        found.text.removeprefix(f"{report.tables[0]}: ") if len(report.tables) == 1 else found.text
    )
