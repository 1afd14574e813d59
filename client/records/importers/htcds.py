"""HTCDS (IOM, Human Trafficking Case Data Standard 2.0, CC BY 4.0): one row for each case, as CSV.

Only the columns below are looked at; names, birth dates and narratives of the same file are not.
A case whose person did not agree to non-identifying research use is left out: nothing that leaves
may rest on it, and an empty answer is no consent.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from fieldfare.client.records.canonical_cases import CaseAgeBand, CaseSummary, consented
from fieldfare.client.records.importers.base import CASES, ImportOptions, open_folder
from fieldfare.client.records.importers.csv_rows import CsvFile, CsvFiles, Value, bare
from fieldfare.shared.errors import RecordsError
from fieldfare.shared.features.media_gate import refuse_names

SOURCES: Final[Mapping[str, str]] = {
    "case_id": "cas_ID",
    "org_id": "org_ID",
    "opened": "cas_DateOpened",
    "status": "cas_Status",
    "trafficking_status": "vic_TraffickingStatus",
    "age_band": "vic_AgeWhenTrafficked",
    "exploitation": "vic_TypeOfExploitation",
    "control": "vic_MethodsOfControl",
    "recruit_method": "vic_MethodOfRecruitment",
    "relation": "vic_RelationshipToTrafficker",
    "industry": "vic_ForcedLabourIndustry",
    "support_needs": "spl_Type",
    "consent_research": "con_NonIdentifyingResearchUse",
}
"""What each canonical field is called by default; `--mapping` says otherwise."""

SEVERAL: Final = ";"  # between the choices of one answer
_LISTS: Final = frozenset({"exploitation", "control", "support_needs"})
_CONSENT: Final = "consent_research"  # yes, no, true, false, 1, 0
_YEAR_DIGITS: Final = 3  # of an age; more are none
_YEARS: Final = (9, 18, 21, 24, 27, 30, 39, 48)  # where the bands of CaseAgeBand begin


def import_htcds(files: Sequence[Path], out: Path, options: ImportOptions) -> list[str]:
    """Write cases as canonical summaries; returns counts of cases read, in lines.

    Raises:
        RecordsError: input that cannot be read, by file and line.
        UsageError: `out` cannot be written.
    """
    read, kept = 0, 0
    columns = _columns(files, options)
    with open_folder(out, options.having({CASES: tuple(columns)})) as folder:
        for file in CsvFiles(files, options.mapping):
            for cases in _cases(file, columns):
                agreed = list(consented(cases))
                read, kept = read + len(cases), kept + len(agreed)
                folder.add_records(CASES, agreed)
    return [
        f"read {read:,} cases; left out: {read - kept:,} without consent to research use",
        *folder.lines(),
    ]


def _columns(files: Sequence[Path], options: ImportOptions) -> dict[str, str]:
    """Return the source's column of each canonical field that all files have."""
    named = {**SOURCES, **options.mapping.columns}
    unknown = sorted(set(named) - set(CaseSummary.model_fields))
    if unknown:
        raise RecordsError(f"mapping: expected fields of a case summary, found {unknown[0]}")
    found: dict[str, str] | None = None
    for file in CsvFiles(files, options.mapping):
        here = {field: column for field, column in named.items() if file.has([column])}
        _complete(file, named, here)
        if found is not None and found != here:
            raise RecordsError(f"{file.path}, line 1: expected the columns of the files before")
        found = here
    refuse_names((found or {}).values(), str(files[0]))
    return found or {}


def _complete(file: CsvFile, named: Mapping[str, str], here: Mapping[str, str]) -> None:
    absent = [
        named.get(field, field)
        for field, said in CaseSummary.model_fields.items()
        if said.is_required() and field not in here
    ]
    if absent:
        raise RecordsError(
            f"{file.path}, line 1: expected columns {', '.join(absent)}, found none; --mapping "
            "says what they are called here"
        )


def _cases(file: CsvFile, columns: Mapping[str, str]) -> Iterator[list[CaseSummary]]:
    values = {field: Value(bare(column), column, needed=False) for field, column in columns.items()}
    done = 0
    for rows in file.rows(values):
        answers = enumerate(rows.to_pylist(), start=done)
        yield [_case(file, columns, row, one) for row, one in answers]
        done += rows.num_rows


def _case(
    file: CsvFile, columns: Mapping[str, str], row: int, answers: Mapping[str, str | None]
) -> CaseSummary:
    said = {name: _read(name, text) for name, text in answers.items() if text is not None}
    try:
        return CaseSummary.model_validate({_CONSENT: False, **said})
    except ValidationError as error:
        field = str(error.errors(include_input=False)[0]["loc"][0])
        return file.refuse(row, columns[field])


def _read(field: str, text: str) -> Any:
    if field in _LISTS:
        return tuple(part.strip() for part in text.split(SEVERAL) if part.strip())
    if field == "age_band" and text.isdecimal() and len(text) <= _YEAR_DIGITS:
        return list(CaseAgeBand)[sum(int(text) >= years for years in _YEARS)]
    return text
