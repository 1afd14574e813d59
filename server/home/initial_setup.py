"""The first setup of a coordinator: home, keys, authority, tokens, settings and Flower bundle.

The settings are written last: a home without them does not open, so none that was left half made
is taken for a whole one. The bundle, a few texts without code, is built here rather than by
Flower's tools: institutions list its hash, which so depends on the texts alone, not on a library
of compression, a clock or a version of Flower. It is kept as it was made, so that an upgrade of
this software changes nothing by itself, and replaced when the coordinator invites anew.
"""

import hashlib
import io
import secrets
import socket
import zipfile
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fieldfare.server.home.certificate_authority import issue_server, new_authority
from fieldfare.server.home.decision_log import DecisionKind, write_down
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.home.public_keys import signing_public
from fieldfare.server.home.roster_key import RosterKeyPlace, check_place, make_roster_key
from fieldfare.server.home.settings import (
    DEFAULT_LOCAL_PORT,
    CoordinatorSettings,
    load_settings,
    settings_text,
)
from fieldfare.shared.errors import KeysError, UsageError
from fieldfare.shared.protocol.identity import public_hex
from fieldfare.shared.study.toml import parse_toml
from fieldfare.shared.system.addresses import ip_of
from fieldfare.shared.system.certificates import PemPair, known_as, valid_until
from fieldfare.shared.system.key_files import read_signing_key, signing_pem
from fieldfare.shared.system.private_files import (
    create_private,
    folder_lock,
    read_private,
    read_public,
    replace_private,
)

FOLDER: Final = "flower-app"
FILES: Final = ("pyproject.toml", "README.md")  # Flower expects the first one first
MANIFEST: Final = ".info/CONTENT"
_OLDEST: Final = (1980, 1, 1, 0, 0, 0)  # as far back as a zip file's clock goes


def build_bundle() -> bytes:
    """Return the bundle: a zip file that is the same bytes wherever it is built."""
    folder = resources.files("fieldfare.server.superlink").joinpath(FOLDER)
    contents = {name: folder.joinpath(name).read_bytes() for name in FILES}
    # Flower's format: path, sha256 and size in bits of every file.
    manifest = "\n".join(
        f"{name},{hashlib.sha256(content).hexdigest()},{len(content) * 8}"
        for name, content in contents.items()
    )
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_STORED) as archive:
        for name, content in {**contents, MANIFEST: manifest.encode()}.items():
            archive.writestr(_entry(name), content)
    return written.getvalue()


def bundle_hash(bundle: bytes) -> str:
    """Return a bundle's SHA-256, hex, as institutions list it."""
    return hashlib.sha256(bundle).hexdigest()


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _OLDEST)
    entry.create_system = 3  # Unix, whatever this is
    entry.external_attr = 0o644 << 16
    return entry


# -- bundle file ----------------------------------------------------------------------------------


def keep_bundle(home: CoordinatorHome) -> str:
    """Keep the bundle of the installed software; returns its SHA-256, hex.

    Raises:
        OSError: the disk refuses it.
    """
    content = build_bundle()
    replace_private(home.bundle_file, content)
    replace_private(home.bundle_hash, f"{bundle_hash(content)}\n".encode())
    return bundle_hash(content)


def kept_bundle(home: CoordinatorHome) -> bytes:
    """Return the bundle that runs are started with, the one that institutions list.

    Raises:
        KeysError: missing, or another one than its hash says.
    """
    content = read_public(home.bundle_file)
    listed = read_public(home.bundle_hash).strip().decode(errors="replace")
    if bundle_hash(content) != listed:
        raise KeysError(
            f"{home.bundle_file}: expected the bundle with the hash in {home.bundle_hash.name}, "
            "found another one: restore both from your backup, or invite every institution anew "
            "with `fieldfare coordinator invitation`"
        )
    return content


# -- first setup ----------------------------------------------------------------------------------

TOKEN_BYTES: Final = 32
RENEW_BEFORE: Final = timedelta(days=30)
RENEW_WAIT: Final = 10.0  # seconds for another renewal
FORMER: Final = ".former"  # suffix of studies that an earlier online key signed
IN_THE_HOME: Final = RosterKeyPlace()


@dataclass(frozen=True)
class CoordinatorSetup:
    """The operator's answers when a coordinator is founded.

    Attributes:
        name: the name that institutions see.
        address: host:port where nodes find it.
        contact: how to reach its people.
        names: further names of its certificate.
        bind: host:port to listen at; empty: every interface, at the address's port.
        local_port: on the loopback address, for this host's own commands.
    """

    name: str
    address: str
    contact: str = ""
    names: tuple[str, ...] = ()
    bind: str = ""
    local_port: int = DEFAULT_LOCAL_PORT


def create_coordinator(
    path: Path,
    setup: CoordinatorSetup,
    now: datetime,
    *,
    passphrase: bytes | None = None,
    roster_key: RosterKeyPlace = IN_THE_HOME,
) -> CoordinatorHome:
    """Make a coordinator's home with all its secrets.

    Args:
        path: a new or an empty folder.
        setup: names and addresses.
        now: with a time zone; certificates begin and end by it.
        passphrase: of the online key; None leaves it unprotected but for the file's mode.
        roster_key: where the roster key is made.

    Raises:
        StudyError: lists every mistake in `setup`.
        UsageError: something is there already; nothing is overwritten.
        KeysError, PackageError: the token of the roster key makes none.
        OSError: the disk or a folder refuses it.
    """
    text = settings_text(  # checked before anything is made
        setup.name,
        setup.address,
        contact=setup.contact,
        names=setup.names,
        bind=setup.bind,
        local_port=setup.local_port,
    )
    settings = parse_toml(text, CoordinatorSettings, "coordinator")
    check_place(roster_key)
    home = CoordinatorHome.create(path)
    held = make_roster_key(home, roster_key)
    key = Ed25519PrivateKey.generate()
    create_private(home.signing_key, signing_pem(key, passphrase))
    create_private(home.signing_public, f"{public_hex(key)}\n".encode())
    authority = new_authority(settings.name, now)
    create_private(home.authority, authority.certificate)
    create_private(home.authority_key, authority.key)
    _write_server(home, issue_server(authority, (settings.host, *settings.names), now))
    make_tokens(home)
    keep_bundle(home)
    keys = {"coordinator": public_hex(key), "roster_key": held.public}
    write_down(home, DecisionKind.FOUNDING, {"name": settings.name, **keys})
    create_private(home.settings, text.encode())
    return home


