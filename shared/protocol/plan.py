"""The plan: the releases of a study, with their noise and their cost.

A pure function of the study. Coordinator and custodian compute it each from its own copy; a request
whose terms differ from the custodian's plan is refused (docs/design.md, "Accounting"). What
questions leave of the planned mu^2 is training's (with spare releases for attempts that fail), and
the hold-out's as well, since no unit is in both: shared evenly by the table of scores, by the
counts of groups where the study has any, and by what is spare.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Final

from fieldfare.shared.errors import AccountingError, ProtocolError, StudyError
from fieldfare.shared.evaluation.group_cells import group_entries
from fieldfare.shared.geometry.geometry import fraction_bits_for
from fieldfare.shared.geometry.moments import first_moment_vectors, moment_vectors
from fieldfare.shared.geometry.unit_vectors import unit_vectors
from fieldfare.shared.models import gradient_vectors, model_for, parameter_entries, trained_model
from fieldfare.shared.models.interface import GridVectors
from fieldfare.shared.privacy.accountant import epsilon_if_masks_fail, sigma_for
from fieldfare.shared.privacy.discrete_noise import (
    XI_LIMIT,
    check_own_noise,
    check_xi,
    local_scale,
    release_xi,
    smoothing_gap,
)
from fieldfare.shared.privacy.gaussian import epsilon_for, mu2_for
from fieldfare.shared.privacy.sensitivity import NeighbouringRelation, Sensitivity
from fieldfare.shared.privacy.sides import Side, SideCosts
from fieldfare.shared.protocol.messages import ReleaseKind
from fieldfare.shared.ring import MAX_GAMMA_BITS, WordBits, word_bits_for
from fieldfare.shared.study.question_columns import LEAST_GROUP, InstitutionColumn
from fieldfare.shared.study.question_layout import MAX_ENTRIES, WEIGHT_BITS, layout_for
from fieldfare.shared.study.questions import QuestionGroup, columns_of
from fieldfare.shared.study.study import MAX_INSTITUTIONS, Study

PICOMU2: Final = 10**12  # mu^2 is debited in whole units of 1e-12, rounded up
GUARD_SHARE: Final = 0.02  # of training's mu^2, for each attempt that the guard may pay for
GUARD_CLIP: Final = 2.0  # of log loss; below 1 a model that calls nobody a case may seem better
GUARD_SIGMAS: Final = 2.0  # of the known noise: by less, what was trained is not better
COUNT_GAMMA_BITS: Final = 20  # counts too use a fine grid (docs/design.md, "Integers")
RANGE_UNITS: Final = 4  # decoded sums beyond 4 x the public unit count are no sums
RANGE_SIGMAS: Final = 16
LOCAL_REACH: Final = 16.0  # log-odds: no local change moves a parameter further in one release
PARAMETER_LIMIT: Final = 1e4  # |log-odds| of one slot; bounds every request's parameters
RELATION: Final = NeighbouringRelation.ADD_OR_REMOVE_ONE_UNIT

# Whose units each kind of release reads: the one place that says so (`SideCosts` proves its use).
# A kind stands on a side only if its sum is over that side's units alone, whatever it depends on.
SIDES: Final[Mapping[ReleaseKind, Side]] = {
    ReleaseKind.REHEARSAL: Side.ALL,  # of no unit, and costs nothing
    ReleaseKind.MOMENTS: Side.TRAINING,
    ReleaseKind.TRAINING: Side.TRAINING,
    ReleaseKind.GUARD: Side.TRAINING,
    ReleaseKind.EVALUATION: Side.HOLDOUT,
    ReleaseKind.FAIRNESS: Side.HOLDOUT,
    ReleaseKind.QUERY: Side.ALL,  # knots that are asked for, too
}

MOST_WORDS: Final = 2**18  # of all participants together: 2 MiB in a ring of 64 bits
MOST_MOMENTS: Final = 2**19  # of one sum: 4 MiB, which a transcript holds for good
MOST_MOMENTS_OF_ALL: Final = 2**22  # moments of all participants together, which one host adds up


@dataclass(frozen=True, kw_only=True)
class ReleaseTerms:
    """The terms of one kind of release, as each side computes them from the study.

    Attributes:
        first_step: position of the first such release in a run.
        steps: releases that one run makes.
        spare: further releases reserved for attempts that fail.
        vectors: the public facts about a unit's vector.
        parameter_entries: length of the parameters that a request carries.
        sensitivity: with M; None for a rehearsal, which sums nothing.
        sigma: standard deviation of the honest sum's noise, in the sum's own unit; with local
            steps, of the noise that each institution adds to its own sum at each of them. What
            requests and cards say; what is drawn is `paid_sigma`.
        cost: debit of one release, in whole units of 1e-12 mu^2.
        word_bits: the ring.
        largest_entry: decoded entries beyond this stop the run, in the sum's own unit.
        local_steps: noised steps that lead to one release inside an institution, which then
            releases how far they moved the parameters; 0: the noised sum itself is released.
    """

    kind: ReleaseKind
    first_step: int
    steps: int
    spare: int
    vectors: GridVectors
    parameter_entries: int
    sensitivity: Sensitivity | None
    sigma: float
    cost: int
    word_bits: WordBits
    largest_entry: float
    local_steps: int = 0

    @property
    def side(self) -> Side:
        """Whose units the release reads."""
        return SIDES[self.kind]

    @property
    def mu2(self) -> float:
        """The debit of one release, as mu^2: never below its cost."""
        return self.cost / PICOMU2

    @cached_property
    def paid_sigma(self) -> float:
        """The noise that is drawn: sigma, or the double above it.

        Formal Guarantees:
            The real cost of a sum with this noise is at most its debit, in exact fractions.
            `sigma` is for the double nearest to the debit, which may be above it by 1.2e-16 of
            it; requests say that one, so that all versions agree on their bytes.
        """
        if self.sensitivity is None:
            return self.sigma
        debit = Fraction(self.cost, PICOMU2 * max(1, self.local_steps))
        return max(self.sigma, sigma_for(self.sensitivity, mu2=debit))

    @property
    def gamma(self) -> float:
        """Grid step."""
        return math.ldexp(1.0, -self.vectors.gamma_bits)

    def share(self, participants: int, collusion_tolerance: int) -> float:
        """Return each participant's noise, in units of gamma.

        It is `paid_sigma`/sqrt(n-t), rounded up; with local steps all of it, whoever else takes
        part.

        Formal Guarantees:
            The shares of n - t participants make a variance of at least `paid_sigma`^2, exactly:
            no rounding takes any of it (`local_scale`; with local steps gamma is a power of two).

        Raises:
            AccountingError: n - t < 2, or noise too fine for the grid.
        """
        if self.local_steps:
            return self.paid_sigma / self.gamma
        return local_scale(
            sigma=self.paid_sigma,
            gamma=self.gamma,
            participants=participants,
            collusion_tolerance=collusion_tolerance,
        )

    def largest_sum(self, participants: int) -> float:
        """Return the largest entry that a sum of so many institutions may have."""
        return LOCAL_REACH * participants if self.local_steps else self.largest_entry

    def xi(self, participants: int, collusion_tolerance: int) -> float:
        """Return the addition of one release to xi.

        Raises:
            AccountingError: n - t < 2, or noise too fine for the grid.
        """
        entries = self.vectors.entries
        if self.local_steps:
            check_own_noise(sigma=self.sigma, gamma=self.gamma)
            return self.local_steps * release_xi(entries=entries, tau=0.0)
        gap = smoothing_gap(
            participants=participants,
            collusion_tolerance=collusion_tolerance,
            local_scale=self.share(participants, collusion_tolerance),
        )
        return release_xi(entries=entries, tau=gap)

    def noise_on_sum(self, participants: int, collusion_tolerance: int) -> float:
        """Return the standard deviation of the noise where all participants added their shares.

        Each adds sigma / sqrt(n - t), so that n - t of them make sigma (docs/design.md, "Noise");
        where nobody colludes all n shares are in the sum, and error bars must say so.
        """
        return self.sigma * math.sqrt(participants / (participants - collusion_tolerance))


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All releases of one study."""

    study: Study
    rehearsal: ReleaseTerms
    moments: ReleaseTerms
    training: ReleaseTerms
    guard: ReleaseTerms
    evaluation: ReleaseTerms
    fairness: ReleaseTerms
    query: ReleaseTerms
    allowance: ReleaseTerms
    relation: NeighbouringRelation = RELATION

    @cached_property
    def study_id(self) -> str:
        """The study's id, computed once: a plan is asked for it at every message."""
        return self.study.id

    def terms(self, kind: ReleaseKind) -> ReleaseTerms:
        """Return the terms of a kind."""
        return {
            ReleaseKind.REHEARSAL: self.rehearsal,
            ReleaseKind.MOMENTS: self.moments,
            ReleaseKind.TRAINING: self.training,
            ReleaseKind.GUARD: self.guard,
            ReleaseKind.EVALUATION: self.evaluation,
            ReleaseKind.FAIRNESS: self.fairness,
            ReleaseKind.QUERY: self.query if self.query.steps else self.allowance,
        }[kind]

    @property
    def releases(self) -> tuple[ReleaseTerms, ...]:
        """Everything that costs, in the order of a run."""
        trained = (self.moments, self.training, self.guard, self.evaluation, self.fairness)
        planned = (*trained, self.query, self.allowance)
        return tuple(terms for terms in planned if terms.cost)

    @property
    def last_step(self) -> int:
        """The last position that a run of the study may have."""
        return max(terms.first_step + terms.steps - 1 for terms in self.releases)

    def question_terms(self, step: int, questions: QuestionGroup) -> ReleaseTerms:
        """Return the terms on which a group of questions is answered at a position of a run.

        Declared questions have one position and no other group has it; those after it are the
        allowance's. Neither depends on a record.

        Raises:
            StudyError: not declared, not within the allowance, or no question at all.
        """
        declared = self.study.questions
        if declared is not None and step == self.query.first_step:
            if questions != declared:
                raise StudyError("expected the questions that the study declares, found others")
            return self.query
        last = self.allowance.first_step + self.allowance.steps
        if not self.allowance.first_step <= step < last:
            raise StudyError(f"expected a position of the study's allowance, found {step}")
        check_allowed(self.study, questions)
        layout = layout_for(questions, self.study.asked_columns)
        vectors = replace(self.allowance.vectors, entries=layout.entries)
        return replace(self.allowance, vectors=vectors)

    @cached_property
    def planned(self) -> SideCosts:
        """What all planned releases cost, spares included, by whose units they read."""
        return self._planned(self.releases)

    @property
    def run_costs(self) -> SideCosts:
        """What one run costs where no attempt fails, without later questions."""
        once = (terms for terms in self.releases if terms is not self.allowance)
        return SideCosts.of((terms.side, terms.cost * terms.steps) for terms in once)

    @property
    def study_limit(self) -> int:
        """Units of 1e-12 mu^2 that all runs of the study may spend together (`SideCosts.total`)."""
        return self.planned.total

    def still(self, spent: SideCosts, counted: SideCosts | None = None) -> int:
        """Return by how much the rest of the study may raise a total, in units of 1e-12 mu^2.

        Args:
            spent: by all runs of the study so far.
            counted: the part of it that is in the total, such as of a window; None: all of it.
        """
        left = self.planned.without(spent)
        if counted is None:
            return min(spent.added_by(left), max(0, self.study_limit - spent.total))
        return counted.added_by(left)

    @staticmethod
    def _planned(releases: Iterable[ReleaseTerms]) -> SideCosts:
        return SideCosts.of(
            (terms.side, terms.cost * (terms.steps + terms.spare)) for terms in releases
        )

    @property
    def mu2(self) -> float:
        """Planned mu^2, spare releases included."""
        return self.study_limit / PICOMU2

    def check_noise(self, participants: int) -> None:
        """Refuse a number of participants at which the accounting rule does not hold.

        Raises:
            AccountingError: n - t < 2, noise too fine for the grid, or xi >= 1e-15.
        """
        if participants in self._accounted:  # at every request of a run the same
            return
        tolerance = self.study.privacy.collusion_tolerance
        total = 0.0
        for terms in self.releases:
            total += (terms.steps + terms.spare) * terms.xi(participants, tolerance)
        check_xi(total)
        self._accounted.add(participants)

    @cached_property
    def _accounted(self) -> set[int]:
        return set()

    def epsilon(self, mu2: float | None = None) -> float:
        """Return epsilon at the study's delta for `mu2` (default: planned)."""
        spent = self.mu2 if mu2 is None else mu2
        return epsilon_for(delta=self.study.privacy.delta, mu2=spent, xi=XI_LIMIT)

    def epsilon_if_masks_fail(self, participants: int) -> float:
        """Return epsilon if every mask failed: at mu * sqrt(n - t), of the side that loses more.

        Local changes carry their institution's full noise, so that masks protect nothing of them.
        """
        local = self._planned(terms for terms in self.releases if terms.local_steps)
        masked = self._planned(terms for terms in self.releases if not terms.local_steps)
        return max(
            epsilon_if_masks_fail(
                mu2=(masked.all + hidden) / PICOMU2,
                alone_mu2=(local.all + alone) / PICOMU2,
                participants=participants,
                collusion_tolerance=self.study.privacy.collusion_tolerance,
                delta=self.study.privacy.delta,
            )
            for hidden, alone in (
                (masked.training, local.training),
                (masked.holdout, local.holdout),
            )
        )


