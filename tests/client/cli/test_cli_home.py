from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from fieldfare.client.cli.options import DEFAULT_HOME, HomeOption, PassphraseFileOption

app = typer.Typer()


@app.command()
def told(home: HomeOption = DEFAULT_HOME, passphrase_file: PassphraseFileOption = None) -> None:
    typer.echo(f"{home} {passphrase_file}")


@pytest.mark.parametrize(
    ("arguments", "environment", "expected"),
    [
        ([], {}, "institution None"),
        ([], {"FIELDFARE_HOME": "/h", "FIELDFARE_PASSPHRASE_FILE": "/p"}, "/h /p"),
        (["--home", "/x"], {"FIELDFARE_HOME": "/h"}, "/x None"),
        (["--passphrase-file", "/q"], {"FIELDFARE_PASSPHRASE_FILE": "/p"}, "institution /q"),
    ],
)
def test_options_come_from_the_call_then_the_environment(
    arguments: list[str], environment: dict[str, str], expected: str
) -> None:
    result = CliRunner().invoke(app, arguments, env=environment)
    assert result.stdout.strip() == expected
    assert Path("institution") == DEFAULT_HOME


def test_no_passphrase_can_be_given_on_the_command_line() -> None:
    assert CliRunner().invoke(app, ["--passphrase", "secret"]).exit_code == 2
