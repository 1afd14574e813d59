"""Ids that are written another way, or named anew, put people on the other side of a study."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pytest
from tests.support.federations.bench import NAMES, STEPS, Bench, MakeBench, Run, make_study

from fieldfare.client.custodian.custodian import Custodian
from fieldfare.client.ledger.pending import Split
from fieldfare.client.records.encoding.holdout import holdout_mask, split_name
from fieldfare.client.records.encoding.id_sketch import NO_IDS, IdSketch
from fieldfare.client.sums.study_sums import StudySums
from fieldfare.shared.errors import RefusalCode
from fieldfare.shared.features.basis import EncodedUnits, encode_categorical, encode_numeric
from fieldfare.shared.privacy.gaussian import epsilon_for
from fieldfare.shared.privacy.sides import Side
from fieldfare.shared.protocol.messages import Refusal, ReleaseKind
from fieldfare.shared.study.study import Study
from fieldfare.shared.transcript.heads import ShownLog

KEY: Final = b"k" * 32
PEOPLE: Final = 200
NAME: Final = NAMES[0]
DELTA: Final = 1e-5
STOPPED: Final = Refusal(RefusalCode.LEDGER_UNAVAILABLE)
SAID: Final = {"user": "ines", "reason": "the export has fresh pseudonyms"}


def spent_once(epsilon: float) -> Study:
    """A study whose training and evaluation cost the whole of epsilon each."""
    privacy = {"epsilon": epsilon, "delta": DELTA, "spare_releases": 0}
    return make_study(privacy=privacy, evaluation={"score_bins": 8, "spare_releases": 0})


def ids(form: str = "c-{}", first: int = 0, last: int = PEOPLE) -> list[str]:
    return [form.format(number) for number in range(first, last)]


def sums_over(study: Study, units: Sequence[str], key: bytes = KEY) -> StudySums:
    """The sums of these people as a home's loader makes them."""
    random = np.random.default_rng(5)
    amounts = random.uniform(0, 10, len(units))
    positions = np.stack(
        [
            encode_numeric(study.features[0], amounts),  # type: ignore[arg-type]
            encode_categorical(study.features[1], random.integers(0, 2, len(units))),  # type: ignore[arg-type]
        ]
    )
    data = EncodedUnits(positions, (random.uniform(0, 10, len(units)) < amounts).astype(np.uint8))
    share = study.evaluation.holdout
    held = holdout_mask(units, key=key, share=share)
    made = StudySums.prepare(study, data, held, split=split_name(key=key, share=share))
    return replace(made, ids=IdSketch.of(units, key=key))


def trained(make_bench: MakeBench, study: Study, **changes: Any) -> tuple[Bench, Run]:
    """A federation whose run took its last step, over the first extract."""
    sums = {name: replace(sums_over(study, ids()), **changes) for name in NAMES}
    bench = make_bench(study, sums)
    run = bench.open_run()
    run.state(STEPS)
    return bench, run


def load(bench: Bench, sums: StudySums) -> Custodian:
    """Take another extract in, as a reload does."""
    bench.custodian(NAME).approve(bench.study, lambda: sums)
    return bench.custodian(NAME)


def lost(bench: Bench) -> tuple[int, int]:
    """What somebody may have lost who trained and was measured, and what the ledger counts."""
    costs = bench.ledger(NAME).costs(bench.study.id)
    sided = [entry.debit for entry in bench.ledger(NAME).entries()]
    both = sum(one.cost for one in sided if one.side is not Side.ALL)
    return both, costs.total


def epsilon(picomu2: int) -> float:
    return epsilon_for(delta=DELTA, mu2=picomu2 / 10**12)


@pytest.mark.parametrize(("claimed", "true"), [(1.0, 1.465), (4.0, 5.992)])
def test_without_the_sketch_fresh_pseudonyms_cost_half_as_much_again(
    claimed: float, true: float, make_bench: MakeBench
) -> None:
    """What was: 57 or so of 200 people change sides, and the debit is the larger of the two."""
    study = spent_once(claimed)
    bench, run = trained(make_bench, study, ids=NO_IDS)
    fresh = ids("{:x}-fresh")
    share = study.evaluation.holdout
    sides = [holdout_mask(units, key=KEY, share=share) for units in (ids(), fresh)]
    assert np.count_nonzero(~sides[0] & sides[1]) > 20  # trained, and now measured
    load(bench, replace(sums_over(study, fresh), ids=NO_IDS))
    run.answer(NAME, run.request(ReleaseKind.EVALUATION, STEPS))
    both, counted = lost(bench)
    assert (epsilon(counted), epsilon(both)) == pytest.approx((claimed, true), abs=5e-3)


@pytest.mark.parametrize("claimed", [1.0, 4.0])
def test_fresh_pseudonyms_end_in_no_evaluation_and_no_debit(
    claimed: float, make_bench: MakeBench
) -> None:
    study = spent_once(claimed)
    bench, run = trained(make_bench, study)
    assert bench.ledger(NAME).costs(study.id).holdout == 0
    custodian = load(bench, sums_over(study, ids("{:x}-fresh")))
    assert run.ask(NAME, run.request(ReleaseKind.EVALUATION, STEPS)) == STOPPED
    both, counted = lost(bench)
    assert both == counted  # nobody lost more
    with bench.ledger(NAME).splits() as splits:
        (stated,) = splits.forget(**SAID)
    assert stated.stated.carried == bench.ledger(NAME).costs(study.id).training
    custodian = load(bench, sums_over(study, ids("{:x}-fresh")))
    assert custodian.trouble == ""
    found = run.ask(NAME, run.request(ReleaseKind.EVALUATION, STEPS))
    assert found == Refusal(RefusalCode.BUDGET_EXHAUSTED)  # it is spent: no new budget


