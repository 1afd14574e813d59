"""The coordinator's own certificate authority: one certificate for its SuperLink, nothing else.

Nodes trust this authority and no other, so no public one can let somebody else stand in for
the SuperLink. It signs no institution's certificate: nodes are known by their own keys.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from fieldfare.shared.system.certificates import (
    CertificateUse,
    PemPair,
    new_authority_pair,
    new_pair,
)

AUTHORITY_LIFE: Final = timedelta(days=3653)  # ten years
SERVER_LIFE: Final = timedelta(days=365)
LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")  # for this host's own commands


def new_authority(coordinator: str, now: datetime) -> PemPair:
    """Make an authority (NIST P-384) that is valid for ten years.

    Args:
        coordinator: the coordinator's name, in the certificate's subject.
        now: with a time zone.
    """
    return new_authority_pair(f"Fieldfare {coordinator}", now, AUTHORITY_LIFE)


def issue_server(authority: PemPair, names: Sequence[str], now: datetime) -> PemPair:
    """Make a key and a certificate for the SuperLink, for a year or as long as the authority.

    Args:
        authority: who signs.
        names: DNS names and addresses that nodes know it by, the first one its subject; those
            of the loopback are added.
        now: with a time zone.

    Raises:
        KeysError: the authority's files are damaged, do not belong together, or it has ended.
    """
    return new_pair(authority, (*names, *LOOPBACK), CertificateUse.SERVER, now, SERVER_LIFE)
