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
from tests.security.protocol_model.search import Found, explore
from tests.security.protocol_model.states import Bounds

BEFORE: Final = Rules(
    keys_in_memory=False,
    commit_first=False,
    fixed_set=False,
    peers_tell=False,
    vouched=False,
    follows_log=False,
    everyone_asked=False,
    rosters_told=False,
    over_studies=False,
    waiting_told=False,
    asks_before_opening=False,
)
NOW: Final = Rules()
FORGOTTEN: Final = "a debit that a restored ledger lacks"
TWO_SETS: Final = "sums of two sets in one study"

THREE: Final = Bounds(("a", "b"), ("c",), (("a", "b", "c"),))
FOUR: Final = Bounds(("a", "b", "d"), ("c",), (("a", "b", "c", "d"), ("a", "b", "c")))
# A roster of four, runs of three. Sums are not shown: who saw a reply holds its request, too, so
# that nothing is learnt from it.
MANY: Final = Bounds(
    ("a", "b", "d"),
    ("c",),
    (("a", "b", "c"), ("a", "c", "d")),
    openings=2,
    faulty=("a",),
    restores=1,
    sums_shown=False,
)
JOINED: Final = replace(
    MANY, rosters=(("a", "c", "d"), ("a", "b", "c", "d")), confirmed=("b", "d")
)  # b joined after a's backup was made
STUDIES: Final = replace(THREE, openings=2, runs=2, studies=2, sums_shown=False)


@dataclass(frozen=True)
class Attack:
    """One attack.

    Attributes:
        name: what is done.
        bounds: what the search covers.
        promise: the one that was broken before.
        rules: without which it is broken again, each of several being enough; nothing where other
            rules end it together.
        under: the rules that are in force.
        long: visiting every state takes over ten seconds.
        nightly: finding it does, too.
    """

    name: str
    bounds: Bounds
    promise: str
    rules: tuple[str, ...] = ()
    under: Rules = NOW
    long: bool = False
    nightly: bool = False

    def without(self, *rules: str) -> Rules:
        """Return the rules in force less some."""
        return replace(self.under, **dict.fromkeys(rules, False))


ATTACKS: Final = (
    Attack("a home is stolen", THREE, "a stolen home opens a reply", ("keys_in_memory",)),
    Attack(
        "a colluder reads the others first",
        THREE,
        "a vector chosen after the others were read",
        ("commit_first",),
    ),
    Attack("a colluder signs two vectors", replace(THREE, choices=2), "two sums of one request"),
    Attack(
        "one attempt with somebody, one without",
        replace(FOUR, attempts=2),
        "a sum of one institution",
        ("fixed_set",),
        long=True,
    ),
    Attack(
        "one run with somebody, one without",
        replace(FOUR, openings=2, runs=2),
        "a sum of one institution",
        ("fixed_set",),
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
        FORGOTTEN,
        ("everyone_asked", "peers_tell"),
    ),
    Attack(
        "a cloned home answers beside the other",
        replace(THREE, openings=2, clones=1),
        "a release without a debit",
        long=True,
    ),
    Attack(
        "two copies of a home, one of which answered",
        replace(THREE, openings=2, clones=1),
        FORGOTTEN,
        ("peers_tell",),
        long=True,
    ),
    Attack(
        "one institution among invented members",
        Bounds(("a",), ("x", "y"), (("a", "x", "y"),), unknown=("x", "y")),
        "a sum of one institution",
        ("vouched",),
    ),
    Attack(
        "heads of a log that nobody followed",
        replace(THREE, heads=True),
        "two co-signed stories",
        ("follows_log",),
    ),
    Attack(
        "a restored home, and a run without whoever remembers",
        MANY,
        FORGOTTEN,
        ("everyone_asked",),
        long=True,
    ),
    Attack(
        "a restored home, and a second set in its study",
        replace(MANY, runs=2),
        TWO_SETS,
        ("everyone_asked",),
        long=True,
    ),
    Attack(
        "a peer opens what waited once it was asked",
        MANY,
        FORGOTTEN,
        ("waiting_told",),
        long=True,
    ),
    Attack(
        "a restored home opens what waited before it asks",
        replace(MANY, runs=2),
        TWO_SETS,
        ("asks_before_opening",),
        long=True,
        nightly=True,
    ),
    Attack(
        "a home restored from before a member joined",
        JOINED,
        FORGOTTEN,
        ("rosters_told",),
        long=True,
        nightly=True,
    ),
    Attack(
        "a home restored between two studies",
        replace(STUDIES, restores=1),
        FORGOTTEN,
        ("everyone_asked",),
        long=True,
    ),
)

