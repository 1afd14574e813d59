"""The import command reads, tells what it mapped, and refuses by file and line."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.support.records.imports import SAMPLES, rows_of

from fieldfare.shared.cli.root import commands
from fieldfare.shared.errors import RecordsError, UsageError

RECORDS_IMPORT = commands()["institution.records.import"]()
FILES = [str(SAMPLES / "amlsim_sample" / name) for name in ("nodes.csv", "transactions.csv")]


def run(tmp_path: Path, *said: str) -> str:
    arguments = [*said, "--out", str(tmp_path / "out"), "--key-file", str(tmp_path / "k.key")]
    result = CliRunner().invoke(RECORDS_IMPORT, arguments)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_a_folder_is_written_and_described(tmp_path: Path) -> None:
    said = run(tmp_path, *FILES, "--from", "amlsim", "--start", "2020-01-01")
    assert "read 5 transactions" in said
    assert "missing, not zero" in said
    assert str(rows_of(tmp_path / "out", "transactions")[0]["ts_utc"]) == "2020-01-04 12:00:00"
    assert (tmp_path / "k.key").stat().st_mode & 0o777 == 0o600


def test_keys_are_of_the_homes_key_by_default(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    arguments = [*FILES, "--from", "amlsim", "--out", str(tmp_path / "out"), "--home"]
    result = CliRunner().invoke(RECORDS_IMPORT, [*arguments, str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "keys" / "records.key").is_file()


def test_mistakes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--start: expected a date"):
        run(tmp_path, *FILES, "--from", "amlsim", "--start", "soon")
    with pytest.raises(UsageError, match="--bank"):
        run(tmp_path, str(SAMPLES / "paysim.csv"), "--from", "paysim", "--bank", "x")
    with pytest.raises(RecordsError, match="line 1"):
        run(tmp_path, *FILES, "--from", "paysim")
    assert not (tmp_path / "out").exists()
