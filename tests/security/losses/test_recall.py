"""A home that was restored whole hears all members before it opens anything, whoever takes part.

The coordinator chooses participants, and one colluder forgets. Who remembers is not its choice: a
custodian that was started asks every member that its home ever named, over all studies.
"""

import copy
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.security.losses.test_peers_tell import FIXED, home, opens, put_back, spent, went_on
from tests.support.federations.bench import (
    NAMES,
    Bench,
    MakeBench,
    Run,
    make_study,
    make_sums,
)
from tests.support.runs.steps import open_federation

from fieldfare.client.custodian.custodian import Custodian
from fieldfare.client.custodian.recall import Recall
from fieldfare.client.ledger.rollback_check import Witness
from fieldfare.client.node.client_app import client_app
from fieldfare.server.run.channel import GridChannel
from fieldfare.shared.errors import LedgerError, RefusalCode, RunError
from fieldfare.shared.protocol.messages import IdentitySigner, Refusal, Request, sign_envelope
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.protocol.remembered import Memory, RememberedMessages
from fieldfare.shared.protocol.signed_files import offer_roster, offer_study
from fieldfare.simulations.federation.grid import InProcessGrid

A, B, C, D = NAMES
THREE: Final = {**FIXED, "minimum_institutions": 3}
ANY: Final = {**THREE, "participants": "any"}
SUMS: Final = 3


def open_with(bench: Bench, names: Sequence[str], reached: Sequence[str] = ()) -> Run:
    """Open a run with some members, as a coordinator that reaches these and no others.

    Those who are `reached` beside them answer what is asked of all members, and take no part.
    """
    bench.runs += 1
    nodes = {n: node for n, node in bench.federation.nodes.items() if n in {*names, *reached}}
    job, app = bench.federation.job(f"run-{bench.runs}"), client_app(bench.federation._custodian_of)
    absent = [bench.custodian(name) for name in reached if name not in names]
    left = [(one, one._prepared.pop(bench.study.id)) for one in absent]
    try:
        return Run(bench, open_federation(GridChannel(InProcessGrid(app, nodes)), job.terms))
    finally:
        for one, prepared in left:
            one._prepared[bench.study.id] = prepared


def beside(bench: Bench, **sections: object) -> Bench:
    """Another study of the same custodians and ledgers."""
    study = make_study(name="another", **sections)
    federation = copy.copy(bench.federation)
    federation.study, federation.plan = study, plan_for(study)
    sums = {name: make_sums(study, 100, seed=9) for name in NAMES}
    other = Bench(federation, sums, runs=100)
    for name in NAMES:
        approve(other, name)
    return other


def approve(bench: Bench, name: str) -> None:
    offer = offer_study(bench.study, bench.federation.identities.coordinator)
    bench.custodian(name).accept(offer, lambda _: bench.sums[name])


def colludes(bench: Bench, name: str = C) -> Custodian:
    """A colluder begins with an empty memory, lists nothing and asks nobody."""
    path = bench.path(name)
    bench.ledger(name).close()
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()
    custodian = bench.restart(name)
    went_on(bench, name)
    return custodian


