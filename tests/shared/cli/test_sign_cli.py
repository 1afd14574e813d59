"""`fieldfare study sign` as the coordinator calls it."""

import os
import stat
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)

from fieldfare.shared.cli.root import run
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.identity import fingerprint, public_hex
from fieldfare.shared.protocol.roster import Roster
from fieldfare.shared.protocol.signed_files import open_study
from fieldfare.shared.study.file import load_study

STUDY = """
name = "small"
purpose = "tests"
[records]
label = "flagged"
units = 1000
prevalence = 0.02
[privacy]
epsilon = 1.0
delta = 1e-5
[[features]]
kind = "numeric"
name = "amount"
lower = 0
upper = 7
"""
PASSPHRASE = b"correct horse battery"


def write(path: Path, content: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


def pem(key: Ed25519PrivateKey, protection: KeySerializationEncryption | None = None) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection or NoEncryption())


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return write(tmp_path / "study.toml", STUDY.encode(), 0o644)


def sign(study: Path, key: Path, *more: str) -> int:
    return run(["study", "sign", str(study), "--key", str(key), *more])


def test_a_signed_study_opens_under_the_coordinators_key(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = Ed25519PrivateKey.generate()
    assert sign(study, write(tmp_path / "key.pem", pem(key))) == 0
    out, err = capsys.readouterr()
    roster = Roster(version=1, coordinator=public_hex(key), members=())
    opened = open_study(out.rstrip("\n").encode(), roster, Protection.EXACT)
    assert opened == load_study(study)
    assert opened.id in err
    assert fingerprint(bytes.fromhex(public_hex(key))) in err


def test_a_passphrase_comes_from_a_private_file(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = Ed25519PrivateKey.generate()
    protected = write(tmp_path / "key.pem", pem(key, BestAvailableEncryption(PASSPHRASE)))
    right = write(tmp_path / "right", PASSPHRASE + b"\n")
    wrong = write(tmp_path / "wrong", b"another passphrase\n")
    assert sign(study, protected, "--passphrase-file", str(right)) == 0
    assert sign(study, protected, "--passphrase-file", str(wrong)) == 2
    assert sign(study, protected) == 2
    plain = write(tmp_path / "plain.pem", pem(key))
    assert sign(study, plain, "--passphrase-file", str(right)) == 2
    right.chmod(0o644)
    capsys.readouterr()
    assert sign(study, protected, "--passphrase-file", str(right)) == 2
    assert PASSPHRASE.decode() not in "".join(capsys.readouterr())


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o611, 0o644])
def test_a_key_that_others_can_reach_signs_nothing(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], mode: int
) -> None:
    key = write(tmp_path / "key.pem", pem(Ed25519PrivateKey.generate()), mode)
    assert sign(study, key) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert f"found {stat.S_IMODE(mode):04o}" in err
    assert "chmod 600" in err


@pytest.mark.parametrize("content", [b"", b"-----BEGIN PRIVATE KEY-----\n", b"\x00" * 70_000])
def test_what_is_no_key_is_said_in_one_line(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    assert sign(study, write(tmp_path / "key.pem", content)) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)


def test_another_kind_of_key_or_none_is_refused(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    curve = generate_private_key(SECP384R1())
    content = curve.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    assert sign(study, write(tmp_path / "key.pem", content)) == 2
    assert sign(study, tmp_path / "nowhere.pem") == 2
    assert "Ed25519" in capsys.readouterr().err


def test_a_key_may_come_through_a_pipe(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pipe, content = tmp_path / "pipe", pem(Ed25519PrivateKey.generate())
    os.mkfifo(pipe, 0o644)
    writer = threading.Thread(target=pipe.write_bytes, args=(content,), daemon=True)
    writer.start()
    assert sign(study, pipe) == 0
    writer.join(60)
    assert capsys.readouterr().out.startswith("{")


def test_a_study_with_mistakes_is_not_signed(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = write(tmp_path / "key.pem", pem(Ed25519PrivateKey.generate()))
    study.write_text(STUDY.replace("delta = 1e-5", "delta = 2.0"))
    assert sign(study, key) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "privacy.delta" in err
