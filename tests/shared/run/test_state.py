"""A run is a fold of its leaves; whatever else comes is not one."""

from collections.abc import Sequence
from dataclasses import FrozenInstanceError, replace
from typing import Any, Final

import pytest
from tests.shared.run.conftest import MakeRun
from tests.support.runs.written_runs import LATER, STUDIES, WrittenRun, group_of

from fieldfare.shared.errors import ProtocolError, RefusalCode
from fieldfare.shared.privacy.sides import SideCosts
from fieldfare.shared.protocol.messages import (
    ReleaseKind,
    Request,
    open_envelope,
    parameters_to_bytes,
)
from fieldfare.shared.run.kinds import KINDS
from fieldfare.shared.run.kinds.kind import Release
from fieldfare.shared.run.mismatch import MismatchError
from fieldfare.shared.run.optimizer import TrainingState
from fieldfare.shared.run.replay import initial_state
from fieldfare.shared.run.state import RunState
from fieldfare.shared.transcript.leaves import (
    EndRecord,
    Leaf,
    LeafKind,
    ModelRecord,
    QuestionsRecord,
)

SHAPES: Final = (*STUDIES, "later", "lost")
TRAINED: Final = ("training", "local", "groups", "training-and-questions", "lost", "knots")
H: Final = "0" * 64


def begun(run: WrittenRun) -> RunState:
    return run.begun


def after_opening(run: WrittenRun) -> list[Leaf]:
    return run.leaves[2 + 3 * len(run.names) + 1 :]


def folded(
    run: WrittenRun,
    leaves: Sequence[Leaf],
    *,
    purged: bool = False,
    onto: RunState | None = None,
) -> RunState:
    state = onto or begun(run)
    for leaf in leaves:
        state = state.after(leaf) if purged else state.after(leaf, run.added)
    return state


ORDERS: Final[dict[str, list[tuple[str, int]]]] = {
    "training": [("rehearsal", 0), *[("training", i) for i in range(3)], ("evaluation", 3)],
    "local": [("rehearsal", 0), ("training", 0), ("training", 1), ("evaluation", 2)],
    "groups": [
        ("rehearsal", 0),
        *[("training", i) for i in range(3)],
        ("evaluation", 3),
        ("fairness", 4),
    ],
    "questions": [("rehearsal", 0), ("query", 0)],
    "training-and-questions": [
        ("rehearsal", 0),
        ("training", 0),
        ("training", 1),
        ("evaluation", 2),
        ("query", 3),
    ],
    "knots": [
        ("rehearsal", 0),
        ("query", 0),
        ("training", 1),
        ("training", 2),
        ("evaluation", 3),
    ],
    "later": [("rehearsal", 0), ("query", 1), ("query", 2)],
}


@pytest.mark.parametrize("shape", ORDERS)
def test_releases_come_in_the_order_of_the_plan(written: MakeRun, shape: str) -> None:
    run, places = written(shape), []
    state = begun(run)
    for leaf in after_opening(run):
        if leaf.kind is LeafKind.REQUEST:
            release = state.expected()
            assert release is not None
            assert state.content.data
            places.append((release.kind.release.value, release.step))
        state = state.after(leaf, run.added)
    assert places == ORDERS[shape]
    assert state.done
    assert state.expected() is None


@pytest.mark.parametrize("shape", SHAPES)
def test_a_state_is_a_value(written: MakeRun, shape: str) -> None:
    """Whatever comes next, or is refused, leaves a state as it was."""
    run = written(shape)
    state, leaves = begun(run), after_opening(run)
    for leaf in leaves:
        before, allowed = vars(state) | {}, state.allowed
        with pytest.raises(ProtocolError):
            state.after(Leaf(leaf.kind, b"rubbish"))
        after = state.after(leaf, run.added)
        assert vars(state) == before
        assert state.allowed == allowed
        state = after
    with pytest.raises(FrozenInstanceError):
        state.sums = 0  # type: ignore[misc]


