"""A run that is cut anywhere goes on as if nothing had happened, and nobody pays twice."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from sqlite3 import connect
from typing import Any, Final

import pytest
from flwr.app import Message
from tests.support.federations.settings import BANKS, STEPS, Book, MakeSetting, Setting, make_study

from fieldfare.client.custodian.recomputation import recomputed_model
from fieldfare.server.run.server_app import Outcome
from fieldfare.server.run.store_record import RunRecord
from fieldfare.server.store.rows import LostAttempts, RunStatus
from fieldfare.server.store.store import run_store
from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.errors import RunError
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.privacy.sides import SideCosts
from fieldfare.shared.protocol.messages import (
    Reply,
    Request,
    open_envelope,
    parameters_to_bytes,
)
from fieldfare.shared.transcript.leaves import (
    EndRecord,
    Leaf,
    LeafKind,
    MetricsRecord,
    ModelRecord,
    ParametersRecord,
    SumRecord,
)
from fieldfare.simulations.federation.federation import FIRST_NODE

EXACT: Final = Protection.EXACT
STUDY: Final = make_study(training={"steps": 2})
RELEASES: Final = 1 + 2 + 1  # rehearsal, steps, evaluation
KEEPS: Final = ("opening", "keep_offers", "keep_request", "keep_failure", "keep_sum")
WHOLE: Final = 2 + 2 * RELEASES  # what is kept of a run in which nothing fails


class Died(Exception):  # noqa: N818 -- a power cut, not an error
    """The coordinator's process dies."""


class Mortal:
    """A record whose process dies before or after something was kept."""

    def __init__(self, record: RunRecord, at: int, *, after: bool) -> None:
        self._record, self._at, self._after = record, at, after
        self.kept: list[str] = []

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._record, name)
        if name not in KEEPS:
            return real

        def keep(*given: Any, **named: Any) -> None:
            fatal = len(self.kept) == self._at
            if fatal and not self._after:
                raise Died
            real(*given, **named)
            self.kept.append(name)
            if fatal:
                raise Died

        return keep


@dataclass
class Wire:
    """What was asked for in a run, by everybody's ears."""

    requests: dict[tuple[str, int, int], set[bytes]] = field(default_factory=dict)
    setting: Setting | None = None

    def watch(self, message: Message) -> None:
        metadata = message.metadata
        if metadata.message_type != "query.release" or metadata.reply_to_message_id:
            return
        assert self.setting is not None
        federation = self.setting.federation
        record: Any = message.content["fieldfare"]
        roster, protection = federation.identities.roster, federation.protection
        body = open_envelope(record["request"], Request, roster, protection).body
        place = body.kind.value, body.step, body.attempt
        self.requests.setdefault(place, set()).add(record["request"])


Lose = Callable[[Setting], Callable[[Message], bool]] | None


def run_until(book: Book, wire: Wire, at: int, *, after: bool, lose: Lose = None) -> bool:
    """Carry a run out in a process that may die; returns whether it did."""
    setting = wire.setting = book.setting
    grid = setting.federation.grid(drop=lose(setting) if lose else None, tap=wire.watch)
    with book.record() as record:
        mortal: Any = Mortal(record, at, after=after)
        try:
            book.job(mortal).run(setting.over(grid))
        except Died:
            return True
    return False


def finish(book: Book, wire: Wire, lose: Lose = None) -> Outcome:
    setting = book.setting
    grid = setting.federation.grid(drop=lose(setting) if lose else None, tap=wire.watch)
    with book.record() as record:
        outcome = book.job(record).run(setting.over(grid))
        record.keep_model(parameters_to_bytes(outcome.parameters))
    return outcome


CUTS: Final = [(at, after) for at in range(WHOLE) for after in (False, True)]


