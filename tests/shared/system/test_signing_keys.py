"""What every place of an identity does alike: a file, a file under a passphrase, a token."""

import copy
import importlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.support.system.tokens import LIBRARY, PIN, Token

from fieldfare.shared.errors import KeysError
from fieldfare.shared.protocol.identity import check_rotation, public_hex, state_rotation
from fieldfare.shared.protocol.messages import IdentitySigner
from fieldfare.shared.system.key_files import read_signing_key, signing_pem
from fieldfare.shared.system.private_files import create_private
from fieldfare.shared.system.token_keys import TokenUri, make_token_key, open_token_key

PASSPHRASE: Final = b"a long enough passphrase"

Again = Callable[[], Ed25519PrivateKey]


@pytest.fixture(params=["file", "passphrase", "token"])
def key_twice(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Ed25519PrivateKey, Again]:
    """A new key, and what loads it again."""
    if request.param == "token":
        uri = request.getfixturevalue("token").uri()
        return make_token_key(uri, PIN), lambda: open_token_key(uri, PIN)
    secret = PASSPHRASE if request.param == "passphrase" else None
    key, path = Ed25519PrivateKey.generate(), tmp_path / "key.pem"
    create_private(path, signing_pem(key, secret))
    return key, lambda: read_signing_key(path, secret)


def test_it_signs_and_its_public_half_verifies(
    key_twice: tuple[Ed25519PrivateKey, Again],
) -> None:
    key, again = key_twice
    for content in (b"", b"a", os.urandom(100_000)):
        signature = key.sign(content)
        assert len(signature) == 64
        key.public_key().verify(signature, content)
        with pytest.raises(InvalidSignature):
            key.public_key().verify(signature, content + b"x")
        assert again().sign(content) == signature  # RFC 8032 section 5.1.6: no chance in it
    assert public_hex(again()) == public_hex(key)
    assert len(public_hex(key)) == 64


def test_it_serves_wherever_an_identity_is_asked_for(
    key_twice: tuple[Ed25519PrivateKey, Again],
) -> None:
    key, other = key_twice[0], Ed25519PrivateKey.generate()
    for old, new in ((key, other), (other, key)):
        statement = state_rotation("bank-a", old, new)
        assert check_rotation(statement, "bank-a", public_hex(old)).new == public_hex(new)
    assert IdentitySigner(key).sign(b"x") == key.sign(b"x")
    with ThreadPoolExecutor(8) as pool:
        signed = [*pool.map(key.sign, [b"%d" % n for n in range(64)])]
    assert signed == [key.sign(b"%d" % n) for n in range(64)]


# -- a token alone --------------------------------------------------------------------------------


def test_a_tokens_key_cannot_be_taken_out(token: Token) -> None:
    key = make_token_key(token.uri(), PIN)
    takes: tuple[Callable[[], object], ...] = (
        key.private_bytes_raw,
        lambda: key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        lambda: signing_pem(key, PASSPHRASE),
    )
    for take in takes:
        with pytest.raises(KeysError, match="request for a copy"):
            take()
    assert copy.copy(key) is copy.deepcopy(key) is key
    said = importlib.import_module("pkcs11").Attribute
    assert (key._private[said.EXTRACTABLE], key._private[said.SENSITIVE]) == (False, True)


def test_a_label_is_used_once(token: Token) -> None:
    uri = token.uri()
    key = make_token_key(uri, PIN)
    with pytest.raises(KeysError, match="a label of its own"):
        make_token_key(uri, PIN)
    assert public_hex(open_token_key(uri, PIN)) == public_hex(key)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("object=", "object=nothing-", "NoSuchKey"),
        ("token=", "token=other-", "NoSuchToken"),
        (str(LIBRARY), "/usr/lib/none.so", "expected a PKCS#11 library"),
        (str(LIBRARY), __file__, "expected a PKCS#11 library"),
    ],
)
def test_what_is_not_there_is_named(token: Token, old: str, new: str, said: str) -> None:
    uri = token.uri()
    make_token_key(uri, PIN)
    with pytest.raises(KeysError, match=said):
        open_token_key(uri.replace(old, new), PIN)
    with pytest.raises(KeysError, match="expected the PIN"):
        open_token_key(uri, None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "pkcs11:",
        "file:token=a;object=b?module-path=/c",
        "pkcs11:token=a;object=b",
        "pkcs11:token=a?module-path=/c",
        "pkcs11:token=;object=b?module-path=/c",
        "pkcs11:token=a;object=b;slot-id=1?module-path=/c",
        "pkcs11:token=a;object=b;type=public?module-path=/c",
        "pkcs11:token=a;object=b?module-path=/c&pin-value=1234",
        "pkcs11:token=a;object=b;pin-value=1234?module-path=/c",
        "pkcs11:token=a;object=b?module-path=/c&pin-source=file:/pin",
    ],
)
def test_another_uri_is_refused_and_a_pin_never_repeated(text: str) -> None:
    with pytest.raises(KeysError, match="expected") as caught:
        TokenUri.parse(text)
    assert "1234" not in str(caught.value)
    assert ("without a PIN" in str(caught.value)) == ("pin-" in text)


def test_a_uri_is_read() -> None:
    found = TokenUri.parse("pkcs11:object=my%20key;token=bank;type=private?module-path=/a/b.so")
    assert found == TokenUri(module="/a/b.so", token="bank", label="my key")  # noqa: S106 -- a label
