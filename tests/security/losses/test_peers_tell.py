"""A home that was restored or copied, ledger and log together, learns from its peers what it spent.

No witness lies elsewhere, and nothing on its own disk knows better. What the others opened in its
name is debited before any key is agreed on; an own signed reply that it lacks stops it.
"""

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest
from tests.support.attacks.keys import agrees, half_open, new, reoffered
from tests.support.federations.bench import NAMES, Bench, MakeBench, Run, make_study

from fieldfare.client.custodian.custodian import Custodian
from fieldfare.client.custodian.peers import Peers
from fieldfare.client.custodian.ports import NoLog, RunEvent
from fieldfare.client.ledger.kept_states import shown_position
from fieldfare.client.ledger.peers import Fork
from fieldfare.client.ledger.restore import Acceptance, RestoredLedger
from fieldfare.client.ledger.run_states import LEDGER_STATE, SHOWN_REPLY
from fieldfare.shared.errors import LedgerError, RefusalCode, RunError
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.privacy.samplers import ExactNoise
from fieldfare.shared.protocol.messages import (
    LastSum,
    Refusal,
    ReleaseKind,
    Reply,
    Request,
    Verifier,
    sign_envelope,
)
from fieldfare.shared.protocol.remembered import RememberedMessages
from fieldfare.shared.protocol.roster import COORDINATOR
from fieldfare.shared.run.remembered_check import signed_reply

A, B, C, D = NAMES
FIXED: Final = {"opening": "on", "participants": "fixed", "deadline_seconds": 5, "attempts": 3}
Files = Mapping[Path, bytes]


@pytest.fixture
def bench(make_bench: MakeBench) -> Bench:
    return make_bench(make_study(aggregation=FIXED))


def home(bench: Bench, name: str = A) -> Files:
    """A home as a backup holds it: ledger, its log of writes, its witness."""
    path = bench.path(name)
    return {file: file.read_bytes() for file in path.parent.glob(f"{path.name}*")}


def put_back(bench: Bench, files: Files, name: str = A) -> Custodian:
    """Put a backup in the place of a home, whole, and start it."""
    bench.ledger(name).close()
    for file in home(bench, name):
        file.unlink()
    for file, content in files.items():
        file.touch(mode=0o600)
        file.write_bytes(content)
    return bench.restart(name, heard=False)


def went_on(bench: Bench, name: str = A) -> None:
    """As a copy that had asked all members before the original went on beside it."""
    bench.held(name).hearing.settled = bench.ledger(name).position()


def opens(run: Run, attempt: int = 0, step: int = 0) -> Request:
    """Have everybody answer and open one release, of which nobody is shown a reply."""
    request = run.request(step=step, attempt=attempt)
    run.everybody(request)
    return request


def debited(bench: Bench, name: str = A) -> set[str]:
    """What a ledger holds, with what peers told of."""
    ledger = bench.ledger(name)
    told = {one.request for one in ledger._store.told()}
    return {entry.debit.request for entry in ledger.entries()} | told


def spent(bench: Bench, name: str = A) -> int:
    return bench.ledger(name).spent(bench.study.id)


def test_a_restored_home_debits_what_its_peers_opened_before_it_answers(bench: Bench) -> None:
    before, run, cost = home(bench), bench.open_run(), bench.plan.training.cost
    asked = {opens(run, attempt).hash for attempt in range(2)}
    assert debited(bench) == asked
    assert spent(bench) == 2 * cost

    put_back(bench, before)
    assert spent(bench) == 0
    again = bench.open_run()
    assert debited(bench) == asked
    assert spent(bench) == 2 * cost == bench.ledger(A).position().cumulative
    assert bench.ledger(A).fixed(bench.study.id) == NAMES
    bench.ledger(A).verify()

    asked.add(opens(again).hash)  # it goes on, and pays for that as well
    assert [spent(bench, name) for name in NAMES] == [3 * cost] * 4
    for _ in range(2):  # nobody is charged twice, whatever is told again
        bench.restart(A)
        bench.open_run()
    assert debited(bench) == asked
    assert [spent(bench, name) for name in NAMES] == [3 * cost] * 4