def plan_for(study: Study) -> Plan:
    """Compute the plan of a study.

    Formal Guarantees:
        All planned releases, spares included, together satisfy (epsilon, delta) for
        adding or removing one unit, against the coordinator and t participants:
        mu^2 adds up over releases (Dong-Roth-Su 2019, Cor. 3.3), also when each is
        chosen after seeing the last (Smith-Thakurta 2022). A unit is in training or in the
        hold-out, so that it loses Q + max(T, E) of releases that read all units, training
        units and hold-out units; a person with a units there and b here, a + b <= M, loses
        (a + b)^2 Q + a^2 T + b^2 E <= M^2 (Q + max(T, E)), and linked units alike with
        1 + 2 K (`SideCosts`). Debits are rounded up and Q + max(T, E) stays within the
        study's mu^2.

    Raises:
        StudyError: the promise leaves no mu^2 to spend, or sums that no ring holds.
    """
    # Fractions: shares that are rounded could add up to more than the whole.
    total = Fraction(_budget(study))
    asked = total * Fraction(study.query_share)
    moments = _moments(study, total - asked)
    training = _training(study, total - asked)
    guard = _guard(study, total - asked)
    evaluation = _evaluation(study, total - asked)
    fairness = _fairness(study, total - asked)
    query, allowance = _questions(study, asked)
    return Plan(
        study=study,
        rehearsal=_rehearsal(training),
        moments=moments,
        training=training,
        guard=guard,
        evaluation=evaluation,
        fairness=fairness,
        query=query,
        allowance=allowance,
    )


