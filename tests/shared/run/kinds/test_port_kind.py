"""The closed list of kinds of release, each a `Kind`, and what they have in common."""

import pytest
from tests.support.runs.written_runs import STUDIES

from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.protocol.messages import ReleaseKind
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.run.kinds import KINDS, Release, SummedRelease, next_kind
from fieldfare.shared.run.kinds.evaluation import Evaluation
from fieldfare.shared.run.kinds.groups import Groups
from fieldfare.shared.run.kinds.guard import Guard
from fieldfare.shared.run.kinds.kind import values_in
from fieldfare.shared.run.kinds.moments import Moments
from fieldfare.shared.run.kinds.questions import Questions
from fieldfare.shared.run.kinds.rehearsal import Rehearsal
from fieldfare.shared.run.kinds.training import Training
from fieldfare.shared.run.mismatch import MismatchError
from fieldfare.shared.run.results import Results


def test_every_kind_of_release_is_registered_once() -> None:
    assert set(KINDS) == set(ReleaseKind)
    kinds = {Rehearsal, Moments, Training, Guard, Evaluation, Groups, Questions}
    assert {type(kind) for kind in KINDS.values()} == kinds
    assert all(kind.release is release for release, kind in KINDS.items())
    with pytest.raises(TypeError):
        KINDS[ReleaseKind.QUERY] = KINDS[ReleaseKind.TRAINING]  # type: ignore[index]


@pytest.mark.parametrize("shape", STUDIES)
def test_a_release_is_at_the_plans_position_on_the_plans_terms(shape: str) -> None:
    plan = plan_for(STUDIES[shape]())
    for kind in KINDS.values():
        release = Release.of(kind, plan, Results())
        assert release.place == (kind.release, plan.terms(kind.release).first_step)
        assert release.terms is plan.terms(kind.release)


@pytest.mark.parametrize("shape", STUDIES)
def test_the_rehearsal_comes_first(shape: str) -> None:
    plan = plan_for(STUDIES[shape]())
    first = next_kind(plan, Results())
    assert first is KINDS[ReleaseKind.REHEARSAL]
    second = next_kind(plan, Results(rehearsed=True))
    assert second not in {None, first}


def test_words_are_those_of_the_sum() -> None:
    terms = plan_for(STUDIES["groups"]()).fairness
    words = bytes(terms.vectors.entries * terms.word_bits.value // 8)
    summed = SummedRelease(terms, terms.first_step, 4, bytes_hash(words), None)
    assert not values_in(words, summed).any()
    for wrong in (words[:-1], b"\1" + words[1:]):
        with pytest.raises(MismatchError, match="the words of the sum"):
            values_in(wrong, summed)
