"""The link's authority of an institution: made, renewed with an overlap, asked to sign.

It lies in the custodian's home and signs two names: the custodian's own, and its node's. A file
with a key holds the certificate too and is replaced as a whole: a crash leaves the former pair or
the new one. Where the authority is near its end the custodian makes a new one beside it: both
are trusted until the former ends, and the custodian shows a certificate of the former until that
is due, by when the node, which asks every day, knows the new one.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding

from fieldfare.client.home.layout import Home
from fieldfare.client.wire import link
from fieldfare.client.wire.tls import TlsFiles
from fieldfare.shared.errors import KeysError, ProtocolError, UsageError
from fieldfare.shared.system.certificates import (
    CertificateUse,
    PemPair,
    known_as,
    new_authority_pair,
    new_pair,
    signed_request,
    valid_until,
)
from fieldfare.shared.system.private_files import (
    PRIVATE_FOLDER,
    folder_lock,
    read_private,
    read_public,
    replace_private,
)

LOCK_WAIT: Final = 10.0  # seconds
MAKE: Final = "fieldfare institution link"


@dataclass(frozen=True)
class LinkDays:
    """When the custodian's certificate of the link and its authority's end."""

    custodian: datetime
    authority: datetime


def link_files(home: Home) -> TlsFiles:
    """Return the custodian's side of the link: its pair in one file, and whom it trusts."""
    return TlsFiles(home.link_custodian, home.link_custodian, home.link_trusted)


def check_listens(home: Home, names: Sequence[str]) -> None:
    """Check that the settings say where a node on another machine reaches the custodian.

    Raises:
        UsageError: they name no place.
    """
    if not names:
        raise UsageError(
            f"{home.settings}: expected listen under [custodian], where the custodian waits for a "
            "node on another machine, found none: write it down first"
        )


def make_link(home: Home, names: Sequence[str], now: datetime, *, replace: bool = False) -> None:
    """Make the link's authority and the custodian's pair.

    Args:
        home: the institution's.
        names: of the custodian, as institution.toml says them.
        now: with a time zone.
        replace: put them in the place of others, which count no more from here on: a node that was
            taken over opens nothing by what it has.

    Raises:
        UsageError: there is one already, or no name.
        OSError: the disk refuses it.
    """
    check_listens(home, names)
    home.link.mkdir(PRIVATE_FOLDER, exist_ok=True)
    with _alone(home):
        if home.link_authority.exists() and not replace:
            raise UsageError(
                f"{home.link}: expected no authority yet, found one: it renews itself; --replace "
                "makes another one, and the node needs a new pair then"
            )
        _write_authority(home, now, former=b"")
        _write_own(home, names, now)


def look_after_link(home: Home, names: Sequence[str], now: datetime) -> tuple[str, ...]:
    """Renew what is due; what is in use stays in use where that fails.

    Returns:
        A sentence for each thing that was renewed.

    Raises:
        UsageError: no authority was made here.
        KeysError: a file is damaged, or the authority has ended.
        OSError: the disk refuses it.
    """
    if not home.link_authority.exists():
        raise UsageError(
            f"{home.link_authority}: expected the link's authority, found none: make it with "
            f"`{MAKE}`; a custodian listens at a port under mutual TLS or not at all"
        )
    with _alone(home):
        return tuple(_renewed(home, names, now))


def _renewed(home: Home, names: Sequence[str], now: datetime) -> list[str]:
    said, authority = [], _authority(home)
    trusted = _still_valid(read_public(home.link_trusted), now)
    ends = valid_until(authority.certificate)
    if ends - now < link.AUTHORITY_RENEW_BEFORE:
        if ends > now:
            _write_own(home, names, now)  # so that it is due only when the node knows the new one
        _write_authority(home, now, former=trusted)
        said.append("a new authority of the link signs from now on; the former is trusted still")
    elif _of(authority.certificate) not in trusted or trusted != read_public(home.link_trusted):
        others = trusted.replace(_of(authority.certificate), b"")
        replace_private(home.link_trusted, _of(authority.certificate) + others)
    if _own_is_due(home, names, now):
        _write_own(home, names, now)
        said.append(f"a new certificate of the custodian, until {link_days(home).custodian.date()}")
    return said