def test_a_run_that_is_cut_anywhere_ends_at_the_model_of_an_uninterrupted_one(
    make_setting: MakeSetting, tmp_path: Path
) -> None:
    """Seeded noise: all draw the same, so that the models may be compared bit for bit."""
    setting = make_setting(STUDY, seed=3)
    whole = finish(Book.begin(setting, tmp_path / "whole"), Wire(setting=setting))
    for number, (at, after) in enumerate(CUTS):
        setting, wire = make_setting(STUDY, seed=3), Wire()
        book = Book.begin(setting, tmp_path / str(number))
        assert run_until(book, wire, at, after=after), (at, after)
        outcome = finish(book, wire)
        where = f"cut {'after' if after else 'before'} {at}"
        assert outcome.parameters.tobytes() == whole.parameters.tobytes(), where
        assert outcome.released_metrics == whole.released_metrics, where
        assert outcome.spent == whole.spent, where
        assert outcome.attempts == 0, where
        assert setting.debits() == dict.fromkeys(BANKS, RELEASES - 1), where
        assert len(wire.requests) == RELEASES, where
        assert {len(sent) for sent in wire.requests.values()} == {1}, where


@pytest.mark.parametrize(
    ("at", "after"),
    # Opened; rehearsal asked for; answered; a step asked for; answered; summed; evaluated.
    [(0, True), (2, True), (3, False), (4, True), (5, False), (5, True), (8, True), (9, False)],
)
def test_an_exact_run_that_is_cut_is_followed_by_all_custodians_to_its_end(
    make_setting: MakeSetting, tmp_path: Path, at: int, *, after: bool
) -> None:
    setting, wire = make_setting(STUDY, EXACT), Wire()
    book = Book.begin(setting, tmp_path / "runs")
    assert run_until(book, wire, at, after=after)
    outcome = finish(book, wire)
    federation = setting.federation
    for name in BANKS:
        model = recomputed_model(federation.ledgers[name], STUDY, book.run)
        assert model is not None
        assert model.tobytes() == outcome.parameters.tobytes()
        federation.ledgers[name].verify()
    assert setting.debits() == dict.fromkeys(BANKS, RELEASES - 1)
    assert {len(sent) for sent in wire.requests.values()} == {1}
    assert len(wire.requests) == RELEASES


@dataclass(frozen=True)
class Copied:
    """A run's store as it was after something was kept."""

    kept: str
    path: Path


class Copying(Mortal):
    """A record that copies its store after everything that it keeps."""

    def __init__(self, record: RunRecord, path: Path, folder: Path) -> None:
        super().__init__(record, -1, after=True)
        self._path, self._folder = path, folder
        self.copies: list[Copied] = []

    def __getattr__(self, name: str) -> Any:
        keep = super().__getattr__(name)
        if name not in KEEPS:
            return keep

        def copy(*given: Any, **named: Any) -> None:
            keep(*given, **named)
            target = self._folder / f"copy-{len(self.copies)}"
            target.touch(0o600)
            with closing(connect(self._path)) as source, closing(connect(target)) as copied:
                source.backup(copied)
            self.copies.append(Copied(name, target))

        return copy


def test_from_the_last_cuts_the_stored_replies_lead_to_the_same_exact_model(
    make_setting: MakeSetting, tmp_path: Path
) -> None:
    """All were answered: what is sent again meets the bytes that were committed, for free.

    Only what is asked for anew needs a newer opening.
    """
    setting = make_setting(STUDY, EXACT)
    book = Book.begin(setting, tmp_path / "runs")
    with book.record() as record:
        copying: Any = Copying(record, book.path, tmp_path)
        whole = book.job(copying).run(setting.channel())
    paid = setting.debits()
    cuts = [copy for copy in copying.copies if copy.kept in {"keep_request", "keep_sum"}][-2:]
    assert [copy.kept for copy in cuts] == ["keep_request", "keep_sum"]
    for copy in cuts:
        again = Book(setting, copy.path)
        outcome = again.carry_on()
        assert outcome.parameters.tobytes() == whole.parameters.tobytes()
        assert outcome.released_metrics == whole.released_metrics
        assert setting.debits() == paid
        assert leaves_of(again) == leaves_of(book)


def leaves_of(book: Book) -> tuple[Leaf, ...]:
    with run_store(book.path) as store:
        return store.leaves(book.run)


# -- attempts that fail --------------------------------------------------------------------------


def without(*names: str, call: str = "reveal") -> Callable[[Setting], Callable[[Message], bool]]:
    """They answer the calls of step 0, and one of the two of no later step, in any process."""
    nodes = {FIRST_NODE + BANKS.index(name) for name in names}

    def lose(setting: Setting) -> Callable[[Message], bool]:
        federation = setting.federation

        def lost(message: Message) -> bool:
            metadata = message.metadata
            if metadata.dst_node_id not in nodes or metadata.message_type != f"query.{call}":
                return False
            record: Any = message.content["fieldfare"]
            roster, protection = federation.identities.roster, federation.protection
            return open_envelope(record["request"], Request, roster, protection).body.step > 0

        return lost

    return lose


