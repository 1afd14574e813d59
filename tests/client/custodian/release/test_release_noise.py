"""No two releases share noise: seen on what left, with the masks taken off.

Masks hide from every other test whether the noise below them was drawn again. Here the test
holds the institution's chain keys and its exact sums, so that what is left is the noise, from
the operating system's own source.
"""

from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.support.federations.bench import Bench, MakeBench, Run, make_study

from fieldfare.client.sums.study_sums import StudySums
from fieldfare.shared.features.basis import EncodedUnits
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.privacy.samplers import NoiseSource
from fieldfare.shared.protocol.messages import ReleaseKind, Request
from fieldfare.shared.ring import centre, subtract
from fieldfare.shared.run.replay import add_words
from fieldfare.shared.study.study import Study
from fieldfare.simulations.attacks.canary_study import AuditForm, Canaries, Design
from fieldfare.simulations.federation.federation import LocalFederation, noise_source
from fieldfare.simulations.federation.population import load_population, prepared_sums

Vector = NDArray[np.float64]

NAMES: Final = ("bank-a", "bank-b", "bank-c")
NAME: Final = "bank-b"
TRAINING: Final = ReleaseKind.TRAINING
EVALUATION: Final = ReleaseKind.EVALUATION
LEVELS: Final = 512
# Of 1,000 independent pairs a correlation has a standard error of .03: .25 comes by chance once
# in 10^15 pairs. Of the same noise, scaled or not, it is 1.
UNRELATED: Final = 0.25


def wide_study(**training: object) -> Study:
    """As many entries of each kind as independence can be seen on."""
    features = [
        {"name": f"f{index}", "kind": "categorical", "levels": [f"l{i}" for i in range(LEVELS)]}
        for index in range(2)
    ]
    return make_study(
        features=features,
        training={"steps": 3, **training},
        evaluation={"score_bins": LEVELS, "spare_releases": 3},
    )


def wide_sums(study: Study, seed: int) -> StudySums:
    random = np.random.default_rng(seed)
    positions = random.integers(0, LEVELS + 2, (2, 100)).astype(np.uint16)
    labels = random.integers(0, 2, 100).astype(np.uint8)
    return StudySums.prepare(study, EncodedUnits(positions, labels), random.uniform(size=100) < 0.4)


def bench_of(make_bench: MakeBench, study: Study) -> Bench:
    return make_bench(study, {name: wide_sums(study, seed) for seed, name in enumerate(NAMES)})


def unmasked(run: Run, request: Request, name: str = NAME) -> NDArray[np.int64]:
    """What the door let out, without its seed and the masks of the institution's own keys."""
    bench, terms = run.bench, run.bench.plan.terms(request.kind)
    answer = run.answer(name, request)
    entries, bits = terms.vectors.entries, terms.word_bits
    peers = frozenset(p.institution for p in request.participants) - {name}
    # Attempts of one step share its keys, which are held until the next step.
    keys = bench.run_keys(name, run)
    assert keys.step == request.step + 1
    mask = keys.mask(name, peers, request.hash, entries, bits)
    masked = add_words([answer.vector], bits, entries, [answer.seed])
    return centre(subtract(masked, mask, bits), bits)


def noise_of(run: Run, request: Request, name: str = NAME) -> Vector:
    """The noise of one release, in standard deviations of its share."""
    bench, terms = run.bench, run.bench.plan.terms(request.kind)
    parameters = np.frombuffer(run.contents[request.parameters])
    exact = bench.sums[name].vector(request.kind, parameters)
    noise = unmasked(run, request, name) - exact
    return np.asarray(noise / terms.share(request.n, request.t))


def assert_unrelated(noises: list[Vector]) -> None:
    """None is another, nor another with its sign changed, scaled, shifted or in another order."""
    for one, other in combinations(noises, 2):
        length = min(len(one), len(other))
        for shift in (0, 1):
            pair = np.corrcoef(one[:length], np.roll(other, shift)[:length])
            assert abs(pair[0, 1]) < UNRELATED
        ours, theirs = np.abs(np.rint(one * 1e9)), np.abs(np.rint(other * 1e9))
        assert len(np.intersect1d(ours, theirs)) < length / 10