TWICE: Final = replace(MANY, faulty=("a", "b"), restores=2)

# What the rules do not end: SECURITY.md says so, and so must the model.
LIMITS: Final = (
    Attack(
        "a running machine is copied with its memory",
        replace(THREE, copies_of_memory=1),
        "a release without a debit",
    ),
    Attack(
        "everybody is restored at once",
        replace(THREE, openings=2, restores=2, sums_shown=False),
        FORGOTTEN,
    ),
    Attack("a peer is restored unawares, beside t colluders", TWICE, FORGOTTEN, nightly=True),
    Attack(
        "a run under a roster that nobody who is asked holds",
        replace(JOINED, confirmed=("b",)),
        FORGOTTEN,
        nightly=True,
    ),
    Attack(
        "two copies of a home, each in runs that the other's peers are not in",
        replace(MANY, restores=0, clones=1),
        FORGOTTEN,
    ),
    Attack(
        "two copies of a home in two studies, and replies are held back",
        replace(STUDIES, clones=1),
        FORGOTTEN,
    ),
    Attack(
        "one absent member too many, by a person's word",
        MANY,
        FORGOTTEN,
        under=Rules(absent=1),
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
    Attack("any home, and two runs", replace(MANY, runs=2, faulty=()), ""),
    Attack("two studies of four", replace(MANY, runs=2, studies=2), ""),
    Attack(
        "one home after the other", replace(MANY, restores=2, faulty=(), one_at_a_time=True), ""
    ),
    Attack(
        "one absent member of runs of four, by a person's word alone",
        replace(MANY, sets=(("a", "b", "c", "d"),)),
        "",
        under=Rules(absent=1, peers_tell=False),
    ),
    Attack(
        "a peer is restored unawares where nobody colludes",
        replace(TWICE, honest=("a", "b", "d"), colluders=(), sets=(("a", "b", "d"),)),
        "",
    ),
    Attack("both restored, with witnesses elsewhere", replace(TWICE, witnesses=("a", "b")), ""),
    Attack(
        "a roster that nobody holds, with a witness elsewhere",
        replace(JOINED, confirmed=("b",), witnesses=("a",)),
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
    """Yield what has to be found: old attacks under old rules, each without its rules, limits."""
    for attack in ATTACKS:
        found = partial(explore, BEFORE, attack.bounds, attack.promise, deep=attack.long)
        yield True, f"before: {attack.name}", found
    for attack in ATTACKS:
        if attack.rules:
            less = attack.without(*attack.rules)
            found = partial(explore, less, attack.bounds, attack.promise, deep=attack.long)
            yield True, f"without {' and '.join(attack.rules)}: {attack.name}", found
    for limit in LIMITS:
        found = partial(explore, limit.under, limit.bounds, limit.promise, deep=True)
        yield True, f"limit: {limit.name}", found


def _all_states() -> Iterator[Line]:
    """Yield what must not be found: all states of every scenario under all rules."""
    for scenario in (*ATTACKS, *WIDER):
        yield False, f"now: {scenario.name}", partial(explore, scenario.under, scenario.bounds)
    for attack in ATTACKS:
        for rule in attack.rules if len(attack.rules) > 1 else ():
            rules = attack.without(rule)
            yield (
                False,
                f"with the other than {rule}: {attack.name}",
                partial(explore, rules, attack.bounds),
            )


if __name__ == "__main__":
    sys.exit(main())