def test_two_copies_of_a_home_pay_for_each_other(bench: Bench) -> None:
    first, cost = home(bench), bench.plan.training.cost
    opens(bench.open_run())
    original = home(bench)
    put_back(bench, first)  # the copy, on another machine
    opens(bench.open_run())
    assert spent(bench) == 2 * cost
    copy = home(bench)
    put_back(bench, original)
    opens(bench.open_run())
    assert spent(bench) == 3 * cost
    put_back(bench, copy)
    bench.open_run()
    assert spent(bench) == 3 * cost
    assert [spent(bench, name) for name in (B, C, D)] == [3 * cost] * 3


@pytest.mark.parametrize("participants", ["any", "fixed"])
def test_an_own_reply_that_peers_saw_stops_a_restored_home(
    participants: str, make_bench: MakeBench
) -> None:
    """The replies of a step travel with the request of the next one."""
    bench = make_bench(make_study(aggregation=FIXED | {"participants": participants}))
    before, run = home(bench), bench.open_run()
    run.state(2)
    put_back(bench, before)
    if participants == "fixed":
        with pytest.raises(RunError, match=r"takes no part .*bad_participants"):
            bench.open_run()
    else:
        assert A not in bench.open_run().federation.participants
    assert spent(bench) == 0
    for started in (bench.custodian, bench.restart):  # and it stays stopped
        answer = started(A).describe(bench.study.id)
        assert isinstance(answer, Refusal)
        assert answer.code is RefusalCode.LEDGER_UNAVAILABLE
    with pytest.raises(LedgerError, match="a backup was restored"):
        Peers(bench.party(A), bench.ledger(A), NoLog()).check_not_behind()


def test_what_an_accepted_copy_carried_over_is_not_debited_again(bench: Bench) -> None:
    """The owner accepts the loss that a reply proved; peers tell of it, and of what came after."""
    before, run, cost = home(bench), bench.open_run(), bench.plan.training.cost
    run.state(2)  # of two releases, peers have seen the reply to the first
    put_back(bench, before)
    with pytest.raises(RunError):
        bench.open_run()
    bench.ledger(A).close()
    with RestoredLedger.open(bench.path(A), population=A, clock=bench.ledger(A)._clock) as copy:
        shown = shown_position(copy.run_state(LEDGER_STATE, SHOWN_REPLY))
        terms = Acceptance(user="ines", reason="the disk failed", kept=0)
        assert copy.accept(terms, shown=shown, keep=LEDGER_STATE).position.cumulative == cost
    bench.restart(A)
    again = bench.open_run()
    assert spent(bench) == 2 * cost == bench.ledger(A).position().cumulative
    opens(again)
    bench.restart(A)
    bench.open_run()
    assert [spent(bench, name) for name in NAMES] == [3 * cost] * 4
    bench.ledger(A).verify()