@pytest.mark.parametrize("shape", SHAPES)
def test_no_leaf_may_be_left_out_come_twice_or_come_early(written: MakeRun, shape: str) -> None:
    run, refused = written(shape), pytest.raises(ProtocolError)
    state, leaves = begun(run), after_opening(run)
    for at, leaf in enumerate(leaves[:-1]):
        rest, next_leaf = leaves[at + 1 :], leaves[at + 1]
        failed_reply = shape == "lost" and leaf.kind is LeafKind.REPLY  # it may as well be lost
        if not failed_reply:
            with refused:
                folded(run, rest, onto=state)
        with refused:
            folded(run, [next_leaf, leaf, *rest[1:]], onto=state)
        state = state.after(leaf, run.added)
        if leaf.kind is not LeafKind.REQUEST:
            with refused:
                state.after(leaf, run.added)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_run_may_end_anywhere_and_go_on(written: MakeRun, shape: str) -> None:
    run = written(shape)
    state, end = begun(run), EndRecord(state="stopped", reason="x").leaf()
    for leaf in after_opening(run):
        answered = state.attempt is not None and not state.attempt.missing
        state = (state if answered else state.after(end)).after(leaf, run.added)
    assert state.done
    assert (state.model, state.sums) == (run.state.model, run.state.sums)


@pytest.mark.parametrize("shape", TRAINED)
def test_deleted_sums_are_believed_and_a_checkpoint_takes_their_place(
    written: MakeRun, shape: str
) -> None:
    run = written(shape)
    whole = purged = begun(run)
    for leaf in after_opening(run):
        whole, purged = whole.after(leaf, run.added), purged.after(leaf)
        known, unknown = whole.results, purged.results
        assert (known.steps, known.bound, known.model) == (
            unknown.steps,
            unknown.bound,
            unknown.model,
        )
        summed = leaf.kind in {LeafKind.PARAMETERS, LeafKind.METRICS}
        if not summed or known.training is None:
            continue
        resumed = purged.resumed(known.training)
        assert not resumed.purged
        if whole.expected() is not None and not run.study.groups:
            assert resumed.content.data == whole.content.data
        with pytest.raises(MismatchError, match="a checkpoint after step"):
            purged.resumed(TrainingState.start(known.training.parameters))
    assert (whole.recomputed, purged.recomputed) == (whole.sums, 0)


def test_knots_that_were_answered_are_newer_than_the_rehearsals_checkpoint(
    written: MakeRun,
) -> None:
    run = written("knots")
    leaves = after_opening(run)
    at = [leaf.kind for leaf in leaves].index(LeafKind.ANSWERS)
    state = folded(run, leaves[: at + 1], purged=True).resumed(initial_state(run.study))
    answer = state.results.answers[0].values
    expected = parameters_to_bytes(initial_state(run.study, answer).parameters)
    assert state.content.data == expected
    assert expected != parameters_to_bytes(initial_state(run.study).parameters)


@pytest.mark.parametrize("shape", TRAINED)
def test_who_keeps_no_leaves_follows_from_sum_to_sum(written: MakeRun, shape: str) -> None:
    run = written(shape)
    state, mine = begun(run), begun(run).at_training(None)
    asked: Any = None
    for leaf in after_opening(run):
        if leaf.kind is LeafKind.REQUEST:
            asked = open_envelope(leaf.content, Request, run.roster, state.protection)
        if leaf.kind is LeafKind.SUM and asked.body.kind is not ReleaseKind.REHEARSAL:
            assert state.attempt is not None
            words = run.added(state.attempt, state.release.terms)
            if mine.release.place == state.release.place:
                mine = mine.settled(asked, words)
        state = state.after(leaf, run.added)
        if state.expected() is not None and state.results.steps and mine.expected() is not None:
            assert mine.release.place == state.release.place or leaf.kind is LeafKind.SUM
        training = state.results.training
        if leaf.kind is LeafKind.PARAMETERS and training is not None:
            again = begun(run).at_training(training)
            assert again.release.place == mine.release.place == state.release.place
            assert again.content.hash == mine.content.hash == state.content.hash


