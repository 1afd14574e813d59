"""What a run's own sums said of its noise, in words."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from fieldfare.shared.terminal.texts import short

KINDS: Final = {
    "moments": "moments",
    "training": "training steps",
    "guard": "the guard of the start",
    "evaluation": "the evaluation",
    "fairness": "the counts of groups",
    "query": "answers",
}


def audit_sentences(results: Mapping[str, Any]) -> list[str]:
    """Return what the audit of a simulation found; nothing where there was none.

    Args:
        results: the content of results.json.
    """
    found = results.get("audit")
    if not found:
        return []
    if found["flagged"]:
        return [_flagged(found["kinds"])]
    return [_measured(found), *([_bound(found)] if found["lower_bound"] is not None else [])]


def _flagged(kinds: Sequence[Mapping[str, Any]]) -> str:
    odd = ", ".join(
        f"{KINDS[one['kind']]} {short(one['factor'])} [{_interval(one['interval'])}]"
        for one in kinds
    )
    return (
        "AUDIT: the noise in this run's own sums is not what the plan owes. Its standard "
        f"deviation, where 1 is right: {odd}. Honest noise is as far off once in 10,000 runs."
    )


def _measured(found: Mapping[str, Any]) -> str:
    return (
        "Audit: without the institutions' own sums, which only a simulation knows, the noise left "
        f"in {', '.join(KINDS[one['kind']] for one in found['kinds'])} costs epsilon "
        f"{short(found['epsilon'])} [{_interval(found['epsilon_interval'])}], 95 %; what was "
        f"measured was debited as {short(found['claimed_epsilon'])}."
    )


def _bound(found: Mapping[str, Any]) -> str:
    return (
        f"Whatever the noise is: {found['right']} of {found['guesses']} guesses at the coins of "
        f"{found['canaries']:,} canaries were right, so epsilon is at least "
        f"{short(found['lower_bound'])} (95 %)."
    )


def _interval(ends: Sequence[float | None]) -> str:
    return ", ".join(short(end) for end in ends)
