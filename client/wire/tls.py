"""TLS with certificates on both sides, where custodian and node run on two machines.

There is no other way over TCP: nothing here or in the service can listen or connect in
plaintext. The authority must be one that signs for this link only, and the node's
certificate must carry the name that the custodian expects, so that another certificate of
the same authority opens nothing.
"""

import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc

from fieldfare.shared.errors import UsageError

READABLE_BY_OTHERS: Final = 0o077
# The names of a verified certificate (RFC 5280, section 4.2.1.6), as gRPC reports them.
PEER_NAMES: Final = "x509_subject_alternative_name"


@dataclass(frozen=True)
class TlsFiles:
    """PEM files of one side: its certificate chain, its key, and the authority of the other's."""

    certificate: Path
    key: Path
    authority: Path

    def server_credentials(self) -> grpc.ServerCredentials:
        """Return credentials that ask every client for a certificate.

        Raises:
            UsageError: a file that cannot be read, or a key that others may read.
        """
        pair = (self._private_key(), _read(self.certificate))
        return grpc.ssl_server_credentials(
            [pair], root_certificates=_read(self.authority), require_client_auth=True
        )

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """Return credentials that show this side's certificate and check the other's.

        Raises:
            UsageError: a file that cannot be read, or a key that others may read.
        """
        return grpc.ssl_channel_credentials(
            _read(self.authority), self._private_key(), _read(self.certificate)
        )

    def _private_key(self) -> bytes:
        content = _read(self.key)
        if stat.S_IMODE(self.key.stat().st_mode) & READABLE_BY_OTHERS:
            raise UsageError(f"{self.key}: expected mode 0600: chmod 600 it, or make a new key")
        return content


@dataclass(frozen=True)
class TlsPort:
    """A TCP port that a custodian listens at; port 0 lets the system choose.

    Attributes:
        node: the subject alternative name in the certificate of the node that may connect.
    """

    host: str
    port: int
    files: TlsFiles
    node: str

    def admits(self, peer: Mapping[str, Iterable[bytes]]) -> bool:
        """Say whether a verified certificate is the node's (gRPC's authentication context)."""
        return self.node.encode() in set(peer.get(PEER_NAMES, ()))


@dataclass(frozen=True)
class TlsTarget:
    """A custodian's port as its node knows it; the custodian's certificate must name `host`."""

    host: str
    port: int
    files: TlsFiles


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: expected a readable PEM file, found: {error.strerror}") from None
