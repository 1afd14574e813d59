import io
import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from tests.support.federations.conducted import LATER, RUN, MakeCoordinator, ask_later
from tests.support.federations.conducted import with_allowance as allowing
from tests.support.homes.keyed_coordinators import KeyedCoordinator
from tests.support.runs.answered import results_file

from fieldfare.server.store.rows import RunStatus
from fieldfare.server.studies.proposing import propose
from fieldfare.shared.cli.root import run

Read = pytest.CaptureFixture[str]


def query(capsys: Read, *arguments: str | Path) -> tuple[int, str, str]:
    status = run(["query", *map(str, arguments)])
    return (status, *capsys.readouterr())


def test_a_runs_answers_are_shown_by_run_and_by_study(
    make_coordinator: MakeCoordinator, tmp_path: Path, capsys: Read
) -> None:
    coordinator = make_coordinator(allowing())
    ask_later(coordinator, *LATER)
    home = ("--home", coordinator.home.path)
    by_run = query(capsys, "answers", RUN[:4], *home, "--format", "json")
    assert by_run == query(capsys, "answers", "asking", *home, "--format", "json")
    found = json.loads(by_run[1])["answered"]
    assert [one["asked"] for one in found] == ["allowance"] * 2
    status, out, err = query(capsys, "answers", RUN, *home, "--plot", tmp_path / "p.svg")
    assert status == 0
    assert f"run {RUN}, asked later; 4 institutions" in out
    assert "long hours" in out
    assert err == f"wrote {tmp_path / 'p.svg'}\n"


def test_every_format_goes_into_a_file(tmp_path: Path, capsys: Read) -> None:
    results = results_file(tmp_path)
    for form in ("table", "json", "csv", "arrow"):
        out = tmp_path / form
        status, shown, _ = query(capsys, "answers", results, "--format", form, "--out", out)
        assert (status, shown) == (0, "")
    assert "95 % from" in (tmp_path / "table").read_text()
    rows = pa.ipc.open_file(io.BytesIO((tmp_path / "arrow").read_bytes())).read_all().num_rows
    assert len((tmp_path / "csv").read_text().splitlines()) == rows + 1
    assert json.loads((tmp_path / "json").read_text())["format"] == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nothing",), "expected one run, a study or a results.json"),
        (("",), "expected one run, a study or a results.json"),
        (("none.json",), "expected a readable file"),
        (("payments",), "expected answers, found none yet"),
        (("run-1",), "expected answers, found none yet"),
        (("run-",), "fits run-1, run-2: give more of its id"),
        (("payments", "--plot", "p.pdf"), "--plot: expected a file that ends in"),
        (("payments", "--format", "xml"), "'xml'"),
    ],
)
def test_wrong_input_is_said_in_a_line(
    keyed: KeyedCoordinator, capsys: Read, arguments: tuple[str, ...], said: str
) -> None:
    propose(keyed.home, keyed.study, keyed.signer)
    with keyed.store() as store:
        for name in ("run-1", "run-2"):
            store.create(name, keyed.study.id, datetime.now(UTC))
            store.set_state(name, RunStatus.STOPPED, "", datetime.now(UTC))
    status, out, err = query(capsys, "answers", *arguments, "--home", keyed.home.path)
    assert (status, out) == (2, "")
    assert said in err