def check_allowed(study: Study, questions: QuestionGroup) -> None:
    """Check that later questions are of the kinds and columns that the study allows.

    Raises:
        StudyError: another kind or column, one line each.
    """
    allowed = study.allowance
    if allowed is None:
        raise StudyError("expected questions that the study declares: it has no allowance")
    problems = []
    for question in questions.questions:
        if question.kind not in allowed.kinds:
            problems.append(
                f"{question.name}: expected a kind of the allowance ({', '.join(allowed.kinds)}), "
                f"found {question.kind}"
            )
        outside = [name for name in columns_of(question) if name not in allowed.columns]
        if outside:
            problems.append(
                f"{question.name}: expected columns of the allowance, found {', '.join(outside)}"
            )
    if problems:
        raise StudyError(problems)


def check_groups(study: Study, questions: QuestionGroup, institutions: Sequence[str]) -> None:
    """Check that no answer by groups of institutions would be that of one or two of them.

    Raises:
        StudyError: a group of which too few take part.
    """
    columns = study.asked_columns
    names = {name for question in questions.questions for name in columns_of(question)}
    named = {name: columns[name] for name in sorted(names) if name in columns}
    for name, column in named.items():
        thin = column.thin_groups(institutions) if isinstance(column, InstitutionColumn) else ()
        if thin:
            raise StudyError(
                f"{name}: expected at least {LEAST_GROUP} participants in each group, found fewer "
                f"in {thin[0]}: wait for more of them, or merge groups"
            )


