"""The closed choice of what carries a simulation's federation out."""

from enum import Enum
from typing import Final

from fieldfare.shared.errors import UsageError
from fieldfare.shared.privacy.protection import Protection


class Engine(Enum):
    """What carries the federation of a simulation out (docs/engines.md).

    The same study, records and seed give the same model and results, to the byte, in each.
    """

    CUSTODIANS = "custodians"  # real custodians, door, ledgers and rounds, in this process
    SUMS = "sums"  # the sums of all institutions in one pass; simulated noise only
    RAY = "ray"  # the same, groups of institutions in processes of Ray

    def check(self, protection: Protection, *, has_home: bool) -> None:
        """Refuse what only real custodians do.

        Args:
            protection: of the simulation.
            has_home: an institution takes part from a home of its own.

        Raises:
            UsageError: exact noise, or a home.
        """
        if self is Engine.CUSTODIANS:
            return
        if protection is Protection.EXACT:
            raise UsageError(
                f"expected simulated noise with the engine {self.value}, found exact: it adds sums "
                "up without masks, signatures and ledgers; take the engine custodians"
            )
        if has_home:
            raise UsageError(
                f"expected institutions without homes with the engine {self.value}, found one: a "
                "home answers through its own custodian; take the engine custodians"
            )

    def check_cluster(self, address: str | None, workers: int | None = None) -> None:
        """Refuse what is said of a Ray cluster where none is used, or of whose size none decides.

        Args:
            address: of a cluster that runs; None: one is started on this machine alone.
            workers: its cores, where it is started here; None: all.

        Raises:
            UsageError: they do not go with this engine, or not together.
        """
        given = [
            name for name, one in (("address", address), ("workers", workers)) if one is not None
        ]
        if given and self is not Engine.RAY:
            raise UsageError(
                f"expected the engine ray with {_SAID[given[0]]}, found {self.value}: no other "
                "engine uses a cluster"
            )
        if len(given) > 1:
            raise UsageError(
                "expected an address of a Ray cluster or a number of workers, found both: a "
                "cluster that runs already has its cores; leave workers out"
            )
        if workers is not None and workers < 1:
            raise UsageError(f"workers: expected a number from 1 on, found {workers!r}")


_SAID: Final = {"address": "an address of a Ray cluster", "workers": "a number of workers"}
