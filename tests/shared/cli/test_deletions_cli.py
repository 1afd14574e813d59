"""`fieldfare audit deletions --earlier`: what a kept file has and a later one lacks."""

import json
from pathlib import Path
from typing import Final

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fieldfare.shared.cli.root import run
from fieldfare.shared.protocol.deletion import DeletionStatement, sign_deletion
from fieldfare.shared.protocol.identity import public_hex
from fieldfare.shared.protocol.messages import IdentitySigner

BEFORE: Final = Ed25519PrivateKey.generate()
AFTER: Final = Ed25519PrivateKey.generate()
FITS, AS_FAR_AS_KEPT, TWO_STORIES = 0, 4, 6


def chain(*signed: tuple[str, Ed25519PrivateKey]) -> list[bytes]:
    """Statements about these files, each after the one before, each by its key."""
    made, before = [], ""
    for number, (subject, key) in enumerate(signed):
        one = DeletionStatement(
            party="bank-a", number=number, before=before, kind="file", subject=subject, rule="old",
            time=1_780_000_000, hashes=("b" * 64,),
        )  # fmt: skip
        made.append(sign_deletion(one, IdentitySigner(key)))
        before = one.hash
    return made


@pytest.fixture
def said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> "Said":
    return Said(tmp_path, capsys)


class Said:
    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.capsys = folder, capsys

    def __call__(self, later: list[bytes], kept: list[bytes], *more: str) -> tuple[int, str]:
        files = [self.folder / "later", self.folder / "kept"]
        for file, lines in zip(files, (later, kept), strict=True):
            file.write_bytes(b"\n".join(lines) + b"\n")
        keys = ["--party", "bank-a", "--key", public_hex(BEFORE), "--key", public_hex(AFTER)]
        status = run(
            ["audit", "deletions", str(files[0]), "--earlier", str(files[1]), *keys, *more]
        )
        return status, self.capsys.readouterr().out


def test_all_that_was_kept_is_there(said: Said) -> None:
    grown = chain(*[("backup", BEFORE)] * 2, ("backup", AFTER))
    status, text = said(grown, grown[:2])
    assert (status, "all 2 statements that you kept are in it" in text) == (FITS, True)
    assert json.loads(said(grown, grown, "--json")[1])["left_out"] == []


def test_statements_at_the_end_that_were_left_out_show(said: Said) -> None:
    kept = chain(*[("backup", BEFORE)] * 3)
    status, text = said(kept[:1], kept)
    assert status == AS_FAR_AS_KEPT
    assert "2 that you kept, from no. 1 on, are not in it" in text
    found = json.loads(said(kept[:1], kept, "--json")[1])
    assert [one["number"] for one in found["left_out"]] == [1, 2]
    assert found["two_stories"] is False


def test_a_restore_goes_on_under_another_key(said: Said) -> None:
    kept = chain(("backup", BEFORE), ("evidence pack", BEFORE))
    status, text = said(chain(("backup", BEFORE), ("transcript", AFTER)), kept)
    assert (status, "restored a backup" in text) == (AS_FAR_AS_KEPT, True)


def test_a_new_key_hides_no_second_story(said: Said) -> None:
    """The first that differs was looked at alone, and that one had another key."""
    kept = chain(("backup", BEFORE), ("evidence pack", BEFORE), ("backup", AFTER))
    other = chain(("backup", BEFORE), ("transcript", AFTER), ("transcript", AFTER))
    status, text = said(other, kept)
    assert (status, "from no. 1 on" in text) == (TWO_STORIES, True)
    assert "TWO STORIES: bank-a signed two statements no. 2" in text
    assert json.loads(said(other, kept, "--json")[1])["two_stories"] is True


def test_one_key_that_signs_two_of_one_number_tells_two_stories(said: Said) -> None:
    kept = chain(("backup", BEFORE), ("evidence pack", BEFORE))
    other = chain(("backup", BEFORE), ("transcript", BEFORE), ("transcript", AFTER))
    status, text = said(other, kept)
    assert (status, "TWO STORIES: bank-a signed two statements no. 1" in text) == (
        TWO_STORIES,
        True,
    )
    assert json.loads(said(other, kept, "--json")[1])["two_stories"] is True
    assert said(chain(("transcript", BEFORE)), kept)[0] == TWO_STORIES


def test_a_file_of_another_party_is_refused(said: Said) -> None:
    kept = chain(("backup", BEFORE))
    theirs = [line.replace(b"bank-a", b"bank-b") for line in kept]
    assert said(kept, theirs)[0] == 1
