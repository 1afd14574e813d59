"""Ed25519 keys in a hardware token, reached by PKCS#11 (version 3.0), as a key in a file is.

A URI says where a key is (RFC 7512): `pkcs11:token=bank;object=identity?module-path=/usr/lib/x.so`.
It never holds a PIN: others read command lines and settings. The private key never leaves the
token; `TokenKey` signs there and knows its public half.
"""

import hashlib
import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Any, Final, NoReturn, Self
from urllib.parse import unquote

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from fieldfare.shared.errors import KeysError, PackageError
from fieldfare.shared.system.private_files import PKCS11

_FORM: Final = "pkcs11:token=LABEL;object=LABEL?module-path=LIBRARY"
_PUBLIC_BYTES: Final = 32
# PKCS#11 3.0 section 2.3.2: the curve as a PrintableString; the point as an OCTET STRING.
_CURVE: Final = b"\x13\x0cedwards25519"
_POINT: Final = b"\x04\x20"
_PROBE: Final = b"fieldfare: is this the key of its public half?"
_REFUSED: Final[set[bytes]] = set()  # by this process's tokens: hashes of token and PIN
_REMEDIES: Final = {
    "PinIncorrect": "the PIN is another one; a few wrong ones lock the token",
    "PinLocked": "wrong PINs locked the token: its security officer unlocks it",
    "NoSuchToken": "insert it, start its service, or fix token= in the URI",
    "NoSuchKey": "fix object= in the URI, or restore the key as the token's maker says",
}


@dataclass(frozen=True, kw_only=True)
class TokenUri:
    """Where a key is: the library that speaks to the token, the token's label, the key's label."""

    module: str
    token: str
    label: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a URI (RFC 7512 section 2.3).

        Raises:
            KeysError: no such URI, an attribute that is not understood, or a PIN in it.
        """
        path, _, query = text.removeprefix(PKCS11).partition("?")
        pairs = [pair.partition("=") for pair in (*path.split(";"), *query.split("&")) if pair]
        found = {name: unquote(value) for name, _, value in pairs}
        if any(name.startswith("pin-") for name in found):
            raise KeysError(
                "expected a PKCS#11 URI without a PIN, found one with it: others read command "
                "lines and settings; leave it out, change the PIN, and give it when asked"
            )
        private = found.pop("type", "private") == "private"
        named = set(found) == {"token", "object", "module-path"} and all(found.values())
        if not (text.startswith(PKCS11) and private and named):
            raise KeysError(f"expected {_FORM}, found another form: write it so")
        return cls(module=found["module-path"], token=found["token"], label=found["object"])


class TokenKey(Ed25519PrivateKey):
    """An Ed25519 private key in a token. It cannot be exported or copied; threads may share it."""

    def __init__(self, private: Any, public: bytes, place: TokenUri) -> None:
        """Use `open_token_key` or `make_token_key`."""
        self._private, self._public, self._place = private, public, place
        self._mechanism = _library("pkcs11").Mechanism.EDDSA
        self._lock = Lock()  # a session does one thing at a time

    def sign(self, data: bytes | bytearray | memoryview) -> bytes:
        """Return the 64-byte signature (RFC 8032), made in the token.

        Raises:
            KeysError: the token is gone, locked or refuses.
        """
        with self._lock, _faults(self._place):
            return bytes(self._private.sign(bytes(data), mechanism=self._mechanism))

    def public_key(self) -> Ed25519PublicKey:
        """Return the public half."""
        return Ed25519PublicKey.from_public_bytes(self._public)

    def private_bytes(
        self,
        encoding: object,
        format: object,  # noqa: A002 -- the library's name
        encryption_algorithm: object,
    ) -> NoReturn:
        """Refuse: it never leaves the token.

        Raises:
            KeysError: always.
        """
        del encoding, format, encryption_algorithm
        self.private_bytes_raw()

    def private_bytes_raw(self) -> NoReturn:
        """Refuse: it never leaves the token.

        Raises:
            KeysError: always.
        """
        raise KeysError(
            f"expected key {self._place.label!r} used in its token, found a request for a copy"
        )

    def __copy__(self) -> Self:
        """Return this key: there is only one."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return this key: there is only one."""
        del memo
        return self


def check_token(uri: str, pin: bytes | None) -> None:
    """Log in to the token of a URI and change nothing: before anything is made beside it.

    Raises:
        KeysError: as `open_token_key`, but for the key, which need not be there.
        PackageError: the extra is not installed.
    """
    place = TokenUri.parse(uri)
    with _faults(place):
        _session(place, pin, rw=False).close()


