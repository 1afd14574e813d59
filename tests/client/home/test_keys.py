"""Keys load or say why not; Flower and OpenSSH take the node key; a rotation survives a crash."""

import base64
import fcntl
import os
import shutil
import subprocess
from argparse import Namespace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from fieldfare.client.home import keys
from fieldfare.client.home.keys import (
    identity_fingerprint,
    load_holdout_key,
    load_identity,
    load_node_key,
    node_fingerprint,
    public_identity,
    revoke_identity,
    rotate_identity,
)
from fieldfare.client.home.layout import INVENTED, Home
from fieldfare.client.institution.initial_setup import create_institution
from fieldfare.shared.errors import KeysError
from fieldfare.shared.protocol.identity import check_revocation, check_rotation, public_hex
from fieldfare.shared.system.key_files import plain_pem
from fieldfare.shared.system.private_files import replace_private

PASSPHRASE = b"correct horse battery"

needs_ssh_keygen = pytest.mark.skipif(
    shutil.which("ssh-keygen") is None, reason="ssh-keygen not installed"
)


@pytest.fixture
def protected(tmp_path: Path) -> Home:
    return create_institution(tmp_path / "protected", "bank-a", passphrase=PASSPHRASE)


def openssh(key: ec.EllipticCurvePrivateKey | Ed25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())


def pkcs8(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | X25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def refusal_of_identity(home: Home, passphrase: bytes | None = None) -> str:
    with pytest.raises(KeysError) as refused:
        load_identity(home, passphrase)
    assert "correct horse" not in str(refused.value)
    return str(refused.value)


# -- the identity ---------------------------------------------------------------------------


def test_an_identity_is_the_key_whose_public_half_is_told(home: Home, protected: Home) -> None:
    assert public_hex(load_identity(home, None)) == public_identity(home)
    assert public_hex(load_identity(protected, PASSPHRASE)) == public_identity(protected)
    assert b"ENCRYPTED" in protected.identity_key.read_bytes()


def test_the_right_passphrase_or_none(home: Home, protected: Home) -> None:
    assert "expected a passphrase, found none" in refusal_of_identity(protected)
    assert "passphrase, found another" in refusal_of_identity(protected, b"correct horse?")
    assert "found one without any" in refusal_of_identity(home, PASSPHRASE)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_may_read_is_not_used(home: Home, mode: int) -> None:
    for path in (home.identity_key, home.node_key, home.holdout_key):
        path.chmod(mode)
    assert "chmod 600" in refusal_of_identity(home)
    for load in (load_node_key, load_holdout_key):
        with pytest.raises(KeysError, match="chmod 600"):
            load(home)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "expected a PKCS8 PEM key"),
        (b"junk", "expected a PKCS8 PEM key"),
        (plain_pem(Ed25519PrivateKey.generate())[:-40], "expected a PKCS8 PEM key"),
        (pkcs8(ec.generate_private_key(ec.SECP384R1())), "another kind"),
        (pkcs8(X25519PrivateKey.generate()), "another kind"),
        (openssh(Ed25519PrivateKey.generate()), "expected"),
    ],
    # Keys are fresh in every process; without ids of their own, workers would disagree.
    ids=["empty", "junk", "cut", "p384", "x25519", "openssh"],
)
def test_what_is_no_identity_is_refused(home: Home, content: bytes, said: str) -> None:
    home.identity_key.write_bytes(content)
    assert said in refusal_of_identity(home)


def test_another_identity_than_the_one_told_is_refused(home: Home) -> None:
    other = Ed25519PrivateKey.generate()
    home.identity_key.write_bytes(plain_pem(other))
    told = refusal_of_identity(home)
    assert f"it is {public_hex(other)}; write that" in told
    home.identity_public.write_text(public_hex(other))  # the remedy works
    load_identity(home, None)


@pytest.mark.parametrize("text", ["", "0" * 63, "0" * 65, "G" * 64, "é" * 32])
def test_what_is_no_public_key_is_refused(home: Home, text: str) -> None:
    home.identity_public.write_text(text)
    with pytest.raises(KeysError, match="64 hexadecimal digits"):
        public_identity(home)


