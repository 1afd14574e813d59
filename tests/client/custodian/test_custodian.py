"""The custodian's life: approving, opening, restarting, finishing; several studies at once."""

import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import pytest
from tests.support.federations.bench import (
    NAMES,
    STEPS,
    Bench,
    MakeBench,
    OpenedVector,
    Run,
    make_study,
    make_sums,
)
from tests.support.runs.steps import open_federation

from fieldfare.client.custodian.custodian import Custodian, _instant, opened_runs
from fieldfare.client.custodian.ports import HelloAnswer
from fieldfare.client.sums.study_sums import StudySums
from fieldfare.server.run.channel import GridChannel
from fieldfare.server.run.hello import RunTerms
from fieldfare.shared.errors import (
    AccountingError,
    LedgerError,
    PolicyRefusal,
    ProtocolError,
    RecordsError,
    RefusalCode,
    StudyError,
)
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.privacy.samplers import SimulatedNoise
from fieldfare.shared.protocol.messages import (
    NO_LAST_SUM,
    Approval,
    Participant,
    Refusal,
    ReleaseKind,
    RunAnswer,
    encode_key,
    sign_envelope,
)
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.protocol.roster import COORDINATOR
from fieldfare.shared.protocol.signed_files import offer_study
from fieldfare.shared.study.study import Study

NAME: Final = "bank-b"
UNKNOWN_STUDY: Final = Refusal(RefusalCode.UNKNOWN_STUDY)
UNKNOWN_RUN: Final = Refusal(RefusalCode.UNKNOWN_RUN)
KEYS_GONE: Final = Refusal(RefusalCode.KEYS_GONE)


def approval(bench: Bench, study: Study | None = None) -> Approval:
    answer = bench.custodian(NAME).describe((study or bench.study).id)
    assert isinstance(answer, HelloAnswer), answer
    assert not answer.answer, "no run was named"
    return bench.party(NAME).from_member(answer.approval, Approval, NAME).body


def given(sums: StudySums) -> StudySums:
    return sums


def files(bench: Bench) -> bytes:
    path = bench.path(NAME)
    return b"".join(file.read_bytes() for file in path.parent.glob(f"{path.name}*"))


# -- approving ---------------------------------------------------------------------------------


def test_a_deployed_custodian_cannot_be_given_simulated_noise(bench: Bench) -> None:
    noise = SimulatedNoise(np.random.default_rng(0))
    with pytest.raises(PolicyRefusal, match="expected exact noise, found simulated"):
        Custodian(bench.party(NAME), bench.ledger(NAME), noise)


def test_approving_twice_is_approving_once(bench: Bench) -> None:
    first = bench.custodian(NAME).describe(bench.study.id)
    again = bench.custodian(NAME).approve(bench.study, lambda: bench.sums[NAME])
    assert HelloAnswer(again) == first
    assert approval(bench).number == 1
    assert bench.restart(NAME).describe(bench.study.id) == first


def test_a_study_is_accepted_as_the_coordinator_signed_it_and_from_nobody_else(
    bench: Bench,
) -> None:
    study, signers = make_study(name="other"), bench.federation.identities.signers
    for signer in (signers[NAME], signers["bank-a"]):
        with pytest.raises(ProtocolError) as found:
            bench.custodian(NAME).accept(offer_study(study, signer), partial(make_sums, units=10))
        assert found.value.code is RefusalCode.BAD_SIGNATURE
    assert bench.custodian(NAME).describe(study.id) == UNKNOWN_STUDY
    offer = offer_study(study, bench.federation.identities.coordinator)
    envelope = bench.custodian(NAME).accept(offer, partial(make_sums, units=10))
    assert bench.custodian(NAME).describe(study.id) == HelloAnswer(envelope)
    assert approval(bench, study).study == study.id


