"""The tool that records and compares: what changed is found, what may change passes."""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
from tests.recorded import screens
from tests.recorded.__main__ import PARTS, compare, difference, read_allowed
from tests.recorded.calls import kept_run
from tests.recorded.pages import walked
from tests.recorded.screens import Call, Masks, Screens, table

from fieldfare.shared.cli.root import commands
from fieldfare.shared.console.rights import ConsoleRole

COMMANDS = {"study.check": "{study}", "typologies.show": "R01"}
STUDY = Path(screens.ROOT, "studies", "heart.toml")


def few(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Two commands, a page and a call."""
    folder.mkdir()
    made = Screens(folder)
    made.make(lambda _: {"study": str(STUDY)})
    for name, words in COMMANDS.items():
        yield f"screens/{name}.txt", made.call(name, Call(words))
    yield from islice(walked("coordinator", ConsoleRole.EXAMINER), 1)
    (folder / "run").mkdir()
    first = kept_run(folder / "run", steps=1)[0]
    yield f"calls/001-{first['call']}.json", json.dumps(first, indent=1).encode()


def kept(out: Path, scratch: Path) -> Path:
    for name, content in few(scratch):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(content)
    return out


@pytest.mark.promises
def test_a_changed_byte_is_found_and_an_allowed_one_passes(tmp_path: Path) -> None:
    before = kept(tmp_path / "before", tmp_path / "a")
    after = kept(tmp_path / "after", tmp_path / "b")
    assert compare(before, after, [*PARTS], {}) == []
    names = sorted(one.relative_to(after).as_posix() for one in after.rglob("*") if one.is_file())
    assert len(names) == 4
    for name in names:
        path = after / name
        content = path.read_bytes()
        path.write_bytes(content[:-2] + b"~" + content[-1:])
        (found,) = compare(before, after, [*PARTS], {})
        assert name in found
        assert compare(before, after, [*PARTS], {name: "on purpose"}) == []
        assert compare(before, after, [*PARTS], {f"{name[:-3]}*": "on purpose"}) == []
        assert compare(before, after, [*PARTS], {f"{name}x*": "another"}) == [found]
        path.unlink()
        (found,) = compare(before, after, [*PARTS], {})
        assert "only in" in found
        path.write_bytes(content)


def test_nothing_recorded_is_no_agreement(tmp_path: Path) -> None:
    assert "expected recordings" in compare(tmp_path, tmp_path, [*PARTS], {})[0]


def test_a_command_without_a_line_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    assert table()
    more = {**commands(), "study.other": None}
    monkeypatch.setattr(screens, "commands", lambda: more)
    with pytest.raises(LookupError, match=r"study\.other"):
        table()


def test_a_diff_is_short_and_bytes_are_told() -> None:
    long = difference("one", b"a\n" * 99, b"b\n" * 99)
    assert len(long.splitlines()) < 20
    assert "lines more" in long
    assert "other bytes" in difference("one", b"\xff", b"\xfe")
    assert "ends of lines" in difference("one", b"a\n", b"a\r\n")


def test_what_no_argument_decides_is_masked(tmp_path: Path) -> None:
    masks = Masks(tmp_path)
    text = f"{tmp_path}/home at 127.0.0.1:8700 took 0.5 s; 12 sums"
    assert masks.masked(text) == "<folder>/home at <address> took <seconds>; 12 sums"
    assert {"folder": 1, "port": 1, "seconds": 1}.items() <= masks.found.items()


def test_each_allowed_difference_has_a_reason() -> None:
    assert all(read_allowed().values())