without_bank_d: Final = without("bank-d")


@pytest.mark.promises
def test_a_run_with_a_failed_attempt_is_cut_anywhere(
    make_setting: MakeSetting, tmp_path: Path
) -> None:
    """Whoever pays twice for a step pays for two attempts, never for one request."""
    setting = make_setting(STUDY, seed=3)
    book, lose = Book.begin(setting, tmp_path / "whole"), without("bank-d", call="release")
    whole = finish(book, Wire(setting=setting), lose)
    for at in range(WHOLE + 1):
        for after in (False, True):
            setting, wire = make_setting(STUDY, seed=3), Wire()
            book = Book.begin(setting, tmp_path / f"{at}-{after}")
            assert run_until(book, wire, at, after=after, lose=lose)
            outcome = finish(book, wire, lose)
            where = f"cut {'after' if after else 'before'} {at}"
            assert outcome.participants == BANKS[:3], where
            assert {len(sent) for sent in wire.requests.values()} == {1}, where
            for name, ledger in setting.federation.ledgers.items():
                asked = [entry.debit.request for entry in ledger.entries()]
                assert len(asked) == len(set(asked)), (where, name)
            spent = [ledger.spent() for ledger in setting.federation.ledgers.values()]
            assert outcome.spent == max(spent), where
            # Also between the failure and the next request: who left is not asked once more.
            assert outcome.attempts == 1, where
            assert setting.debits() == {**dict.fromkeys(BANKS[:3], 3), "bank-d": 1}, where
            assert outcome.parameters.tobytes() == whole.parameters.tobytes(), where


def test_a_run_that_lost_too_many_asks_them_the_same_when_they_are_back(
    make_setting: MakeSetting, tmp_path: Path
) -> None:
    """There can be no other attempt; the request that failed is free for those who answered."""
    setting = make_setting(STUDY, seed=3)
    whole = finish(Book.begin(setting, tmp_path / "whole"), Wire(setting=setting))
    setting = make_setting(STUDY, seed=3)
    book, wire = Book.begin(setting, tmp_path / "runs"), Wire(setting=setting)
    for _ in range(2):  # the second time they are not back yet
        with pytest.raises(
            RunError, match=r"step 1: expected at least 3 institutions, found 2 left"
        ):
            finish(book, wire, without("bank-c", "bank-d"))
    outcome = finish(book, wire)
    assert {len(sent) for sent in wire.requests.values()} == {1}
    assert {attempt for _, _, attempt in wire.requests} == {0}
    assert setting.debits() == dict.fromkeys(BANKS, 3)
    assert outcome.participants == BANKS
    assert outcome.parameters.tobytes() == whole.parameters.tobytes()
    with book.record() as fresh:
        checkpoint = fresh.checkpoint()
    ledgers, study = setting.federation.ledgers, setting.federation.plan.study_id
    spent = {name: ledger.costs(study) for name, ledger in ledgers.items()}
    assert (checkpoint.failed, dict(fresh.run.debits)) == (2, spent)


# -- where a run stands --------------------------------------------------------------------------


def records(setting: Setting, path: Path, lose: Lose = None) -> Iterator[tuple[str, RunRecord]]:
    """What a fresh process reads after everything that was kept."""
    book = Book.begin(setting, path / "runs")
    with book.record() as record:
        copying: Any = Copying(record, book.path, path)
        book.job(copying).run(
            setting.over(setting.federation.grid(drop=lose(setting) if lose else None))
        )
    for copy in copying.copies:
        with Book(setting, copy.path).record() as fresh:
            fresh.checkpoint()
            yield copy.kept, fresh


