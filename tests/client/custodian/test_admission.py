"""Which requests are admitted: the plan's own, and no other. No record is anywhere near."""

from dataclasses import replace
from typing import Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.federations.bench import STEPS, make_study

from fieldfare.client.custodian.admission import ApprovedRun, check_parameters
from fieldfare.shared.errors import PolicyRefusal, RefusalCode
from fieldfare.shared.protocol.messages import (
    PROTOCOL_VERSION,
    Participant,
    ReleaseKind,
    Request,
    RunOpening,
    parameters_hash,
    parameters_to_bytes,
)
from fieldfare.shared.protocol.plan import PARAMETER_LIMIT, ReleaseTerms, plan_for

ROSTER: Final = "1" * 64
PLANNED: Final = (ReleaseKind.REHEARSAL, ReleaseKind.TRAINING, ReleaseKind.EVALUATION)
MEMBERS: Final = tuple(Participant(institution=f"bank-{i}", answer=i * 64) for i in "abcde")
PLAN: Final = plan_for(
    make_study(privacy={"collusion_tolerance": 2}, aggregation={"minimum_institutions": 4})
)
RUN: Final = ApprovedRun(
    institution="bank-b",
    opened_by=len(MEMBERS),
    plan=PLAN,
    roster_hash=ROSTER,
    opening=RunOpening(study=PLAN.study.id, roster=ROSTER, run="r", number=0, participants=MEMBERS),
)
CONTENT: Final = parameters_to_bytes(np.zeros(PLAN.training.parameter_entries))


def request(kind: ReleaseKind = ReleaseKind.TRAINING, step: int = 0, **changes: object) -> Request:
    terms = PLAN.terms(kind)
    body = Request(
        protocol=PROTOCOL_VERSION,
        study=PLAN.study.id,
        roster=ROSTER,
        run="r",
        opening=RUN.opening_hash,
        step=step,
        attempt=0,
        kind=kind,
        participants=MEMBERS,
        n=len(MEMBERS),
        t=2,
        multiplicity=1,
        clipping_norm=terms.vectors.clipping_norm,
        sigma=terms.sigma,
        gamma_bits=terms.vectors.gamma_bits,
        word_bits=64,
        entries=terms.vectors.entries,
        dtype="<u8",
        parameters=parameters_hash(CONTENT),
    )
    bits = terms.word_bits
    ring = {"word_bits": bits.value, "dtype": bits.dtype.str}
    return body.model_copy(update=ring | changes)


def refusal(body: Request, run: ApprovedRun = RUN) -> RefusalCode:
    with pytest.raises(PolicyRefusal) as found:
        run.admit(body)
    return found.value.code


def test_every_release_of_the_plan_is_admitted_under_the_plans_own_terms() -> None:
    planned = [
        (ReleaseKind.REHEARSAL, 0),
        *((ReleaseKind.TRAINING, step) for step in range(STEPS)),
        (ReleaseKind.EVALUATION, STEPS),
    ]
    for kind, step in planned:
        assert RUN.admit(request(kind, step)) is PLAN.terms(kind)


@settings(deadline=None)
@given(kind=st.sampled_from(PLANNED), step=st.integers(0, 2**53 - 1) | st.integers(0, 6))
def test_no_other_step_is(kind: ReleaseKind, step: int) -> None:
    terms = PLAN.terms(kind)
    if terms.first_step <= step < terms.first_step + terms.steps:
        RUN.admit(request(kind, step))
    else:
        assert refusal(request(kind, step)) is RefusalCode.NOT_IN_PLAN


@settings(deadline=None)
@given(st.sets(st.sampled_from(MEMBERS)))
def test_participants_are_members_of_the_run_enough_of_them_and_itself(
    chosen: set[Participant],
) -> None:
    named = tuple(sorted(chosen, key=lambda p: p.institution))
    body = request(participants=named, n=len(named))
    if MEMBERS[1] not in chosen:
        assert refusal(body) is RefusalCode.BAD_PARTICIPANTS
    elif len(chosen) < 4:
        assert refusal(body) is RefusalCode.TOO_FEW_PARTICIPANTS
    else:
        RUN.admit(body)


@settings(deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(PLANNED))
def test_sigma_is_the_plans_to_the_bit(sigma: float, kind: ReleaseKind) -> None:
    terms = PLAN.terms(kind)
    body = request(kind, terms.first_step, sigma=sigma)
    if sigma == terms.sigma:
        RUN.admit(body)
    else:
        assert refusal(body) is RefusalCode.WRONG_TERMS


def test_checks_run_in_one_order_at_every_institution() -> None:
    """Each row adds a fault that is found earlier than all before it."""
    faults: dict[RefusalCode, dict[str, object]] = {
        RefusalCode.WRONG_TERMS: {"sigma": 1.0, "t": 0},
        RefusalCode.NOT_IN_PLAN: {"step": STEPS},
        RefusalCode.TOO_FEW_PARTICIPANTS: {"participants": MEMBERS[:2], "n": 2},
        RefusalCode.BAD_PARTICIPANTS: {"participants": MEMBERS[2:], "n": 3},
        RefusalCode.UNKNOWN_RUN: {"run": "s"},
        RefusalCode.WRONG_ROSTER: {"roster": "2" * 64},
        RefusalCode.UNKNOWN_STUDY: {"study": "2" * 64},
        RefusalCode.UNKNOWN_VERSION: {"protocol": PROTOCOL_VERSION + 1},
    }
    changes: dict[str, object] = {}
    for code, fault in faults.items():
        changes |= fault
        assert refusal(request().model_copy(update=changes)) is code