def test_what_is_left_without_masks_and_sums_is_the_share_of_the_noise(
    make_bench: MakeBench,
) -> None:
    """Otherwise all that follows would hold of the masks."""
    run = bench_of(make_bench, wide_study()).open_run()
    for kind, step in ((TRAINING, 0), (EVALUATION, 3)):
        noise = noise_of(run, run.request(kind, step))
        # Of 1,024 draws the spread has a standard error of 2.2 %.
        assert 0.85 < noise.std() < 1.15
        assert abs(noise.mean()) < 0.2


@pytest.mark.parametrize(("kind", "step"), [(TRAINING, 0), (TRAINING, 1), (EVALUATION, 3)])
def test_every_attempt_of_a_step_has_fresh_noise(
    kind: ReleaseKind, step: int, make_bench: MakeBench
) -> None:
    """The same participants or fewer: two attempts of one sum differ by their noise alone.

    With one noise on both, their difference would be exact: a free, noiseless answer.
    """
    run = bench_of(make_bench, wide_study()).open_run()
    firsts = [noise_of(run, run.request(kind, step, 0), name) for name in NAMES]
    assert_unrelated([*firsts, noise_of(run, run.request(kind, step, 1))])


def test_an_attempt_after_a_restart_has_fresh_noise(make_bench: MakeBench) -> None:
    bench = bench_of(make_bench, wide_study())
    run = bench.open_run()
    first = noise_of(run, run.request(attempt=0))
    bench.restart(NAME)
    run.open_anew()
    assert_unrelated([first, noise_of(run, run.request(attempt=1))])


def test_steps_kinds_and_runs_have_fresh_noise(make_bench: MakeBench) -> None:
    bench = bench_of(make_bench, wide_study())
    noises = []
    for run in (bench.open_run(), bench.open_run()):
        noises += [noise_of(run, run.request(step=step)) for step in (0, 1)]
        noises.append(noise_of(run, run.request(EVALUATION, 3)))
    assert_unrelated(noises)


def test_in_local_mode_every_attempt_has_fresh_noise(make_bench: MakeBench) -> None:
    """What differs from a change without noise is the noise, times the size of a step."""
    study = wide_study(mode="local", local_steps=1)
    bench = bench_of(make_bench, study)
    run, entries = bench.open_run(), bench.plan.training.vectors.entries
    silent = [np.zeros(entries, dtype=np.int64)]
    parameters = np.frombuffer(run.parameters(TRAINING, 0))
    still = bench.sums[NAME].local_change(parameters, silent, len(NAMES))
    moved = [unmasked(run, run.request(attempt=attempt)) - still for attempt in (0, 1)]
    assert_unrelated([one / one.std() for one in moved])


@dataclass
class Asked:
    """How much noise the door asked for, in the order of a run."""

    source: NoiseSource
    asked: list[tuple[int, float]] = field(default_factory=list)

    @property
    def protection(self) -> Protection:
        return self.source.protection

    def sample(self, entries: int, scale: float) -> NDArray[np.int64]:
        self.asked.append((entries, scale))
        return self.source.sample(entries, scale)


@pytest.mark.parametrize("form", AuditForm)
def test_every_kind_of_release_is_given_its_share_of_the_noise(
    form: AuditForm, tmp_path: Path
) -> None:
    """Sums of few entries, as a guard's, do not tell half of their noise from all of it."""
    design = Design(canaries=200, steps=2, levels=6, form=form)
    inside = {"local_steps": 3} if form is AuditForm.LOCAL else {}  # each with a draw of its own
    training = design.study.training.model_copy(update=inside)
    study = design.study.model_copy(update={"training": training})
    choice = Canaries.draw(design).write(tmp_path)
    sums = prepared_sums(study, load_population(study, choice, seed=0), seed=0)
    sources = {
        name: Asked(noise_source(Protection.SIMULATED, seed=0, stream=stream))
        for stream, name in enumerate(sums)
    }
    with LocalFederation(study, sums, Protection.SIMULATED, seed=0, sources=sources) as federation:
        federation.run(federation.job())
        plan = federation.plan
    tolerance = plan.study.privacy.collusion_tolerance
    owed = [
        (terms.vectors.entries, terms.share(len(sums), tolerance))
        for terms in sorted(plan.releases, key=lambda one: one.first_step)
        for _ in range(terms.steps * max(1, terms.local_steps))
    ]
    assert set(form.kinds) <= {terms.kind for terms in plan.releases}
    assert {name: source.asked for name, source in sources.items()} == dict.fromkeys(sums, owed)