def _moments(study: Study, mu2: Fraction) -> ReleaseTerms:
    """Return the terms of the moments that coordinates follow from: a share of training's."""
    given = study.geometry
    if given is None:
        return _nothing(ReleaseKind.MOMENTS, question_vectors(1))
    units = unit_vectors(model_for(study))
    vectors = moment_vectors(units) if given.whitened else first_moment_vectors(units)
    _check_carried(study, vectors)
    spare = max(1, study.evaluation.spare_releases)
    share = Fraction(given.of_training)
    return _terms(
        study,
        ReleaseKind.MOMENTS,
        mu2=mu2 * share / (1 + spare),
        first_step=int(study.asks_for_knots),
        steps=1,
        spare=spare,
        vectors=vectors,
        units=study.training_units,
    )


def _check_carried(study: Study, vectors: GridVectors) -> None:
    """Refuse moments that no transcript holds, or that are too many for all sums together.

    Raises:
        StudyError: with what to do.
    """
    together = vectors.entries * study.aggregation.minimum_institutions
    if vectors.entries > MOST_MOMENTS or together > MOST_MOMENTS_OF_ALL:
        raise StudyError(
            f"geometry: expected at most {MOST_MOMENTS:,} moments, {MOST_MOMENTS_OF_ALL:,} of all "
            f"institutions together, found {vectors.entries:,} and {together:,}: write "
            'kind = "centred", or take fewer knots or levels'
        )