def test_a_study_with_another_multiplicity_than_the_rosters_is_not_approved(
    bench: Bench,
) -> None:
    study = make_study(privacy={"multiplicity": 2})
    with pytest.raises(StudyError, match="multiplicity"):
        bench.custodian(NAME).approve(study, lambda: make_sums(study, 10))
    assert bench.custodian(NAME).describe(study.id) == UNKNOWN_STUDY


def test_sums_of_another_study_are_not_approved(bench: Bench) -> None:
    """They would be clipped to another norm than the noise is made for."""
    study = make_study(privacy={"clipping_norm": 2.0})
    with pytest.raises(StudyError, match="sums of the study"):
        bench.custodian(NAME).approve(study, lambda: bench.sums[NAME])
    assert bench.custodian(NAME).describe(study.id) == UNKNOWN_STUDY


def test_records_that_do_not_fit_are_settled_at_the_approval(bench: Bench) -> None:
    study = make_study(name="other")

    def load() -> StudySums:
        raise RecordsError("a column")

    with pytest.raises(RecordsError):
        bench.custodian(NAME).approve(study, load)
    assert bench.custodian(NAME).describe(study.id) == UNKNOWN_STUDY


def test_a_study_whose_noise_cannot_carry_the_claim_is_not_approved(bench: Bench) -> None:
    study = make_study(privacy={"epsilon": 100.0, "delta": 0.09, "clipping_norm": 2**-10})
    plan = plan_for(study)
    thin = replace(plan, training=replace(plan.training, sigma=plan.training.gamma, cost=10**24))
    with pytest.raises(AccountingError):
        thin.check_noise(3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fieldfare.client.custodian.custodian.plan_for", lambda _: thin)
        with pytest.raises(AccountingError):
            bench.custodian(NAME).approve(study, lambda: make_sums(study, 10))
    assert bench.custodian(NAME).describe(study.id) == UNKNOWN_STUDY


def test_an_approval_is_given_anew_under_a_new_roster(bench: Bench) -> None:
    before = approval(bench)
    run = bench.open_run()
    roster = bench.party(NAME).roster.model_copy(update={"version": 2})
    party = replace(bench.party(NAME), roster=roster)
    custodian = Custodian(party, bench.ledger(NAME), bench.custodian(NAME)._noise._source)
    custodian.approve(bench.study, lambda: bench.sums[NAME])
    bench.federation.custodians[NAME] = custodian

    after = approval(bench)
    assert (before.number, after.number) == (1, 2)
    assert after.roster == roster.hash
    assert run.ask(NAME, run.request()) == UNKNOWN_RUN


def test_a_new_extract_is_used_from_the_next_release_on(bench: Bench) -> None:
    run = bench.open_run()
    used: list[StudySums] = []
    for units in (100, 0):
        sums = make_sums(bench.study, units, seed=1)
        bench.custodian(NAME).approve(bench.study, partial(given, sums))
        run.answer(NAME, run.request(attempt=len(used)))
        used += [cast("StudySums", one.sums) for one in bench.custodian(NAME)._runs.values()]
    assert [sums.training_count + len(sums.holdout) for sums in used] == [100, 0]


# -- restarting --------------------------------------------------------------------------------


def test_a_run_goes_on_after_a_restart_under_a_new_opening(bench: Bench) -> None:
    """What was answered is sent again without keys; all else needs an opening with new ones."""
    run = bench.open_run()
    asked = run.request()
    first = run.answer(NAME, asked)
    for step in range(1, STEPS):
        under_old = run.request(step=step)
        before = bench.ledger(NAME).position()
        for name in NAMES:
            bench.restart(name)
        assert run.ask(NAME, under_old) == KEYS_GONE
        assert bench.ledger(NAME).position() == before
        run.open_anew()
        assert run.ask(NAME, under_old) == KEYS_GONE  # the older opening's are gone for good
        assert run.answer(NAME, asked, last=NO_LAST_SUM) == first
        vectors = [run.answer(name, run.request(step=step)).vector for name in NAMES]
        assert len(set(vectors)) == len(NAMES)
    run.answer(NAME, run.request(ReleaseKind.EVALUATION, STEPS))
    bench.ledger(NAME).verify()


@pytest.mark.parametrize("fault", ["older", "other", "joined", "itself"])
def test_a_newer_opening_of_a_run_is_one_of_those_who_are_in_it(bench: Bench, fault: str) -> None:
    run, few = bench.open_run(), NAMES[:3]
    run.open_anew(few)
    newest = run.federation.openings
    assert newest.agreed is not None
    assert newest.agreed.number == 1
    bench.restart(NAME)
    known = {"older": 0, "other": 1, "joined": 2, "itself": 2}[fault]
    chosen = list(NAMES) if fault == "joined" else few
    nonces = {name: bench.described(name, run.federation.run, "5" * 64) for name in chosen}
    answers = {
        n: bench.party(n).from_member(d.answer, RunAnswer, n).body for n, d in nonces.items()
    }
    opening = newest.agreed.model_copy(
        update={
            "number": known,
            "participants": tuple(
                Participant(institution=n, answer=a.hash) for n, a in answers.items()
            ),
        }
    )
    if fault == "itself":
        opening = newest.agreed
    content = sign_envelope(opening, COORDINATOR, bench.federation.identities.coordinator)
    answer = bench.custodian(NAME).open_run(
        content, [d.answer for d in nonces.values()], [d.approval for d in nonces.values()]
    )
    expected = {"joined": RefusalCode.BAD_PARTICIPANTS, "itself": RefusalCode.KEYS_GONE}
    assert answer == Refusal(expected.get(fault, RefusalCode.REPLAY_CHANGED))


def test_after_a_restart_nothing_is_answered_until_records_are_loaded_again(bench: Bench) -> None:
    run = bench.open_run()
    first = run.answer(NAME, run.request())
    custodian = bench.restart(NAME, approve=False)
    assert run.ask(NAME, run.request()) == UNKNOWN_STUDY
    assert custodian.describe(bench.study.id) == UNKNOWN_STUDY
    custodian.approve(bench.study, lambda: bench.sums[NAME])
    assert run.answer(NAME, run.request()) == first


@pytest.mark.parametrize("run_id", ["approval", "opening", "ledger", "r.1-_"])
def test_a_run_may_have_any_name_without_meeting_other_states(run_id: str, bench: Bench) -> None:
    run = bench.open_run(run_id)
    run.everybody(run.request(ReleaseKind.REHEARSAL))
    first = run.answer(NAME, run.request())
    assert approval(bench).number == 1
    bench.restart(NAME)
    assert run.answer(NAME, run.request()) == first
    assert opened_runs(bench.ledger(NAME).run_names(bench.study.id)) == (run_id,)


def test_keys_are_agreed_on_once(bench: Bench) -> None:
    run = bench.open_run()
    run.answer(NAME, run.request(step=1))
    study, name, held = bench.study.id, run.federation.run, bench.custodian(NAME)._held
    before = held.run_keys(study, name, run.federation.agreed.opening_hash)
    answer = bench.custodian(NAME).agree(study, name, [b"other offers"])
    assert answer == KEYS_GONE
    assert held.run_keys(study, name, run.federation.agreed.opening_hash) == before


# -- finishing ---------------------------------------------------------------------------------


def test_after_the_end_keys_are_gone_and_nothing_is_answered(bench: Bench) -> None:
    run = bench.open_run()
    run.answer(NAME, run.request())
    requests = [run.request(step=step) for step in (0, 1)]

    bench.custodian(NAME).finish(bench.study.id)
    held = bench.custodian(NAME)._held
    assert [*held._fresh, *held._opened, *held._agreed] == []
    for request in requests:
        assert run.ask(NAME, request) == UNKNOWN_STUDY
    assert bench.custodian(NAME).describe(bench.study.id) == UNKNOWN_STUDY
    assert bench.ledger(NAME).spent() == bench.plan.training.cost
    bench.restart(NAME, approve=False)
    assert run.ask(NAME, run.request()) == UNKNOWN_STUDY


def test_a_study_that_is_approved_again_has_new_runs_and_what_is_left_of_its_budget(
    bench: Bench,
) -> None:
    before = approval(bench)
    run = bench.open_run("r")
    run.answer(NAME, run.request())
    second = run.request(step=1)
    for name in NAMES:
        bench.custodian(name).finish(bench.study.id)
        bench.custodian(name).approve(bench.study, partial(given, bench.sums[name]))
    after = approval(bench)
    assert (before.number, after.number) == (1, 2)
    assert run.ask(NAME, second) == UNKNOWN_RUN

    again = bench.open_run("r")
    # The ledger remembers the run by its id: what it answered stays closed.
    assert again.ask(NAME, again.request()) == Refusal(RefusalCode.REPLAY_CHANGED)
    again.answered[0] = again.request(attempt=1)
    again.answer(NAME, again.request(step=1))
    assert bench.ledger(NAME).spent(bench.study.id) == 3 * bench.plan.training.cost


def test_finishing_what_was_never_begun_is_nothing(bench: Bench) -> None:
    bench.custodian(NAME).finish("0" * 64)
    run = bench.open_run()
    run.answer(NAME, run.request())


# -- two studies -------------------------------------------------------------------------------


def open_second(bench: Bench, study: Study, sums: dict[str, StudySums]) -> Run:
    """Have everybody approve a second study, and open a run of it."""
    for name in NAMES:
        bench.custodian(name).approve(study, partial(given, sums[name]))
    identities = bench.federation.identities
    terms = RunTerms(
        plan_for(study),
        identities.roster,
        identities.coordinator,
        Protection.EXACT,
        "run-1",
        last_replies={},
    )
    return Run(bench, open_federation(GridChannel(bench.federation.grid()), terms))


@pytest.fixture
def second() -> tuple[Study, dict[str, StudySums]]:
    study = make_study(name="second", privacy={"epsilon": 1.0})
    return study, {name: make_sums(study, 50, seed=7) for name in NAMES}


def ask_second(bench: Bench, run: Run, study: Study, **changes: Any) -> OpenedVector | Refusal:
    plan = plan_for(study)
    request = run.request(sigma=plan.training.sigma, **changes)
    return run.ask(NAME, request)


def test_two_studies_go_on_side_by_side_and_end_apart(
    bench: Bench, second: tuple[Study, dict[str, StudySums]]
) -> None:
    study, sums = second
    one, two = bench.open_run("run-1"), open_second(bench, study, sums)
    for step in range(2):
        one.answer(NAME, one.request(step=step))
        assert isinstance(ask_second(bench, two, study, step=step), OpenedVector)
    costs = bench.plan.training.cost, plan_for(study).training.cost
    assert bench.ledger(NAME).spent(bench.study.id) == 2 * costs[0]
    assert bench.ledger(NAME).spent(study.id) == 2 * costs[1]
    assert bench.ledger(NAME).spent() == 2 * sum(costs)

    third = one.request(step=2)
    bench.custodian(NAME).finish(bench.study.id)
    assert one.ask(NAME, third) == UNKNOWN_STUDY
    assert isinstance(ask_second(bench, two, study, step=2), OpenedVector)


def test_two_studies_spend_one_lifetime(
    bench: Bench, second: tuple[Study, dict[str, StudySums]]
) -> None:
    """The ledger's limit here is the first study's: the second finds what is left of it."""
    study, sums = second
    one, two = bench.open_run("run-1"), open_second(bench, study, sums)
    assert isinstance(ask_second(bench, two, study), OpenedVector)
    spent, answered = bench.ledger(NAME).spent(), 0
    runs = [one, *(bench.open_run(f"more-{i}") for i in range(3))]
    for run in runs:
        for step in range(STEPS):
            for attempt in range(bench.study.aggregation.attempts):
                content = run.best_guess(ReleaseKind.TRAINING, step)
                request = run.request(step=step, attempt=attempt, parameters=content)
                answered += isinstance(run.ask(NAME, request), OpenedVector)
    assert bench.ledger(NAME).spent() == spent + answered * bench.plan.training.cost
    limit = bench.plan.study_limit
    assert limit - bench.plan.training.cost < bench.ledger(NAME).spent() <= limit


def test_a_request_of_one_study_is_no_request_of_another(
    bench: Bench, second: tuple[Study, dict[str, StudySums]]
) -> None:
    study, sums = second
    one, two = bench.open_run("run-1"), open_second(bench, study, sums)
    crossed = one.request(study=study.id)
    assert one.ask(NAME, crossed) == UNKNOWN_RUN  # the opening that it is under is not that study's
    crossed = two.request(study=bench.study.id)
    assert two.ask(NAME, crossed) == UNKNOWN_RUN


# -- logs and failures -------------------------------------------------------------------------


def test_refusals_are_told_to_the_local_log_and_hold_no_secret(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    run = bench.open_run()
    assert isinstance(bench.described(NAME, "another", "1" * 64), HelloAnswer)
    held = bench.custodian(NAME)._held
    keys = held.fresh(bench.study.id, "another").keys
    chain = held.run_keys(bench.study.id, run.federation.run, run.federation.agreed.opening_hash)
    run.ask(NAME, run.request(sigma=1.0))
    run.ask(NAME, run.request(step=9))
    bench.custodian(NAME).agree(bench.study.id, "elsewhere", [])
    assert "wrong_terms" in caplog.text
    assert "not_in_plan" in caplog.text
    assert "unknown_run" in caplog.text
    assert keys is not None
    private = (keys.x25519.private_bytes_raw(), keys.mlkem.private_bytes_raw())
    for secret in (*private, *chain.keys.values()):
        assert secret.hex() not in caplog.text
        assert encode_key(secret) not in caplog.text
        assert secret not in files(bench)


def test_a_ledger_that_is_closed_answers_with_one_code_to_everything(bench: Bench) -> None:
    run = bench.open_run()
    bench.ledger(NAME).close()
    custodian, study = bench.custodian(NAME), bench.study.id
    broken = Refusal(RefusalCode.LEDGER_UNAVAILABLE)
    assert custodian.describe(study) == broken
    assert custodian.open_run(b"", [], []) == broken
    assert custodian.agree(study, run.federation.run, []) == broken
    assert run.ask(NAME, run.request()) == broken
    with pytest.raises(LedgerError):
        custodian.approve(bench.study, lambda: bench.sums[NAME])


def test_a_whole_run_is_answered_from_ledgers_that_verify(make_bench: MakeBench) -> None:
    bench = make_bench()
    outcome = bench.federation.run(bench.federation.job())
    for name in NAMES:
        bench.ledger(name).verify()
        kinds = [entry.debit.kind for entry in bench.ledger(name).entries()]
        assert kinds == ["training"] * STEPS + ["evaluation"]
        assert bench.ledger(name).spent() == outcome.spent
    assert isinstance(bench.path(NAME), Path)


def test_a_clock_that_runs_ahead_is_measured_by_the_peers_offers(bench: Bench) -> None:
    """Offers carried the time and nobody read it: a clock a year ahead had spent nothing."""
    ledger, ahead = bench.ledger(NAME), timedelta(days=366)
    slow, fast = ledger._clock, lambda: datetime.now(UTC) + ahead
    for clock, expected in ((fast, ahead), (slow, timedelta())):  # each opening says anew
        ledger._clock = clock
        bench.open_run()
        assert abs(ledger._ahead - expected) < timedelta(minutes=5)


def test_a_time_beyond_the_calendar_breaks_nothing(bench: Bench) -> None:
    assert _instant(2**53).year == 9999
    assert _instant(0).year == 1970