def test_missing_keys_are_named(home: Home) -> None:
    for path in (home.identity_key, home.node_key, home.holdout_key, home.node_public):
        path.unlink()
    assert str(home.identity_key) in refusal_of_identity(home)
    for load in (load_node_key, load_holdout_key, node_fingerprint):
        with pytest.raises(KeysError, match="No such file"):
            load(home)


# -- the node and hold-out keys -------------------------------------------------------------


def test_flower_takes_the_node_key(home: Home) -> None:
    """Both of Flower's own loaders: at the node, and where a node is registered."""
    register = pytest.importorskip("flwr.cli.supernode.register")
    supernode = pytest.importorskip("flwr.supernode.cli.flower_supernode")
    asymmetric = pytest.importorskip("flwr.supercore.primitives.asymmetric")
    arguments = Namespace(
        auth_supernode_private_key=str(home.node_key), auth_supernode_public_key=None
    )
    private, public = supernode._try_setup_client_authentication(arguments)
    assert private.private_numbers() == load_node_key(home).private_numbers()
    registered = register.try_load_public_key(home.node_public)
    assert registered == asymmetric.public_key_to_bytes(public)


@needs_ssh_keygen
def test_openssh_reads_the_node_key_and_tells_the_same_fingerprint(home: Home) -> None:
    def keygen(*arguments: str | Path) -> str:
        return subprocess.run(
            ["ssh-keygen", *arguments], capture_output=True, text=True, check=True
        ).stdout

    derived = keygen("-y", "-f", home.node_key).split()[:2]
    assert derived == home.node_public.read_text().split()[:2]
    bits, digest, *_ = keygen("-l", "-f", home.node_public).split()
    told = base64.b64decode(digest.removeprefix("SHA256:") + "=").hex()
    assert (bits, told) == ("384", node_fingerprint(home).replace(" ", ""))


@needs_ssh_keygen
def test_a_node_key_that_ssh_keygen_made_is_taken(home: Home, tmp_path: Path) -> None:
    made = tmp_path / "made"
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ecdsa", "-b", "384", "-N", "", "-f", made], check=True
    )
    home.node_key.write_bytes(made.read_bytes())
    home.node_public.write_bytes(made.with_suffix(".pub").read_bytes())
    load_node_key(home)
    node_fingerprint(home)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"junk", "OpenSSH format"),
        (pkcs8(ec.generate_private_key(ec.SECP384R1())), "OpenSSH format"),
        (openssh(ec.generate_private_key(ec.SECP256R1())), "P-384"),
        (openssh(Ed25519PrivateKey.generate()), "P-384"),
    ],
)
def test_what_is_no_node_key_is_refused(home: Home, content: bytes, said: str) -> None:
    home.node_key.write_bytes(content)
    with pytest.raises(KeysError, match=said):
        load_node_key(home)


@needs_ssh_keygen
def test_a_node_key_under_a_passphrase_is_refused(home: Home) -> None:
    """Flower cannot ask for one."""
    subprocess.run(["ssh-keygen", "-q", "-p", "-N", "secret", "-f", home.node_key], check=True)
    with pytest.raises(KeysError, match="without a passphrase"):
        load_node_key(home)


@pytest.mark.parametrize("content", [b"", b"x" * 31, b"x" * 33, b"0f" * 32])
def test_a_holdout_key_has_32_bytes(home: Home, content: bytes) -> None:
    assert len(load_holdout_key(home)) == 32
    home.holdout_key.write_bytes(content)
    with pytest.raises(KeysError, match="expected 32 bytes"):
        load_holdout_key(home)


def test_only_a_home_that_says_that_it_is_invented_has_a_simulations_holdout_key(
    home: Home,
) -> None:
    home.holdout_key.write_bytes(b"x" * 64)
    (home.path / INVENTED).touch()
    assert load_holdout_key(home) == b"x" * 64


