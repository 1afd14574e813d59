"""`fieldfare study join` as it is typed."""

import json

import pyarrow as pa
import pytest
from tests.simulations.conftest import SimulationFolder
from tests.support.records.scored import quick_grid

from fieldfare.shared.cli.root import run
from fieldfare.shared.errors import UsageError
from fieldfare.simulations.cli.join import parse_seeds


def test_seeds_are_different_numbers() -> None:
    assert parse_seeds("3,1,2") == (3, 1, 2)
    for text in ("", "1,1", "a", "-1", "1,,2"):
        with pytest.raises(UsageError, match="--seeds"):
            parse_seeds(text)


@pytest.mark.parametrize("minutes", ["nan", "inf", "-inf", "-1", "0", "1e9"])
def test_no_minutes_are_refused(minutes: str, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["study", "join"], ["institution", "evaluate"]):
        assert run([*command, f"--minutes={minutes}"]) == 2
        assert "--minutes: expected 0.1 to 10,000 minutes" in capsys.readouterr().err


def test_records_are_compared_and_shown(
    work: SimulationFolder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fieldfare.client.own_model.stack.own_grid", quick_grid)
    rare = ["hub" if row % 40 == 0 else "mule" for row in range(work.read_records().num_rows)]
    work.write_records(work.read_records().append_column("role", pa.array(rare)))
    out = work.folder / "join"
    arguments = ["study", "join", work.study_file, "--records", work.records_file, "--out", out]
    arguments += ["--institution-column", "bank", "--role-column", "role", "--seeds", "1"]
    assert run([*map(str, arguments), "--minutes", "30"]) == 0
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 80 or str(out) in said.splitlines()[-1]
    for part in ("Should we join?", "A newcomer", "At 30 minutes an alert", "join.html"):
        assert part in " ".join(said.split()), part
    assert run([*map(str, arguments), "--json"]) == 0  # the seed is kept: at once
    assert json.loads(capsys.readouterr().out)["minutes"] == 20.0
