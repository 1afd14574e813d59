import io
import os
import subprocess
import sys
from collections.abc import Iterator
from enum import Enum
from importlib.metadata import EntryPoint
from pathlib import Path

import click
import pytest

from fieldfare.client.alerts.feedback import PartyRole
from fieldfare.client.cli import app as client
from fieldfare.server.cli import app as server
from fieldfare.shared.cli import app as shared
from fieldfare.shared.cli import root as cli
from fieldfare.shared.cli.part import PARTS
from fieldfare.shared.cli.root import GROUP, SUMMARIES, main, run
from fieldfare.shared.study import allowed_packages
from fieldfare.simulations.attacks.defects import DoorDefect
from fieldfare.simulations.cli import app as simulations

NOT_THERE = (
    "expected it, in a folder that is there, found: No such file or directory; correct the path, "
    "or make its folder"
)
FULL = (
    "expected room on its disk, found: No space left on device; make some, and repeat the command"
)
PARTS_OF_TREE = ("client", "server", "shared", "simulations")
COMMANDS = '''
import signal

import duckdb
import pydantic
import typer
from fieldfare.shared import errors

app = typer.Typer(add_completion=False)
group = typer.Typer(add_completion=False)

class Checked(pydantic.BaseModel):
    @pydantic.model_serializer(mode="wrap")
    def stopped(self, write):
        raise KeyboardInterrupt

RAISED = {
    "study": errors.StudyError(["one: expected a, found b", "two: expected c, found d"]),
    "records": errors.RecordsError("records.csv: expected a column, found none"),
    "usage": errors.UsageError("--seed: expected a number, found text"),
    "refusal": errors.PolicyRefusal(errors.RefusalCode.BUDGET_EXHAUSTED, "expected a budget"),
    "accounting": errors.AccountingError("expected a finer grid"),
    "protocol": errors.ProtocolError("expected a signature"),
    "ledger": errors.LedgerError("expected a ledger that is not behind"),
    "run": errors.RunError("expected three institutions, found two"),
    "interrupt": KeyboardInterrupt(),
    "file": FileNotFoundError(2, "No such file or directory", "/nowhere/file"),
    "full": OSError(28, "No space left on device", "/disk/file"),
    "disk": OSError("disk full"),
    "exit": typer.Exit(7),
}

@app.command()
def act(kind: str, number: int = 0) -> int:
    """Act out what a command can do."""
    if kind in RAISED:
        raise RAISED[kind]
    if kind == "query":
        signal.signal(signal.SIGALRM, signal.default_int_handler)  # Ctrl-C, in a moment
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        duckdb.sql("SELECT count(*) FROM range(1000000000000) t(i) WHERE i % 7 = 3").fetchall()
    if kind == "checks":
        Checked().model_dump()
    if kind == "node":
        try:
            Checked().model_dump()
        except ValueError as error:
            raise RuntimeError("a defect, said without its text") from error
    if kind == "value":
        raise ValueError("a defect")
    if kind == "broken":
        raise RuntimeError("a defect")
    if kind == "ask":
        typer.confirm("Do it?", abort=True)
    typer.echo(f"did {kind}")
    return number

@group.command()
def silent() -> None:
    """Return nothing."""
'''


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Real entry points to commands that end in every possible way."""
    (tmp_path / "acting_commands.py").write_text(COMMANDS)
    monkeypatch.syspath_prepend(str(tmp_path))
    points = {
        "act": "acting_commands:app",
        "deep.silent": "acting_commands:group",
        "deep.er.act": "acting_commands:app",
        "broken": "no_such_module:app",
    }
    offer(monkeypatch, {GROUP: points})
    yield
    cli.commands.cache_clear()
    sys.modules.pop("acting_commands", None)


def offer(monkeypatch: pytest.MonkeyPatch, groups: dict[str, dict[str, str]]) -> None:
    """Install these entry points, by group and name, and no others."""

    def installed(group: str) -> list[EntryPoint]:
        return [EntryPoint(name, value, group) for name, value in groups.get(group, {}).items()]

    monkeypatch.setattr(cli, "entry_points", installed)
    cli.commands.cache_clear()


@pytest.mark.parametrize(
    ("kind", "status", "said"),
    [
        ("study", 2, ["one: expected a, found b", "two: expected c, found d"]),
        ("records", 2, ["records.csv: expected a column, found none"]),
        ("usage", 2, ["--seed: expected a number, found text"]),
        ("refusal", 3, ["expected a budget"]),
        ("accounting", 1, ["expected a finer grid"]),
        ("protocol", 1, ["expected a signature"]),
        ("ledger", 1, ["expected a ledger that is not behind"]),
        ("run", 1, ["expected three institutions, found two"]),
        ("file", 1, ["/nowhere/file: " + NOT_THERE]),
        ("full", 1, ["/disk/file: " + FULL]),
        ("disk", 1, ["file: expected a disk that answers, found: disk full; look at the disk"]),
    ],
)
def test_errors_have_a_status_and_lines_on_stderr(
    kind: str, status: int, said: list[str], commands: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["act", kind]) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [f"fieldfare: {line}" for line in said]


def test_a_word_that_is_no_text_is_refused_before_anything_begins(
    commands: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["act", os.fsdecode(b"bad\xff")]) == 2
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert err.startswith("fieldfare: word 2 after fieldfare: expected text in UTF-8, found other")


def test_an_interrupt_is_130_as_shells_say_it(
    commands: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["act", "interrupt"]) == 130
    assert "fieldfare: interrupted; nothing more was released" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["query", "checks", "node"])
def test_ctrl_c_that_a_library_made_an_error_of_is_one_too(
    kind: str, commands: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["act", kind]) == 130
    assert "fieldfare: interrupted; nothing more was released" in capsys.readouterr().err


@pytest.mark.parametrize(("kind", "error"), [("broken", RuntimeError), ("value", ValueError)])
def test_any_other_defect_is_told_as_what_it_is(
    kind: str, error: type[Exception], commands: None
) -> None:
    with pytest.raises(error, match="a defect"):
        run(["act", kind])


def test_a_question_that_nobody_can_answer_is_bad_input(
    commands: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert run(["act", "ask"]) == 2
    err = capsys.readouterr().err
    assert "expected an answer to the question above, found the end of the input" in err
    assert "--yes" in err
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))  # a no of a person is none
    assert run(["act", "ask"]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_a_command_that_ends_well_is_0(commands: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["act", "well"]) == 0
    assert capsys.readouterr() == ("did well\n", "")
    assert run(["act", "well", "--number", "5"]) == 5
    assert run(["act", "exit"]) == 7
    assert run(["deep", "silent"]) == 0
    assert run(["deep", "er", "act", "well"]) == 0


@pytest.mark.parametrize(
    ("arguments", "said", "try_"),
    [
        (["nonsense"], "No such command 'nonsense'", "fieldfare"),
        (["deep", "nonsense"], "No such command 'nonsense'", "fieldfare deep"),
        (["atc", "well"], "No such command 'atc'; did you mean act?", "fieldfare"),
        (["deep", "silnet"], "No such command 'silnet'; did you mean silent?", "fieldfare deep"),
        (["--nonsense"], "No such option '--nonsense'", "fieldfare"),
        (["act"], "Missing argument", "fieldfare act"),
        (["act", "well", "--number", "x"], "not a valid integer", "fieldfare act"),
        (["act", "well", "--numbr", "1"], "No such option '--numbr'", "fieldfare act"),
        (["act", "well", "more"], "unexpected extra argument", "fieldfare act"),
        (["de"], "No such command 'de'", "fieldfare"),
        (["deep.silent"], "No such command 'deep.silent'", "fieldfare"),
        ([""], "No such command ''", "fieldfare"),
    ],
)
def test_wrong_calls_are_bad_input(
    arguments: list[str],
    said: str,
    try_: str,
    commands: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert said in lines[0]
    assert lines[-1] == f"fieldfare: try '{try_} --help'"
    assert all(line.startswith("fieldfare: ") for line in lines)


@pytest.mark.parametrize("arguments", [["--help"], ["-h"]])
def test_help_lists_the_commands(
    arguments: list[str], commands: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 0
    out, err = capsys.readouterr()
    assert err == ""
    for name in ("act", "broken", "deep"):  # "broken" is listed and not loaded
        assert name in out


def test_help_of_parts_and_commands(commands: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["deep", "--help"]) == 0
    out = capsys.readouterr().out
    assert "silent" in out
    assert "Return nothing." in out
    assert run(["act", "-h"]) == 0
    assert "Act out what a command can do." in capsys.readouterr().out


def test_no_arguments_show_the_help_as_bad_input(
    commands: None, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in ([], ["deep"]):
        assert run(arguments) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("Usage: fieldfare")
        assert "Commands:" in err


def test_a_defect_is_not_dressed_up_as_an_answer(commands: None) -> None:
    with pytest.raises(ModuleNotFoundError):
        run(["broken"])


def test_nothing_calls_home(commands: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLWR_TELEMETRY_ENABLED", raising=False)
    monkeypatch.delenv("FLWR_DISABLE_UPDATE_CHECK", raising=False)
    run(["act", "well"])
    assert os.environ["FLWR_TELEMETRY_ENABLED"] == "0"
    assert os.environ["FLWR_DISABLE_UPDATE_CHECK"] == "1"


def test_main_leaves_with_the_status(commands: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments, status in ((["act", "refusal"], 3), (["act", "well"], 0)):
        monkeypatch.setattr(sys, "argv", ["fieldfare", *arguments])
        with pytest.raises(SystemExit) as leaving:
            main()
        assert leaving.value.code == status


def test_every_real_command_loads_and_says_what_lists_say_of_it() -> None:
    """`commands.toml` repeats the first sentence of a command, so that lists load nothing."""
    for name, load in cli.commands().items():
        command = load()
        assert name in SUMMARIES, f"shared/cli/commands.toml: a line for {name}, in order of work"
        if not isinstance(command, click.Group):
            said = " ".join((command.help or "").split("\n\n")[0].split())
            assert said.startswith(SUMMARIES[name].rstrip(".")), f"shared/cli/commands.toml: {name}"
    names = set(cli.commands())
    levels = {name.rsplit(".", depth)[0] for name in names for depth in range(3)}
    assert set(SUMMARIES) <= levels | names, "shared/cli/commands.toml: not installed"
    assert {name.partition(".")[0] for name in names} <= set(SUMMARIES)


def test_a_modules_commands_are_those_that_its_part_names() -> None:
    for part in (client, server, shared, simulations):
        for name in part.modules:
            part.load(name)
        assert sorted(str(one.name) for one in part.registered_commands) == sorted(part.modules)
        for one in part.registered_commands:
            assert one.callback is not None
            assert part.modules[str(one.name)] == one.callback.__module__


def test_another_package_adds_commands_and_replaces_none(
    commands: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    others = {"act": "acting_commands:app", "study.check": "acting_commands:app"}
    offer(monkeypatch, {PARTS: {"shared": "fieldfare.shared.cli:app"}, GROUP: others})
    assert run(["act", "well"]) == 0
    assert run(["study", "check", "--help"]) == 0
    assert "STUDY.toml" in capsys.readouterr().out
    assert run(["study", "--help"]) == 0


def words(*arguments: str) -> list[str]:
    """What Python loaded for a call, in a process of its own; the screen first."""
    code = f"""
