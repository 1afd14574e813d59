"""The benchmark of an analyst's commands types what it says, at a size for tests."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fieldfare.simulations.bench import desk as bench_desk
from fieldfare.simulations.bench.desk import (
    ENTRIES,
    Typed,
    commands,
    main,
    make_desk,
    promises,
    typed,
)

CUSTOMERS = 200


def test_every_command_of_a_day_works_on_the_made_up_desk(tmp_path: Path) -> None:
    home, alert = make_desk(tmp_path, CUSTOMERS)
    names = []
    for number, (name, arguments) in enumerate(commands(tmp_path, home, alert)):
        assert typed(*(one.format(number) for one in arguments)) > 0
        names.append(name)
    assert len(set(names)) == 7
    assert pq.read_metadata(tmp_path / "parquet/transactions.parquet").num_rows == (
        CUSTOMERS * ENTRIES
    )
    drafts = [path.read_text() for path in tmp_path.glob("*.xml")]
    assert sum("<report_code>STR</report_code>" in draft for draft in drafts) == 2
    assert sum("<report_code>SAR</report_code>" in draft for draft in drafts) == 1
    with pytest.raises(SystemExit, match="alert show"):
        typed("alert", "show", "none", "--home", str(home))


def test_a_broken_promise_is_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [Typed("the list", 0.99, 1.0), Typed("a draft", 3.01, 3.0)]
    assert [holds for *_, holds in promises(found)] == [True, False]
    monkeypatch.setattr(bench_desk, "measure", lambda *_: found)
    assert main([]) == 1
    said = capsys.readouterr().out
    assert "the list, 20,000 customers: 0.99 s of processor; promised 1 s: holds" in said
    assert "DOES NOT HOLD" in said
    monkeypatch.setattr(bench_desk, "measure", lambda *_: found[:1])
    assert main(["--customers", "5"]) == 0
