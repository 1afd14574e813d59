"""A ledger's report to its owner: remaining budget, spending by kind, the last entries.

Also as a record of the OpenDP deployments registry, to be completed and published.
"""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from fieldfare.client.home.policy import Policy, limits
from fieldfare.client.ledger.budget import WINDOW, LedgerEntry, Position, from_picomu2
from fieldfare.client.ledger.chain import Statement, StatementKind, costs_of
from fieldfare.client.ledger.freeing import FreedBudget, freed_later, next_freed, worth
from fieldfare.client.ledger.ledger import Ledger
from fieldfare.shared.errors import UsageError
from fieldfare.shared.evidence.registry import TO_FILL_IN, Deployment, deployment_record
from fieldfare.shared.privacy.sides import SideCosts
from fieldfare.shared.protocol.messages import ReleaseKind
from fieldfare.shared.terminal.texts import SHORT, bar

LAST: Final = 8  # entries shown
BAR: Final = 30  # characters
INDENT: Final = 14


@dataclass(frozen=True, kw_only=True)
class LimitUse:
    """One limit and the part of it that is spent.

    Attributes:
        limit, spent: picomu2.
        limit_epsilon: as the policy says it.
        delta: at which every epsilon here holds.
    """

    limit: int
    spent: int
    limit_epsilon: float
    delta: float

    @property
    def left(self) -> int:
        """The remaining budget, in picomu2."""
        return max(self.limit - self.spent, 0)

    @property
    def spent_epsilon(self) -> float:
        """The spent budget as epsilon; epsilons do not add up, mu^2 does."""
        return worth(self.spent, self.delta)

    @property
    def left_epsilon(self) -> float:
        """The remaining budget by itself, as epsilon."""
        return worth(self.left, self.delta)


@dataclass(frozen=True, kw_only=True)
class LedgerReport:
    """A ledger in figures; every sum in picomu2.

    Attributes:
        position: where it ends.
        yearly, lifetime: the two limits of the population.
        studies: what each study cost: what read all units, and the larger of the two sides.
        kinds: the debits of each kind of release, whichever units it read.
        carried: what entries cost that a restored copy lacked.
        last: the newest entries, oldest first.
        freed: what comes free of the yearly limit, and when.
    """

    population: str
    position: Position
    yearly: LimitUse
    lifetime: LimitUse
    studies: dict[str, int]
    kinds: dict[str, int]
    carried: int
    last: tuple[LedgerEntry | Statement, ...]
    freed: tuple[FreedBudget, ...] = ()


def report(ledger: Ledger, population: str, policy: Policy, now: datetime) -> LedgerReport:
    """Read a ledger once and add it up.

    Raises:
        LedgerError: it cannot be read.
    """
    studies, kinds, carried = dict[str, SideCosts](), Counter[str](), 0
    last: list[LedgerEntry | Statement] = []
    for entry in ledger.history():
        last = [*last[1 - LAST :], entry]
        debit = entry.stated.debit if isinstance(entry, Statement) else entry.debit
        study, side, cost = costs_of(entry)
        if debit is not None:
            kinds[debit.kind] += cost
        if debit is not None or _of_a_lost_key(entry):
            studies[study] = studies.get(study, SideCosts()).plus(side, cost)
        else:
            carried += cost
    by_study = Counter({study: costs.total for study, costs in studies.items()})
    granted, budget = limits(policy), policy.budget
    return LedgerReport(
        population=population,
        position=ledger.position(),
        yearly=LimitUse(
            limit=granted.yearly_picomu2,
            spent=ledger.spent_since(now - WINDOW),
            limit_epsilon=budget.yearly_epsilon,
            delta=budget.delta,
        ),
        lifetime=LimitUse(
            limit=granted.lifetime_picomu2,
            spent=ledger.spent(),
            limit_epsilon=budget.lifetime_epsilon,
            delta=budget.delta,
        ),
        studies=dict(by_study.most_common()),
        kinds=dict(kinds.most_common()),
        carried=carried,
        last=tuple(last),
        freed=freed_later(ledger.history(), now),
    )


def _of_a_lost_key(entry: LedgerEntry | Statement) -> bool:
    return isinstance(entry, Statement) and entry.stated.kind is StatementKind.HOLDOUT


