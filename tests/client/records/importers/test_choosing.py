"""Every form has an importer, and what it does with the options it is given."""

from pathlib import Path

import pytest
from tests.support.records.imports import KEYED, SAMPLES, imported, rows_of

from fieldfare.client.cli.records import installed_importers
from fieldfare.client.records.importers.base import ImportOptions
from fieldfare.client.records.importers.registry import IMPORTERS, ImportFormat, import_records
from fieldfare.shared.errors import UsageError


def test_every_form_has_its_importer_where_the_simulations_are_installed() -> None:
    assert set(installed_importers()) == set(ImportFormat)
    assert installed_importers().items() > IMPORTERS.items()


def test_where_the_simulations_are_not_a_simulators_form_names_their_role(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--from amlsim: .* pip install 'fieldfare\[demo\]'"):
        import_records(
            ImportFormat.AMLSIM, [SAMPLES / "amlsim"], tmp_path / "out", ImportOptions(KEYED)
        )
    assert not (tmp_path / "out").exists()


def test_an_option_that_nobody_heeds_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--bank: htcds does not use it"):
        import_records(
            ImportFormat.HTCDS, [SAMPLES / "htcds.csv"], tmp_path / "out",
            ImportOptions(KEYED, bank="a"), frozenset({"--bank"}),
        )  # fmt: skip


@pytest.mark.parametrize("column", ["transactions.photo", "transactions.amount_minor", "mcc"])
def test_lacking_names_what_a_record_may_do_without(tmp_path: Path, column: str) -> None:
    with pytest.raises(UsageError, match="--lacking"):
        imported("paysim", [SAMPLES / "paysim.csv"], tmp_path / "out", lacking=frozenset({column}))


def test_what_is_lacking_is_not_written(tmp_path: Path) -> None:
    lacking = frozenset({"transactions.counterparty_type"})
    imported("paysim", [SAMPLES / "paysim.csv"], tmp_path, lacking=lacking)
    assert "counterparty_type" not in rows_of(tmp_path, "transactions")[0]


def test_lacking_takes_columns_out() -> None:
    options = ImportOptions(KEYED, lacking=frozenset({"transactions.mcc"}))
    columns = {"transactions": ("txn_id", "mcc"), "accounts": ("mcc",)}
    assert options.having(columns) == {"transactions": ["txn_id"], "accounts": ["mcc"]}
