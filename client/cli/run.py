"""`fieldfare institution custodian`, `status`, `check` and `desk`."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Annotated, Final

import typer

from fieldfare.client.cli import app
from fieldfare.client.cli.node import SETTINGS_NAME
from fieldfare.client.cli.options import (
    DEFAULT_HOME,
    HomeOption,
    PassphraseFileOption,
    ProgramsOption,
    ProofOption,
    identity_secret,
)
from fieldfare.client.daemon.process import guard_home
from fieldfare.client.desk.deciders import open_deciders
from fieldfare.client.desk.process import serve_home
from fieldfare.client.home.layout import Home
from fieldfare.client.home.roster import online_keys
from fieldfare.client.home.settings import load_settings
from fieldfare.client.institution.institution import open_institution, open_journal
from fieldfare.client.institution.open import open_institution_ledger
from fieldfare.client.journal.entries import Event
from fieldfare.client.oversight import preflight
from fieldfare.client.oversight.checks import HomeChecks, Preflight
from fieldfare.client.oversight.link import link_checks
from fieldfare.client.oversight.overview import overview, overview_json
from fieldfare.client.oversight.overview_screen import overview_lines
from fieldfare.client.oversight.stories import (
    PROOF_SUFFIX,
    TwoStoriesError,
    check_heads,
    keep_proof,
)
from fieldfare.client.wire.admin_client import custodian_status
from fieldfare.shared.audit.verdict import AuditVerdict
from fieldfare.shared.console.credentials import factor_text, factor_uri
from fieldfare.shared.errors import FieldfareError
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.system.memory import keep_out_of_dumps
from fieldfare.shared.system.private_files import os_user


@app.command("institution.custodian")
def custodian(
    home: HomeOption = DEFAULT_HOME, passphrase_file: PassphraseFileOption = None
) -> None:
    """Guard the records and answer for the approved studies; runs until it is stopped.

    Decisions, a new roster, another identity and a changed policy take effect without a restart.
    """
    keep_out_of_dumps()
    guard_home(home, identity_secret(Home(home.absolute()), passphrase_file))


NodeSettingsOption = Annotated[
    Path | None,
    typer.Option(
        help="The settings of a node that runs from elsewhere.",
        show_default="node.toml in the home",
    ),
]


@app.command("institution.status")
def status(
    home: HomeOption = DEFAULT_HOME,
    node_settings: NodeSettingsOption = None,
    as_json: ProgramsOption = False,
    ready: Annotated[
        bool,
        typer.Option("--ready", help="The custodian alone, one line; exit 1 if it cannot answer."),
    ] = False,
) -> None:
    """Show on one screen how this institution stands; also while nothing runs."""
    opened = Home.open(home)
    if ready:
        raise typer.Exit(_ready(opened))
    found = overview(opened, node_settings or opened.path / SETTINGS_NAME, utc_now())
    if as_json:
        typer.echo(json.dumps(overview_json(found), indent=2))
    else:
        typer.echo("\n".join(overview_lines(found)))


EXIT_FAILED: Final = 1


def _ready(home: Home) -> int:
    """Say whether the custodian can answer now; for a supervisor, which reads the exit status."""
    try:
        found = custodian_status(home.admin_socket)
    except FieldfareError as error:
        typer.echo(f"not ready: {error}")
        return EXIT_FAILED
    lacks = "no custodian is running" if found is None else found.trouble
    if not lacks and found is not None and found.ledger is None:
        lacks = "the ledger cannot be read"
    typer.echo(f"not ready: {lacks}" if lacks else "ready")
    return EXIT_FAILED if lacks else 0


@app.command("institution.check")
def check(
    home: HomeOption = DEFAULT_HOME,
    passphrase_file: PassphraseFileOption = None,
    node_settings: NodeSettingsOption = None,
    skip_records: Annotated[
        bool, typer.Option("--skip-records", help="Do not read the records.")
    ] = False,
    heads: Annotated[
        list[Path] | None,
        typer.Option("--head", help="Another member's head, as `head RUN` wrote it."),
    ] = None,
    proof: ProofOption = None,
    as_json: ProgramsOption = False,
) -> None:
    """Check everything that a study needs to run, with a remedy for each failure.

    Nothing is changed and no value of a record is shown. Exits with 0 when nothing fails, and with
    6 where the coordinator told another member another story of a run: the proof is written.
    """
    given = Preflight(
        home=home,
        node_settings=node_settings or home / SETTINGS_NAME,
        passphrase=identity_secret(Home(home.absolute()), passphrase_file),
        environment=os.environ,
        now=utc_now(),
        records=not skip_records,
    )
    found: list[preflight.CheckResult] = []
    for one in _looked(given):
        found.append(one)
        if not as_json:
            typer.echo("\n".join(preflight.finding_lines(one)))
    two_stories = _one_story(home, heads, proof, found, told=not as_json) if heads else False
    failed = sum(one.outcome is preflight.CheckOutcome.FAIL for one in found)
    if as_json:
        typer.echo(
            json.dumps({"failed": failed, "findings": preflight.findings_json(found)}, indent=2)
        )
    else:
        typer.echo(f"{failed} failed" if failed else "nothing failed")
    if two_stories:
        raise typer.Exit(AuditVerdict.TWO_STORIES.value)
    if failed:
        raise typer.Exit(EXIT_FAILED)


def _one_story(
    home: Path,
    heads: Sequence[Path],
    proof: Path | None,
    found: list[preflight.CheckResult],
    *,
    told: bool,
) -> bool:
    """Hold other members' heads against the own ones; say whether they tell two stories."""
    stories: list[TwoStoriesError] = []

    def seen() -> str | preflight.CheckNote:
        """Return what others' heads say, and keep what proves two stories."""
        institution = open_institution(home)
        with open_institution_ledger(institution, utc_now) as ledger:
            try:
                keys = online_keys(institution.home, institution.roster_key)
                known = check_heads(ledger, keys, heads)
            except TwoStoriesError as error:
                stories.append(error)
                path = proof or heads[0].with_name(heads[0].name + PROOF_SUFFIX)
                told_of = [f"TWO STORIES: {error}", *keep_proof(path, error.proof)]
                return preflight.CheckNote(preflight.CheckOutcome.FAIL, "\n".join(told_of))
        said = f"{known} of {len(heads)} heads of others are of runs co-signed here"
        if known < len(heads):
            note = f"{said}; nothing is known of the others"
            return preflight.CheckNote(preflight.CheckOutcome.WARN, note)
        return f"{said}: one story each"

    for one in preflight.findings([preflight.Check("heads", seen)]):
        found.append(one)
        if told:
            typer.echo("\n".join(preflight.finding_lines(one)))
    return bool(stories)