def test_who_follows_skips_only_releases_that_lead_nowhere(written: MakeRun) -> None:
    """A model is evaluated after the last step, and alerts are counted after the table's sum."""
    run = written("groups")
    plan, finished = run.plan, run.state.results.training
    assert finished is not None
    kind, step = ReleaseKind.EVALUATION, plan.evaluation.first_step
    before, after = begun(run).at_training(None), begun(run).at_training(finished)
    assert before.ahead(kind, step) is before
    assert after.ahead(kind, step).release.place == (kind, step)
    groups = ReleaseKind.FAIRNESS, plan.fairness.first_step
    assert after.ahead(*groups) is after
    for wrong in ((kind, step + 1), (ReleaseKind.TRAINING, 0), (ReleaseKind.QUERY, step)):
        assert after.ahead(*wrong) is after
    plain = written("training-and-questions")
    ended = begun(plain).at_training(plain.state.results.training)
    questions = ReleaseKind.QUERY, plain.plan.query.first_step
    assert ended.ahead(*questions).release.place == questions


def test_what_nobody_knows_is_not_bound(written: MakeRun) -> None:
    """An audit believes a request where vectors were deleted; a custodian never does."""
    run = written("groups")
    request = run.request().model_copy(update={"parameters": H})
    finished = begun(run).at_training(run.state.results.training)
    groups = Release.of(KINDS[ReleaseKind.FAIRNESS], run.plan, finished.results)
    unknown = replace(finished, release=groups)  # no table: nothing is known to follow
    assert list(groups.kind.contents(run.plan, finished.results)) == []
    for state in (begun(run).at_training(None), finished, unknown):
        with pytest.raises(MismatchError) as found:
            state.bind(request)
        assert found.value.code is RefusalCode.NOT_RECOMPUTED
    assert replace(unknown, purged=True).bind(request).results.bound == H


# -- the end ----------------------------------------------------------------------------


@pytest.mark.parametrize("changes", [{"model": H}, {"steps": 2}])
def test_the_model_is_the_one_that_was_evaluated(written: MakeRun, changes: dict[str, Any]) -> None:
    run = written("training")
    leaves = after_opening(run)
    at = [leaf.kind for leaf in leaves].index(LeafKind.MODEL)
    record = ModelRecord.from_bytes(leaves[at].content).model_copy(update=changes)
    with pytest.raises(MismatchError):
        folded(run, [*leaves[:at], record.leaf()])


@pytest.mark.parametrize("shape", SHAPES)
def test_nothing_is_finished_before_its_end(written: MakeRun, shape: str) -> None:
    run = written(shape)
    state, end = begun(run), EndRecord(state="finished", reason="").leaf()
    for leaf in after_opening(run):
        if not state.done:
            with pytest.raises(
                MismatchError, match=r"before a finished end|that everybody answered"
            ):
                state.after(end)
        state = state.after(leaf, run.added)
    assert state.after(end).done


def test_later_questions_are_the_allowances(written: MakeRun) -> None:
    run = written("later")
    state = folded(run, after_opening(run))
    assert state.allowed == {LeafKind.END, LeafKind.QUESTIONS}
    third = QuestionsRecord.of(group_of(*LATER)).leaf()
    with pytest.raises(MismatchError, match="a position of the study's allowance"):
        state.after(third)
    other = group_of({"name": "sum", "kind": "sum", "column": "amount"})
    rehearsed = folded(run, after_opening(run)[:10])
    with pytest.raises(MismatchError, match="a kind of the allowance"):
        rehearsed.after(QuestionsRecord.of(other).leaf())
    asked = {LeafKind.HELLO, LeafKind.REQUEST, LeafKind.QUESTIONS}
    assert rehearsed.allowed == {LeafKind.END, *asked}


# -- what it cost -----------------------------------------------------------------------


def test_whoever_answered_paid_and_a_repeat_is_free(written: MakeRun) -> None:
    run = written("lost")
    cost = run.plan.training.cost
    assert (run.state.requests, run.state.sums, run.state.failed) == (6, 5, 1)
    held = run.plan.evaluation.cost
    assert run.state.debits["bank-b"] == SideCosts(training=cost)
    assert run.state.debits["bank-a"] == SideCosts(training=4 * cost, holdout=held)
    leaves = after_opening(run)
    again = [i for i, leaf in enumerate(leaves) if leaf.kind is LeafKind.REQUEST][1]
    end, rest = EndRecord(state="failed", reason="x").leaf(), leaves[again:]
    state = folded(run, [*leaves[: again + 7], end, *rest])
    assert state.debits == run.state.debits
    assert (state.requests, state.failed) == (6, 2)
