"""`fieldfare institution check`: test every part, and give a remedy for each fault.

Errors pass through: the root command turns them into exit codes.
"""

import json
import os
from collections.abc import Iterator
from itertools import chain
from typing import Annotated, Final

import typer

from fieldfare.client.institution.cli_home import (
    DEFAULT_HOME,
    HomeOption,
    PassphraseFileOption,
)
from fieldfare.client.institution.cli_node import SETTINGS_NAME
from fieldfare.client.institution.cli_status import NodeSettingsOption
from fieldfare.client.institution.preflight import (
    Finding,
    Outcome,
    finding_lines,
    findings,
    findings_json,
)
from fieldfare.client.institution.preflight_home import HomeLooks, Preflight
from fieldfare.client.institution.preflight_link import link_looks
from fieldfare.shared.clock import utc_now
from fieldfare.shared.key_files import read_passphrase

EXIT_FAILED: Final = 1

check_app = typer.Typer(add_completion=False)


@check_app.command("check")
def check(
    home: HomeOption = DEFAULT_HOME,
    passphrase_file: PassphraseFileOption = None,
    node_settings: NodeSettingsOption = None,
    skip_records: Annotated[
        bool, typer.Option("--skip-records", help="Do not read the records.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, for programs.")] = False,
) -> None:
    """Look at everything that a study needs to run; says what to do about what fails.

    Nothing is changed and no value of a record is shown. Exits with 0 when nothing fails.
    """
    given = Preflight(
        home=home,
        node_settings=node_settings or home / SETTINGS_NAME,
        passphrase=read_passphrase(passphrase_file),
        environment=os.environ,
        now=utc_now(),
        records=not skip_records,
    )
    found: list[Finding] = []
    for one in _looked(given):
        found.append(one)
        if not as_json:
            typer.echo("\n".join(finding_lines(one)))
    failed = sum(one.outcome is Outcome.FAIL for one in found)
    if as_json:
        typer.echo(json.dumps({"failed": failed, "findings": findings_json(found)}, indent=2))
    else:
        typer.echo(f"{failed} failed" if failed else "nothing failed")
    if failed:
        raise typer.Exit(EXIT_FAILED)


def _looked(given: Preflight) -> Iterator[Finding]:
    """Look at the home, at the way to the coordinator where a node has one, at the records."""
    looks = HomeLooks(given)
    link = link_looks(looks.node) if given.node_settings.exists() else ()
    return chain(findings(looks.looks()), findings(link), findings(looks.record_looks()))
