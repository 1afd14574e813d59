"""The one check of a request, for those who know what is due and for those who do not."""

from typing import Any, Final

import pytest
from tests.shared.run.conftest import MakeRun
from tests.support.runs.written_runs import STUDIES, WrittenRun, group_of

from fieldfare.shared.errors import RefusalCode
from fieldfare.shared.protocol.messages import Participant, ReleaseKind
from fieldfare.shared.run.mismatch import MismatchError
from fieldfare.shared.run.request_check import check_request

H: Final = "0" * 64
FAULTS: Final[tuple[tuple[dict[str, Any], str, RefusalCode], ...]] = (
    ({"protocol": 1}, "the protocol's version", RefusalCode.UNKNOWN_VERSION),
    ({"study": H}, "a request of the study", RefusalCode.UNKNOWN_STUDY),
    ({"roster": H}, "a request under the roster", RefusalCode.WRONG_ROSTER),
    ({"run": "run-2"}, "a request of the run", RefusalCode.UNKNOWN_RUN),
    ({"participants": ()}, "this institution itself", RefusalCode.BAD_PARTICIPANTS),
    ({"step": 9}, "step", RefusalCode.NOT_IN_PLAN),
    ({"t": 2}, "the plan's t", RefusalCode.WRONG_TERMS),
    ({"multiplicity": 2}, "the plan's multiplicity", RefusalCode.WRONG_TERMS),
    ({"clipping_norm": 0.5}, "the plan's clipping_norm", RefusalCode.WRONG_TERMS),
    ({"sigma": 1.0}, "the plan's sigma", RefusalCode.WRONG_TERMS),
    ({"gamma_bits": 3}, "the plan's gamma_bits", RefusalCode.WRONG_TERMS),
    ({"word_bits": 32}, "the plan's word_bits", RefusalCode.WRONG_TERMS),
    ({"entries": 3}, "the plan's entries", RefusalCode.WRONG_TERMS),
    ({"dtype": "<u4"}, "the plan's dtype", RefusalCode.WRONG_TERMS),
)


@pytest.fixture(scope="module")
def rehearsed() -> WrittenRun:
    run = WrittenRun(STUDIES["training"]())
    run.collect()
    return run


@pytest.mark.parametrize(("changes", "reason", "code"), FAULTS)
@pytest.mark.parametrize("knows", [True, False])
def test_each_term_is_the_plans(
    rehearsed: WrittenRun, changes: dict[str, Any], reason: str, code: RefusalCode, *, knows: bool
) -> None:
    due = rehearsed.state.release if knows else None
    run, request = rehearsed.state.run, rehearsed.request(**changes)
    with pytest.raises(MismatchError, match=reason) as found:
        check_request(run, request, due=due, institution="bank-a")
    assert found.value.code is code


def test_only_what_is_due_will_do_for_those_who_know_it(rehearsed: WrittenRun) -> None:
    run, request = rehearsed.state.run, rehearsed.request(step=1)
    assert check_request(run, request) is rehearsed.plan.training
    with pytest.raises(MismatchError, match="expected a request for the next step: 0; found: 1"):
        check_request(run, request, due=rehearsed.state.release)
    other = rehearsed.request(kind=ReleaseKind.EVALUATION)
    with pytest.raises(MismatchError, match="a request for the next release"):
        check_request(run, other, due=rehearsed.state.release)


def test_participants_are_those_of_the_opening_and_enough(rehearsed: WrittenRun) -> None:
    run, members = rehearsed.state.run, rehearsed.state.run.opening.participants
    strange = (*members[:3], Participant(institution="bank-z", answer=H))
    changed = (members[0].model_copy(update={"answer": H}), *members[1:])
    with pytest.raises(MismatchError, match="expected participants of the run, found bank-z"):
        check_request(run, rehearsed.request(participants=strange))
    with pytest.raises(MismatchError, match="bank-a's answer"):
        check_request(run, rehearsed.request(participants=changed))
    with pytest.raises(MismatchError, match="expected at least 3 participants, found 2") as found:
        check_request(run, rehearsed.request(participants=members[:2], n=2))
    assert found.value.code is RefusalCode.TOO_FEW_PARTICIPANTS


def test_terms_of_questions_follow_from_what_is_bound(written: MakeRun) -> None:
    run = WrittenRun(STUDIES["questions"]())
    run.collect()
    content, request = run.state.content, run.request()
    assert check_request(run.state.run, request, data=content.data) is run.plan.query
    with pytest.raises(MismatchError) as found:
        check_request(run.state.run, request, data=b"")
    assert found.value.code is RefusalCode.BAD_PARAMETERS
    other = group_of({"name": "sum", "kind": "sum", "column": "amount"}).to_bytes()
    asked = request.model_copy(update={"parameters": written("later").state.results.bound})
    with pytest.raises(MismatchError, match="the questions that the request binds"):
        check_request(run.state.run, asked, data=other)