def sign_for_node(home: Home, request: bytes, now: datetime) -> link.RenewalAnswer:
    """Return what a node is told: its next certificate where it asks for one, and whom to trust.

    Raises:
        KeysError: no request that can be signed, or the authority is damaged or has ended.
    """
    trusted, signed = read_public(home.link_trusted), b""
    if request:
        names, use = (link.NODE_NAME,), CertificateUse.CLIENT
        signed = signed_request(_authority(home), request, names, use, now, link.PAIR_LIFE)
    return link.RenewalAnswer(certificate=signed.decode(), trusted=trusted.decode())


def first_node_pair(home: Home, now: datetime) -> tuple[bytes, bytes]:
    """Return the node's first pair, key and certificate in one, and whom it trusts; all PEM.

    Raises:
        KeysError: no authority was made here, or it is damaged or has ended.
    """
    names, use = (link.NODE_NAME,), CertificateUse.CLIENT
    return _in_one(new_pair(_authority(home), names, use, now, link.PAIR_LIFE)), read_public(
        home.link_trusted
    )


def link_days(home: Home) -> LinkDays:
    """Return when the link's certificates end here.

    Raises:
        KeysError: one is missing or damaged.
    """
    own, authority = read_private(home.link_custodian), read_private(home.link_authority)
    return LinkDays(valid_until(own), valid_until(authority))


def _own_is_due(home: Home, names: Sequence[str], now: datetime) -> bool:
    try:
        content = read_private(home.link_custodian)
        ends = valid_until(content)
        fits = link_files(home).newest() is not None
        last = min(now + link.RENEW_BEFORE, valid_until(_authority(home).certificate))
        return not fits or ends < last or known_as(content) != frozenset(names)
    except KeysError:
        return True


def _write_own(home: Home, names: Sequence[str], now: datetime) -> None:
    made = new_pair(_authority(home), names, CertificateUse.SERVER, now, link.PAIR_LIFE)
    replace_private(home.link_custodian, _in_one(made))


def _write_authority(home: Home, now: datetime, *, former: bytes) -> None:
    made = new_authority_pair(f"Fieldfare link {now:%Y-%m-%d}", now, link.AUTHORITY_LIFE)
    replace_private(home.link_trusted, made.certificate + former)
    replace_private(home.link_authority, _in_one(made))


def _authority(home: Home) -> PemPair:
    content = read_private(home.link_authority)
    return PemPair(content, content)


def _in_one(pair: PemPair) -> bytes:
    return pair.key + pair.certificate


def _of(content: bytes) -> bytes:
    """Return the certificates of a PEM file without what else is in it."""
    try:
        return b"".join(one.public_bytes(Encoding.PEM) for one in link.authorities_in(content))
    except ProtocolError as error:
        raise KeysError(str(error)) from None


def _still_valid(content: bytes, now: datetime) -> bytes:
    try:
        found = tuple(link.authorities_in(content))
    except ProtocolError as error:
        raise KeysError(str(error)) from None
    valid = (one for one in found if one.not_valid_after_utc > now)
    return b"".join(one.public_bytes(Encoding.PEM) for one in valid)


@contextmanager
def _alone(home: Home) -> Iterator[None]:
    """Lock the folder: the custodian and a command may write at once."""
    with folder_lock(home.link, LOCK_WAIT) as held:
        if not held:
            raise UsageError(f"{home.link}: expected one renewal at a time: try again")
        yield


def node_files(folder: Path, pair: bytes, trusted: bytes) -> TlsFiles:
    """Write a node's pair and whom it trusts into a folder, 0600.

    Raises:
        OSError: the disk refuses it.
    """
    made = TlsFiles(folder / "link.pem", folder / "link.pem", folder / "link-authority.pem")
    replace_private(made.authority, trusted)
    replace_private(made.certificate, pair)
    return made