def fraction_bits(study: Study) -> int:
    """Return f: a study's coordinates lie on multiples of 2^-f, by public numbers alone.

    Raises:
        StudyError: sums of so many units fit no ring.
    """
    if study.geometry is None or not study.geometry.whitened:
        return 0
    units, norm = unit_vectors(model_for(study)), study.privacy.clipping_norm
    most = MAX_GAMMA_BITS - model_for(study).vectors.gamma_bits
    try:
        return min(most, fraction_bits_for(units, int(study.training_units), norm))
    except ProtocolError as error:
        raise StudyError(f"records.units: {error}") from None


def _training_vectors(study: Study) -> GridVectors:
    """Return the facts of a unit's gradient, in the coordinates that the study trains in."""
    plain = gradient_vectors(study)
    return replace(plain, gamma_bits=plain.gamma_bits + fraction_bits(study))


def _training(study: Study, mu2: Fraction) -> ReleaseTerms:
    vectors = _training_vectors(study)
    if not study.trains:
        return _nothing(ReleaseKind.TRAINING, vectors)
    releases = study.training.steps + study.spare_releases
    moments = Fraction(study.geometry.of_training) if study.geometry else Fraction(0)
    guarded = _guards(study) * Fraction(GUARD_SHARE) * (1 + _guard_spares(study))
    terms = _terms(
        study,
        ReleaseKind.TRAINING,
        mu2=mu2 * (1 - moments - guarded) / releases,
        first_step=_before_training(study),
        steps=study.training.steps,
        spare=study.spare_releases,
        vectors=vectors,
        units=study.training_units,
        local_steps=study.training.local_steps if study.training.local else 0,
    )
    if not guarded:
        return terms
    return replace(terms, parameter_entries=len(trained_model(study).initial(0.0)))


def _guard(study: Study, mu2: Fraction) -> ReleaseTerms:
    """Return the terms of the guard: training units, the trained model beside its public start."""
    vectors = GridVectors(
        entries=1, clipping_norm=GUARD_CLIP, gamma_bits=COUNT_GAMMA_BITS, rounded_entries=0
    )
    if not _guards(study):
        return _nothing(ReleaseKind.GUARD, vectors)
    terms = _terms(
        study,
        ReleaseKind.GUARD,
        mu2=mu2 * Fraction(GUARD_SHARE),
        first_step=_before_training(study) + study.training.steps,
        steps=1,
        spare=_guard_spares(study),
        vectors=vectors,
        units=study.training_units,
    )
    # Both models: multipliers as they were trained, then as they were at the start.
    return replace(terms, parameter_entries=2 * len(trained_model(study).initial(0.0)))


def _guards(study: Study) -> int:
    """Return how many releases stand between training and the evaluation."""
    return int(study.public_start is not None)


def _guard_spares(study: Study) -> int:
    """Return the guard's spares, as the moments': one, also where the evaluation has none.

    It comes when all of training is paid for: an attempt that fails must not end the run.
    """
    return max(1, study.evaluation.spare_releases)


