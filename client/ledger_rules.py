"""Whether the ledger admits a debit: replay, order and budget. Pure; nothing here sees a record.

Checks run in a fixed order, so that the same request on the same ledger is always refused
with the same code (docs/design.md, "Refusals").
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from fieldfare.client.ledger_terms import Debit, Limits, Portion, from_picomu2
from fieldfare.shared.errors import PolicyRefusal, RefusalCode

WINDOW: Final = timedelta(days=365)  # limits slide (docs/design.md, "The ledger")


@dataclass(frozen=True, kw_only=True)
class Standing:
    """The ledger's totals that a new debit is checked against.

    `occupant` is the request that took the same study, run, step and attempt; `last` is the
    highest answered step of the run with its highest attempt. Totals are in picomu2;
    `portion_total` is of the part of the study that the debit belongs to, if any.
    """

    occupant: str | None
    last: tuple[int, int] | None
    study_total: int
    yearly_total: int
    lifetime_total: int
    portion_total: int = 0


def check_debit(
    debit: Debit,
    standing: Standing,
    limits: Limits,
    *,
    study_limit: int,
    max_attempts: int,
    portion: Portion | None = None,
) -> None:
    """Let a debit pass that is new, in order and affordable.

    Raises:
        PolicyRefusal: REPLAY_CHANGED, STEP_CLOSED, ATTEMPT_CLOSED, TOO_MANY_ATTEMPTS or
            BUDGET_EXHAUSTED, the first that applies.
    """
    _check_order(debit, standing)
    if debit.attempt >= max_attempts:
        raise PolicyRefusal(
            RefusalCode.TOO_MANY_ATTEMPTS,
            f"expected an attempt below {max_attempts} (counted from 0), found {debit.attempt}: "
            "this step stays unanswered",
        )
    if portion is not None:
        _check_budget("the allowance", debit.cost, standing.portion_total, portion.picomu2)
    _check_budget("the study's limit", debit.cost, standing.study_total, study_limit)
    _check_budget(
        "the limit of any 365 days", debit.cost, standing.yearly_total, limits.yearly_picomu2
    )
    _check_budget(
        "the lifetime limit", debit.cost, standing.lifetime_total, limits.lifetime_picomu2
    )


def _check_order(debit: Debit, standing: Standing) -> None:
    if standing.occupant not in {None, debit.request}:
        raise PolicyRefusal(
            RefusalCode.REPLAY_CHANGED,
            f"expected the request that answered step {debit.step}, attempt {debit.attempt}, "
            "found another: repeat the first one unchanged, or make a new attempt",
        )
    if standing.last is None:
        return
    step, attempt = standing.last
    if debit.step < step:
        raise PolicyRefusal(
            RefusalCode.STEP_CLOSED,
            f"expected step {step} or later, found step {debit.step}: answered steps are closed",
        )
    # docs/design.md, "Attempts": they only go up; after answering attempt a + 1, a is closed
    if debit.step == step and debit.attempt < attempt:
        raise PolicyRefusal(
            RefusalCode.ATTEMPT_CLOSED,
            f"expected attempt {attempt} or later of step {step}, found {debit.attempt}: "
            "attempts only go up",
        )


def _check_budget(what: str, cost: int, spent: int, limit: int) -> None:
    if spent + cost > limit:
        raise PolicyRefusal(
            RefusalCode.BUDGET_EXHAUSTED,
            f"expected at most {from_picomu2(max(limit - spent, 0))!r} of mu^2, which {what} of "
            f"{from_picomu2(limit)!r} leaves, found a release that costs {from_picomu2(cost)!r}",
        )