@pytest.mark.parametrize("protection", Protection)
def test_a_standing_is_what_was_kept(
    make_setting: MakeSetting, tmp_path: Path, protection: Protection
) -> None:
    setting = make_setting(STUDY, protection)
    cost = setting.federation.plan.training.cost
    found = list(records(setting, tmp_path))
    assert [kept for kept, _ in found] == [
        "opening",
        "keep_offers",
        *["keep_request", "keep_sum"] * (1 + STUDY.training.steps),
        "keep_request",
        "keep_sum",
    ]
    opened, agreed, asked, rehearsed, first, summed = (record for _, record in found[:6])
    stood = [record.checkpoint() for _, record in found]
    sent = [checkpoint.openings for checkpoint in stood]
    assert sent[0] is not None
    assert sent[1] is not None
    assert (sent[0].agreed, sent[0].sent) == (None, sent[1].agreed)
    assert [sorted(one.approvals) for one in sent[:2] if one] == [list(BANKS)] * 2
    assert (opened.state, stood[0].request, stood[0].answered) == (None, b"", True)
    assert (agreed.run.sums, stood[2].answered, bool(stood[2].request)) == (0, False, True)
    assert (asked.run.results.training is not None, asked.run.results.rehearsed) == (True, False)
    assert (rehearsed.run.results.steps, stood[3].answered) == (0, True)
    assert rehearsed.last.request == stood[3].request
    assert set(rehearsed.run.debits.values()) <= {SideCosts()}
    assert (stood[4].answered, stood[4].request == stood[2].request) == (False, False)
    assert (summed.run.results.steps, stood[5].answered) == (1, True)
    assert summed.last.request == stood[5].request == stood[4].request
    assert first.last == rehearsed.last
    assert summed.run.debits == dict.fromkeys(BANKS, SideCosts(training=cost))
    evaluated = found[-1][1]
    assert evaluated.last == found[-3][1].last  # the last training step's, not the evaluation's
    assert evaluated.run.results.metrics is not None
    held = setting.federation.plan.evaluation.cost
    total = SideCosts(training=cost * STUDY.training.steps, holdout=held)
    assert evaluated.run.debits == dict.fromkeys(BANKS, total)
    assert {checkpoint.failed for checkpoint in stood} == {0}
    assert {record.done for _, record in found} == {False}


def test_a_failed_attempt_is_done_with_and_paid_by_those_who_answered(
    make_setting: MakeSetting, tmp_path: Path
) -> None:
    setting = make_setting(STUDY)
    found = list(records(setting, tmp_path, without_bank_d))
    (at,) = (index for index, (kept, _) in enumerate(found) if kept == "keep_failure")
    before, failed, asked = (record.checkpoint() for _, record in found[at - 1 : at + 2])
    cost = setting.federation.plan.training.cost
    assert (before.answered, before.failed) == (False, 0)
    assert (failed.answered, failed.failed) == (True, 1)
    assert (before.stayed, failed.stayed) == (frozenset(), frozenset(BANKS))
    assert failed.request == before.request
    debits = {name: SideCosts(training=2 * cost) for name in BANKS[:3]}
    debits["bank-d"] = SideCosts(training=cost)
    assert found[at][1].run.debits == debits
    assert (asked.answered, asked.failed) == (False, 1)
    assert found[-1][1].checkpoint().failed == 1


def test_an_attempt_that_nobody_answered_is_counted_by_the_next(
    make_setting: MakeSetting, tmp_path: Path
) -> None:
    setting = make_setting(STUDY)
    book = Book.begin(setting, tmp_path / "runs")
    run_until(book, Wire(), 5, after=False)
    asked = [leaf.content for leaf in leaves_of(book) if leaf.kind is LeafKind.REQUEST]
    request = bytes(asked[-1])
    with book.record() as record:
        record.checkpoint()
        record.keep_failure({}, costs=True)
        record.keep_request(request)
        assert record.run.failed == 1
    with book.record() as fresh:
        checkpoint = fresh.checkpoint()
        assert (checkpoint.failed, checkpoint.answered) == (1, False)
        assert (fresh.run.failed, set(fresh.run.debits.values())) == (1, {SideCosts()})


def test_a_standing_is_read_once(make_setting: MakeSetting, tmp_path: Path) -> None:
    book = Book.begin(make_setting(STUDY), tmp_path / "runs")
    with book.record() as record:
        assert record.checkpoint() is record.checkpoint()
        assert record.checkpoint().openings is None