def _evaluation(study: Study, mu2: Fraction) -> ReleaseTerms:
    vectors = evaluation_vectors(study)
    if not study.trains:
        return _nothing(ReleaseKind.EVALUATION, vectors)
    return _terms(
        study,
        ReleaseKind.EVALUATION,
        mu2=_each_evaluation(study, mu2),
        first_step=_before_training(study) + study.training.steps + _guards(study),
        steps=1,
        spare=study.evaluation.spare_releases,
        vectors=vectors,
        units=study.holdout_units,
    )


def _fairness(study: Study, mu2: Fraction) -> ReleaseTerms:
    """Return the terms of the counts by group: what is spare is the evaluation's, for either."""
    vectors = GridVectors(
        entries=max(1, group_entries(study.groups)),
        clipping_norm=1.0,
        gamma_bits=COUNT_GAMMA_BITS,
        rounded_entries=0,
    )
    if not study.groups:
        return _nothing(ReleaseKind.FAIRNESS, vectors)
    terms = _terms(
        study,
        ReleaseKind.FAIRNESS,
        mu2=_each_evaluation(study, mu2),
        first_step=_before_training(study) + study.training.steps + _guards(study) + 1,
        steps=1,
        spare=0,
        vectors=vectors,
        units=study.holdout_units,
    )
    # The model, and after it the score from which a unit is an alert.
    return replace(terms, parameter_entries=terms.parameter_entries + 1)


def _each_evaluation(study: Study, mu2: Fraction) -> Fraction:
    """Return what each release of the evaluation may cost."""
    releases = 1 + bool(study.groups) + study.evaluation.spare_releases
    return mu2 / releases


def _before_training(study: Study) -> int:
    """Return how many releases come before training: questions, for knots, and moments."""
    return int(study.asks_for_knots) + int(study.geometry is not None)


def _questions(study: Study, mu2: Fraction) -> tuple[ReleaseTerms, ReleaseTerms]:
    """Return the terms of the declared questions, then those of the allowance's groups."""
    evaluated = 1 + bool(study.groups) + _guards(study)
    after = study.training.steps + evaluated if study.trains else 0
    after += int(study.geometry is not None)
    first = 0 if study.asks_for_knots else after
    later = Fraction(study.allowance.share) if study.allowance else Fraction(0)
    declared = _nothing(ReleaseKind.QUERY, question_vectors(1), first_step=first)
    if study.questions is not None:
        entries = layout_for(study.questions, study.asked_columns).entries
        spare = study.evaluation.spare_releases
        declared = _terms(
            study,
            ReleaseKind.QUERY,
            mu2=mu2 * (1 - later) / (1 + spare),
            first_step=first,
            steps=1,
            spare=spare,
            vectors=question_vectors(entries),
            units=study.records.units,
        )
    first = after + declared.steps
    if study.allowance is None:
        return declared, _nothing(ReleaseKind.QUERY, question_vectors(1), first_step=first)
    allowed = study.allowance
    return declared, _terms(
        study,
        ReleaseKind.QUERY,
        mu2=mu2 * later / (allowed.groups + allowed.spare_releases),
        first_step=first,
        steps=allowed.groups,
        spare=allowed.spare_releases,
        vectors=question_vectors(MAX_ENTRIES),
        units=study.records.units,
    )


def question_vectors(entries: int) -> GridVectors:
    """Return the facts of a unit's vector of questions: exact on the grid, norm at most 1."""
    return GridVectors(
        entries=entries, clipping_norm=1.0, gamma_bits=WEIGHT_BITS, rounded_entries=0
    )


def _nothing(kind: ReleaseKind, vectors: GridVectors, *, first_step: int = 0) -> ReleaseTerms:
    """Return the terms of a kind that the study does not release."""
    return ReleaseTerms(
        kind=kind,
        first_step=first_step,
        steps=0,
        spare=0,
        vectors=vectors,
        parameter_entries=vectors.entries,
        sensitivity=None,
        sigma=0.0,
        cost=0,
        word_bits=WordBits.K64,
        largest_entry=0.0,
    )


def _budget(study: Study) -> float:
    """Return the mu^2 that the study's promise allows."""
    privacy = study.privacy
    try:
        return mu2_for(epsilon=privacy.epsilon, delta=privacy.delta, xi=XI_LIMIT)
    except AccountingError:
        raise StudyError(
            "privacy.epsilon: expected more than what discrete noise alone may cost (xi), found "
            f"{privacy.epsilon:.3g}: raise epsilon or delta"
        ) from None