def report_json(found: LedgerReport) -> dict[str, Any]:
    """Return a report for programs; mu^2 as numbers and, exactly, in units of 1e-12."""
    position = found.position
    return {
        "population": found.population,
        "entries": position.sequence,
        "epoch": position.epoch,
        "head": position.head,
        "delta": found.lifetime.delta,
        "any_365_days": _budget_json(found.yearly),
        "lifetime": _budget_json(found.lifetime),
        "comes_free": {one.day.isoformat(): _sum_json(one.picomu2) for one in found.freed},
        "studies": {study: _sum_json(cost) for study, cost in found.studies.items()},
        "kinds": {kind: _sum_json(cost) for kind, cost in found.kinds.items()},
        "carried_over": _sum_json(found.carried),
        "last": [_entry_json(entry) for entry in found.last],
    }


def report_lines(found: LedgerReport) -> Iterator[str]:
    """Yield a report as one screen."""
    position = found.position
    yield f"{'population':<{INDENT}}{found.population}"
    yield f"{'history':<{INDENT}}{position.sequence} entries, epoch {position.epoch}"
    yield from _budget_lines("any 365 days", found.yearly)
    if found.freed:
        yield f"{'':<{INDENT}}{next_freed(found.freed, found.yearly.delta)}"
    yield from _budget_lines("ever", found.lifetime)
    yield ""
    delta = found.lifetime.delta
    for title, parts in cost_parts(found).items():
        yield from _share_lines(title, parts, delta)
    if found.last:
        yield f"last {len(found.last)} entries" if len(found.last) > 1 else "last entry"
        yield from (f"  {entry_line(entry, delta)}" for entry in found.last)
    else:
        yield "nothing was ever released"


def cost_parts(found: LedgerReport) -> dict[str, dict[str, int]]:
    """Return what was spent by study, and by kind of release, each under its title, in picomu2."""
    studies = {f"study {study[:SHORT]}": cost for study, cost in found.studies.items()}
    if found.carried:
        studies["lost, carried over"] = found.carried
    kinds = "debited by kind of release (no unit is in training and hold-out: the larger is spent)"
    return {"spent by study, of all that was ever spent": studies, kinds: found.kinds}


def entry_line(entry: LedgerEntry | Statement, delta: float) -> str:
    """Return an entry as one line, with its own cost as epsilon at `delta`."""
    head = f"{entry.position.sequence:>6}  {entry.time:%Y-%m-%d %H:%M}  "
    if isinstance(entry, LedgerEntry):
        debit = entry.debit
        return head + (
            f"{debit.kind} step {debit.step} attempt {debit.attempt}, study {debit.study[:SHORT]}, "
            f"run {debit.run}: epsilon {worth(debit.cost, delta):.3g}"
        )
    stated = entry.stated
    was, now = stated.multiplicity
    what = {
        StatementKind.EPOCH: f"restored copy accepted, epsilon {worth(stated.carried, delta):.3g} "
        "carried over",
        StatementKind.SPLIT: f"{stated.population} split off",
        StatementKind.PART: f"from here on the ledger of {stated.population}",
        StatementKind.UNIT: f"{stated.population} is counted by {stated.unit}",
        StatementKind.MULTIPLICITY: f"M is {now} from here on, it was {was}",
        StatementKind.HOLDOUT: f"study {stated.study[:SHORT]}: epsilon "
        f"{worth(stated.carried, delta):.3g} for other sides of its units",
        StatementKind.IDS: f"study {stated.study[:SHORT]}: other people, nobody has another id",
        StatementKind.SILENCE: f"epsilon {worth(stated.carried, delta):.3g} to go on without what "
        "silent members remember",
        StatementKind.PEERS: f"study {stated.study[:SHORT]}: epsilon "
        f"{worth(stated.carried, delta):.3g} that this ledger knew nothing of",
    }[stated.kind]
    return f"{head}{what}, by {stated.user}: {stated.reason}"


def spent_bar(spent: int, limit: int) -> str:
    """Return a bar and a share that never hide a rest: full only when nothing is left."""
    if limit <= 0:
        return f"{bar(BAR, BAR)} no budget"
    share = 100 * spent / limit
    if spent >= limit:
        filled, text = BAR, f"{share:.1f} %"
    else:
        filled = min(math.ceil(BAR * spent / limit), BAR - 1)
        text = f"{share:.1f} %"
        if spent > 0 and share < 0.05:  # noqa: PLR2004 -- would be rounded to nothing
            text = "below 0.1 %"
        elif share >= 99.95:  # noqa: PLR2004 -- would be rounded to everything
            text = "above 99.9 %"
    return f"{bar(filled, BAR)} {text}"


