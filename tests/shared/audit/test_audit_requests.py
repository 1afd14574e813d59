from collections.abc import Mapping
from typing import Any

import pytest
from tests.support.runs.transcripts import Recorder

from fieldfare.shared.protocol.messages import Participant, ReleaseKind, Request
from fieldfare.shared.transcript.leaves import LeafKind

H = "0" * 64
STEP_0 = 1  # the second request: the first one is the rehearsal's


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"protocol": 1}, "protocol"),
        ({"study": H}, "study"),
        ({"roster": H}, "roster"),
        ({"run": "run-9"}, "run"),
        ({"step": 1}, "step"),
        ({"kind": ReleaseKind.EVALUATION}, "release"),
        ({"kind": ReleaseKind.REHEARSAL}, "release"),
        ({"t": 2}, "t"),
        ({"multiplicity": 2}, "multiplicity"),
        ({"clipping_norm": 0.125}, "clipping_norm"),
        ({"sigma": 1.0}, "sigma"),
        ({"gamma_bits": 20}, "gamma_bits"),
        ({"word_bits": 32}, "word_bits"),
        ({"entries": 11}, "entries"),
        ({"dtype": "<u4"}, "dtype"),
        ({"parameters": H}, "parameters"),
        ({"opening": H}, "newest opening"),
    ],
)
def test_a_request_for_something_else_than_the_plan_is_named(
    recorded: Recorder, changes: Mapping[str, Any], reason: str
) -> None:
    at = recorded.find(LeafKind.REQUEST, STEP_0)
    found = recorded.misfit_with(at, recorded.forged(at, Request, **changes))
    assert (found.leaf, found.kind, found.step) == (at, "request", 0)
    assert reason in found.reason


def test_a_request_to_too_few_is_named(recorded: Recorder) -> None:
    at = recorded.find(LeafKind.REQUEST, STEP_0)
    two = tuple(recorded.participants.values())[:2]
    found = recorded.misfit_with(at, recorded.forged(at, Request, participants=two, n=2))
    assert "expected at least 3 participants, found 2" in found.reason


def test_a_request_to_a_stranger_is_named(recorded: Recorder) -> None:
    at = recorded.find(LeafKind.REQUEST, STEP_0)
    stranger = Participant(institution="bank-z", answer=H)
    named = (*tuple(recorded.participants.values())[:3], stranger)
    found = recorded.misfit_with(at, recorded.forged(at, Request, participants=named))
    assert "bank-z" in found.reason


def test_a_request_under_another_answer_is_named(recorded: Recorder) -> None:
    at = recorded.find(LeafKind.REQUEST, STEP_0)
    first, *others = recorded.participants.values()
    named = (first.model_copy(update={"answer": H}), *others)
    found = recorded.misfit_with(at, recorded.forged(at, Request, participants=named))
    assert "bank-a's answer" in found.reason


def test_a_request_by_an_institution_is_named(recorded: Recorder) -> None:
    at = recorded.find(LeafKind.REQUEST, STEP_0)
    found = recorded.misfit_with(at, recorded.forged(at, Request, signer="bank-a"))
    assert "the coordinator's signature" in found.reason
