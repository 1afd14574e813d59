"""What a later version wrote, or a too early one, is refused, by file; nothing is written."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest
import tomlkit
from tests.operation.upgrade.recorded import VERSIONS, Recorded, at_that_time, unpacked

from fieldfare.client.home.files import INSTITUTION_FILES
from fieldfare.server.home.files import COORDINATOR_FILES
from fieldfare.shared.party.file_form import NumberPlace
from fieldfare.shared.party.home_files import HomeFile, files_in

LATER: Final = 99
TABLES: Final = {"institution": INSTITUTION_FILES, "coordinator": COORDINATOR_FILES}
ROWS: Final = [
    pytest.param(party, one, id=f"{party}-{one.pattern}")
    for party, table in TABLES.items()
    for one in table
    if one.form.numbered is not None
]
TOO_EARLY: Final = [
    pytest.param(party, one, id=f"{party}-{one.pattern}")
    for party, table in TABLES.items()
    for one in table
    if one.form.oldest > 1
]
LOOKS: Final = {
    "institution": (["status"], ["ledger"], ["backup", "FILE"]),
    "coordinator": (["runs"], ["members"], ["backup", "FILE"]),
}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    with pytest.MonkeyPatch.context() as patch:
        homes = unpacked(VERSIONS[-1], tmp_path_factory.mktemp("ff"))
        at_that_time(homes.said, patch)
        yield homes


def home_of(recorded: Recorded, party: str) -> Path:
    """The home of a party."""
    return recorded.bank if party == "institution" else recorded.coordinator


def raised(path: Path, form: NumberPlace) -> None:
    """Let a file say that a later version wrote it; one that is not there is made."""
    if form is NumberPlace.SQLITE:
        set_version(path, LATER)
        return
    content = path.read_bytes() if path.exists() else b""
    path.write_bytes(RAISE[form](content))


def set_version(path: Path, number: int) -> None:
    """Let a database say that its tables are of a version."""
    with closing(sqlite3.connect(path)) as database:
        if path.name == "ledger.sqlite":
            database.execute("DELETE FROM migrations")
            database.execute("INSERT INTO migrations VALUES (?)", (number,))
        else:
            database.execute(f"PRAGMA user_version = {number}")
        database.commit()


def raised_toml(content: bytes) -> bytes:
    """The same settings, of a later format."""
    data = tomlkit.parse(content.decode())
    data["format"] = LATER
    return tomlkit.dumps(data).encode()


def raised_json(content: bytes) -> bytes:
    """The same, and a key that no present reader knows."""
    data: Any = json.loads(content or b"{}")
    return json.dumps(data | {"format": LATER, "new": True}).encode()


def raised_lines(content: bytes) -> bytes:
    """One more line, of a later format."""
    return content + json.dumps({"format": LATER, "event": "new"}).encode() + b"\n"


def raised_signed(content: bytes) -> bytes:
    """The body of the first message in a later format."""
    first, _, rest = content.partition(b"\n")
    data: Any = json.loads(first or b'{"body": {}, "type": "fieldfare.unknown.v1"}')
    data["body"]["format"] = LATER
    return json.dumps(data).encode() + b"\n" + rest


def raised_tensors(content: bytes) -> bytes:
    """A header of a later format before the same tensors."""
    length = int.from_bytes(content[:8], "little")
    header: Any = json.loads(content[8 : 8 + length])
    header["__metadata__"]["format"] = str(LATER)
    head = json.dumps(header).encode()
    return len(head).to_bytes(8, "little") + head + content[8 + length :]


RAISE: Final = {
    NumberPlace.TOML: raised_toml,
    NumberPlace.JSON: raised_json,
    NumberPlace.LINES: raised_lines,
    NumberPlace.SIGNED: raised_signed,
    NumberPlace.SAFETENSORS: raised_tensors,
}


def example(home: Path, kind: HomeFile, table: tuple[HomeFile, ...]) -> Path:
    """A file of a kind: one that the recorded home has, else a new one's place."""
    found = [path for path, of in files_in(home, table) if of == kind]
    if found:
        return home / found[0]
    path = home / kind.pattern.replace("**", "new.json").replace("*", "a" * 64)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def check_refused(recorded: Recorded, party: str, folder: Path, *words: str) -> None:
    """Every look at a home is refused in these words, and leaves all as it is."""
    hashes = recorded.hashes()
    for look in LOOKS[party]:
        typed = [str(folder / "backup") if word == "FILE" else word for word in look]
        status, said = recorded.typed(party, *typed)
        assert status == 2, said
        for word in words:
            assert word in said
    assert recorded.hashes() == hashes
    assert not (folder / "backup").exists()


