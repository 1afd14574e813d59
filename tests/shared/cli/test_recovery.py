"""`fieldfare recovery key`: what it is not made in place of."""

from pathlib import Path

import pytest

from fieldfare.shared.cli.root import run


@pytest.mark.parametrize("name", ["", ".", "..", "/", "key"])
def test_a_key_is_made_in_nothing_s_place(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("key").write_text("of before")
    assert run(["recovery", "key", name]) == 2
    assert "expected a new file, found an existing one" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["key"]
    assert Path("key").read_text() == "of before"
