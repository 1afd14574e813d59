"""A small invented world of payments: people, rings, statements, account features.

    habits      what a life is made of: kinds of statement lines, habits, patterns
    people      who lives in it: personas, look-alikes and odd months, as declared data
    rings       what accounts that serve a ring do, as declared data
    banks       how the institutions differ, as declared data
    population  who banks where: customers, rings that span banks, odd months of ordinary people
    payments    statements: habits become entries (`make_world`)
    accounts    features by SQL over each unit's own entries (`accounts`)

Nobody in it exists. Behaviour is at the level of published red flags; whoever
could be a victim is never labelled (design section 8, rule 1), and the
look-alikes of rule 5 are labelled negatives.
"""

from fieldfare.simulations.world.accounts import FEATURES, accounts
from fieldfare.simulations.world.payments import World, make_world

__all__ = ["FEATURES", "World", "accounts", "make_world"]
