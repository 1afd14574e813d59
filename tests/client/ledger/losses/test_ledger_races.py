"""Real processes that share one ledger cannot spend twice."""

import json
import os
import subprocess
import sys
from collections import Counter
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from tests.support.federations.debits import commit_release

from fieldfare.client.ledger.budget import Debit, Limits
from fieldfare.client.ledger.ledger import Ledger
from fieldfare.shared.errors import PolicyRefusal, RefusalCode

PROCESSES: Final = 4
COST: Final = 10
LIMIT: Final = 1000

# One process: opens the ledger together with all others, commits each debit together with all
# others, and prints what happened to each. argv: folder, own name, scenario.
WORKER: Final = """
import hashlib, json, os, sys, time
from tests.support.federations.debits import commit_release
from datetime import UTC, datetime
from pathlib import Path
from fieldfare.client.ledger.budget import Debit, Limits
from fieldfare.client.ledger.ledger import Ledger
from fieldfare.shared.errors import PolicyRefusal

folder, name, scenario = Path(sys.argv[1]), sys.argv[2], sys.argv[3]

def debits():
    for step in range(15):
        run = name if scenario == "budget" else "r"
        content = f"{run} {step} {name if scenario == 'places' else ''}"
        yield Debit(study="s", run=run, step=step, attempt=0, kind="training",
                    request=hashlib.sha256(content.encode()).hexdigest(), cost=10)

def meet(place):
    (folder / f"{place} {name}").touch()
    while len([*folder.glob(f"{place} *")]) < 4:
        time.sleep(0.0002)

meet("start")
outcomes = []
with Ledger.open(folder / "units.ledger", population="units", busy_timeout=60.0,
                 limits=Limits(yearly_picomu2=1000, lifetime_picomu2=1000),
                 clock=lambda: datetime.now(UTC)) as ledger:
    for debit in debits():
        meet(f"step{debit.step}")
        def sign(position):
            return f"{name} at {position.sequence} {position.head} {os.urandom(8).hex()}".encode()
        try:
            reply = commit_release(ledger, debit, vector=os.urandom(100), study_limit=250,
                                   max_attempts=1, sign=sign, run_states={debit.run: name.encode()})
        except PolicyRefusal as error:
            outcomes.append([debit.request, error.code.value, None])
        else:
            outcomes.append([debit.request, reply.reply.decode(), reply.vector.hex()])
print(json.dumps(outcomes))
"""


def race(folder: Path, scenario: str) -> list[list[tuple[str, str, str | None]]]:
    """Let all processes start at once; return each one's (request, reply or code, vector)."""
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(folder), f"worker{number}", scenario],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONWARNINGS": "error"},
        )
        for number in range(PROCESSES)
    ]
    try:
        outputs = [worker.communicate(timeout=120)[0] for worker in workers]
    finally:  # a worker that failed leaves the others waiting for it
        for worker in workers:
            worker.kill()
    assert [worker.returncode for worker in workers] == [0] * PROCESSES
    return [[tuple(outcome) for outcome in json.loads(output)] for output in outputs]


def reopened(folder: Path) -> Ledger:
    return Ledger.open(
        folder / "units.ledger",
        population="units",
        limits=Limits(yearly_picomu2=LIMIT, lifetime_picomu2=LIMIT),
        clock=lambda: datetime.now(UTC),
    )


@pytest.mark.parametrize("look", ["check_untold", "balance"])
@pytest.mark.parametrize("refused", [False, True])
def test_what_another_commits_between_two_looks_refuses_no_repeat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, look: str, *, refused: bool
) -> None:
    """A limit for one debit: it is this one, so asked again it is free; another one is not."""
    other = Debit(
        study="s", run="r", step=0, attempt=0, kind="training", request="2" * 64, cost=COST
    )
    debit = replace(other, request="1" * 64) if refused else other
    with reopened(tmp_path) as ledger, reopened(tmp_path) as twin:
        looks = getattr(ledger._store, look)

        def late(*given: object) -> object:
            commit_release(
                twin,
                other,
                vector=b"v",
                study_limit=COST,
                max_attempts=1,
                sign=lambda _: b"reply",
                run_states={},
            )
            return looks(*given)

        monkeypatch.setattr(ledger._store, look, late)
        with pytest.raises(PolicyRefusal) if refused else nullcontext():
            ledger.admit(debit, study_limit=COST, max_attempts=1)


