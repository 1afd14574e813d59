"""What is searched: for each attack its bounds, the promise that it broke, the rule that ends it.

    python -m tests.security.protocol_model.scenarios

runs the long searches: every scenario to its end under all rules, and wider ones than the tests
take. Ends with 1 where a promise is broken, or where an attack on older rules is not found again.
"""

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from tests.security.protocol_model.parties import Rules
from tests.security.protocol_model.search import Bounds, Found, explore

BEFORE: Final = Rules(
    keys_in_memory=False,
    commit_first=False,
    fixed_set=False,
    peers_tell=False,
    vouched=False,
    follows_log=False,
)
THREE: Final = Bounds(("a", "b"), ("c",), (("a", "b", "c"),))
FOUR: Final = Bounds(("a", "b", "d"), ("c",), (("a", "b", "c", "d"), ("a", "b", "c")))


@dataclass(frozen=True)
class Attack:
    """One attack.

    Attributes:
        name: what is done.
        bounds: what the search covers.
        promise: the one that was broken before.
        rule: without which alone it is broken again; nothing where several end it.
        long: visiting every state takes over ten seconds.
    """

    name: str
    bounds: Bounds
    promise: str
    rule: str = ""
    long: bool = False


ATTACKS: Final = (
    Attack("a home is stolen", THREE, "a stolen home opens a reply", "keys_in_memory"),
    Attack(
        "a colluder reads the others first",
        THREE,
        "a vector chosen after the others were read",
        "commit_first",
    ),
    Attack("a colluder signs two vectors", replace(THREE, choices=2), "two sums of one request"),
    Attack(
        "one attempt with somebody, one without",
        replace(FOUR, attempts=2),
        "a sum of one institution",
        "fixed_set",
        long=True,
    ),
    Attack(
        "one run with somebody, one without",
        replace(FOUR, openings=2, runs=2),
        "a sum of one institution",
        "fixed_set",
        long=True,
    ),
    Attack(
        "a restored home answers again",
        replace(THREE, openings=2, restores=1),
        "a release without a debit",
    ),
    Attack(
        "a restored ledger lacks a debit",
        replace(THREE, openings=2, restores=1),
        "a debit that a restored ledger lacks",
        "peers_tell",
    ),
    Attack(
        "a cloned home answers beside the other",
        replace(THREE, openings=2, clones=1),
        "a release without a debit",
        long=True,
    ),
    Attack(
        "one institution among invented members",
        Bounds(("a",), ("x", "y"), (("a", "x", "y"),), unknown=("x", "y")),
        "a sum of one institution",
        "vouched",
    ),
    Attack(
        "heads of a log that nobody followed",
        replace(THREE, heads=True),
        "two co-signed stories",
        "follows_log",
    ),
)

# What the rules do not end: SECURITY.md says so, and so must the model.
LIMITS: Final = (
    Attack(
        "a running machine is copied with its memory",
        replace(THREE, copies_of_memory=1),
        "a release without a debit",
    ),
    Attack(
        "everybody is restored at once",
        replace(THREE, openings=2, restores=2),
        "a debit that a restored ledger lacks",
    ),
)

# No attack of the past, but what goes wrong in daily life; visited to the end under all rules.
WIDER: Final = (
    Attack("custodians are killed", replace(THREE, openings=2, attempts=2, restarts=1), ""),
    Attack("two runs side by side", replace(THREE, openings=2, runs=2, choices=2), ""),
    Attack(
        "killed and restored",
        replace(THREE, openings=2, restarts=1, restores=1, heads=True),
        "",
    ),
)


def main() -> int:
    """Run all searches; say what each visited."""
    wrong = 0
    for expected, words, found in (*_attacks(), *_all_states()):
        begun = time.monotonic()
        result = found()
        wrong += bool(result.broken) is not expected
        said = result.broken or "nothing is broken"
        seconds = time.monotonic() - begun
        sys.stdout.write(f"{words}: {said}; {result.states:,} states, {seconds:.0f} s\n")
        if result.broken and not expected:
            sys.stdout.write("".join(f"    {move}\n" for move in result.trace))
        sys.stdout.flush()
    return 1 if wrong else 0


Line = tuple[bool, str, Callable[[], Found]]


def _attacks() -> Iterator[Line]:
    """Yield what has to be found: the old attacks under the old rules, and the limits of ours."""
    for attack in ATTACKS:
        yield (
            True,
            f"before: {attack.name}",
            partial(explore, BEFORE, attack.bounds, attack.promise),
        )
    for limit in LIMITS:
        yield True, f"limit: {limit.name}", partial(explore, Rules(), limit.bounds, limit.promise)


def _all_states() -> Iterator[Line]:
    """Yield what must not be found: all states of every scenario under all rules."""
    for scenario in (*ATTACKS, *WIDER):
        yield False, f"now: {scenario.name}", partial(explore, Rules(), scenario.bounds)


if __name__ == "__main__":
    sys.exit(main())