def test_vectors_that_were_deleted_end_a_run_that_needs_them(
    make_setting: MakeSetting, tmp_path: Path
) -> None:
    setting = make_setting(STUDY, EXACT)
    book = Book.begin(setting, tmp_path / "runs")
    run_until(book, Wire(), 5, after=True)
    with run_store(book.path) as store:
        store.set_state(book.run, RunStatus.FAILED, "", book.now)
        assert store.purge(book.now + timedelta(days=1)) == 2 * len(BANKS)
    with pytest.raises(RunError, match="found deleted ones: start another run"):
        book.carry_on()


@pytest.mark.parametrize("kind", [LeafKind.REPLY, LeafKind.METRICS, LeafKind.SUM])
def test_a_store_that_holds_something_else_is_no_run(
    make_setting: MakeSetting, tmp_path: Path, kind: LeafKind
) -> None:
    book = Book.begin(make_setting(STUDY), tmp_path / "runs")
    with run_store(book.path) as store:
        store.append(book.run, [Leaf(kind, b"rubbish")])
    with book.record() as record, pytest.raises(RunError, match="kept run cannot be read"):
        record.checkpoint()


def test_a_checkpoint_that_is_none_is_no_run(make_setting: MakeSetting, tmp_path: Path) -> None:
    book = Book.begin(make_setting(STUDY), tmp_path / "runs")
    with run_store(book.path) as store:
        store.append(book.run, [], checkpoint=b"rubbish")
    with book.record() as record, pytest.raises(RunError, match="a state of a training run"):
        record.checkpoint()


# -- the transcript ------------------------------------------------------------------------------


def test_a_transcript_has_every_message_and_what_was_made_of_it(
    make_setting: MakeSetting, tmp_path: Path
) -> None:
    setting = make_setting(STUDY, EXACT)
    book = Book.begin(setting, tmp_path / "runs")
    wire = Wire(setting=setting)
    outcome = finish(book, wire)
    leaves = leaves_of(book)
    kinds = [leaf.kind.value for leaf in leaves]
    released = ["request", *["commitment"] * 4, *["reply"] * 4, "sum"]
    assert kinds == [
        *("roster", "study", *["approval"] * 4, *["hello"] * 4, "opening", *["offer"] * 4),
        *released,
        *[*released, "parameters"] * STUDY.training.steps,
        *(*released, "metrics", "model", "end"),
    ]
    sent = {next(iter(requests)) for requests in wire.requests.values()}
    assert {leaf.content for leaf in leaves if leaf.kind is LeafKind.REQUEST} == sent
    assert (leaves[0].content, leaves[1].content) == (
        book.facts.roster_offer,
        book.facts.study_offer,
    )
    model = parameters_to_bytes(outcome.parameters)
    last = [ModelRecord.from_bytes(leaves[-2].content), EndRecord.from_bytes(leaves[-1].content)]
    assert last == [
        ModelRecord(model=bytes_hash(model), steps=STUDY.training.steps),
        EndRecord(state="finished", reason=""),
    ]
    with book.record() as record:
        record.checkpoint()
        assert record.done


def test_sums_parameters_and_vectors_fit_each_other(
    make_setting: MakeSetting, tmp_path: Path
) -> None:
    setting = make_setting(STUDY, EXACT)
    book = Book.begin(setting, tmp_path / "runs")
    steps: list[tuple[Any, Any]] = []
    with book.record() as record:
        job = book.job(record)
        job.on_step = lambda state, total: steps.append((state, total))
        setting.run(job)
    roster = setting.federation.identities.roster
    leaves = leaves_of(book)
    sums = [SumRecord.from_bytes(leaf.content) for leaf in leaves if leaf.kind is LeafKind.SUM]
    requests = [leaf.content for leaf in leaves if leaf.kind is LeafKind.REQUEST]
    bodies = [open_envelope(content, Request, roster, EXACT).body for content in requests]
    assert [record.request for record in sums] == [body.hash for body in bodies]
    assert {record.participants for record in sums} == {BANKS}
    assert [record.words for record in sums[1:-1]] == [bytes_hash(t.words) for _, t in steps]
    found = [
        ParametersRecord.from_bytes(leaf.content)
        for leaf in leaves
        if leaf.kind is LeafKind.PARAMETERS
    ]
    assert found == [
        ParametersRecord(
            step=state.step, parameters=bytes_hash(parameters_to_bytes(state.parameters))
        )
        for state, _ in steps
    ]
    replies = [
        open_envelope(leaf.content, Reply, roster, EXACT).body
        for leaf in leaves
        if leaf.kind is LeafKind.REPLY
    ]
    with run_store(book.path) as store:
        assert set(store.blob_names(book.run)) == {reply.vector for reply in replies}
        assert store.last_replies() == {
            reply.institution: leaf.content
            for reply, leaf in zip(
                replies, (leaf for leaf in leaves if leaf.kind is LeafKind.REPLY), strict=True
            )
            if bodies[-1].hash == reply.request
        }