def test_where_both_sides_are_counted_the_study_goes_on_with_what_is_left(
    make_bench: MakeBench,
) -> None:
    study = make_study(privacy={"spare_releases": 6 * STEPS}, evaluation={"spare_releases": 6})
    bench, run = trained(make_bench, study)
    load(bench, sums_over(study, ids("{:x}-fresh")))
    with bench.ledger(NAME).splits() as splits:
        splits.forget(**SAID)
    load(bench, sums_over(study, ids("{:x}-fresh")))
    run.answer(NAME, run.request(ReleaseKind.EVALUATION, STEPS))
    both, counted = lost(bench)
    assert counted >= both
    assert load(bench, sums_over(study, ids())).trouble  # and the ids of before are the others now


@dataclass(frozen=True)
class Renamed:
    """A bench whose first custodian took in the same people under other ids, in mid-run."""

    bench: Bench
    run: Run

    @property
    def custodian(self) -> Custodian:
        return self.bench.custodian(NAME)

    @property
    def study(self) -> str:
        return self.bench.study.id

    @property
    def named(self) -> tuple[str, str]:
        return self.study, self.run.federation.run


CALLS: Final[dict[str, Callable[[Renamed], object]]] = {
    "Describe": lambda one: one.custodian.describe(one.study),
    "another study": lambda one: one.custodian.describe("0" * 64),
    "OpenRun": lambda one: one.custodian.open_run(b"", [], []),
    "Agree": lambda one: one.custodian.agree(*one.named, []),
    "Release": lambda one: one.run.ask(NAME, one.run.request(step=STEPS - 1)),
    "a question": lambda one: one.run.ask(NAME, one.run.request(ReleaseKind.QUERY, 0)),
    "Reveal": lambda one: one.custodian.reveal(b"", []),
    "Publish": lambda one: one.custodian.publish(one.run.rehearsed),
    "Cosign": lambda one: one.custodian.cosign(*one.named, ShownLog(b"", b"", b"")),
    "Deliver": lambda one: one.custodian.deliver(b"", b"", b""),
}


@pytest.fixture
def renamed(make_bench: MakeBench) -> Renamed:
    bench, run = trained(make_bench, make_study())
    load(bench, sums_over(bench.study, ids("C-{}")))
    return Renamed(bench, run)


def test_every_call_of_every_study_is_answered_alike(renamed: Renamed) -> None:
    """Not the study alone whose records it was: else they would decide which one is answered."""
    custodian = renamed.custodian
    other = make_study(name="other")
    custodian.approve(other, lambda: sums_over(other, ids("C-{}")))  # bound to no ids yet
    found = {name: call(renamed) for name, call in CALLS.items()}
    found["a study of good records"] = custodian.describe(other.id)
    assert found == dict.fromkeys(found, STOPPED)
    for name in NAMES[1:]:
        assert not isinstance(renamed.bench.custodian(name).describe(renamed.study), Refusal)


def test_it_goes_on_with_the_ids_of_before_and_with_a_persons_word(
    renamed: Renamed,
) -> None:
    bench, run = renamed.bench, renamed.run
    before = bench.ledger(NAME).costs(bench.study.id)
    assert load(bench, sums_over(bench.study, ids())).trouble == ""
    sums = sums_over(bench.study, ids("C-{}"))
    assert load(bench, sums).trouble
    bench.custodian(NAME).leave_out(bench.study.id)  # as where it is withdrawn
    assert bench.custodian(NAME).trouble == ""
    assert load(bench, sums).trouble
    with bench.ledger(NAME).splits() as splits:
        splits.confirm_ids(bench.study.id, Split(sums.split, sums.ids.to_bytes()), **SAID)
    assert load(bench, sums).trouble == ""
    assert bench.ledger(NAME).costs(bench.study.id) == before  # nothing is spent, nothing is back
    run.answer(NAME, run.request(ReleaseKind.EVALUATION, STEPS))
    assert load(bench, sums_over(bench.study, ids())).trouble  # these are the strangers now


@pytest.mark.parametrize(
    "later",
    [
        ids(last=PEOPLE * 3 // 2),
        ids(first=PEOPLE * 3 // 10),
        ids(first=PEOPLE * 3 // 10, last=PEOPLE * 3 // 2),
        [],
    ],
    ids=["half as many again", "30 % less", "both", "nobody"],
)
def test_customers_who_come_and_go_stop_nothing(later: list[str], make_bench: MakeBench) -> None:
    bench, run = trained(make_bench, make_study())
    assert load(bench, sums_over(bench.study, later)).trouble == ""
    run.answer(NAME, run.request(ReleaseKind.EVALUATION, STEPS))


def test_a_restart_finds_the_ids_of_the_first_answer(make_bench: MakeBench) -> None:
    bench, _ = trained(make_bench, make_study())
    bench.sums = {**bench.sums, NAME: sums_over(bench.study, ids("000{}"))}
    assert bench.restart(NAME).trouble
    assert bench.custodian(NAME).describe(bench.study.id) == STOPPED
    bench.ledger(NAME).verify()
    bench.sums = {**bench.sums, NAME: sums_over(bench.study, ids())}
    assert bench.restart(NAME).trouble == ""


def test_under_another_key_ids_are_not_compared(make_bench: MakeBench) -> None:
    """Their hashes have nothing in common; that the key is another is refused by itself."""
    bench, run = trained(make_bench, make_study())
    assert load(bench, sums_over(bench.study, ids(), b"x" * 32)).trouble == ""
    assert run.ask(NAME, run.request(ReleaseKind.EVALUATION, STEPS)) == STOPPED
    assert not isinstance(bench.custodian(NAME).describe(bench.study.id), Refusal)
