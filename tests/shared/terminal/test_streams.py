"""Where commands write: our lines, colours and bars pass, and of a stranger's text what is seen."""

import ast
import io
import re
import sys
from pathlib import Path
from typing import Final

import pytest
from rich.panel import Panel
from rich.text import Text

from fieldfare.shared.errors import UsageError
from fieldfare.shared.terminal.screen import PlainConsole, console, table
from fieldfare.shared.terminal.stderr import progress_bar
from fieldfare.shared.terminal.streams import PlainStream, plain_streams

REPOSITORY: Final = Path(__file__).parents[3]
PARTS: Final = ("api", "client", "server", "shared", "simulations")
SCREEN: Final = REPOSITORY / "shared" / "terminal" / "screen.py"
# Each of them, within a text, changes what a reader sees of the rest.
SIGNS: Final = (
    *map(chr, (*range(9), 11, 12, *range(13, 32), *range(127, 160))),
    *"\u061c\u200b\u200c\u200d\u200e\u200f\u2028\u2029\u2060\ufeff\u00ad",
    *map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A), *range(0xFFF9, 0xFFFC))),
    *"\ud800\udc80\U000e0041",
)


class Terminal(io.StringIO):
    """What a terminal was written."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("sign", SIGNS, ids=ascii)
def test_no_sign_that_is_not_seen_gets_to_a_stream(sign: str) -> None:
    out = io.StringIO()
    assert PlainStream(out).write(f"a{sign}b\n\tc") == len(f"a{sign}b\n\tc")
    PlainStream(out).writelines([sign, "d"])
    assert out.getvalue() == "a b\n\tc d"


@pytest.mark.parametrize("sign", SIGNS, ids=ascii)
def test_no_such_sign_gets_to_a_console_and_its_own_colours_do(
    sign: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(sys, "stdout", out := Terminal())
    with plain_streams():
        console().print(f"a{sign}b [red]c")
        console().print(Text(f"a{sign}b", "bold red"))
        console().print(Panel(Text(f"a{sign}b"), title=Text(f"t{sign}")))
        console().print(table((f"t{sign}",), [[Text(f"a{sign}b", "green")]]))
    said = out.getvalue()
    assert set(re.findall("\x1b\\[[0-9;]*m", said)) == {
        "\x1b[1;31m", "\x1b[32m", "\x1b[2m", "\x1b[0m"
    }  # fmt: skip
    assert [c for c in re.sub("\x1b\\[[0-9;]*m", "", said) if c == sign] == []
    assert re.search(r"a ?b \[red\]c", said)  # and nothing is markup


def test_a_colour_of_a_stranger_is_none_while_a_bar_stands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is printed above a bar is read for colours: concealed text would stay concealed."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", out := Terminal())
    monkeypatch.setattr(sys, "stdout", Terminal())
    with plain_streams(), progress_bar() as said:
        said("a\x1b[8mb\x1b]0;t\x07", 1, 2)
        sys.stderr.write("c\x1b[8md\n")
    found = out.getvalue()
    assert "c [8md" in found
    assert "a [8mb ]0;t" in found
    assert "\x1b[8m" not in found
    assert "\x07" not in found


def test_streams_are_as_they_were_afterwards(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout, sys.stderr
    with plain_streams(), plain_streams():
        print("a\x1bb")  # noqa: T201 -- whoever forgets everything else
        assert sys.stdout.fileno is not None
    assert (sys.stdout, sys.stderr) == before
    assert capsys.readouterr().out == "a b\n"


def test_a_file_on_the_standard_output_is_the_same_file_or_none() -> None:
    out, told = io.StringIO(), '{"a":"\u00e9"}\n'
    assert PlainStream(out).buffer.write(told.encode()) == len(told.encode())
    for content in ("a\u202eb".encode(), b"a\x1b[8m", b"\xff"):
        with pytest.raises(UsageError, match="signs that can be seen"):
            PlainStream(out).buffer.write(content)
        with pytest.raises((TypeError, AttributeError)):  # who tries finds a stream of texts
            PlainStream(out).write(content)  # type: ignore[arg-type]
    assert out.getvalue() == told


def test_a_console_of_rich_itself_has_no_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever forgets our own console is safe, and sees it."""
    from rich.console import Console

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", out := Terminal())
    with plain_streams():
        Console().print(Text("a\x1b[8mb", "red"))
    assert "\x1b" not in out.getvalue()


def ways_past(path: Path) -> list[str]:
    """Return where a module writes to a terminal past these streams: names, with their lines."""
    found = []
    for one in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(one, ast.ImportFrom) and one.module == "rich.console":
            found += [f"{one.lineno} {name.name}" for name in one.names if name.name == "Console"]
        if isinstance(one, ast.Attribute):
            text = ast.unparse(one)
            if re.fullmatch(r"sys\.(__std(out|err)__|std(out|err)\.buffer)|os\.ctermid", text):
                found.append(f"{one.lineno} {text}")
        if isinstance(one, ast.Constant) and one.value == "/dev/tty":
            found.append(f"{one.lineno} /dev/tty")
    return found


def test_nothing_writes_to_a_terminal_in_another_way() -> None:
    assert ways_past(SCREEN) != []  # a test that finds nothing finds nothing anywhere
    found = {
        str(path.relative_to(REPOSITORY)): ways_past(path)
        for part in PARTS
        for path in sorted((REPOSITORY / part).rglob("*.py"))
        if path != SCREEN and ways_past(path)
    }
    assert found == {}


def test_the_console_writes_where_it_is_told() -> None:
    out = io.StringIO()
    shown = PlainConsole(file=out, width=20)
    shown.print("a\x1bb")
    shown.file = other = io.StringIO()
    shown.print("c")
    assert (out.getvalue(), other.getvalue()) == ("a b\n", "c\n")
