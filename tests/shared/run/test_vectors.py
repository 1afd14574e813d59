"""The published test vectors, held against the audit and against a reader that shares no code."""

import ast
import io
import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from tests.support.runs import checker
from tests.support.runs.checker import accepts
from tests.support.runs.vectors import (
    EARLIER,
    EVEN,
    FOLDER,
    FORGED,
    NAMES,
    plan_of,
    vectors,
    with_changes,
)
from tests.support.runs.written_runs import WrittenRun, base

from fieldfare.shared.audit.audit import AuditReport, audit
from fieldfare.shared.audit.opening import Trust
from fieldfare.shared.protocol.messages import ReleaseKind
from fieldfare.shared.protocol.plan import ReleaseTerms, plan_for
from fieldfare.shared.protocol.roster import ROSTER_SIGNER
from fieldfare.shared.protocol.signed_files import read_roster
from fieldfare.shared.study.study import Study

KEPT: Final = sorted((Path(__file__).parents[2] / "golden" / "transcripts").iterdir())
LIES: Final = [(name, says) for name, (_, forged) in FORGED.items() for says in forged]


def read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return content


def audited(lines: list[str], roster_key: str) -> AuditReport:
    content = "".join(f"{line}\n" for line in lines)
    return audit(io.BytesIO(content.encode()), Trust(roster_key))


def test_vectors_are_what_is_written_today() -> None:
    """`python -m tests.support.runs.vectors` writes them; other bytes are another format."""
    written = dict(vectors())
    assert sorted([*written, *EARLIER]) == sorted(path.name for path in FOLDER.glob("*.json"))
    drifted = [name for name, text in written.items() if (FOLDER / name).read_text() != text]
    assert drifted == []


@pytest.mark.parametrize("name", EARLIER)
def test_a_run_of_one_message_is_said_to_be_of_an_earlier_version(name: str) -> None:
    """`docs/verifier/verify.py` still reads it: tests/docs/test_verifier.py."""
    vector = read(name.removesuffix(".json"))
    misfit = audited(vector["transcript"], vector["roster_key"]).misfit
    assert misfit is not None
    assert misfit.kind == "study"
    assert "aggregation.opening: a vector leaves in two messages, always" in misfit.reason


@pytest.mark.parametrize("name", FORGED)
def test_both_readers_accept_an_honest_run(name: str) -> None:
    vector = read(name)
    report = audited(vector["transcript"], vector["roster_key"])
    found = vector["accepted"]
    assert report.misfit is None
    assert (report.state, report.steps, report.sums) == (
        found["state"],
        found["steps"],
        found["sums"],
    )
    assert (report.model, len(report.answers)) == (found["model"], found["answers"])
    assert {n: one.spent.debits for n, one in report.institutions.items()} == found["spent"]
    assert accepts(vector["transcript"], vector["roster_key"], vector["plan"]) == ""


@pytest.mark.parametrize("name", FORGED)
def test_both_readers_accept_a_run_whose_vectors_were_deleted(name: str) -> None:
    vector = read(name)
    lines = [line for line in vector["transcript"] if not line.startswith('{"blob"')]
    assert audited(lines, vector["roster_key"]).misfit is None
    assert accepts(lines, vector["roster_key"], vector["plan"]) == ""


@pytest.mark.parametrize(("name", "says"), LIES)
def test_both_readers_refuse_a_lie(name: str, says: str) -> None:
    vector = read(name)
    (lie,) = (one for one in vector["refused"] if one["says"] == says)
    lines = with_changes(vector["transcript"], lie["changes"])
    misfit = audited(lines, vector["roster_key"]).misfit
    assert misfit is not None
    assert (misfit.line, misfit.kind) == (lie["line"], lie["kind"])
    assert accepts(lines, vector["roster_key"], vector["plan"]) != ""


@pytest.mark.parametrize("folder", KEPT, ids=lambda path: path.name)
def test_the_second_reader_accepts_what_deployed_runs_left(folder: Path) -> None:
    lines = (folder / "run.transcript").read_text().splitlines()
    (path,) = folder.glob("roster.*")
    trust = Trust.in_roster(read_roster(path))
    report = audit((folder / "run.transcript").open("rb"), trust)
    assert report.plan is not None
    assert isinstance(report.plan.study, Study)
    plan = plan_of(plan_for(report.plan.study))
    assert accepts(lines, trust.roster_key, plan) == ""


def test_the_second_reader_shares_no_code() -> None:
    tree = ast.parse(Path(checker.__file__).read_text())
    whole = [n.names[0].name for n in ast.walk(tree) if isinstance(n, ast.Import)]
    parts = [str(n.module) for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
    assert not {name.split(".")[0] for name in [*whole, *parts]} & {"fieldfare", "tests"}


class WeightyRun(WrittenRun):
    """One whose released means differ from slot to slot."""

    def _total(self, terms: ReleaseTerms) -> Any:
        found = super()._total(terms)
        if terms.kind is ReleaseKind.MOMENTS:
            found += np.arange(len(found), 0, -1) * 3 << terms.vectors.gamma_bits
        return found


@pytest.mark.parametrize(
    "changes",
    [{"geometry": {"kind": "centred"}}, {"training": {"mode": "local", "steps": 2}}, {}],
    ids=["centred", "local", "own"],
)
def test_both_readers_move_curves_in_their_directions(changes: dict[str, Any]) -> None:
    """Weighed by the released means where there are some."""
    ways = ("rising", "falling")
    shaped = [
        {"name": f"f{place}", "kind": "numeric", "lower": 0, "upper": 8, "direction": way}
        for place, way in enumerate(ways)
    ]
    run = WeightyRun(base(records=EVEN, features=shaped, **changes), NAMES).finish()
    lines, key = run.to_bytes().decode().splitlines(), run.public(ROSTER_SIGNER)
    report = audited(lines, key)
    assert (report.misfit, report.steps) == (None, run.plan.training.steps)
    assert accepts(lines, key, plan_of(run.plan)) == ""
    geometry = run.state.results.geometry
    assert geometry is None or len(set(geometry.mean.tolist())) > len(ways)
    model = run.state.results.plain_model
    assert model is not None
    for start, sign in ((1, 1), (10, -1)):
        assert (sign * np.diff(model[start : start + 8]) >= 0).all()
