"""The closed choice of what carries a simulation's federation out."""

from enum import Enum

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
