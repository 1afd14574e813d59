"""The importer for the given files, and the options that it takes (`docs/records.md`).

Each takes what it declares and looks at nothing else: names, addresses, birth dates, narratives
and the text of payments stay in the source (docs/design.md, "The harm rules", rules 4 and 6).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Final

from fieldfare.client.records.importers.base import MODELS, ImportOptions
from fieldfare.client.records.importers.camt053 import import_camt053
from fieldfare.client.records.importers.htcds import import_htcds
from fieldfare.client.records.importers.pacs008 import import_pacs008
from fieldfare.shared.errors import UsageError

# -- choosing -------------------------------------------------------------------------------------


class ImportFormat(StrEnum):
    """The form of the given FILES; those of simulators are read by the simulations' importers."""

    CAMT053 = "camt053"
    PACS008 = "pacs008"
    AMLSIM = "amlsim"
    AMLWORLD = "amlworld"
    PAYSIM = "paysim"
    HTCDS = "htcds"


@dataclass(frozen=True)
class Importer:
    """One importer.

    Attributes:
        run: reads files, writes a folder, returns lines.
        options: of the command, those that it heeds besides `--lacking` and the key.
    """

    run: Callable[[Sequence[Path], Path, ImportOptions], list[str]]
    options: frozenset[str] = frozenset()


Importers = Mapping[ImportFormat, Importer]

IMPORTERS: Final[Importers] = MappingProxyType(
    {
        ImportFormat.CAMT053: Importer(import_camt053, frozenset({"--codes"})),
        ImportFormat.PACS008: Importer(import_pacs008, frozenset({"--bic", "--in-house"})),
        ImportFormat.HTCDS: Importer(import_htcds, frozenset({"--mapping"})),
    }
)


def import_records(
    form: ImportFormat,
    files: Sequence[Path],
    out: Path,
    options: ImportOptions,
    given: frozenset[str] = frozenset(),
    importers: Importers = IMPORTERS,
) -> list[str]:
    """Write files of a form as canonical records to a new folder; returns counts, in lines.

    Args:
        form: what the files are.
        files: in any order.
        out: a new or empty folder.
        options: what the command says.
        given: which options were said.
        importers: those that are installed.

    Raises:
        RecordsError: what cannot be read, by file and line, never by value.
        UsageError: nobody here reads the form, an option that says nothing here, or a folder that
            cannot be written.
    """
    importer = importers.get(form)
    if importer is None:
        raise UsageError(
            f"--from {form.value}: expected the simulations, which read it, found none here: "
            "pip install 'fieldfare[demo]'"
        )
    unheard = sorted(given - importer.options)
    if unheard:
        raise UsageError(f"{unheard[0]}: {form.value} does not use it; leave it out")
    _refuse_unknown(options.lacking)
    for file in files:
        if file.exists() and not (file.is_file() or file.is_dir()):
            raise UsageError(f"{file}: expected a file, found a pipe or a device: save it first")
    return importer.run(files, out, options)


def _refuse_unknown(lacking: frozenset[str]) -> None:
    may_lack = {
        f"{name}.{column}"
        for name, model in MODELS.items()
        for column, field in model.model_fields.items()
        if not field.is_required()
    }
    unknown = sorted(lacking - may_lack)
    if unknown:
        raise UsageError(
            "--lacking: expected columns that a record may do without, such as transactions.mcc, "
            f"found {unknown[0]}"
        )
