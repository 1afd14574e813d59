"""`fieldfare typologies`, as somebody would call it."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fieldfare.client.records import read_records
from fieldfare.shared.cli.root import run
from fieldfare.shared.errors import RecordsError
from fieldfare.shared.study.study import Study

PAYMENTS = "txn_id,account_id,ts_utc,direction,amount_minor,currency,channel,counterparty_key\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [f"t{i},a1,2026-03-{i + 2:02d}T10:00:00,in,5000,XAC,P2P,p{i}\n" for i in range(14)]
    (tmp_path / "transactions.csv").write_text(PAYMENTS + "".join(rows))
    (tmp_path / "accounts.csv").write_text("account_id,customer_id\na1,c1\na2,c2\n")
    (tmp_path / "customers.csv").write_text("customer_id\nc1\nc2\n")
    return tmp_path


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["typologies", "show"]) == 0
    text = capsys.readouterr().out
    assert "R34" in text
    assert "No single indicator suffices" in text
    assert run(["typologies", "show", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [one["id"] for one in listed["typologies"]][:2] == ["R01", "R02"]
    assert len(listed["sha256"]) == 64


def test_show(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["typologies", "show", "R21", "--sql"]) == 0
    text = capsys.readouterr().out
    assert "linked form, never leaves" in text
    assert "FROM payee" in text
    assert run(["typologies", "show", "all", "--study"]) == 0
    assert capsys.readouterr().out.count("[[features]]") > 50
    assert run(["typologies", "show", "R99"]) == 2
    assert "found R99" in capsys.readouterr().err


def test_check(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["typologies", "check", "--only", "R01,R22"]) == 0
    assert "2 indicators: complete, deterministic, of own records alone" in capsys.readouterr().out
    source = Path(__file__).parents[4] / "client" / "typologies"
    (tmp_path / "R32.yaml").write_bytes((source / "R32.yaml").read_bytes())
    (tmp_path / "R32.sql").write_text("SELECT unit, unit AS R32 FROM customer")
    assert run(["typologies", "check", "--pack", str(tmp_path)]) == 2
    assert "R32: own: other customers' numbers changed" in capsys.readouterr().out


def test_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, hits = folder / "features.parquet", folder / "hits.parquet"
    call = ["typologies", "run", str(folder), "--as-of", "2026-03-31", "--out", str(out)]
    assert run([*call, "--hits", str(hits)]) == 0
    text = capsys.readouterr().out
    assert "R07  missing: transactions.mcc, transactions.merchant_city" in text
    assert "no customer hits anything" not in text
    table = pq.read_table(out).to_pydict()
    assert table["unit"] == ["c1", "c2"]
    assert table["R01"] == [14, 0]
    assert table["R07"] == [None, None]
    assert pq.read_table(hits).column("hits").to_pylist() == [["R01"], []]
    before = out.read_bytes()
    assert run([*call, "--only", "R01"]) == 0
    assert run(call) == 0
    assert out.read_bytes() == before
    capsys.readouterr()
    late = ["--as-of", "2099-01-01", "--only", "R01"]
    assert run([*call[:3], *late, "--out", str(folder / "late.parquet")]) == 0
    said = capsys.readouterr().out.replace("\n", " ")
    assert "no customer hits anything: do the records hold entries of the 270 days up to" in said


def test_linked_forms_stand_in_a_file_of_their_own_that_no_study_reads(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, linked = folder / "features.parquet", folder / "linked.parquet"
    call = ["typologies", "run", str(folder), "--as-of", "2026-03-31", "--out", str(out)]
    assert run([*call, "--linked", str(out)]) == 2
    assert "found one twice" in capsys.readouterr().err
    assert run([*call, "--linked", str(linked)]) == 0
    assert "a study that names one is refused" in capsys.readouterr().out.replace("\n", " ")
    assert not [name for name in pq.read_table(out).column_names if "linked" in name]
    table = pq.read_table(linked)
    assert table.column_names == ["unit", "R20_linked", "R21_linked", "R26_linked"]
    # Under another name and beside labels: the file's own tag still says what it is.
    renamed = table.rename_columns(["unit", "R20", "R21", "R26"])
    labels = pa.array([1, 0])
    pq.write_table(renamed.append_column("label", labels), folder / "records.parquet")
    study = Study.model_validate(
        {
            "name": "t",
            "purpose": "p",
            "records": {"unit": "unit", "label": "label", "units": 10, "prevalence": 0.5},
            "features": [{"kind": "numeric", "name": "R21", "lower": 0, "upper": 9, "tag": "own"}],
            "privacy": {"epsilon": 1, "delta": 1e-5},
        }
    )
    with pytest.raises(RecordsError, match="expected column R21 of the unit's own records"):
        read_records([folder / "records.parquet"], study)


@pytest.mark.parametrize("place", ["customers.parquet", "transactions/2026.parquet", ""])
@pytest.mark.parametrize("option", ["--out", "--hits", "--linked"])
def test_the_records_that_are_read_are_never_written_over(
    folder: Path, capsys: pytest.CaptureFixture[str], option: str, place: str
) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    given = {"--out": str(folder.parent / "x.parquet"), option: str(folder / place)}
    words = [word for pair in given.items() for word in pair]
    assert run(["typologies", "run", str(folder), "--as-of", "2026-03-31", *words]) == 2
    assert "outside the records that are read" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert not (folder.parent / "x.parquet").exists()


def test_run_with_wrong_input(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = ["typologies", "run", str(folder), "--out", str(folder / "x.parquet")]
    assert run([*call, "--as-of", "today"]) == 2
    assert "2026-03-31" in capsys.readouterr().err
    assert run([*call[:-1], "x.csv", "--as-of", "2026-03-31"]) == 2
    (folder / "customers.csv").unlink()
    assert run([*call, "--as-of", "2026-03-31"]) == 2
    assert "customers.parquet, .arrow or .csv" in capsys.readouterr().err
