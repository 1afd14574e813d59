"""The commands as an auditor types them, who has a transcript and no home."""

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fieldfare.shared.cli.root import run
from fieldfare.shared.evidence.pack import (
    MANIFEST,
    PackSigner,
    listed_files,
    open_manifest,
    pack_bytes,
    packed_files,
)
from fieldfare.shared.protocol.identity import public_hex
from fieldfare.shared.protocol.messages import IdentitySigner
from fieldfare.shared.protocol.roster import COORDINATOR

KEPT = Path(__file__).parents[2] / "golden" / "transcripts" / "training"
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def made(tmp_path: Path, capsys: Capture) -> Path:
    out = tmp_path / "pack.zip"
    assert packed(out) == 0
    said = capsys.readouterr().out
    assert "nobody signed it" in said
    assert "22 of 23 questions answered" in said
    assert all(len(line) <= 80 for line in said.splitlines() if str(tmp_path) not in line)
    return out


def packed(out: Path, *more: str, transcript: Path = KEPT / "run.transcript") -> int:
    roster = ["--roster", str(KEPT / "roster.signed")]
    command = ["evidence", "pack", "--transcript", str(transcript), *roster, "--out", str(out)]
    return run([*command, *more])


def test_an_auditors_pack_is_whole_and_unsigned(made: Path, capsys: Capture) -> None:
    assert run(["evidence", "verify", str(made)]) == 0
    assert "UNSIGNED nobody signed it" in capsys.readouterr().out
    assert run(["evidence", "verify", str(made), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["intact"], said["signed"], said["key"]) == (True, False, None)
    assert run(["evidence", "verify", str(made), "--key", "ab" * 32]) == 1
    assert run(["evidence", "verify", str(made), "--roster", str(KEPT / "roster.signed")]) == 1


def test_a_key_that_its_own_roster_does_not_name_is_refused(
    made: Path, tmp_path: Path, capsys: Capture
) -> None:
    other = Ed25519PrivateKey.from_private_bytes(bytes(32))
    files = dict(packed_files(made.read_bytes()))
    of_nobody, _ = open_manifest(files.pop(MANIFEST))
    named = {"role": "coordinator", "maker": COORDINATOR, "key": public_hex(other)}
    manifest = of_nobody.model_copy(update=named)
    by = PackSigner(COORDINATOR, public_hex(other), IdentitySigner(other))
    path = tmp_path / "another.zip"
    path.write_bytes(pack_bytes(manifest, files, by))
    assert run(["evidence", "verify", str(path)]) == 1
    assert "ANOTHER KEY" in capsys.readouterr().out


@pytest.mark.parametrize("paper", [b"[" * 200_000, b"[]", b'{"body":{"roster":"7"}}', b"9" * 5000])
def test_a_roster_in_the_pack_that_cannot_be_read_is_said(
    tmp_path: Path, capsys: Capture, made: Path, paper: bytes
) -> None:
    other = Ed25519PrivateKey.from_private_bytes(bytes(32))
    of_nobody, _ = open_manifest(packed_files(made.read_bytes())[MANIFEST])
    files = {"papers/roster.signed": paper}
    named = {"role": "coordinator", "maker": COORDINATOR, "key": public_hex(other)}
    manifest = of_nobody.model_copy(update={**named, "files": listed_files(files)})
    path = tmp_path / "hostile.zip"
    by = PackSigner(COORDINATOR, public_hex(other), IdentitySigner(other))
    path.write_bytes(pack_bytes(manifest, files, by))
    assert run(["evidence", "verify", str(path)]) == 1
    assert "cannot be read" in " ".join(capsys.readouterr().out.split())


def test_a_changed_pack_is_refused(made: Path, capsys: Capture) -> None:
    content = bytearray(made.read_bytes())
    content[1000] ^= 1
    made.write_bytes(content)
    assert run(["evidence", "verify", str(made)]) == 1
    assert "CHANGED" in capsys.readouterr().out


def test_nothing_is_overwritten(made: Path, capsys: Capture) -> None:
    assert packed(made) == 2
    assert "expected a new file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "expected STUDY|RUN or --transcript FILE"),
        (["run-1", "--home", "nowhere"], "found none at nowhere"),
        (["run-1"], "found none at"),
        (["--transcript", "nowhere"], "either --roster or --coordinator-key"),
    ],
)
def test_what_is_missing_is_said(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["evidence", "pack", *arguments, "--out", "pack.zip"]) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "pack.zip").exists()


def test_what_is_no_pack_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pack.zip"
    path.write_bytes(b"PK\x05\x06" + bytes(18))
    assert run(["evidence", "verify", str(path)]) == 1
    path.write_bytes(b"")
    assert run(["evidence", "verify", str(path)]) == 1