def evaluation_vectors(study: Study) -> GridVectors:
    """Return the facts of a hold-out unit's vector: one cell of (label, score bin) is one."""
    return GridVectors(
        entries=2 * study.evaluation.score_bins,
        clipping_norm=1.0,
        gamma_bits=COUNT_GAMMA_BITS,
        rounded_entries=0,
    )


def _terms(
    study: Study,
    kind: ReleaseKind,
    *,
    mu2: Fraction,
    first_step: int,
    steps: int,
    spare: int,
    vectors: GridVectors,
    units: float,
    local_steps: int = 0,
) -> ReleaseTerms:
    noised = max(1, local_steps)  # sums that noise is added to, for one release
    debit = math.floor(mu2 / noised * PICOMU2)  # rounded debits together stay within the promise
    if debit < 1:
        raise StudyError(
            f"privacy.epsilon: expected at least 1e-12 mu^2 for each {kind.value} release, found "
            f"{float(mu2):.3g}: raise epsilon or plan fewer steps"
        )
    gamma = math.ldexp(1.0, -vectors.gamma_bits)
    sensitivity = Sensitivity(
        clipping_norm=vectors.clipping_norm,
        gamma=gamma,
        rounded_entries=vectors.rounded_entries,
        multiplicity=study.privacy.multiplicity,
    )
    sigma = sigma_for(sensitivity, mu2=debit / PICOMU2)
    # Where nobody colludes all n shares are in the sum: at most sigma * sqrt(m / (m - t)).
    least = study.aggregation.minimum_institutions
    noise = sigma * math.sqrt(least / (least - study.privacy.collusion_tolerance))
    largest = RANGE_UNITS * units * vectors.clipping_norm + RANGE_SIGMAS * noise
    if local_steps:  # what leaves is a change of the parameters
        largest = LOCAL_REACH * MAX_INSTITUTIONS
    return ReleaseTerms(
        kind=kind,
        first_step=first_step,
        steps=steps,
        spare=spare,
        vectors=vectors,
        parameter_entries=parameter_entries(study),
        sensitivity=sensitivity,
        sigma=sigma,
        cost=debit * noised,
        word_bits=_ring_for(largest / gamma),
        largest_entry=largest,
        local_steps=local_steps,
    )


def _ring_for(largest_sum: float) -> WordBits:
    try:
        return word_bits_for(largest_sum)
    except ProtocolError:
        raise StudyError(
            "records.units: expected sums that fit 64 bits, found larger ones: plan for fewer "
            "units or a smaller privacy.clipping_norm"
        ) from None


def _rehearsal(training: ReleaseTerms) -> ReleaseTerms:
    """Return the terms of a rehearsal: training's shape, nothing summed, nothing spent."""
    return ReleaseTerms(
        kind=ReleaseKind.REHEARSAL,
        first_step=0,
        steps=1,
        spare=0,
        vectors=training.vectors,
        parameter_entries=training.parameter_entries,
        sensitivity=None,
        sigma=0.0,
        cost=0,
        word_bits=training.word_bits,
        largest_entry=0.0,
    )


def carries_last_sum(plan: Plan, kind: ReleaseKind, participants: int) -> bool:
    """Say whether a sum travels on: if its n * d is small (docs/design.md, "Recomputation").

    Args:
        plan: the study's plan.
        kind: whose sum, which travels with the request that follows from it.
        participants: of the run's first opening, so that everybody decides alike to its end.
    """
    return plan.terms(kind).vectors.entries * participants <= MOST_WORDS


def is_recomputed(plan: Plan, kind: ReleaseKind, participants: int) -> bool:
    """Say whether all sums travel from which a kind's bound content follows.

    Args:
        plan: the study's plan.
        kind: that follows from sums.
        participants: as in `carries_last_sum`.
    """
    # Moments are apart: where they do not travel their geometry does, and any is private.
    sums = [] if kind is ReleaseKind.MOMENTS else [ReleaseKind.TRAINING]
    if plan.study.asks_for_knots:  # the first step's knots follow from it
        sums.append(ReleaseKind.QUERY)
    if kind is ReleaseKind.FAIRNESS:  # the threshold of alerts follows from this table
        sums.append(ReleaseKind.EVALUATION)
    return all(carries_last_sum(plan, one, participants) for one in sums)
