"""The institution's commands: TOML on stdout, notices on stderr, errors passed through."""

import gzip
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from fieldfare.shared.cli.root import commands, run
from fieldfare.shared.errors import UsageError
from fieldfare.shared.study.file import parse_study

SAMPLE = "id,amount,kind,bank,fraud\n" + "".join(
    f"u{i},{i * 1.5},{'ab'[i % 2]},{'xyz'[i % 3]},{int(i % 5 == 0)}\n" for i in range(100)
)

STUDY_NEW = commands()["study.new"]()
RECORDS_DERIVE = commands()["records.derive"]()


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    path = tmp_path / "sample.csv"
    path.write_text(SAMPLE)
    return path


def test_study_new_prints_a_study_and_tells_on_stderr(sample: Path) -> None:
    arguments = ["--records", str(sample), "--label", "fraud", "--institution-column", "bank"]
    result = CliRunner().invoke(STUDY_NEW, [*arguments, "--exclude", "kind, ", "--units", "5000"])
    assert result.exit_code == 0
    study = parse_study(result.stdout)
    assert [feature.name for feature in study.features] == ["amount"]
    assert (study.records.unit, study.records.units) == ("id", 5000)
    assert "declared public" in result.stderr
    assert "left out: bank: names the institution" in result.stderr


def test_several_files_and_every_option(sample: Path) -> None:
    more = ["--epsilon", "2", "--delta", "1e-6", "--prevalence", ".1", "--name", "mine"]
    files = ["--records", str(sample), "--records", str(sample)]
    result = CliRunner().invoke(STUDY_NEW, [*files, "--label", "fraud", "--positive", "1", *more])
    study = parse_study(result.stdout)
    assert (study.privacy.epsilon, study.privacy.delta) == (2, 1e-6)
    assert (study.records.prevalence, study.name, study.records.unit) == (0.1, "mine", None)


def test_errors_pass_through(sample: Path) -> None:
    result = CliRunner().invoke(STUDY_NEW, ["--records", str(sample), "--label", "none"])
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
    result = CliRunner().invoke(RECORDS_DERIVE, ["amlsim", str(tmp_path), "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert pq.read_table(out).num_rows == 4
    said = ["amlsim-pack", str(tmp_path), "--out", str(out)]
    result = CliRunner().invoke(RECORDS_DERIVE, said)
    assert "R02: missing, without transactions.tz_offset_min" in result.output
    assert pq.read_table(out).num_rows == 4
    unknown = CliRunner().invoke(RECORDS_DERIVE, ["other", str(tmp_path), "--out", str(out)])
    assert unknown.exit_code == 2


PAYMENTS = "txn_id,account_id,ts_utc,direction,amount_minor,currency,channel,counterparty_key\n"
STUDY = """
name = "red-flags"
purpose = "tests"
[records]
unit = "customer"
label = "case"
units = 1000
prevalence = 0.1
[[features]]
name = "R01"
kind = "numeric"
lower = 0
upper = 10
[privacy]
epsilon = 1
delta = 1e-5
"""


@pytest.fixture
def canonical(tmp_path: Path) -> Path:
    folder = tmp_path / "canonical"
    folder.mkdir()
    rows = [f"t{i},a1,2026-03-{i + 2:02d}T10:00:00,in,5000,XAC,P2P,p{i}\n" for i in range(14)]
    (folder / "transactions.csv").write_text(PAYMENTS + "".join(rows))
    (folder / "accounts.csv").write_text("account_id,customer_id\na1,c1\na2,c2\n")
    (folder / "customers.csv").write_text("customer_id\nc1\nc2\n")
    (tmp_path / "study.toml").write_text(STUDY)
    (tmp_path / "labels.csv").write_text(
        "customer_id,label,known\nc1,1,2026-02-01\nc9,1,2026-01-01\n"
    )
    return folder


def typed(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    status = run(["records", "assemble", *map(str, arguments)])
    said = capsys.readouterr()
    return status, said.out, said.err


def test_assemble_gives_the_file_that_a_study_reads(
    canonical: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = canonical.parent
    features, out = folder / "features.parquet", folder / "customers.parquet"
    day = ["--as-of", "2026-03-31"]
    assert run(["typologies", "run", str(canonical), *day, "--out", str(features)]) == 0
    capsys.readouterr()
    given = ["--labels", folder / "labels.csv", "--study", folder / "study.toml", "--others", "0"]
    status, said, err = typed(capsys, "--features", features, *given, "--out", out)
    assert err == ""
    assert (status, "2 labels: 1 used, 1 of no unit here" in said) == (0, True)
    assert pq.read_table(out).to_pydict() == {
        "customer": ["c1", "c2"],
        "case": ["1", "0"],
        "R01": [14.0, 0.0],
    }
    study = str(folder / "study.toml")
    assert run(["institution", "records", "check", study, "--records", str(out)]) == 0
    assert "would load: 2 rows" in capsys.readouterr().out
    same = folder / "same.parquet"  # from the raw records themselves
    assert typed(capsys, "--features", canonical, *given, *day, "--out", same)[0] == 0
    assert pq.read_table(same).equals(pq.read_table(out))


def test_assemble_takes_no_labels_of_another_day(
    canonical: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = canonical.parent
    features, out = folder / "features.parquet", folder / "customers.parquet"
    run(["typologies", "run", str(canonical), "--as-of", "2025-12-31", "--out", str(features)])
    given = ["--labels", folder / "labels.csv", "--others", "none"]
    rows = [
        ([features, *given, "--as-of", "2026-03-31", "--out", out], "2025-12-31, the day of the"),
        ([canonical, *given, "--out", out], "--as-of: expected the last day"),
        ([folder / "labels.csv", *given, "--out", out], "does not say it"),
        ([features, *given, "--as-of", "soon", "--out", out], "found soon"),
        ([features, *given, "--labels-until", "2025-12-30", "--out", out], "or a later one"),
        ([features, *given, "--out", folder / "customers.csv"], "ends in .parquet"),
    ]
    for arguments, said in rows:
        status, _, err = typed(capsys, "--features", *arguments)
        assert (status, said in err) == (2, True), err
    assert not out.exists()


def test_assemble_counts_labels_that_came_until_the_day_of_training(
    canonical: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a window that has passed: a year later more of it is known."""
    folder = canonical.parent
    features, labels = folder / "features.parquet", folder / "late.csv"
    run(["typologies", "run", str(canonical), "--as-of", "2026-03-31", "--out", str(features)])
    labels.write_text("customer,case,known\nc1,1,2026-03-31\nc2,1,2027-03-31\nc2,0,2027-04-01\n")
    given = ["--labels", labels, "--study", folder / "study.toml", "--others", "0"]
    found = []
    for number, until in enumerate(("2026-03-31", "2027-03-31", "2027-04-01")):
        out = folder / f"until-{number}.parquet"
        arguments = ["--features", features, *given, "--labels-until", until, "--out", out]
        status, said, _ = typed(capsys, *arguments)
        assert (status, f"known only after {until}" in said) == (0, True)
        found.append(pq.read_table(out)["case"].to_pylist())
    assert found == [["1", "0"], ["1", "1"], ["1", "0"]]