@pytest.mark.parametrize("statement", range(3))
def test_a_place_that_another_takes_between_two_statements_is_said_to_be_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, statement: int
) -> None:
    first = Debit(
        study="s", run="r", step=0, attempt=0, kind="training", request="1" * 64, cost=COST
    )
    with reopened(tmp_path) as ledger, reopened(tmp_path) as twin:
        rows, run = ledger._store._database.rows, 0

        def late(text: str, *values: object) -> list[tuple[Any, ...]]:
            nonlocal run
            if "AND study = ? AND run = ?" in text:
                if run == statement:
                    commit_release(
                        twin,
                        first,
                        vector=b"v",
                        study_limit=9 * COST,
                        max_attempts=1,
                        sign=lambda _: b"reply",
                        run_states={},
                    )
                run += 1
            return rows(text, *values)

        monkeypatch.setattr(ledger._store._database, "rows", late)
        with pytest.raises(PolicyRefusal) as refused:
            ledger.admit(replace(first, request="2" * 64), study_limit=9 * COST, max_attempts=1)
        assert refused.value.code is RefusalCode.REPLAY_CHANGED


def check_answers(ledger: Ledger, outcomes: list[list[tuple[str, str, Any]]]) -> None:
    """Every answer that anybody got is what the ledger holds for that request."""
    ledger.verify()
    for request, reply, vector in (outcome for one in outcomes for outcome in one):
        stored = ledger.stored(request)
        if vector is None:
            assert stored is None
        else:
            assert stored is not None
            assert (stored.reply.decode(), stored.vector.hex()) == (reply, vector)


def test_the_same_requests_are_debited_once_and_answered_alike(tmp_path: Path) -> None:
    outcomes = race(tmp_path, "repeats")
    assert all(one == outcomes[0] for one in outcomes)
    witness = json.loads((tmp_path / "units.ledger.witness").read_bytes())
    with reopened(tmp_path) as ledger:
        assert (witness["sequence"], witness["head"]) == (15, ledger.position().head)
        check_answers(ledger, outcomes)
        assert ledger.spent() == 15 * COST


def test_different_requests_together_stay_within_the_budget(tmp_path: Path) -> None:
    outcomes = race(tmp_path, "budget")
    codes = Counter(reply for one in outcomes for _, reply, vector in one if vector is None)
    assert codes == {"budget_exhausted": PROCESSES * 15 - 25}
    with reopened(tmp_path) as ledger:
        check_answers(ledger, outcomes)
        assert ledger.spent() == 25 * COST


def test_one_place_is_given_to_one_request(tmp_path: Path) -> None:
    outcomes = race(tmp_path, "places")
    for step in range(15):
        answers = [one[step] for one in outcomes]
        winners = [reply for _, reply, vector in answers if vector is not None]
        losers = [reply for _, reply, vector in answers if vector is None]
        assert len(winners) == 1
        assert set(losers) <= {"replay_changed"}
    with reopened(tmp_path) as ledger:
        check_answers(ledger, outcomes)
        assert ledger.spent() == 15 * COST


ACCEPTING: Final = """
import sys, time
from datetime import UTC, datetime
from pathlib import Path
from fieldfare.client.ledger.restore import Acceptance, RestoredLedger
from fieldfare.shared.errors import LedgerError

folder, name = Path(sys.argv[1]), sys.argv[2]
(folder / f"ready {name}").touch()
while len([*folder.glob("ready *")]) < 4:
    time.sleep(0.0002)
try:
    with RestoredLedger.open(folder / "units.ledger", population="units", busy_timeout=60.0,
                             clock=lambda: datetime.now(UTC)) as restored:
        restored.accept(Acceptance(user=name, reason="the disk failed"))
except LedgerError as error:
    print("nothing to accept" in str(error))
else:
    print("accepted")
"""


def test_a_restored_copy_is_accepted_once(tmp_path: Path) -> None:
    race(tmp_path, "repeats")
    (tmp_path / "units.ledger").unlink()  # the witness of 15 debits is left
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", ACCEPTING, str(tmp_path), f"worker{number}"],
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(PROCESSES)
    ]
    try:
        outputs = [worker.communicate(timeout=120)[0].strip() for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    assert sorted(outputs) == ["True"] * (PROCESSES - 1) + ["accepted"]
    with reopened(tmp_path) as ledger:
        ledger.verify()
        assert (ledger.spent(), ledger.position().epoch) == (15 * COST, 2)