def open_token_key(uri: str, pin: bytes | None) -> TokenKey:
    """Open the key that a URI names, and try it against its public half.

    A process logs in once: later calls in it are answered whatever PIN they give.

    Raises:
        KeysError: no such URI, library, token or key, or a wrong PIN.
        PackageError: the extra is not installed.
    """
    place = TokenUri.parse(uri)
    with _faults(place):
        return _found(_session(place, pin, rw=False), place)


def make_token_key(uri: str, pin: bytes | None) -> TokenKey:
    """Make a key where a URI says, never to be extracted.

    Raises:
        KeysError: as `open_token_key`, or something of this label is there already.
        PackageError: the extra is not installed.
    """
    place = TokenUri.parse(uri)
    with _faults(place):
        session, pkcs11 = _session(place, pin, rw=True), _library("pkcs11")
        of_label = {pkcs11.Attribute.LABEL: place.label}
        if next(iter(session.get_objects(of_label)), None) is not None:
            raise KeysError(
                f"expected no object {place.label!r} in token {place.token!r} yet, found one: give "
                "the new key a label of its own"
            )
        curve = session.create_domain_parameters(
            pkcs11.KeyType.EC_EDWARDS, {pkcs11.Attribute.EC_PARAMS: _CURVE}, local=True
        )
        secret = {pkcs11.Attribute.SENSITIVE: True, pkcs11.Attribute.EXTRACTABLE: False}
        curve.generate_keypair(
            mechanism=pkcs11.Mechanism.EC_EDWARDS_KEY_PAIR_GEN,
            store=True,
            label=place.label,
            private_template=secret,
        )
        return _found(session, place)


def _library(name: str) -> Any:
    """Import a module of the extra; by name, so that nobody needs it who has no token."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        raise PackageError(
            "expected python-pkcs11 for a key in a token, found none: pip install 'fieldfare[hsm]'"
        ) from None


def _session(place: TokenUri, pin: bytes | None, *, rw: bool) -> Any:
    pkcs11, exceptions = _library("pkcs11"), _library("pkcs11.exceptions")
    if pin is None:
        raise KeysError(
            f"expected the PIN of token {place.token!r}, found none: type it when asked, or name a "
            "private file or descriptor that holds it (--passphrase-file /dev/fd/3)"
        )
    try:
        library = pkcs11.lib(place.module)
    except RuntimeError:
        raise KeysError(
            f"{place.module}: expected a PKCS#11 library, found none that loads: fix module-path= "
            "in the URI, or install the token's driver"
        ) from None
    mark = hashlib.sha256(place.token.encode() + b"\x00" + pin).digest()
    if mark in _REFUSED:
        raise KeysError(
            f"expected another PIN than the one that token {place.token!r} refused, found the "
            "same: it was not tried again, since a few wrong ones lock the token; start again with "
            "the PIN"
        )
    token = library.get_token(token_label=place.token)
    try:
        return token.open(rw=rw, user_pin=pin.decode(errors="replace"))
    except exceptions.UserAlreadyLoggedIn:
        return token.open(rw=rw)
    except exceptions.PinIncorrect:
        _REFUSED.add(mark)
        raise


def _found(session: Any, place: TokenUri) -> TokenKey:
    pkcs11 = _library("pkcs11")
    named = {"key_type": pkcs11.KeyType.EC_EDWARDS, "label": place.label}
    private = session.get_key(object_class=pkcs11.ObjectClass.PRIVATE_KEY, **named)
    public = session.get_key(object_class=pkcs11.ObjectClass.PUBLIC_KEY, **named)
    point = bytes(public[pkcs11.Attribute.EC_POINT])
    point = point if len(point) == _PUBLIC_BYTES else point.removeprefix(_POINT)
    if len(point) != _PUBLIC_BYTES:
        raise KeysError(
            f"{place.label!r}: expected an Ed25519 key in the token, found another kind"
        )
    key = TokenKey(private, point, place)
    try:
        key.public_key().verify(key.sign(_PROBE), _PROBE)
    except InvalidSignature:
        raise KeysError(
            f"{place.label!r}: expected two halves of one key in token {place.token!r}, found a "
            "public half that is not this key's"
        ) from None
    return key


@contextmanager
def _faults(place: TokenUri) -> Iterator[None]:
    """Turn what a token says into an error that says what to do; it repeats no secret."""
    try:
        yield
    except _library("pkcs11.exceptions").PKCS11Error as error:
        name = type(error).__name__
        remedy = _REMEDIES.get(name, "look whether the token is there and its service runs")
        raise KeysError(
            f"expected to use the key {place.label!r} in token {place.token!r}, found {name}: "
            f"{remedy}"
        ) from None
