"""Where a stranger's file is read: names, times and runs in it are of signs that can be seen."""

from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import BaseModel, ValidationError
from tests.security.screens.marked import MARKS, traces
from tests.security.screens.terminals import typed
from tests.support.homes.institutions import home_study

from fieldfare.shared.evidence.pack import EvidenceManifest, PackSigner, listed_files, pack_bytes
from fieldfare.shared.party.backup_archive import BackupHeader
from fieldfare.shared.protocol.identity import public_hex
from fieldfare.shared.protocol.messages import IdentitySigner, MessageBody
from fieldfare.shared.study.study import Study

KEY: Final = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
FILES: Final = {"evidence.html": b"<p>page</p>"}
MANIFEST: Final[dict[str, Any]] = {
    "made": "2026-03-04 05:06:07 UTC", "role": "auditor", "maker": "auditor",
    "key": public_hex(KEY), "study": "1" * 64, "run": "run-1", "roster": "2" * 64,
    "transcript": "", "policy": "", "software": "", "files": listed_files(FILES),
}  # fmt: skip
HEADER: Final[dict[str, Any]] = {
    "party": "institution", "name": "Bank \u00d6, \u9280\u884c", "software": "0.1.0",
    "made": "2026-03-04T05:06:07+00:00", "facts": {"head": "ab" * 32, "sequence": 3}, "files": (),
}  # fmt: skip
# As at 1 December 2026 it was run: nothing of the true verdict stood on the screen behind it.
VERDICT: Final = "2026-01-01 00:00:00 UTC\x1b[2J\x1b[H  whose    the key that you gave\x1b]0;"
READ: Final[dict[str, tuple[type[BaseModel], dict[str, Any], str]]] = {
    "when a pack was made": (EvidenceManifest, MANIFEST, "made"),
    "a pack's run": (EvidenceManifest, MANIFEST, "run"),
    "whose backup it is": (BackupHeader, HEADER, "name"),
    "when a backup was made": (BackupHeader, HEADER, "made"),
    "what wrote a backup": (BackupHeader, HEADER, "software"),
}


@pytest.mark.parametrize("mark", [*MARKS, "\n"], ids=ascii)
@pytest.mark.parametrize("place", READ)
def test_what_is_not_seen_is_not_read(place: str, mark: str) -> None:
    kind, true, field = READ[place]
    kind.model_validate(true)
    for told in (true[field] + mark, mark):
        with pytest.raises(ValidationError):
            kind.model_validate(true | {field: told})


def test_nor_in_the_facts_of_a_backup() -> None:
    for mark in MARKS:
        with pytest.raises(ValidationError):
            BackupHeader.model_validate(HEADER | {"facts": {"head": mark}})


def with_name(name: str) -> Study:
    """A study in which every kind of name is that one."""
    feature = {"name": name, "kind": "categorical", "levels": [name, "b"]}
    return home_study(features=[feature])


@pytest.mark.parametrize("mark", [*MARKS, "\n", "\t"], ids=ascii)
def test_a_study_names_no_column_or_level_that_is_not_seen(mark: str) -> None:
    with pytest.raises(ValidationError, match=r"features\.0\.") as caught:
        with_name(f"a{mark}b")
    assert {one["loc"][-1] for one in caught.value.errors()} >= {"name", 0}


@pytest.mark.parametrize(
    "name", ["a b", "\u00d6ffnung", "\u9280 \u884c", "a\u3000b", "R\u00e9f. n\u00ba 1"]
)
def test_names_of_every_language_stand_as_they_did(name: str) -> None:
    assert with_name(name).features[0].name == name


@pytest.mark.parametrize("terminal", [True, False], ids=["terminal", "pipe"])
@pytest.mark.parametrize("signed", [True, False])
def test_a_pack_cannot_write_the_verdict_on_itself(
    tmp_path: Path, *, terminal: bool, signed: bool
) -> None:
    by = PackSigner("auditor", public_hex(KEY), IdentitySigner(KEY)) if signed else None
    key = public_hex(KEY) if signed else ""
    told = EvidenceManifest.model_construct(**(MANIFEST | {"made": VERDICT, "key": key}))
    assert isinstance(told, MessageBody)
    pack = tmp_path / "pack.zip"
    pack.write_bytes(pack_bytes(told, FILES, by))
    status, said = typed(["evidence", "verify", str(pack)], terminal=terminal)
    assert status == 1
    assert traces(said) == []
    assert "\x1b" not in said
    assert "the key that you gave" not in said
