"""TLS with certificates on both sides, where custodian and node run on two machines.

There is no other way over TCP: nothing here or in the service can listen or connect in
plaintext. The authority must be one that signs for this link only, and the node's
certificate must carry the name that the custodian expects, so that another certificate of
the same authority opens nothing.

Certificates are renewed by replacing files, of one side at any time. Both sides look at
their files before each connection or call and show the newest pair that fits; connections that
are open go on, for as long as the certificate that opened them would open one. Key and certificate
may be one file, which is replaced as a whole.
"""

import logging
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from threading import Lock
from typing import Any, Final

import grpc
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from fieldfare.shared.errors import UsageError
from fieldfare.shared.system.clock import utc_now

READABLE_BY_OTHERS: Final = 0o077
# The names of a verified certificate (RFC 5280, section 4.2.1.6), as gRPC reports them.
PEER_NAMES: Final = "x509_subject_alternative_name"
PEER_CERTIFICATE: Final = "x509_pem_cert"

log: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class TlsFiles:
    """PEM files of one side: its certificate chain, its key, and the authority of the other's."""

    certificate: Path
    key: Path
    authority: Path

    def server_credentials(self) -> grpc.ServerCredentials:
        """Return credentials that ask every client for a certificate, and follow the files.

        Raises:
            UsageError: a file that cannot be read, or a key that others may read.
        """
        shown = self.content()
        renewed: Any = _Renewals(self, shown).next  # None is "no change", which the stubs lack
        return grpc.dynamic_ssl_server_credentials(
            _configuration(shown), renewed, require_client_authentication=True
        )

    def content(self) -> tuple[bytes, bytes, bytes]:
        """Return key, certificate and authority, PEM.

        Raises:
            UsageError: a file that cannot be read, or a key that others may read.
        """
        return self._private_key(), _read(self.certificate), _read(self.authority)

    def newest(self) -> tuple[bytes, bytes, bytes] | None:
        """Return `content`; None while somebody is in the middle of replacing the files.

        Key and certificate are two files: between their writing they fit nobody.
        """
        try:
            key, certificate, authority = self.content()
            x509.load_pem_x509_certificates(authority)
            own = load_pem_private_key(key, None).public_key()
            if own != x509.load_pem_x509_certificates(certificate)[0].public_key():
                return None
        # TypeError: a key with a passphrase
        except (UsageError, ValueError, TypeError, UnsupportedAlgorithm) as error:
            log.warning("the former certificate stays in use: %s", error)
            return None
        return key, certificate, authority

    def channel_credentials(
        self, content: tuple[bytes, bytes, bytes] | None = None
    ) -> grpc.ChannelCredentials:
        """Return credentials that show this side's certificate and check the other's.

        Args:
            content: as `content` gave it; None: read now.

        Raises:
            UsageError: a file that cannot be read, or a key that others may read.
        """
        key, certificate, authority = content or self.content()
        return grpc.ssl_channel_credentials(authority, key, certificate)

    def _private_key(self) -> bytes:
        content, mode = _read_with_mode(self.key)
        if mode & READABLE_BY_OTHERS:
            raise UsageError(f"{self.key}: expected mode 0600: chmod 600 it, or make a new key")
        return content


class _Renewals:
    """What gRPC is given before a handshake: each renewed pair once, to one handshake.

    gRPC exchanges what it shows while other handshakes read it: a pair for every handshake ended
    the process with a segmentation fault while half-open connections ran into their limit.
    """

    def __init__(self, files: TlsFiles, shown: tuple[bytes, bytes, bytes]) -> None:
        self._files, self._shown, self._turn = files, shown, Lock()

    def next(self) -> grpc.ServerCertificateConfiguration | None:
        """Return what connections are shown from now on; None: the same as before."""
        with self._turn:
            found = self._files.newest()
            if found is None or found == self._shown:
                return None
            self._shown = found
            return _configuration(found)


@dataclass(frozen=True)
class TlsPort:
    """A TCP port that a custodian listens at; port 0 lets the system choose.

    Attributes:
        node: the subject alternative name in the certificate of the node that may connect.
        clock: the present, with a time zone.
    """

    host: str
    port: int
    files: TlsFiles
    node: str
    clock: Callable[[], datetime] = utc_now

    def admits(self, peer: Mapping[str, Iterable[bytes]]) -> bool:
        """Say whether a verified certificate is the node's (gRPC's authentication context).

        Asked at every call: a connection that was opened under a certificate which has ended
        since, or under an authority that was replaced, carries nothing more.
        """
        if self.node.encode() not in set(peer.get(PEER_NAMES, ())):
            return False
        try:
            shown = x509.load_pem_x509_certificate(b"".join(peer.get(PEER_CERTIFICATE, ())))
            trusted = x509.load_pem_x509_certificates(_read(self.files.authority))
        except (UsageError, ValueError):
            return False
        now = self.clock()
        return now < shown.not_valid_after_utc and any(
            now < one.not_valid_after_utc and _signed_by(shown, one) for one in trusted
        )

    @property
    def address(self) -> str:
        """Host and port, as gRPC reads them."""
        return _address(self.host, self.port)


@dataclass(frozen=True)
class TlsTarget:
    """A custodian's port as its node knows it; the custodian's certificate must name `host`."""

    host: str
    port: int
    files: TlsFiles

    @property
    def address(self) -> str:
        """Host and port, as gRPC reads them."""
        return _address(self.host, self.port)


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _signed_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):  # ValueError: another issuer's name
        return False
    return True


def _configuration(content: tuple[bytes, bytes, bytes]) -> grpc.ServerCertificateConfiguration:
    key, certificate, authority = content
    return grpc.ssl_server_certificate_configuration([(key, certificate)], authority)


def _read(path: Path) -> bytes:
    return _read_with_mode(path)[0]


def _read_with_mode(path: Path) -> tuple[bytes, int]:
    """Return a file's bytes and mode, both of the open file: it may be replaced meanwhile."""
    try:
        with path.open("rb") as file:
            return file.read(), stat.S_IMODE(os.fstat(file.fileno()).st_mode)
    except OSError as error:
        raise UsageError(f"{path}: expected a readable PEM file, found: {error.strerror}") from None
