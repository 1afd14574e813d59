"""The tables of files say what the code says: versions of tables, types of messages, formats."""

from itertools import chain

import pytest

import fieldfare.client.alerts.tables as alerts
from fieldfare.client.desk import deciders
from fieldfare.client.home.files import INSTITUTION_FILES
from fieldfare.client.journal.journal import JOURNAL
from fieldfare.client.ledger.rollback_check import FORMAT as WITNESS_FORMAT
from fieldfare.client.ledger.schema import LEDGER
from fieldfare.server.home.files import COORDINATOR_FILES
from fieldfare.server.store.store import RUN_STORE
from fieldfare.shared.console import accounts
from fieldfare.shared.party.file_form import NumberPlace
from fieldfare.shared.party.home_files import HomeFile, kind_of
from fieldfare.shared.protocol.messages import MessageBody
from fieldfare.shared.sqlite.kind import DatabaseKind
from fieldfare.shared.watch.outbox import OUTBOX

DATABASES = (
    (INSTITUTION_FILES, "ledger/ledger.sqlite", LEDGER),
    (INSTITUTION_FILES, "log/log.sqlite", JOURNAL),
    (INSTITUTION_FILES, "scoring/alerts.sqlite", alerts.ALERTS),
    (INSTITUTION_FILES, "notices/outbox.sqlite", OUTBOX),
    (INSTITUTION_FILES, "desk/desk.sqlite", deciders.DECIDERS),
    (INSTITUTION_FILES, "console/console.sqlite", accounts.ACCOUNTS),
    (COORDINATOR_FILES, "state/runs.sqlite", RUN_STORE),
    (COORDINATOR_FILES, "state/notices.sqlite", OUTBOX),
    (COORDINATOR_FILES, "console/console.sqlite", accounts.ACCOUNTS),
)


@pytest.mark.parametrize(("table", "path", "kind"), DATABASES)
def test_a_database_has_the_versions_that_its_table_says(
    table: tuple[HomeFile, ...], path: str, kind: DatabaseKind
) -> None:
    found = kind_of(path, table)
    assert found is not None
    assert found.form.numbered is NumberPlace.SQLITE
    assert (found.form.oldest, found.form.newest) == (kind.first, kind.newest)


def test_every_database_of_a_table_is_compared() -> None:
    numbered = {
        (table is INSTITUTION_FILES, one.pattern)
        for table in (INSTITUTION_FILES, COORDINATOR_FILES)
        for one in table
        if one.form.numbered is NumberPlace.SQLITE
    }
    compared = set()
    for table, path, _ in DATABASES:
        found = kind_of(path, table)
        assert found is not None
        compared.add((table is INSTITUTION_FILES, found.pattern))
    assert compared == numbered


def subclasses(of: type[MessageBody]) -> set[type[MessageBody]]:
    """Every class of messages that was imported."""
    return {of, *chain.from_iterable(map(subclasses, of.__subclasses__()))}


def test_signed_types_are_those_of_this_version() -> None:
    known = {getattr(one, "TYPE", "") for one in subclasses(MessageBody)}
    for one in chain(INSTITUTION_FILES, COORDINATOR_FILES):
        for kind, version in one.form.types:
            assert f"fieldfare.{kind}.v{version}" in known, one.pattern


def test_the_witness_is_in_the_format_that_is_written() -> None:
    found = kind_of("ledger/ledger.sqlite.witness", INSTITUTION_FILES)
    assert found is not None
    assert found.form.newest == WITNESS_FORMAT


def test_a_form_names_its_number() -> None:
    said = {one.pattern: str(one.form) for one in (*INSTITUTION_FILES, *COORDINATOR_FILES)}
    assert said["ledger/ledger.sqlite"] == "SQLite, tables of version 8"
    assert said["invitation.json"] == "signed invitation.v2, format 1"
    assert said["keys/holdout"] == "32 bytes"