def test_a_list_that_is_too_long_leaves_out_the_oldest(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backup lacks the newest."""
    run = bench.open_run()
    asked = [opens(run, attempt).hash for attempt in range(3)]
    peers = Peers(bench.party(B), bench.ledger(B), NoLog())
    whole = RememberedMessages.from_text(peers.remembered(bench.plan, len(NAMES))).requests
    assert [_hash(bench, one) for one in whole] == asked[::-1]
    room = len(RememberedMessages(whole).to_text()) - 1
    monkeypatch.setattr("fieldfare.client.custodian.peers.room_for", lambda _: room)
    kept = RememberedMessages.from_text(peers.remembered(bench.plan, len(NAMES))).requests
    assert kept
    assert kept == whole[: len(kept)]


def _hash(bench: Bench, request: bytes) -> str:
    return bench.party(B).from_coordinator(request, Request).body.hash


def test_a_reply_that_all_list_is_verified_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 100 institutions each one comes in 99 offers."""
    run, calls = bench.open_run(), list[bytes]()
    run.state(2)

    def counted(content: bytes, roster: Verifier, protection: Protection) -> Reply:
        calls.append(content)
        return signed_reply(content, roster, protection)

    offers = half_open(run)
    monkeypatch.setattr("fieldfare.shared.run.remembered_check.signed_reply", counted)
    assert agrees(run, A, offers)() == b""
    assert len(calls) == len(set(calls)) == len(NAMES)


def test_a_peer_that_tells_nothing_is_not_needed(bench: Bench) -> None:
    before, run = home(bench), bench.open_run()
    request = opens(run)
    put_back(bench, before)
    offers = half_open(run)
    for silent in (C, D):
        offers = reoffered(run, offers, silent, remembered="")
    assert agrees(run, A, offers)() == b""
    assert debited(bench) == {request.hash}


def test_nobody_tells_of_another_opening(bench: Bench) -> None:
    """An old offer, with its older list, is none for this opening."""
    run = bench.open_run()
    old = half_open(run, "first")
    opens(run)
    newest = half_open(run, "second")
    mixed = [newest[0], old[1], *newest[2:]]
    answer = agrees(run, A, mixed, "second")()
    assert isinstance(answer, Refusal)
    assert answer.code is RefusalCode.BAD_KEYS


# -- false claims ----------------------------------------------------------------------------------


def listed(bench: Bench, *requests: Request, signer: str = COORDINATOR) -> str:
    signers = bench.federation.identities
    key = signers.coordinator if signer == COORDINATOR else signers.signers[signer]
    return RememberedMessages(tuple(sign_envelope(one, signer, key) for one in requests)).to_text()


def _claims(bench: Bench, run: Run) -> dict[str, tuple[str, RefusalCode]]:
    honest, names = run.request(), [n for n in NAMES if n != B]
    without = tuple(p for p in honest.participants if p.institution in names)
    many = bench.plan.study_limit // bench.plan.training.cost + 1

    def changed(**changes: object) -> str:
        return listed(bench, honest.model_copy(update=changes))

    reply = Reply(
        request=honest.hash,
        institution=A,
        answer=honest.participants[0].answer,
        vector="0" * 64,
        debit=1,
        ledger_sequence=9,
        ledger_head="0" * 64,
        cumulative=9,
        debited=9,
        epoch=1,
    )
    forged = sign_envelope(reply, B, bench.party(B).signer)
    own = [reply.model_copy(update={"institution": B, "ledger_sequence": n}) for n in (8, 9)]
    two = tuple(sign_envelope(one, B, bench.party(B).signer) for one in own)
    twice = json.dumps({"requests": ["{}", "{}"], "replies": []})
    return {
        "signed by a member": (listed(bench, honest, signer=B), RefusalCode.BAD_SIGNATURE),
        "of another study": (changed(study="0" * 64), RefusalCode.UNKNOWN_STUDY),
        "of no release of the plan": (changed(step=99), RefusalCode.NOT_IN_PLAN),
        "of a rehearsal": (changed(kind=ReleaseKind.REHEARSAL), RefusalCode.NOT_IN_PLAN),
        "with less noise": (changed(sigma=honest.sigma / 2), RefusalCode.WRONG_TERMS),
        "for more memberships": (changed(multiplicity=2), RefusalCode.WRONG_TERMS),
        "without its sender": (changed(participants=without, n=3), RefusalCode.BAD_PARTICIPANTS),
        "more than the study pays for": (
            listed(bench, *(honest.model_copy(update={"attempt": n}) for n in range(many))),
            RefusalCode.TOO_MANY_ATTEMPTS,
        ),
        "a reply by another hand": (
            RememberedMessages((), (forged,)).to_text(),
            RefusalCode.BAD_SIGNATURE,
        ),
        "two replies of one": (RememberedMessages((), two).to_text(), RefusalCode.MALFORMED),
        "no list": ("AAAA", RefusalCode.MALFORMED),
        "one twice": (_packed(twice.encode()), RefusalCode.MALFORMED),
        "a bomb": (_packed(b" " * 2**24), RefusalCode.MALFORMED),
    }


def _packed(content: bytes) -> str:
    import base64
    import zlib

    return base64.b64encode(zlib.compress(content)).decode()


CLAIMS: Final = (
    "signed by a member",
    "of another study",
    "of no release of the plan",
    "of a rehearsal",
    "with less noise",
    "for more memberships",
    "without its sender",
    "more than the study pays for",
    "a reply by another hand",
    "two replies of one",
    "no list",
    "one twice",
    "a bomb",
)


def test_false_claims_are_refused_and_cost_nothing(bench: Bench) -> None:
    run = bench.open_run()
    claims = _claims(bench, run)
    assert tuple(claims) == CLAIMS
    for index, (what, (text, code)) in enumerate(claims.items()):
        offers = reoffered(run, half_open(run, f"run-x{index}"), B, remembered=text)
        answer = agrees(run, A, offers, f"run-x{index}")()
        assert isinstance(answer, Refusal), what
        assert answer.code is code, what
        assert bench.ledger(A).position().sequence == 0, what
        opening = bench.held(A)._opened[bench.study.id].opening
        assert opening.run == f"run-x{index}", "no key was kept"


def test_a_claim_that_names_others_alone_costs_nothing(bench: Bench) -> None:
    run = bench.open_run()
    honest = run.request()
    others = tuple(p for p in honest.participants if p.institution != A)
    text = listed(bench, honest.model_copy(update={"participants": others, "n": 3}))
    assert agrees(run, A, reoffered(run, half_open(run), B, remembered=text))() == b""
    assert bench.ledger(A).position().sequence == 0


def test_claims_that_the_coordinator_signs_burn_the_study_and_nothing_else(bench: Bench) -> None:
    """A member and the coordinator together: the study ends here, its limit is never passed."""
    run, limit = bench.open_run(), bench.plan.study_limit
    most, made = limit // bench.plan.training.cost, 0
    while spent(bench) < limit and made < 4 * most:
        invented = (
            run.request(attempt=made + n).model_copy(
                update={"run": f"invented-{made}", "opening": "0" * 64}
            )
            for n in range(most)
        )
        text, name = listed(bench, *invented), f"run-x{made}"
        made += most
        offers = reoffered(run, half_open(run, name), B, remembered=text)
        assert agrees(run, A, offers, name)() == b""
        assert spent(bench) <= limit
    assert spent(bench) == limit
    answer = run.ask(A, run.request())
    assert isinstance(answer, Refusal)
    assert answer.code is RefusalCode.BUDGET_EXHAUSTED


# -- what is told of a run that goes on ------------------------------------------------------------


def test_a_run_that_goes_on_beside_another_is_told_of_and_paid_once(bench: Bench) -> None:
    """B opened, A has not been asked to yet: A's keys are in its memory alone."""
    run = bench.open_run()
    request = run.request()
    promised = [run.commit(name, request) for name in NAMES]
    statements = [one.commitment for one in promised]
    for name in (B, C, D):
        assert isinstance(run.reveal(name, request, statements), bytes)
    bench.open_run()
    assert spent(bench) == 0
    assert isinstance(run.reveal(A, request, statements), bytes)
    assert spent(bench) == bench.plan.training.cost


def test_a_member_killed_before_it_opened_pays_once_and_opens_no_more(bench: Bench) -> None:
    """It cannot know whether a copy opened: it pays, and what waited is destroyed."""
    run = bench.open_run()
    request = run.request()
    promised = [run.commit(name, request) for name in NAMES]
    statements = [one.commitment for one in promised]
    for name in (B, C, D):
        run.reveal(name, request, statements)
    bench.restart(A, heard=False)
    run.open_anew()
    assert spent(bench) == bench.plan.training.cost
    for answer in (run.reveal(A, request, statements), run.ask(A, request)):
        assert isinstance(answer, Refusal)
    assert spent(bench) == bench.plan.training.cost
    opens(run, attempt=1)
    assert [spent(bench, name) for name in NAMES] == [2 * bench.plan.training.cost] * 4


class Dies(NoLog):
    """A log that a kill comes before."""

    def noted(
        self, event: RunEvent, study: str, run: str, fingerprint: str, rule: str = ""
    ) -> None:
        del study, run, fingerprint, rule
        if event in self.at:
            raise LedgerError("killed")

    def __init__(self, *at: RunEvent) -> None:
        self.at = at


@pytest.mark.parametrize(
    ("at", "held"), [(RunEvent.TOLD, 0), (RunEvent.AGREED, 1)], ids=["in the debit", "after it"]
)
def test_a_kill_between_debit_and_agreement_loses_nothing_and_pays_nothing_twice(
    bench: Bench, at: RunEvent, held: int
) -> None:
    before, run = home(bench), bench.open_run()
    request, cost = opens(run), bench.plan.training.cost
    put_back(bench, before)
    dying = Custodian(bench.party(A), bench.ledger(A), ExactNoise(), Dies(at))
    dying.approve(bench.study, lambda: bench.sums[A])
    bench.federation.custodians[A] = dying
    with pytest.raises(RunError, match=r"ledger_unavailable|bad_participants"):
        bench.open_run()
    assert spent(bench) == held * cost
    bench.restart(A)
    bench.open_run()
    assert debited(bench) == {request.hash}
    assert spent(bench) == cost


# -- forks -----------------------------------------------------------------------------------------


class Heard(NoLog):
    def __init__(self) -> None:
        self.said: list[tuple[RunEvent, str]] = []

    def noted(
        self, event: RunEvent, study: str, run: str, fingerprint: str, rule: str = ""
    ) -> None:
        del study, run, fingerprint
        self.said.append((event, rule))


def learn(peers: Peers, bench: Bench, run: str, last: LastSum) -> None:
    seen = peers.saw(bench.study.id, run, last)
    with peers.ledger.peers() as rows:
        peers.keep(rows, bench.study.id, run, seen)


def test_two_replies_at_one_place_prove_that_a_home_was_copied(bench: Bench) -> None:
    """Peers keep both, and say who; the copies stop at the other's reply."""
    log = Heard()
    witness = Custodian(bench.party(B), bench.ledger(B), ExactNoise(), log)
    witness.approve(bench.study, lambda: bench.sums[B])
    bench.federation.custodians[B] = witness
    peers = Peers(bench.party(B), bench.ledger(B), log)
    first, run = home(bench), bench.open_run()
    one = run.everybody(run.request())
    learn(peers, bench, run.federation.run, one)
    assert not _forks(bench, B)

    put_back(bench, first)  # a copy; B's list is held back from it, so it knows of nothing
    went_on(bench)
    again = Run(bench, run.federation)
    honest = silent = half_open(again)
    for name in (B, C, D):
        silent = reoffered(again, silent, name, remembered="")
    for name in NAMES:
        assert agrees(again, name, silent if name == A else honest)() == b""
    opening = bench.held(A)._agreed[bench.study.id, new(again)]
    asked = again.request().model_copy(
        update={
            "run": new(again),
            "opening": opening.opening,
            "participants": _participants(bench, new(again)),
        }
    )
    other = again.everybody(asked)
    learn(peers, bench, asked.run, other)
    (fork,) = _forks(bench, B)
    assert (fork.institution, fork.epoch, fork.sequence) == (A, 1, 1)
    assert {fork.one, fork.other} == {one.replies[0], other.replies[0]}
    assert [event for event, _ in log.said].count(RunEvent.FORKED) == 1
    assert "two copies of it answered" in log.said[-1][1]
    learn(peers, bench, asked.run, other)  # named once
    assert len(_forks(bench, B)) == 1

    own = Peers(bench.party(A), bench.ledger(A), NoLog())
    with pytest.raises(LedgerError, match="a backup was restored"):
        own.saw(bench.study.id, run.federation.run, one)
    (fork,) = _forks(bench, A)
    assert fork.institution == A


def _participants(bench: Bench, run: str) -> object:
    return bench.custodian(A)._opened(bench.study.id, run).participants


def _forks(bench: Bench, name: str) -> list[Fork]:
    with bench.ledger(name).peers() as rows:
        return rows.forks()


# -- however often ---------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(2))
def test_however_often_a_home_is_restored_no_more_leaves_than_the_study_pays_for(
    make_bench: MakeBench, seed: int
) -> None:
    """Any backup comes back at any time; what was opened with A in it stays within mu^2."""
    study = make_study(
        aggregation=FIXED, training={"steps": 1}, privacy={"epsilon": 4.0, "spare_releases": 2}
    )
    bench, choice = make_bench(study), random.Random(seed)  # noqa: S311 -- a test's order
    backups, leaked, limit = [home(bench)], dict[str, int](), bench.plan.study_limit
    for _ in range(10):
        if choice.random() < 0.7:
            put_back(bench, choice.choice(backups))
        run = bench.open_run()
        assert debited(bench) >= set(leaked)
        request = run.request()
        if isinstance(run.ask(A, request), Refusal):
            break
        run.everybody(request)
        leaked[request.hash] = bench.plan.training.cost
        backups.append(home(bench))
        assert sum(leaked.values()) <= spent(bench) <= limit
    assert len(leaked) >= 2
    assert spent(bench) <= limit
