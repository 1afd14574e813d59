"""The state that a custodian applies (studies, roster, policy), and its changes over time."""

from collections.abc import Iterator
from dataclasses import dataclass

from fieldfare.client.institution.screen import SHORT


@dataclass(frozen=True, kw_only=True)
class InForce:
    """What is in force.

    Attributes:
        roster, roster_hash: version and hash.
        policy: sha256 of policy.toml.
        identity: public key, hex.
        epoch: of the ledger.
        served: ids of the studies that are answered for.
        trouble: why nothing is served; empty where something may be.
    """

    roster: int
    roster_hash: str
    policy: str
    identity: str
    epoch: int
    served: frozenset[str] = frozenset()
    trouble: str = ""

    @property
    def ground(self) -> tuple[object, ...]:
        """What everything rests on, whichever studies there are."""
        return (self.roster_hash, self.policy, self.identity, self.epoch, self.trouble)


def changes(old: InForce, new: InForce) -> Iterator[str]:
    """Yield one line for everything that is different in `new`."""
    if old.roster_hash != new.roster_hash:
        yield f"roster version {new.roster} (was {old.roster})"
    if old.policy != new.policy:
        yield "the policy as it is now: its budget holds from the next release on"
    if old.identity != new.identity:
        yield "another identity signs"
    if old.epoch != new.epoch:
        yield f"ledger epoch {new.epoch} (was {old.epoch})"
    for study in sorted(new.served - old.served):
        yield f"study {study[:SHORT]} is answered for"
    for study in sorted(old.served - new.served):
        yield f"study {study[:SHORT]} is answered for no more"
    if new.trouble and old.trouble != new.trouble:
        yield "nothing is served"
    if old.trouble and not new.trouble:
        yield "studies are served again"
