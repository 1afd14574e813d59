"""Which noise and keys a run has: those of a deployment, or a simulation's fast ones."""

from enum import Enum


class Protection(Enum):
    """The two ways to run; a closed choice, made where a custodian is built.

    EXACT is everything that a deployment runs: operating-system entropy, OpenDP noise,
    masks, signatures, fsync. SIMULATED is fast seeded noise, no masks, no signatures, a
    ledger in memory; results say `masked = false`.
    """

    EXACT = "exact"
    SIMULATED = "simulated"
