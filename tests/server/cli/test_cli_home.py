from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from fieldfare.server.cli.options import DEFAULT_HOME, HomeOption, JsonOption, PassphraseFileOption

app = typer.Typer()


@app.command()
def told(
    home: HomeOption = DEFAULT_HOME,
    passphrase_file: PassphraseFileOption = None,
    as_json: JsonOption = False,
) -> None:
    typer.echo(f"{home} {passphrase_file} {as_json}")


@pytest.mark.parametrize(
    ("arguments", "environment", "expected"),
    [
        ([], {}, "coordinator None False"),
        ([], {"FIELDFARE_COORDINATOR": "/h", "FIELDFARE_PASSPHRASE_FILE": "/p"}, "/h /p False"),
        ([], {"FIELDFARE_HOME": "/an/institution"}, "coordinator None False"),
        (["--home", "/x", "--json"], {"FIELDFARE_COORDINATOR": "/h"}, "/x None True"),
    ],
)
def test_options_come_from_the_call_then_the_environment(
    arguments: list[str], environment: dict[str, str], expected: str
) -> None:
    result = CliRunner().invoke(app, arguments, env=environment)
    assert result.stdout.strip() == expected
    assert Path("coordinator") == DEFAULT_HOME


def test_no_passphrase_can_be_given_on_the_command_line() -> None:
    assert CliRunner().invoke(app, ["--passphrase", "secret"]).exit_code == 2