def _budget_lines(name: str, budget: LimitUse) -> Iterator[str]:
    yield f"{name:<{INDENT}}{spent_bar(budget.spent, budget.limit)}"
    left = f"left epsilon {budget.left_epsilon:.4g}" if budget.left else "nothing is left"
    yield (
        f"{'':<{INDENT}}spent epsilon {budget.spent_epsilon:.4g} of {budget.limit_epsilon:g} at "
        f"delta {budget.delta:g}"
    )
    yield f"{'':<{INDENT}}{left}"


def _share_lines(title: str, parts: dict[str, int], delta: float) -> Iterator[str]:
    if not parts:
        return
    whole = sum(parts.values())
    width = max(map(len, parts))
    yield title
    for name, cost in parts.items():
        yield f"  {name:<{width}}  {spent_bar(cost, whole)}  epsilon {worth(cost, delta):.3g}"
    yield ""


def _sum_json(cost: int) -> dict[str, float | int]:
    return {"mu2": from_picomu2(cost), "picomu2": cost}


def _budget_json(budget: LimitUse) -> dict[str, Any]:
    return {
        "limit": _sum_json(budget.limit) | {"epsilon": budget.limit_epsilon},
        "spent": _sum_json(budget.spent) | {"epsilon": budget.spent_epsilon},
        "left": _sum_json(budget.left) | {"epsilon": budget.left_epsilon},
    }


def _entry_json(entry: LedgerEntry | Statement) -> dict[str, Any]:
    common = {
        "sequence": entry.position.sequence,
        "time": entry.time.isoformat(),
        "epoch": entry.position.epoch,
        "head": entry.position.head,
        "cumulative_picomu2": entry.position.cumulative,
        "debited_picomu2": entry.position.debited,
    }
    if isinstance(entry, LedgerEntry):
        debit = entry.debit
        return common | {
            "type": "debit",
            "study": debit.study,
            "run": debit.run,
            "step": debit.step,
            "attempt": debit.attempt,
            "kind": debit.kind,
            "picomu2": debit.cost,
            "reads": debit.side.value,
        }
    stated = entry.stated
    return common | {
        "type": stated.kind.value,
        "user": stated.user,
        "reason": stated.reason,
        "population": stated.population,
        "study": stated.study,
        "picomu2": stated.carried,
    }


# -- ledger export --------------------------------------------------------------------------------


def registry_record(
    found: LedgerReport, institution: str, first: datetime | None
) -> dict[str, Any]:
    """Return the registry's record of everything that a population's ledger ever released.

    Args:
        found: the ledger in figures.
        institution: who publishes, as on the roster.
        first: when the first release was debited.

    Raises:
        UsageError: nothing was released, so there is no deployment.
    """
    if first is None:
        raise UsageError("expected a ledger with a release, found none: there is nothing to export")
    spent, position = found.lifetime, found.position
    return deployment_record(
        Deployment(
            slug=f"fieldfare-{institution}-{found.population}",
            name=f"Sums that {institution} released about {found.population}",
            curators=(institution,),
            authors=(institution,),
            use=TO_FILL_IN,
            colluders="as many as each study allows for",
            trains=ReleaseKind.TRAINING.value in found.kinds,
            day=f"{first:%Y-%m-%d}",
            unprotected="That the institution took part, and when; what a study declares public: "
            "its features' bounds, knots, levels and unit counts.",
            epsilon=spent.spent_epsilon,
            delta=spent.delta,
            details=f"Spent so far, over all studies and years. mu^2 {from_picomu2(spent.spent)!r} "
            f"in Gaussian DP, of at most {from_picomu2(spent.limit)!r} ever (epsilon "
            f"{spent.limit_epsilon:g}) and {from_picomu2(found.yearly.limit)!r} in any 365 days "
            f"(epsilon {found.yearly.limit_epsilon:g}), all at delta {spent.delta:g}.",
            composition=_composition(found),
            notes=f"Ledger of {position.sequence} entries, epoch {position.epoch}, head "
            f"{position.head}.",
        )
    )


def _composition(found: LedgerReport) -> str:
    studies = "; ".join(f"{s}: {from_picomu2(cost)!r}" for s, cost in found.studies.items())
    kinds = "; ".join(f"{k}: {from_picomu2(cost)!r}" for k, cost in found.kinds.items())
    text = (
        "mu^2 of Gaussian DP adds up over releases, studies and years, also when each is chosen "
        f"after seeing the last. By study: {studies}. By kind: {kinds}."
    )
    if found.carried:
        carried = from_picomu2(found.carried)
        text += f" Carried over for entries that a restored copy lacked: {carried!r}."
    return text