def make_tokens(home: CoordinatorHome) -> None:
    """Make both bearer tokens, where there are none.

    Raises:
        UsageError: one is there; nothing is overwritten.
        OSError: the disk refuses it.
    """
    for token in (home.control_token, home.runtime_token):
        create_private(token, secrets.token_hex(TOKEN_BYTES).encode())


def free_port(first: int, most: int = 100) -> int:
    """Return the first free port of the loopback address, from `first` on.

    A coordinator that is founded but does not run listens nowhere: two such may get the same one,
    and the second to start is told to change it. Where none of `most` is free, `first`.
    """
    for port in range(first, first + most):
        with socket.socket() as place:
            try:
                place.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    return first


def renew_server(home: CoordinatorHome, now: datetime) -> datetime:
    """Replace the SuperLink's certificate and key by new ones of the same authority.

    The names are those in the settings now. After a crash between the two files the SuperLink
    does not start; calling this again makes both anew.

    Returns:
        When the new certificate ends.

    Raises:
        StudyError: the settings have mistakes.
        KeysError: the authority's files are missing or damaged, or it has ended.
        UsageError: another renewal is at work.
        OSError: the disk refuses it.
    """
    settings = load_settings(home)
    authority = PemPair(read_public(home.authority), read_private(home.authority_key))
    with folder_lock(home.server_key.parent, RENEW_WAIT) as alone:
        if not alone:  # the SuperLink does this by itself: key and certificate of two fit nobody
            raise UsageError(f"{home.server_key.parent}: expected one renewal at a time: try again")
        made = issue_server(authority, (settings.host, *settings.names), now)
        write_down(
            home, DecisionKind.CERTIFICATE, {"names": ", ".join((settings.host, *settings.names))}
        )
        _write_server(home, made)
    return valid_until(made.certificate)


def renew_where_due(home: CoordinatorHome, now: datetime) -> datetime | None:
    """Renew the SuperLink's certificate where it has less than 30 days left, under its authority.

    Nodes trust the authority, so they take the new one as they took the old one.

    Returns:
        When the new certificate ends; None where nothing was due, or the authority ends as soon.

    Raises:
        StudyError: the settings have mistakes.
        KeysError: a file is missing or damaged, or the authority has ended.
        OSError: the disk refuses it.
    """
    ends = valid_until(read_public(home.server_certificate))
    least = min(now + RENEW_BEFORE, valid_until(read_public(home.authority)))
    return renew_server(home, now) if ends < least else None


def certificate_trouble(home: CoordinatorHome, now: datetime) -> str:
    """Return the SuperLink certificate's present or coming problem, in words; else nothing.

    Raises:
        StudyError: the settings have mistakes.
        KeysError: the certificate is missing or damaged.
    """
    certificate, host = read_public(home.server_certificate), load_settings(home).host
    if str(ip_of(host) or host) not in known_as(certificate):
        return (
            f"the SuperLink's certificate is not good for {host}: fieldfare coordinator renew "
            "certificate"
        )
    ends = valid_until(certificate)
    if ends - now < RENEW_BEFORE:
        return (
            f"the SuperLink's certificate ends {ends:%Y-%m-%d}: fieldfare coordinator renew "
            "certificate"
        )
    return ""


def load_signing_key(home: CoordinatorHome, passphrase: bytes | None) -> Ed25519PrivateKey:
    """Load the coordinator's online key.

    Raises:
        KeysError: missing, open to others, another kind of key, a wrong, missing or needless
            passphrase, or a public half in signing.pub that is not this key's.
    """
    key = read_signing_key(home.signing_key, passphrase)
    if signing_public(home) != public_hex(key):
        raise KeysError(
            f"{home.signing_public}: expected the public half of {home.signing_key}, found "
            "another: restore both from your backup, or make a new one with `fieldfare "
            "coordinator renew online-key`"
        )
    return key


def renew_online_key(home: CoordinatorHome, passphrase: bytes | None) -> tuple[str, ...]:
    """Replace the online key; it counts once a roster names it and members accepted that.

    Studies that the former one signed are set aside, since no member takes them any more. After a
    crash call it again.

    Args:
        home: the coordinator's.
        passphrase: of the new key.

    Returns:
        The ids of the studies that were set aside.

    Raises:
        OSError: the disk refuses it.
    """
    key = Ed25519PrivateKey.generate()
    write_down(home, DecisionKind.ONLINE_KEY, {"coordinator": public_hex(key)})
    studies = sorted(home.studies.glob("*.signed"))
    for path in studies:
        path.replace(path.with_suffix(FORMER))
    replace_private(home.signing_key, signing_pem(key, passphrase))
    replace_private(home.signing_public, f"{public_hex(key)}\n".encode())
    return tuple(path.stem for path in studies)


def _write_server(home: CoordinatorHome, pair: PemPair) -> None:
    replace_private(home.server_key, pair.key)
    replace_private(home.server_certificate, pair.certificate)