def test_a_node_public_key_of_no_kind_is_refused(home: Home) -> None:
    home.node_public.write_text("ssh-something AAAA")
    with pytest.raises(KeysError, match="OpenSSH public key"):
        node_fingerprint(home)


# -- rotation and revocation ----------------------------------------------------------------


def test_a_rotation_leaves_a_new_key_and_a_statement_by_both(home: Home) -> None:
    old, before = public_identity(home), identity_fingerprint(home)
    done = rotate_identity(home, "bank-a", None)
    assert (done.old, done.new) == (old, public_identity(home))
    assert public_hex(load_identity(home, None)) == done.new != old
    assert identity_fingerprint(home) != before
    stated = check_rotation(done.statement.read_bytes(), "bank-a", old)
    assert (stated.old, stated.new) == (done.old, done.new)
    assert done.statement == home.rotations / f"{old}.signed"  # the old public key stays
    assert Home.open(home.path) == home


def test_the_old_private_key_is_nowhere_in_the_home(home: Home) -> None:
    old = home.identity_key.read_bytes().split(b"\n")[1]
    rotate_identity(home, "bank-a", None)
    files = [path.read_bytes() for path in home.path.rglob("*") if path.is_file()]
    assert not [content for content in files if old in content]


def test_rotations_chain_back_to_the_first_key(home: Home) -> None:
    first = public_identity(home)
    for _ in range(3):
        rotate_identity(home, "bank-a", None)
    key, steps = first, 0
    while (statement := home.rotations / f"{key}.signed").exists():
        key, steps = check_rotation(statement.read_bytes(), "bank-a", key).new, steps + 1
    assert (key, steps) == (public_identity(home), 3)


def test_a_rotation_keeps_the_passphrase(protected: Home) -> None:
    old = public_identity(protected)
    with pytest.raises(KeysError):
        rotate_identity(protected, "bank-a", None)
    assert public_identity(protected) == old
    rotate_identity(protected, "bank-a", PASSPHRASE)
    assert public_hex(load_identity(protected, PASSPHRASE)) != old
    refusal_of_identity(protected)


@pytest.mark.parametrize("survived", [0, 1, 2])
def test_a_rotation_cut_short_leaves_the_old_identity_and_can_be_repeated(
    home: Home, monkeypatch: pytest.MonkeyPatch, survived: int
) -> None:
    """Power fails before the statement, before identity.pub, and before identity.pem."""
    old = home.identity_key.read_bytes()
    done: list[Path] = []

    def failing(path: Path, content: bytes) -> None:
        if len(done) == survived:
            raise OSError("power failed")
        done.append(path)
        replace_private(path, content)

    former = public_identity(home)
    monkeypatch.setattr(keys, "replace_private", failing)
    with pytest.raises(OSError, match="power failed"):
        rotate_identity(home, "bank-a", None)
    monkeypatch.undo()
    assert home.identity_key.read_bytes() == old
    if survived == 2:  # the key's own public half is told; writing it is the remedy
        assert former in refusal_of_identity(home)
        home.identity_public.write_text(former)
    again = rotate_identity(home, "bank-a", None)
    assert check_rotation(again.statement.read_bytes(), "bank-a", former).new == again.new
    assert len(list(home.rotations.iterdir())) == 1


def test_one_rotation_at_a_time(home: Home) -> None:
    old = public_identity(home)
    descriptor = os.open(home.keys, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)  # the weakest that another could hold
    with pytest.raises(KeysError, match="one rotation at a time"):
        rotate_identity(home, "bank-a", None)
    os.close(descriptor)
    assert public_identity(home) == old
    rotate_identity(home, "bank-a", None)


def test_a_revocation_is_a_statement_and_changes_nothing_here(protected: Home) -> None:
    before = {path: path.read_bytes() for path in protected.keys.rglob("*") if path.is_file()}
    statement = revoke_identity(protected, "bank-a", PASSPHRASE)
    key = public_identity(protected)
    assert check_revocation(statement, "bank-a", key).key == key
    assert before == {path: path.read_bytes() for path in before}
    with pytest.raises(KeysError):
        revoke_identity(protected, "bank-a", None)
