"""A line that says what to type next can be copied as it stands."""

from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from fieldfare.shared.advice import at_home

app = typer.Typer()


@app.command()
def look(home: Annotated[Path, typer.Option("--home", envvar="A_HOME")] = Path("here")) -> None:
    del home
    typer.echo(at_home("Next: go"))


@pytest.mark.parametrize(
    ("arguments", "variables", "said"),
    [
        (["--home", "/srv/bank a"], {}, "Next: go --home '/srv/bank a'"),
        (["--home", "here"], {}, "Next: go --home here"),
        ([], {"A_HOME": "/srv/bank-a"}, "Next: go"),
        ([], {}, "Next: go"),
    ],
)
def test_a_home_is_said_where_it_was_given(
    arguments: list[str], variables: dict[str, str], said: str
) -> None:
    result = CliRunner().invoke(app, arguments, env=variables)
    assert result.stdout == f"{said}\n"


def test_outside_a_command_nothing_is_added() -> None:
    assert at_home("go") == "go"