def test_noise_that_cannot_carry_the_claim_is_refused() -> None:
    thin = replace(PLAN.evaluation, sigma=PLAN.evaluation.gamma, cost=10**24)
    run = replace(RUN, plan=replace(PLAN, evaluation=thin))
    assert refusal(request(), run) is RefusalCode.WRONG_TERMS


@pytest.mark.parametrize("value", [PARAMETER_LIMIT, -PARAMETER_LIMIT, 0.0, -0.0, 5e-324])
def test_bounded_parameters_are_read_as_they_were_sent(value: float) -> None:
    sent = np.full(PLAN.training.parameter_entries, value)
    content = parameters_to_bytes(sent)
    body = request(parameters=parameters_hash(content))
    assert check_parameters(body, PLAN.training, content).tobytes() == sent.tobytes()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        CONTENT[:-1],
        CONTENT + bytes(8),
        *(
            parameters_to_bytes(np.append(np.zeros(PLAN.training.parameter_entries - 1), value))
            for value in (np.nan, np.inf, -np.inf, 1e4 + 1e-9, -1e300)
        ),
    ],
)
def test_other_parameters_are_refused(content: bytes) -> None:
    body = request(parameters=parameters_hash(content))
    assert bad_parameters(body, PLAN.training, content) is RefusalCode.BAD_PARAMETERS


def test_parameters_that_r_does_not_bind_are_refused() -> None:
    other = parameters_to_bytes(np.ones(PLAN.training.parameter_entries))
    assert bad_parameters(request(), PLAN.training, other) is RefusalCode.BAD_PARAMETERS


def bad_parameters(body: Request, terms: ReleaseTerms, content: bytes) -> RefusalCode:
    with pytest.raises(PolicyRefusal) as found:
        check_parameters(body, terms, content)
    return found.value.code


# -- counts by group ------------------------------------------------------------------------


def grouped_run() -> ApprovedRun:
    groups = {"groups": [{"column": "segment", "levels": ["retail"]}]}
    plan = plan_for(
        make_study(
            privacy={"collusion_tolerance": 2},
            aggregation={"minimum_institutions": 4},
            evaluation=groups,
        )
    )
    opening = RunOpening(
        study=plan.study.id, roster=ROSTER, run="r", number=0, participants=MEMBERS
    )
    return replace(RUN, plan=plan, opening=opening)


def grouped_request(run: ApprovedRun, **changes: object) -> Request:
    terms = run.plan.fairness
    return request(ReleaseKind.EVALUATION).model_copy(
        update={
            "study": run.plan.study_id,
            "opening": run.opening_hash,
            "kind": ReleaseKind.FAIRNESS,
            "step": terms.first_step,
            "sigma": terms.sigma,
            "entries": terms.vectors.entries,
            "word_bits": terms.word_bits.value,
            "dtype": terms.word_bits.dtype.str,
            **changes,
        }
    )


def test_counts_by_group_are_admitted_once_after_the_evaluation() -> None:
    run = grouped_run()
    step = run.plan.evaluation.first_step
    assert run.admit(grouped_request(run)) == run.plan.fairness
    for other in (0, step, step + 2):
        assert refusal(grouped_request(run, step=other), run) is RefusalCode.NOT_IN_PLAN
    for wrong in ({"entries": 4}, {"sigma": 2 / 3 * run.plan.fairness.sigma}):
        assert refusal(grouped_request(run, **wrong), run) is RefusalCode.WRONG_TERMS


@pytest.mark.parametrize("step", [0, STEPS, STEPS + 1])
def test_a_study_without_groups_counts_none(step: int) -> None:
    asked = request(ReleaseKind.EVALUATION, step)
    asked = asked.model_copy(update={"kind": ReleaseKind.FAIRNESS})
    assert refusal(asked) is RefusalCode.NOT_IN_PLAN


@pytest.mark.parametrize("threshold", [np.nan, np.inf, -np.inf, 2 * PARAMETER_LIMIT])
def test_a_threshold_is_finite_and_bounded(threshold: float) -> None:
    run = grouped_run()
    terms = run.plan.fairness
    content = parameters_to_bytes(np.append(np.zeros(terms.parameter_entries - 1), threshold))
    with pytest.raises(PolicyRefusal) as found:
        check_parameters(grouped_request(run, parameters=parameters_hash(content)), terms, content)
    assert found.value.code is RefusalCode.BAD_PARAMETERS


def test_a_model_without_a_threshold_is_not_enough() -> None:
    run = grouped_run()
    content = parameters_to_bytes(np.zeros(run.plan.fairness.parameter_entries - 1))
    asked = grouped_request(run, parameters=parameters_hash(content))
    with pytest.raises(PolicyRefusal):
        check_parameters(asked, run.plan.fairness, content)
