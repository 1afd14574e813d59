"""A run without a coordinator's rounds: each release due, everybody's words, what follows.

Which release comes next, what it binds and what follows from its sum is the run's own
(`shared/run/kinds`): the code that coordinators, custodians and audits run.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from fieldfare.server.run.rounds import sum_in_range
from fieldfare.server.run.server_app import Outcome
from fieldfare.shared.privacy.sides import SideCosts
from fieldfare.shared.protocol.messages import ReleaseKind
from fieldfare.shared.protocol.plan import Plan, ReleaseTerms
from fieldfare.shared.ring import encode
from fieldfare.shared.run.kinds import Release, SummedRelease, next_kind
from fieldfare.shared.run.kinds.kind import Content
from fieldfare.shared.run.optimizer import TrainingState
from fieldfare.shared.run.replay import words_hash
from fieldfare.shared.run.results import Results, Values
from fieldfare.simulations.engines.one_pass import AskedRelease, PooledSum

Stepped = Callable[[TrainingState], None]
Left = Callable[[ReleaseTerms, Values, int], None]
Asked = Callable[[Release, Content], None]


class Members(Protocol):
    """All institutions of a simulation, who answer at once."""

    def summed(self, asked: AskedRelease) -> PooledSum:
        """Return everybody's sum and noise, added up."""
        ...


def conducted(
    plan: Plan,
    members: Members,
    names: Sequence[str],
    *,
    on_step: Stepped = lambda _: None,
    on_sum: Left = lambda *_: None,
    on_asked: Asked = lambda *_: None,
) -> Outcome:
    """Carry a run out to its end.

    Args:
        plan: of the study.
        members: who is asked.
        names: of all of them, sorted.
        on_step: told each training step.
        on_sum: told what is left of each sum without the institutions' own, and of how many.
        on_asked: told each release before its sum, and what its request would bind.

    Raises:
        AccountingError: a number of institutions at which the accounting rule does not hold.
        StudyError: questions of groups of which too few take part.
        RunError: a sum out of range.
    """
    plan.check_noise(len(names))
    results, costs = Results(), SideCosts()
    while (kind := next_kind(plan, results)) is not None:
        release = Release.of(kind, plan, results)
        kind.check_participants(plan, results, names)
        content = next(kind.contents(plan, results))
        on_asked(release, content)
        results = _released(plan, release, content, members, (len(names), on_sum))
        costs = costs.plus(release.terms.side, release.terms.cost)
        state = results.training
        if state is not None and kind.release is ReleaseKind.TRAINING:
            on_step(state)
    return Outcome.of(plan, results, tuple(names), spent=costs.total)


def _released(
    plan: Plan, release: Release, content: Content, members: Members, told: tuple[int, Left]
) -> Results:
    """Ask for a release, and take what follows from its sum."""
    kind, terms, (count, on_sum) = release.kind, release.terms, told
    bound = replace(content.results, bound=content.hash)
    words, exact = np.zeros(terms.vectors.entries, np.uint64), np.zeros(1)
    if kind.release is not ReleaseKind.REHEARSAL:  # masks over zeros; here are none
        geometry = bound.geometry if kind.release is ReleaseKind.TRAINING else None
        found = members.summed(AskedRelease(kind.release, content.data, count, geometry))
        words, exact = found.words, found.exact.astype(np.float64)
    values = sum_in_range(words, terms, release.step, count)
    on_sum(terms, values - np.ldexp(exact, -terms.vectors.gamma_bits), count)
    summed = SummedRelease(terms, release.step, count, words_hash(words, terms.word_bits), values)
    after = kind.after(plan, bound, summed)
    record = kind.write(plan, after, summed, encode(words, terms.word_bits))
    return after if record is None else kind.read(plan, after, summed, record.leaf().content)