def _looked(given: Preflight) -> Iterator[preflight.CheckResult]:
    """Look at the home, at the way to the coordinator where a node has one, at the records."""
    checks = HomeChecks(given)
    link = link_checks(checks.node) if given.node_settings.exists() else ()
    return chain(
        preflight.findings(checks.checks()),
        preflight.findings(link),
        preflight.findings(checks.record_checks()),
    )


# -- desk -----------------------------------------------------------------------------------------

NameArgument = Annotated[str, typer.Argument(help="As the account at the console is called.")]


@app.command("institution.desk")
def desk(home: HomeOption = DEFAULT_HOME, passphrase_file: PassphraseFileOption = None) -> None:
    """Answer what the console asks of ledger and log until this is stopped; `start` does it too.

    It also takes over what persons signed in the casework folder, every few seconds.
    """
    keep_out_of_dumps()
    secret = identity_secret(Home(home.absolute()), passphrase_file)
    serve_home(home, secret, typer.echo)


@app.command("institution.desk.person.add")
def add(name: NameArgument, home: HomeOption = DEFAULT_HOME) -> None:
    """Let a person decide on studies in a browser, with a second factor that is shown once.

    It is another one than that of the log-in, which the console's process holds. Whoever is there
    already gets a new one. It counts where institution.toml says `decides = true` under [console].
    """
    opened = Home.open(home)
    with open_deciders(opened.desk, utc_now) as book:
        factor = book.add(name, os.urandom, _teller(opened, "decider added", name))
    settings = load_settings(opened)
    typer.echo(f"{name} types this into an authenticator (six digits, 30 s), here and now:")
    typer.echo(f"  {factor_text(factor)}")
    typer.echo(f"  {factor_uri(factor, name, f'desk of {settings.id}')}")
    if not settings.console.decides:
        typer.echo(f"It counts once {opened.settings} has:\n  [console]\n  decides = true")


@app.command("institution.desk.person.remove")
def remove(name: NameArgument, home: HomeOption = DEFAULT_HOME) -> None:
    """Stop letting a person decide in a browser; earlier decisions stay valid."""
    opened = Home.open(home)
    with open_deciders(opened.desk, utc_now) as book:
        book.remove(name, _teller(opened, "decider removed", name))
    typer.echo(f"removed: {name}")


@app.command("institution.desk.person.list")
def listed(home: HomeOption = DEFAULT_HOME) -> None:
    """List who may decide on studies in a browser."""
    opened = Home.open(home)
    with open_deciders(opened.desk, utc_now) as book:
        names = book.names()
    allowed = load_settings(opened).console.decides
    typer.echo("\n".join(names) or "nobody")
    if names and not allowed:
        typer.echo("console.decides is false in institution.toml: nobody may, for now")


def _teller(home: Home, kind: str, name: str) -> Callable[[], None]:
    def tell() -> None:
        with open_journal(home, utc_now) as journal:
            journal.append(Event.CONSOLE, os_user(), kind=kind, user=name)

    return tell