import sys
from fieldfare.shared.cli.root import run
status = run({list(arguments)!r})
heavy = {{"numpy", "pydantic"}}
print(status, *sorted(n for n in sys.modules if n.startswith("fieldfare.") or n in heavy))
"""
    environment = {**os.environ, "COLUMNS": "80"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    "part", [(), ("institution",), ("coordinator",), ("institution", "casework")]
)
def test_a_list_of_commands_loads_none_of_them(part: tuple[str, ...]) -> None:
    *_, loaded = words(*part, "--help")
    status, *modules = loaded.split()
    assert status == "0"
    tables = {f"fieldfare.{part}{room}" for part in PARTS_OF_TREE for room in ("", ".cli")}
    assert {name for name in modules if not name.startswith("fieldfare.shared.")} <= tables
    assert len(modules) < 20, modules


def test_commands_are_listed_in_order_of_work() -> None:
    screen = words("institution", "--help")
    order = [line.split()[0] for line in screen if line[:2] == "  " and line[2:3].isalpha()]
    work = ["init", "join", "records", "start", "review", "approve", "score", "alerts", "ledger"]
    assert [name for name in order if name in work] == work
    assert "Join a federation:" in screen
    assert max(map(len, screen[:-1])) <= 80


def test_a_command_explains_itself_as_lists_do_at_80_columns() -> None:
    screen = words("study", "new", "--help")
    assert screen[0].startswith("Usage: fieldfare study new [OPTIONS]")
    text = "\n".join(screen[:-1])
    assert "[required]" in text
    assert not set("╭│\\") & set(text)
    assert max(map(len, screen[:-1])) <= 80


@pytest.mark.parametrize(
    ("command", "choices"),
    [
        (("institution", "act"), PartyRole),
        (("attack",), DoorDefect),
    ],
)
def test_long_lists_of_choices_are_80_columns_wide(
    command: tuple[str, ...], choices: type[Enum]
) -> None:
    screen = words(*command, "--help")
    assert max(map(len, screen[:-1])) <= 80
    said = "".join("".join(screen).split())  # a hyphen may end a line
    assert all(one.value in said for one in choices)


def test_arguments_are_explained_once() -> None:
    text = " ".join(" ".join(words("evidence", "verify", "--help")).split())
    assert text.count("PACK As `evidence pack` wrote it.") == 1


def test_lists_cut_nothing_off() -> None:
    text = "\n".join(words("records", "--help"))
    assert "derive " in text
    assert "..." not in text.replace("[ARGS]...", "")


@pytest.mark.parametrize(
    ("typed", "offered", "loads"),
    [
        ("fieldfare ins", ["institution"], False),
        ("fieldfare institution st", ["start", "status", "studies"], False),
        ("fieldfare institution records ch", ["check"], False),
        ("fieldfare --ver", ["--version"], False),
        ("fieldfare study check --h", ["--help"], True),
    ],
)
def test_completion_answers_and_loads_no_command_for_a_name(
    typed: str, offered: list[str], loads: bool
) -> None:
    environment = {
        **os.environ,
        "_FIELDFARE_COMPLETE": "bash_complete",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(typed.count(" ")),
        "PYTHONPROFILEIMPORTTIME": "1",
    }
    command = Path(sys.executable).with_name("fieldfare")
    done = subprocess.run([command], capture_output=True, text=True, check=False, env=environment)
    assert [line.partition(",")[2] for line in done.stdout.splitlines()] == offered
    assert ("fieldfare.shared.study.study" in done.stderr) is loads
    assert loads or "fieldfare.client.cli." not in done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_can_be_written_for_a_shell(shell: str) -> None:
    command = Path(sys.executable).with_name("fieldfare")
    environment = {**os.environ, "_FIELDFARE_COMPLETE": f"{shell}_source"}
    done = subprocess.run([command], capture_output=True, text=True, check=True, env=environment)
    assert "_FIELDFARE_COMPLETE=" in done.stdout


@pytest.mark.parametrize(
    ("command", "library", "extra"),
    [
        ("query", "matplotlib", "coordinator"),
        ("institution", "duckdb", "institution"),
        ("demo", "duckdb", "demo"),
        ("demo", "torch", "torch"),
        ("study", "duckdb", "institution"),
    ],
)
def test_a_library_that_is_missing_is_told_with_the_extra_of_the_role(
    command: str, library: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (tmp_path / "wants_it.py").write_text(f"import {library}")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(sys.modules, library, None)
    offer(monkeypatch, {GROUP: {command: "wants_it:app"}})
    assert run([command]) == 2
    cli.commands.cache_clear()
    assert f"run: pip install 'fieldfare[{extra}]'" in capsys.readouterr().err


def test_the_installed_command_answers() -> None:
    command = Path(sys.executable).with_name("fieldfare")
    answer = subprocess.run([command, "nonsense"], capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr.startswith("fieldfare: No such command 'nonsense'")


def test_packages_that_are_allowed_reach_processes_that_are_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(allowed_packages, "_permitted", set())
    monkeypatch.setenv(allowed_packages.VARIABLE, "")
    assert run(["--package", "a==1", "--package", "b==2", "study"]) in {0, 2}
    assert os.environ[allowed_packages.VARIABLE] == "a==1 b==2"
    assert allowed_packages._permitted == {"a==1", "b==2"}
    allowed_packages.permit([])
    assert run(["study"]) in {0, 2}  # such a process reads them there
    assert allowed_packages._permitted == {"a==1", "b==2"}
