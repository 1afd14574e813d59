"""`fieldfare institution init`: makes a home, and asks for its settings unless only told an id."""

import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import tomlkit
import typer

from fieldfare.client.cli import app
from fieldfare.client.cli.home import fingerprint_lines, two_lines
from fieldfare.client.cli.options import (
    DEFAULT_HOME,
    HomeOption,
    KeyOption,
    PassphraseFileOption,
    ask,
)
from fieldfare.client.home.keys import identity_fingerprint
from fieldfare.client.home.layout import Home
from fieldfare.client.home.policy import Policy
from fieldfare.client.home.policy_explained import policy_text
from fieldfare.client.home.settings import HomeSettings, settings_text
from fieldfare.client.institution.initial_setup import create_institution
from fieldfare.client.institution.recalling import begin_witnessed
from fieldfare.client.records.encoding.encoding import texts_of
from fieldfare.client.records.settings import RecordsSource
from fieldfare.client.records.sources.source import FileKind, kind_of
from fieldfare.client.records.sources.sql import id_of
from fieldfare.shared.advice import at_home, meant
from fieldfare.shared.cli.typed import token_pin
from fieldfare.shared.errors import RecordsError, UsageError
from fieldfare.shared.protocol.identity import fingerprint
from fieldfare.shared.study.toml import parse_toml
from fieldfare.shared.system.key_files import read_passphrase
from fieldfare.shared.system.private_files import replace_private

POSTGRESQL: Final = "postgresql"
USUAL_EPSILON: Final = "1"
USUAL_UNITS: Final = "100"
WITNESS_ASKED: Final = "A folder on another disk or host for the ledger's witness, - for none"


@dataclass(frozen=True)
class RecordCounts:
    """The counts of a first look at the records."""

    rows: int
    twice: int


@dataclass(frozen=True)
class KeyTerms:
    """How a home's keys are made, and whose key it pins.

    Attributes:
        file: the passphrase's or the token's PIN's; None: none, or it is typed.
        coordinator: a public key, hex; empty: none yet.
        token: where the identity is made; empty: in a file.
    """

    file: Path | None
    coordinator: str
    token: str

    def make(self, home: Path, name: str) -> tuple[Home, str]:
        """Make a home, and say what protects its identity."""
        secret = token_pin(self.file) if self.token else read_passphrase(self.file)
        made = create_institution(
            home, name, passphrase=secret, coordinator=self.coordinator, uri=self.token
        )
        protected = "under your passphrase" if secret else "readable by this user, no passphrase"
        return made, "in its token" if self.token else protected


IdOption = Annotated[
    str | None,
    typer.Option(
        "--id", help="Its id, as on the roster; alone, nothing is asked.", show_default=False
    ),
]
SourceOption = Annotated[
    str | None,
    typer.Option(help="A file or folder; or the word postgresql.", show_default=False),
]
AddressOption = Annotated[
    str | None,
    typer.Option(help="Of PostgreSQL: a private file with its address.", show_default=False),
]
WitnessOption = Annotated[
    str | None,
    typer.Option(help="A folder on another disk or host.", show_default=False),
]