@pytest.mark.parametrize("aggregation", [THREE, ANY], ids=["fixed", "any"])
def test_the_coordinator_does_not_choose_who_remembers(
    make_bench: MakeBench, aggregation: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """History with {A, B, C}, then a run with {A, C, D} of which honest B is left out."""
    bench = make_bench(make_study(aggregation=aggregation))
    bench.open_run()  # everybody has been heard
    before, cost = home(bench), bench.plan.training.cost
    run = open_with(bench, (A, B, C))
    for attempt in range(SUMS):
        opens(run, attempt)
    put_back(bench, before)
    colludes(bench)

    with pytest.raises(RunError, match=f"was started since, and waits for what {B} remembers"):
        open_with(bench, (A, C, D))
    assert spent(bench) == 0
    if aggregation is THREE:  # B is asked and takes no part: what it told fixed the set, too
        with pytest.raises(RunError, match="bad_participants"):
            open_with(bench, (A, C, D), reached=(B,))
    else:
        opens(open_with(bench, (A, C, D), reached=(B,)))
        assert spent(bench, D) == cost
    assert spent(bench) == (SUMS + (aggregation is ANY)) * cost

    # Without the rule the same machine spends twice what it says.
    put_back(bench, before)
    colludes(bench)
    monkeypatch.setattr(Recall, "_settled", lambda *_: True)
    again = open_with(bench, (A, C, D))
    opens(again)
    assert spent(bench) == (1 + (aggregation is ANY)) * cost  # of the latter D saw one


@pytest.mark.parametrize("colluder", [True, False])
def test_memory_is_of_all_studies(
    make_bench: MakeBench, colluder: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Restored whole, then another study: no last reply is shown, and B took part in both."""
    bench = make_bench(make_study(aggregation=THREE))
    other = beside(bench, aggregation=THREE)
    bench.open_run()
    before = home(bench)
    run = bench.open_run()
    opens(run)
    opens(run, attempt=1)
    spent_before = bench.ledger(A).position().cumulative
    put_back(bench, before)
    approve(other, A)
    if colluder:
        colludes(bench)
        approve(other, C)
    assert bench.ledger(A).position().cumulative == 0
    opens(other.open_run())
    ledger = bench.ledger(A).position().cumulative
    assert ledger == spent_before + other.plan.training.cost
    assert spent(bench) == spent_before

    put_back(bench, before)
    approve(other, A)
    monkeypatch.setattr(Recall, "_settled", lambda *_: True)
    opens(other.open_run())
    assert spent(bench) == 0, "without the rule the first study is forgotten"


def test_two_replies_of_two_studies_at_one_place_are_a_fork(make_bench: MakeBench) -> None:
    """A copy that went on in another study answered at the same entries of its ledger."""
    bench = make_bench(make_study(aggregation=THREE))
    other = beside(bench, aggregation=THREE)
    run = bench.open_run()
    before = home(bench)
    first = run.everybody(run.request())
    put_back(bench, before)
    approve(other, A)
    went_on(bench)
    again = open_with(other, (A, C, D))  # of whom nobody saw the first reply yet
    second = again.everybody(again.request())
    peers = bench.custodian(B)._peers
    for study, one in ((bench, first), (other, second)):
        seen = peers.saw(study.study.id, "run", one)
        with bench.ledger(B).peers() as rows:
            peers.keep(rows, study.study.id, "run", seen)
    with bench.ledger(B).peers() as rows:
        (fork,) = rows.forks()
    assert (fork.institution, fork.sequence) == (A, 1)


# -- what waits ------------------------------------------------------------------------------------


def committed(run: Run, names: Sequence[str]) -> tuple[Request, list[bytes]]:
    request = run.request(names=names)
    return request, [run.commit(name, request).commitment for name in names]


def test_who_answers_opens_nothing_that_waited_with_the_asker(make_bench: MakeBench) -> None:
    """A opened R and is restored; B committed to it, answers A's question, and is asked to open."""
    bench = make_bench(make_study(aggregation=ANY))
    before = home(bench)
    run = open_with(bench, (A, B, C))
    request, statements = committed(run, (A, B, C))
    assert isinstance(run.reveal(A, request, statements), bytes)
    put_back(bench, before)
    opens(open_with(bench, (A, C, D), reached=(B,)))
    answer = run.reveal(B, request, statements)
    assert isinstance(answer, Refusal)
    assert answer.code is RefusalCode.ATTEMPT_CLOSED
    assert spent(bench, B) == 0


def test_a_restored_home_opens_nothing_that_waited_in_its_backup(make_bench: MakeBench) -> None:
    """It waits for another set of institutions than the one that its lost history fixed."""
    bench = make_bench(make_study(aggregation=ANY))
    run = open_with(bench, (A, C, D))
    request, statements = committed(run, (A, C, D))
    before = home(bench)
    opens(open_with(bench, (A, B, C)))
    put_back(bench, before)
    answer = run.reveal(A, request, statements)
    assert isinstance(answer, Refusal)
    assert answer.code is RefusalCode.RECALL_WANTED
    open_with(bench, NAMES)
    answer = run.reveal(A, request, statements)
    assert isinstance(answer, Refusal)
    assert answer.code is RefusalCode.ATTEMPT_CLOSED
    assert spent(bench) == bench.plan.training.cost


# -- a restored home, whoever takes part next ------------------------------------------------------

NEXT: Final = ((A, B, C), (A, C, D), NAMES)


@dataclass
class History:
    """Three sums of {A, B, C}, the home of A from before them, and all homes after."""

    bench: Bench
    other: Bench
    before: dict[Path, bytes]
    after: dict[str, dict[Path, bytes]]
    spent: int

    def put_back(self, *, witness: bool, colluder: bool) -> None:
        """Start everybody anew: A from its backup, C with an empty memory where it colludes."""
        for name in NAMES:
            if name != A:
                put_back(self.bench, self.after[name], name)
                approve(self.other, name)
                went_on(self.bench, name)
        if colluder:
            colludes(self.bench)
            approve(self.other, C)
        kept = self.after[A] if witness else {}
        newest = {path: one for path, one in kept.items() if path.name.endswith(".witness")}
        put_back(self.bench, {**self.before, **newest})
        approve(self.other, A)


@pytest.fixture
def history(make_bench: MakeBench) -> History:
    bench = make_bench(make_study(aggregation=ANY))
    other = beside(bench, aggregation=ANY)
    bench.open_run()
    before, run = home(bench), open_with(bench, (A, B, C))
    for attempt in range(SUMS):
        opens(run, attempt)
    after = {name: dict(home(bench, name)) for name in NAMES}
    return History(bench, other, dict(before), after, SUMS * bench.plan.training.cost)


@pytest.mark.parametrize("witness", [False, True], ids=["no witness", "witness elsewhere"])
@pytest.mark.parametrize("colluder", [False, True], ids=["all honest", "one colludes"])
def test_a_restored_home_spends_what_peers_and_witness_know_or_answers_nothing(
    history: History, witness: bool, colluder: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forty-eight times: who takes part, which study, whom the coordinator reaches."""
    if witness:
        monkeypatch.setattr(Witness, "elsewhere", property(lambda _: True))
    outcomes = []
    for names, another, whole in itertools.product(NEXT, (False, True), (False, True)):
        bench = history.other if another else history.bench
        try:
            history.put_back(witness=witness, colluder=colluder)
            opens(open_with(bench, names, NAMES if whole else ()))
        except (RunError, LedgerError) as error:
            outcomes.append(str(error))
            continue
        spent_now = bench.ledger(A).position().cumulative
        assert spent_now == history.spent + bench.plan.training.cost, (names, another, whole)
        outcomes.append("")
    answered = outcomes.count("")
    assert answered == (0 if witness else 8)
    if witness:
        assert all("restored from an older copy" in one for one in outcomes)


# -- who writes rosters ----------------------------------------------------------------------------


def test_a_roster_that_nobody_pinned_makes_no_key_anothers(make_bench: MakeBench) -> None:
    """C's memory brings a roster with other keys for B and D; the coordinator forges theirs."""
    bench = make_bench(make_study(aggregation=ANY))
    before = home(bench)
    run = open_with(bench, (A, B, C))
    opens(run)
    put_back(bench, before)
    identities = bench.federation.identities
    thieves = {name: Ed25519PrivateKey.generate() for name in (B, D)}
    keys = {name: one.public_key().public_bytes_raw().hex() for name, one in thieves.items()}
    roster = identities.roster
    forged = roster.model_copy(
        update={
            "version": roster.version + 98,
            "members": tuple(
                one.model_copy(update={"key": keys.get(one.id, one.key)}) for one in roster.members
            ),
        }
    )
    signer = identities.roster_key
    assert isinstance(signer, IdentitySigner)
    offer = offer_roster(forged, signer)
    described = bench.custodian(A).describe(bench.study.id, run="run-x", nonce="7" * 64)
    assert not isinstance(described, Refusal)
    boot = bench.held(A).hearing.boot

    def memory(name: str, signed_by: object, remembered: str) -> bytes:
        body = Memory(institution=name, asker=A, boot=boot, remembered=remembered)
        return sign_envelope(body, name, signed_by)  # type: ignore[arg-type]

    told = [
        memory(C, bench.party(C).signer, RememberedMessages(roster=offer).to_text()),
        *(
            memory(name, IdentitySigner(one), RememberedMessages().to_text())
            for name, one in thieves.items()
        ),
    ]
    answer = bench.custodian(A).recall([described.question], told)
    assert isinstance(answer, Refusal)
    assert answer.code is RefusalCode.RECALL_WANTED
    assert set(bench.held(A).hearing.memories) == {C}


def test_what_waits_under_an_older_opening_is_closed_too(make_bench: MakeBench) -> None:
    """The run was opened anew without A before A was restored and asked."""
    bench = make_bench(make_study(aggregation=ANY))
    before = home(bench)
    run = bench.open_run()
    request, statements = committed(run, NAMES)
    assert isinstance(run.reveal(A, request, statements), bytes)
    again = Run(bench, run.federation)
    again.open_anew((B, C, D))
    put_back(bench, before)
    opens(open_with(bench, (A, C, D), reached=(B,)))
    for name in (B, C, D):
        answer = run.reveal(name, request, statements)
        assert isinstance(answer, Refusal), name
