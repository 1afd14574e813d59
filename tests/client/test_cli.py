"""The institution's commands: TOML on stdout, notices on stderr, errors passed through."""

import gzip
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from fieldfare.client.cli import records_app, study_new_app
from fieldfare.shared.errors import UsageError
from fieldfare.shared.study import parse_study

SAMPLE = "id,amount,kind,bank,fraud\n" + "".join(
    f"u{i},{i * 1.5},{'ab'[i % 2]},{'xyz'[i % 3]},{int(i % 5 == 0)}\n" for i in range(100)
)


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    path = tmp_path / "sample.csv"
    path.write_text(SAMPLE)
    return path


def test_study_new_prints_a_study_and_tells_on_stderr(sample: Path) -> None:
    arguments = ["--records", str(sample), "--label", "fraud", "--institution-column", "bank"]
    result = CliRunner().invoke(
        study_new_app, [*arguments, "--exclude", "kind, ", "--units", "5000"]
    )
    assert result.exit_code == 0
    study = parse_study(result.stdout)
    assert [feature.name for feature in study.features] == ["amount"]
    assert (study.records.unit, study.records.units) == ("id", 5000)
    assert "declared public" in result.stderr
    assert "left out: bank: names the institution" in result.stderr


def test_several_files_and_every_option(sample: Path) -> None:
    more = ["--epsilon", "2", "--delta", "1e-6", "--prevalence", ".1", "--name", "mine"]
    files = ["--records", str(sample), "--records", str(sample)]
    result = CliRunner().invoke(
        study_new_app, [*files, "--label", "fraud", "--positive", "1", *more]
    )
    study = parse_study(result.stdout)
    assert (study.privacy.epsilon, study.privacy.delta) == (2, 1e-6)
    assert (study.records.prevalence, study.name, study.records.unit) == (0.1, "mine", None)


def test_errors_pass_through(sample: Path) -> None:
    result = CliRunner().invoke(study_new_app, ["--records", str(sample), "--label", "none"])
    assert isinstance(result.exception, UsageError)
    assert result.stdout == ""


def test_records_derive_amlsim(tmp_path: Path) -> None:
    for bank in ("bank_a", "bank_b"):
        (tmp_path / bank).mkdir()
        nodes = b"nodeid,isFraud,init_balance,fraudStep\n1,0,5,-1\n2,1,6,3\n"
        (tmp_path / bank / "nodes.csv.gz").write_bytes(gzip.compress(nodes))
        paid = b"sourceNodeId,targetNodeId,value,time\n1,2,9.5,1\n"
        (tmp_path / bank / "transactions.csv.gz").write_bytes(gzip.compress(paid))
    out = tmp_path / "accounts.parquet"
    result = CliRunner().invoke(records_app, ["derive", "amlsim", str(tmp_path), "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert pq.read_table(out).num_rows == 4
    said = ["derive", "amlsim-pack", str(tmp_path), "--out", str(out)]
    result = CliRunner().invoke(records_app, said)
    assert "R02: missing, without transactions.tz_offset_min" in result.output
    assert pq.read_table(out).num_rows == 4
    unknown = CliRunner().invoke(records_app, ["derive", "other", str(tmp_path), "--out", str(out)])
    assert unknown.exit_code == 2
