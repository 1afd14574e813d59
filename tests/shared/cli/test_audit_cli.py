import json
import os
from pathlib import Path

import pytest
from tests.support.network.witnesses import SpecWitness
from tests.support.runs.transcripts import Recorder
from tests.support.runs.witnessed import heads_of, witnessed

from fieldfare.shared.cli.audit import trusted
from fieldfare.shared.cli.root import run
from fieldfare.shared.errors import UsageError
from fieldfare.shared.transcript.leaves import tree_head

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def file(recorded: Recorder, tmp_path: Path) -> Path:
    path = tmp_path / "run-1.transcript"
    path.write_bytes(recorded.to_bytes())
    return path


@pytest.fixture
def key(recorded: Recorder, tmp_path: Path) -> Path:
    path = tmp_path / "signing.pub"
    path.write_text(recorded.trust.roster_key + "\n")
    return path


@pytest.fixture
def roster(recorded: Recorder, tmp_path: Path) -> Path:
    path = tmp_path / "roster.signed"
    path.write_bytes(recorded.leaves[0].content + b"\n")
    return path


def test_an_honest_run_fits(file: Path, key: Path, capsys: Captured) -> None:
    assert run(["audit", "transcript", str(file), "--coordinator-key", str(key)]) == 0
    assert "FITS  every signature" in capsys.readouterr().out


def test_a_key_may_be_typed(file: Path, recorded: Recorder, capsys: Captured) -> None:
    typed = recorded.trust.roster_key.upper()
    assert run(["audit", "transcript", str(file), "--coordinator-key", typed]) == 0
    assert "as the coordinator signed it" in capsys.readouterr().out


def test_a_roster_will_do(file: Path, roster: Path, capsys: Captured) -> None:
    assert run(["audit", "transcript", str(file), "--roster", str(roster), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["verified"] is True
    assert found["roster"]["pinned"] is True


def test_a_changed_run_does_not_fit(file: Path, key: Path, capsys: Captured) -> None:
    content = file.read_bytes()
    at = content.rindex(b'"kind":"reply"') - 200
    new = b"A" if content[at : at + 1] != b"A" else b"B"
    file.write_bytes(content[:at] + new + content[at + 1 :])
    asked = ["audit", "transcript", str(file), "--coordinator-key", str(key)]
    assert run(asked) == 1
    line = content.count(b"\n", 0, at) + 1
    assert f"DOES NOT FIT  line {line}: reply" in capsys.readouterr().out
    assert run([*asked, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["misfit"]["kind"] == "reply"


def test_another_file_is_said_to_be_none(tmp_path: Path, key: Path, capsys: Captured) -> None:
    other = tmp_path / "results.json"
    other.write_text("{}\n")
    assert run(["audit", "transcript", str(other), "--coordinator-key", str(key)]) == 1
    assert "is this a transcript?" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["missing", "."])
def test_a_file_that_cannot_be_read_is_said(
    tmp_path: Path, key: Path, capsys: Captured, name: str
) -> None:
    path = str(tmp_path / name)
    assert run(["audit", "transcript", path, "--coordinator-key", str(key)]) == 2
    assert "expected a readable file" in capsys.readouterr().err


def test_a_stream_has_to_be_saved_first(tmp_path: Path, key: Path, capsys: Captured) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = os.open(pipe, os.O_RDWR)  # so that opening does not wait for one
    try:
        assert run(["audit", "transcript", str(pipe), "--coordinator-key", str(key)]) == 2
    finally:
        os.close(writer)
    assert "save it first" in capsys.readouterr().err


def test_somebody_has_to_be_trusted(file: Path, key: Path, roster: Path, capsys: Captured) -> None:
    both = ["--coordinator-key", str(key), "--roster", str(roster)]
    for trust in ([], both):
        assert run(["audit", "transcript", str(file), *trust]) == 2
        assert "either --roster or --coordinator-key" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "abc", "/nowhere/signing.pub", "g" * 64])
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="64 hexadecimal digits"):
        trusted(None, text)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"no key", b"a" * 65])
def test_a_file_without_a_key_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="64 hexadecimal digits"):
        trusted(None, str(path))


def test_a_roster_that_is_none_is_refused(tmp_path: Path, key: Path) -> None:
    with pytest.raises(UsageError, match="expected a signed roster"):
        trusted(key, None)
    with pytest.raises(UsageError, match="expected a readable file"):
        trusted(tmp_path / "missing", None)


def test_witnesses_that_are_asked_for_decide(
    file: Path, key: Path, recorded: Recorder, tmp_path: Path, capsys: Captured
) -> None:
    witness, other = SpecWitness("w.example/1"), SpecWitness("w.example/2")
    heads = tmp_path / "run-1.witnessed"
    heads.write_bytes(witnessed(recorded, heads_of(recorded), [witness]))
    asked = ["audit", "transcript", str(file), "--coordinator-key", str(key)]
    mine = [*asked, "--witnessed", str(heads), "--witness", witness.key.text]
    assert run([*asked, "--later-roster", str(tmp_path / "none")]) == 2
    assert "expected --witnessed" in capsys.readouterr().err
    assert run(mine) == 0
    said = capsys.readouterr().out
    assert "w.example/1 at 2025-06-15 15:06:40 UTC" in " ".join(said.split())
    assert run([*mine, "--witness", other.key.text]) == 7
    assert "NOT WITNESSED  1 of your witnesses" in capsys.readouterr().out
    assert run([*mine, "--witness", other.key.text, "--require-witnesses", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["witnessed"]["heads"] == 1
    assert run([*asked, "--witness", witness.key.text]) == 7  # the file is missing
    assert run([*mine, "--require-witnesses", "2"]) == 2
    assert run([*mine, "--witness", witness.key.text]) == 2
    story = tree_head(recorded.bench.study.id, recorded.run, [bytes(32)])
    heads.write_bytes(witnessed(recorded, [story, *heads_of(recorded)], [witness]))
    capsys.readouterr()
    assert run(mine) == 6
    assert "TWO STORIES" in capsys.readouterr().out