@app.command("institution.init")
def init(
    institution: IdOption = None,
    records: SourceOption = None,
    unit: Annotated[
        str | None, typer.Option(help="Its column of customers or cases.", show_default=False)
    ] = None,
    study_unit: Annotated[
        str | None, typer.Option(help="What studies call that column.", show_default=False)
    ] = None,
    decimal: Annotated[
        str | None, typer.Option(help="Of a CSV file: . or ,", show_default=False)
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(help="Of a CSV file: utf-8, latin-1, ...", show_default=False)
    ] = None,
    uri_file: AddressOption = None,
    table: Annotated[
        str | None, typer.Option(help="Of PostgreSQL: SCHEMA.TABLE.", show_default=False)
    ] = None,
    epsilon: Annotated[
        str | None, typer.Option(help="Most that one study may cost.", show_default=False)
    ] = None,
    minimum_units: Annotated[
        str | None, typer.Option(help="Fewest customers to take part with.", show_default=False)
    ] = None,
    witness: WitnessOption = None,
    home: HomeOption = DEFAULT_HOME,
    passphrase_file: PassphraseFileOption = None,
    coordinator_key: Annotated[
        str, typer.Option(help="The coordinator's public key, hex, to pin.", show_default=False)
    ] = "",
    key: KeyOption = "",
) -> None:
    """Make an institution's folder, keys and policy: ask a few questions, and look at the records.

    Options are not asked again, and with --id alone nothing is: settings and policy are then for
    you to fill in. Nothing is made before the records can be read. Fingerprints are printed to
    compare.
    """
    keys = KeyTerms(passphrase_file, coordinator_key, key)
    answers = (records, unit, study_unit, decimal, encoding, uri_file, table, epsilon,
               minimum_units, witness)  # fmt: skip
    if institution is not None and all(one is None for one in answers):
        typer.echo("\n".join(_make_bare(home, institution, keys)))
        return
    name = institution or ask("This institution's id, as the coordinator will list it", "--id")
    settings_text(name)
    where = records or ask("Where the records are: a file, a folder, or postgresql", "--records")
    source = (
        _postgresql(uri_file, table) if where == POSTGRESQL else _file(where, decimal, encoding)
    )
    column = unit or ask("The column that says which customer or case a row is", "--unit")
    called = study_unit or ask("What studies call that column", "--study-unit", column)
    source |= {"unit": called} | ({"columns": {called: column}} if called != column else {})
    settings = _settings(name, source)
    counted = _look(settings.records[0], column, home)
    typer.echo(_counted(counted, column))
    policy = _policy(epsilon, minimum_units)
    place = _witness(name, witness)
    made, _ = keys.make(home, name)
    replace_private(made.policy, policy.encode())
    replace_private(made.settings, _settings_text(name, source, place).encode())
    elsewhere = bool(place) and begin_witnessed(made)
    typer.echo("\n".join([*_next(made), *_witness_lines(place, elsewhere=elsewhere)]))


def _make_bare(home: Path, institution: str, keys: KeyTerms) -> list[str]:
    made, protected = keys.make(home, institution)
    lines = [
        f"made {made.path} for {institution}",
        f"identity's key is {protected}",
        "",
        *fingerprint_lines(made),
    ]
    if keys.coordinator:
        lines += two_lines("coordinator", fingerprint(bytes.fromhex(keys.coordinator)))
    return [
        *lines,
        "",
        "Read these aloud with the coordinator, in person or by telephone, before anything else.",
        f"Keep a backup of {made.path}, the whole folder, as safe as the folder itself.",
        f"Next: fill in {made.settings.name} and {made.policy.name}, then",
        at_home("      fieldfare institution policy"),
        at_home("      fieldfare institution join INVITATION"),
    ]


def _witness(name: str, given: str | None) -> str:
    """Return where the witness will lie; empty: beside the ledger."""
    folder = given if given is not None else ask(WITNESS_ASKED, "--witness", "-")
    if folder in {"", "-"}:
        return ""
    path = Path(folder).expanduser().absolute()
    if not path.is_dir():
        raise UsageError(f"--witness: expected a folder, found none at {path}: mount its disk")
    return str(path / f"{name}.witness")


def _witness_lines(place: str, *, elsewhere: bool) -> list[str]:
    if elsewhere:
        return [f"witness      {place}: it shows whether a backup replaced the newest ledger"]
    return [
        "The witness lies on the ledger's own file system, so a restored backup brings both back:",
        "at each start every member is asked what it remembers, and nothing opens before all have",
        "answered. A folder on another disk or host fixes that (docs/institution.md).",
    ]


def _file(where: str, decimal: str | None, encoding: str | None) -> dict[str, Any]:
    path = Path(where).expanduser().absolute()
    if not path.exists():
        raise UsageError(f"--records: expected a file or folder, found nothing at {path}")
    source: dict[str, Any] = {"path": str(path)}
    if path.is_dir() or kind_of(path) is not FileKind.CSV:
        return source
    source["kind"] = "csv"
    sign = decimal or ask(
        "How the file writes numbers: . as in 1.5, or , as in 1,5", "--decimal", "."
    )
    written = encoding or ask("Its encoding", "--encoding", "utf-8")
    return source | {"decimal": sign, "encoding": written}