@pytest.mark.parametrize(("party", "kind"), ROWS)
def test_a_later_file_is_refused_and_named(
    recorded: Recorded, party: str, kind: HomeFile, tmp_path: Path
) -> None:
    home, numbered = home_of(recorded, party), kind.form.numbered
    path = example(home, kind, TABLES[party])
    before = path.read_bytes() if path.exists() else None
    assert numbered is not None
    raised(path, numbered)
    path.chmod(0o600)
    known = f"{kind.form.newest} or earlier, found {LATER}"
    named = f"fieldfare: {path}: expected"
    check_refused(recorded, party, tmp_path, named, known, "install that version")
    path.unlink()
    if before is not None:
        path.write_bytes(before)
        path.chmod(0o600)


@pytest.mark.parametrize(("party", "kind"), TOO_EARLY)
def test_a_too_early_database_is_refused_and_named(
    recorded: Recorded, party: str, kind: HomeFile, tmp_path: Path
) -> None:
    path = example(home_of(recorded, party), kind, TABLES[party])
    before, oldest = path.read_bytes(), kind.form.oldest
    set_version(path, oldest - 1)
    named = f"fieldfare: {path}: expected tables of version {oldest} or later, found {oldest - 1}"
    check_refused(recorded, party, tmp_path, named, "commit ca71956f")
    path.write_bytes(before)


@pytest.mark.parametrize("version", [1, 2])
def test_versions_in_the_type_of_a_message_count(recorded: Recorded, version: int) -> None:
    path = recorded.coordinator / "invitation.json"
    before = path.read_bytes()
    path.write_bytes(before.replace(b".invitation.v2", b".invitation.v%d" % (version + 2)))
    status, said = recorded.typed("coordinator", "runs")
    path.write_bytes(before)
    assert status == 2
    assert f"expected version of invitation 2 or earlier, found {version + 2}" in said


def test_a_check_names_it_too_and_writes_nothing(recorded: Recorded) -> None:
    path = recorded.bank / "scoring" / "alerts.sqlite"
    before = path.read_bytes()
    raised(path, NumberPlace.SQLITE)
    hashes = recorded.hashes()
    status, said = recorded.typed("institution", "check")
    assert recorded.hashes() == hashes
    path.write_bytes(before)
    assert status != 0
    assert "expected tables of version 3" in " ".join(said.split())


def test_every_later_file_is_named_at_once(recorded: Recorded) -> None:
    paths = [recorded.bank / name for name in ("node.toml", "policy.toml")]
    before = [path.read_bytes() for path in paths]
    for path in paths:
        raised(path, NumberPlace.TOML)
    said = recorded.typed("institution", "status")[1]
    for path, content in zip(paths, before, strict=True):
        path.write_bytes(content)
        assert str(path) in said


def test_what_is_no_file_of_its_kind_is_left_to_its_reader(recorded: Recorded) -> None:
    path = recorded.bank / "comparisons.json"
    before = path.read_bytes()
    path.write_bytes(b"{")
    said = recorded.typed("institution", "roster")[1]
    path.write_bytes(before)
    assert "found a damaged file" in said


def test_a_witness_elsewhere_is_not_said_to_be_another_ones(
    recorded: Recorded, tmp_path: Path
) -> None:
    """The advice for a witness that does not fit would begin a new epoch."""
    beside, settings = recorded.bank / "ledger" / "ledger.sqlite.witness", "institution.toml"
    elsewhere = tmp_path / "witness"
    elsewhere.write_bytes(raised_json(beside.read_bytes()))
    before = (recorded.bank / settings).read_text()
    (recorded.bank / settings).write_text(
        before.replace('witness = ""', f"witness = {json.dumps(str(elsewhere))}")
    )
    hashes = recorded.hashes()
    status, said = recorded.typed("institution", "ledger")
    assert recorded.hashes() == hashes
    (recorded.bank / settings).write_text(before)
    assert status == 1
    assert f"expected a witness of format 2 or earlier in {elsewhere}, found {LATER}" in said
    assert "epoch" not in said


def test_a_later_transcript_says_its_format(recorded: Recorded, tmp_path: Path) -> None:
    path = tmp_path / "later.transcript"
    header, _, rest = (recorded.folder / "run.transcript").read_bytes().partition(b"\n")
    path.write_bytes(raised_json(header) + b"\n" + rest)
    roster = str(recorded.coordinator / "roster.signed")
    status, said = recorded.typed("audit", "transcript", str(path), "--roster", roster)
    assert status == 1
    assert f"found {LATER}: a later version" in " ".join(said.split())


def test_a_later_recovery_key_is_refused(recorded: Recorded, tmp_path: Path) -> None:
    path = tmp_path / "later.key"
    path.write_bytes(raised_json((recorded.folder / "recovery.key").read_bytes()))
    path.chmod(0o600)
    backup = str(recorded.folder / "bank-a.backup")
    words = ["restore", backup, "--recovery-key", str(path), "--rehearse"]
    status, said = recorded.typed(*words)
    assert status == 2
    assert f"{path}: expected the private half of a recovery key, format 1" in said
