"""With fixed participants, no two opened requests of a study differ in who is in them."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from tests.support.federations.bench import NAMES, Bench, make_study, make_sums
from tests.support.runs.transcripts import Recorder

from fieldfare.client.custodian.ports import CommitmentReply
from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.messages import Commitment, ReleaseKind, Request
from fieldfare.simulations.federation.federation import LocalFederation

A: Final = NAMES[0]
SETS: Final = (NAMES, NAMES[:3], (A, *NAMES[2:]), (A, "bank-b", "bank-d"))
OPENS: Final = {"opening": "on", "participants": "fixed", "deadline_seconds": 5, "attempts": 3}
RUNS: Final = 5


@dataclass
class Played:
    """A coordinator, and three members, that want to see sums with and without somebody."""

    folder: Path
    runs: list[Recorder] = field(default_factory=list)
    opened: dict[str, Request] = field(default_factory=dict)
    last: tuple[Recorder, Request, bytes] | None = None

    def __post_init__(self) -> None:
        study = make_study(aggregation=OPENS)
        sums = {name: make_sums(study, 30, seed=i) for i, name in enumerate(NAMES)}
        federation = LocalFederation(study, sums, Protection.EXACT, seed=0, directory=self.folder)
        self.bench = Bench(federation, sums)

    def open_run(self, names: tuple[str, ...]) -> None:
        """Open one more run of the study, where everybody in it agrees."""
        recorder = Recorder(self.bench, f"run-{len(self.runs)}-{len(self.opened)}-{names[-1]}")
        try:
            recorder.open(names)
        except AssertionError:  # bank-a refuses: it knows of another set
            return
        self.runs.append(recorder)

    def commit(self, recorder: Recorder, names: tuple[str, ...], attempt: int) -> None:
        """Have bank-a commit to the first step for these."""
        chosen = [name for name in names if name in recorder.participants]
        if A not in chosen or len(chosen) < 3:
            return
        request = recorder.request(ReleaseKind.TRAINING, 0, attempt, chosen)
        answer = self.bench.custodian(A).release(
            recorder.signed(request), recorder.parameters(ReleaseKind.TRAINING)
        )
        if isinstance(answer, CommitmentReply):
            self.last = (recorder, request, answer.commitment)

    def reveal(self) -> None:
        """Have bank-a open what it committed to last; the others sign whatever is needed."""
        if self.last is None:
            return
        recorder, request, own = self.last
        statements = [
            own if named.institution == A else self.invented(named.institution, request)
            for named in request.participants
        ]
        reply = self.bench.custodian(A).reveal(recorder.signed(request), statements)
        if isinstance(reply, bytes):
            self.opened[request.hash] = request
            assert json.loads(reply)["body"]["debit"] == self.bench.plan.training.cost

    def invented(self, name: str, request: Request) -> bytes:
        """A colluder's commitment to nothing."""
        named = {p.institution: p.answer for p in request.participants}
        return self.bench.party(name).sign(
            Commitment(
                request=request.hash,
                institution=name,
                answer=named[name],
                vector=bytes_hash(b""),
                seed=bytes_hash(bytes(32)),
            )
        )


class FixedSets(RuleBasedStateMachine):
    """Any order of runs, attempts, openings and restarts."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.played = Played(Path(self.folder.name))
        self.attempts = 0

    @initialize()
    def open_some(self) -> None:
        for names in SETS[:3]:
            self.played.open_run(names)

    @rule(names=st.sampled_from(SETS))
    def open_run(self, names: tuple[str, ...]) -> None:
        if len(self.played.runs) < RUNS:
            self.played.open_run(names)

    @rule(run=st.integers(0, RUNS - 1), opens=st.booleans())
    def answer(self, run: int, *, opens: bool) -> None:
        self.commit(run, None, opens=opens)

    @rule(run=st.integers(0, RUNS - 1))
    def sum_up(self, run: int) -> None:
        self.commit(run, None, opens=True)

    @rule(run=st.integers(0, RUNS - 1), fewer=st.sampled_from(SETS), opens=st.booleans())
    def commit(self, run: int, fewer: tuple[str, ...] | None, *, opens: bool) -> None:
        recorder = self.played.runs[run % len(self.played.runs)]
        self.attempts += 1
        self.played.commit(recorder, fewer or tuple(recorder.participants), self.attempts)
        if opens:
            self.played.reveal()

    @rule()
    def reveal(self) -> None:
        self.played.reveal()

    @rule()
    def restart(self) -> None:
        self.played.bench.restart(A)

    @invariant()
    def one_set(self) -> None:
        sets = {
            tuple(named.institution for named in request.participants)
            for request in self.played.opened.values()
        }
        assert len(sets) <= 1
        entries = list(self.played.bench.ledger(A).entries())
        assert {entry.debit.request for entry in entries} == set(self.played.opened)

    def teardown(self) -> None:
        self.played.bench.federation.__exit__()
        self.folder.cleanup()


def test_a_smaller_set_gets_no_second_sum(tmp_path: Path) -> None:
    played = Played(tmp_path)
    for names in (NAMES, NAMES[:3]):  # both before the first sum, which fixes the set
        played.open_run(names)
    whole, smaller = played.runs
    try:
        for attempt, recorder in enumerate((whole, smaller), 1):
            played.commit(recorder, tuple(recorder.participants), attempt)
            played.reveal()
        assert len(played.opened) == 1
    finally:
        played.bench.federation.__exit__()


def test_without_the_rule_the_same_machine_finds_two_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has the power to: nothing but the rule stands between a coordinator and the difference."""
    for module in ("client.ledger.pending", "client.custodian.custodian"):
        monkeypatch.setattr(f"fieldfare.{module}.check_set", lambda *_: None)
    searched = settings(
        TestFixedSets.settings,
        max_examples=30,
        phases=[Phase.generate],
        derandomize=True,
        report_multiple_bugs=False,
    )
    with pytest.raises(AssertionError, match="assert 2 <= 1"):
        run_state_machine_as_test(FixedSets, settings=searched)


TestFixedSets = FixedSets.TestCase
TestFixedSets.settings = settings(
    max_examples=8,
    stateful_step_count=8,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