def _postgresql(uri_file: str | None, table: str | None) -> dict[str, Any]:
    path = uri_file or ask(
        "A private file (mode 0600) with the address postgresql://USER:PASSWORD@HOST/DATABASE",
        "--uri-file",
    )
    named = table or ask("The table or view, as SCHEMA.TABLE", "--table", "public.customers")
    schema, _, own = named.rpartition(".")
    return {
        "kind": POSTGRESQL,
        "uri_file": str(Path(path).expanduser().absolute()),
        "schema": schema or "public",
        "table": own,
    }


def _settings_text(name: str, source: dict[str, Any], witness: str = "") -> str:
    """Return institution.toml with the source, where its comment on sources stands."""
    document = tomlkit.parse(settings_text(name))
    if witness:
        section: Any = document["ledger"]
        section["witness"] = witness
    listed = tomlkit.aot()
    item = tomlkit.table()
    for key, value in source.items():
        if isinstance(value, dict):
            inline = tomlkit.inline_table()
            inline.update(value)
            item.add(key, inline)
        else:
            item.add(key, value)
    listed.append(item)
    document.add("records", listed)
    return tomlkit.dumps(document)


def _settings(name: str, source: dict[str, Any]) -> HomeSettings:
    return parse_toml(_settings_text(name, source), HomeSettings, "institution.toml")


def _look(source: RecordsSource, column: str, home: Path) -> RecordCounts:
    """Read the unit's column, and nothing else."""
    table = source.as_table(source.declared(home), home.absolute(), os.environ)
    units: list[Any] = [np.empty(0, np.object_)]
    for part in table.parts:
        with part.open() as opened:
            if column not in opened.columns:
                raise RecordsError(
                    f"{table.name}: expected column {column}, found none among "
                    f"{len(opened.columns)} columns{meant(column, opened.columns)}"
                )
            query = f"{id_of(column, opened.columns[column])} AS unit"
            units += [texts_of(batch.column(0)) for batch in opened.batches([query], [column])]
    ids = np.concatenate(units)
    return RecordCounts(len(ids), len(ids) - len(set(ids.tolist())))


def _counted(counted: RecordCounts, column: str) -> str:
    said = f"read {counted.rows:,} rows"
    if counted.twice:
        return (
            f"{said}; {counted.twice:,} repeat a value of {column}: a study reads one row for each "
            "customer or case (docs/records.md, `fieldfare records assemble`)"
        )
    return f"{said}, each of another {column}"


def _policy(epsilon: str | None, minimum_units: str | None) -> str:
    """Return policy.toml with the answers; `policy` explains them."""
    document = tomlkit.parse(policy_text())
    budget, records = document["budget"], document["records"]
    most = _number(
        epsilon or ask("Most that one study may cost, as epsilon", "--epsilon", USUAL_EPSILON),
        "--epsilon",
    )
    least = _number(minimum_units or ask("Fewest customers or cases to take part with",
                    "--minimum-units", USUAL_UNITS), "--minimum-units")  # fmt: skip
    budget["study_epsilon"] = most
    for key in ("yearly_epsilon", "lifetime_epsilon"):
        if float(budget[key]) < most:
            budget[key] = most
    records["minimum_units"] = int(least)
    text = tomlkit.dumps(document)
    parse_toml(text, Policy, "policy.toml")
    return text


def _number(text: str, option: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{option}: expected a number, found {text[:40]!a}") from None


def _next(made: Home) -> list[str]:
    at = shlex.join(["--home", str(made.path)])
    return [
        f"made {made.path}: keys, institution.toml and policy.toml, for this user alone",
        f"identity     {identity_fingerprint(made)}",
        f"Keep a backup of {made.path} as one whole.",
        "No study may read a column yet: `policy STUDY` shows what one needs, and asks.",
        f"Next: fieldfare institution policy {at}",
        f"      fieldfare institution join INVITATION {at}",
    ]