def test_a_rehearsals_replies_are_nobodys_last(make_setting: MakeSetting, tmp_path: Path) -> None:
    """Nothing was debited: an institution could not tell a restored ledger by them."""
    book = Book.begin(make_setting(STUDY, EXACT), tmp_path / "runs")
    run_until(book, Wire(), 3, after=True)
    with run_store(book.path) as store:
        assert store.last_replies() == {}
    run_until(book, Wire(), 3, after=True)  # opened anew, asked, summed
    with run_store(book.path) as store:
        assert sorted(store.last_replies()) == list(BANKS)


def test_how_a_part_of_a_run_ended_is_kept_and_it_goes_on(
    make_setting: MakeSetting, tmp_path: Path
) -> None:
    book = Book.begin(make_setting(STUDY), tmp_path / "runs")
    run_until(book, Wire(), 5, after=True)
    with book.record() as record:
        record.interrupted(stopped=True, reason="as somebody asked")
        record.interrupted(stopped=False, reason="x" * 10_000)
    ends = [EndRecord.from_bytes(leaf.content) for leaf in leaves_of(book)[-2:]]
    assert [(end.state, len(end.reason)) for end in ends] == [
        ("stopped", 17),
        ("failed", 4000),
    ]
    assert book.carry_on().participants == BANKS
    metrics = [leaf for leaf in leaves_of(book) if leaf.kind is LeafKind.METRICS]
    assert len(metrics) == 1
    assert '"auroc"' in MetricsRecord.from_bytes(metrics[0].content).metrics


# -- for those who watch -------------------------------------------------------------------------


def test_progress_and_news_reach_the_store_with_what_is_kept(
    make_setting: MakeSetting, tmp_path: Path
) -> None:
    setting = make_setting(STUDY)
    book = Book.begin(setting, tmp_path / "runs")
    run_until(book, Wire(), WHOLE + 1, after=True, lose=without_bank_d)
    with run_store(book.path) as store:
        row, heard = store.row(book.run), store.statuses(book.run)
        losses = store.losses(book.run)
    assert losses == {"bank-d": LostAttempts(of_run=1, debited=1, ever=1)}
    assert row.progress is not None
    assert (row.progress.step, row.progress.steps) == (STEPS - 1, STEPS - 1)
    assert (row.progress.attempt_failures, row.progress.phase) == (1, "delivery")
    assert row.progress.spent.total > 0
    assert {name: text for name, (text, _) in heard.items()} == {
        **dict.fromkeys(BANKS[:3], "answered"),
        "bank-d": "no answer in time",
    }


def test_hello_and_who_is_waited_for_are_told_at_once(
    make_setting: MakeSetting, tmp_path: Path
) -> None:
    book = Book.begin(make_setting(STUDY), tmp_path / "runs")
    with book.record() as record, run_store(book.path) as watching:
        record.answered_hello("bank-a", "approved", b"signed")
        record.answered_hello("bank-b", "x" * 10_000, b"")
        record.waiting_for(["bank-c"])
        heard = watching.statuses(book.run)
        assert {name: text[:8] for name, (text, _) in heard.items()} == {
            "bank-a": "approved",
            "bank-b": "x" * 8,
            "bank-c": "waiting",
        }
        approvals = watching.approvals(STUDY.id)
        assert (approvals["bank-a"].text, approvals["bank-a"].envelope) == ("approved", b"signed")


def test_a_stop_that_somebody_asked_for_is_seen(make_setting: MakeSetting, tmp_path: Path) -> None:
    book = Book.begin(make_setting(STUDY), tmp_path / "runs")
    with book.record() as record, run_store(book.path) as watching:
        assert not record.stopping()
        watching.request_stop(book.run)
        assert record.stopping()
