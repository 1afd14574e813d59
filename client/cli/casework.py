"""`fieldfare institution casework make|collect`, `forget`.

Several persons work on alerts, without a key.
"""

import grp
from pathlib import Path
from typing import Annotated, Final

import tomlkit
import typer
from pydantic import ValidationError

from fieldfare.client.alerts.alert_queue import (
    CollectionCounts,
    casework_store,
    collect,
    forget,
    keys_of,
    scoring_store,
    tell,
)
from fieldfare.client.alerts.casework import (
    TERMS,
    Casework,
    CaseworkTerms,
    casework_of,
    make_casework,
)
from fieldfare.client.alerts.store import STORE, open_store
from fieldfare.client.cli import app
from fieldfare.client.cli.options import DEFAULT_HOME, HomeOption
from fieldfare.client.home.layout import Home
from fieldfare.client.home.settings import load_settings
from fieldfare.client.journal.journal import Journal
from fieldfare.shared.errors import UsageError
from fieldfare.shared.study.toml import problem_lines
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.system.private_files import (
    replace_private,
    user_name,
)

EXIT_DOUBTFUL: Final = 1


@app.command("institution.casework.make")
def make(
    folder: Annotated[
        Path, typer.Option(help="The folder to make; outside of the home, which is yours alone.")
    ],
    group: Annotated[str, typer.Option(help="The group of users who may see alerts.")],
    analyst: Annotated[
        list[str] | None, typer.Option(help="An account that may decide on alerts; repeat it.")
    ] = None,
    reviewer: Annotated[
        list[str] | None,
        typer.Option(help="An account that may also sign a filing second; repeat it."),
    ] = None,
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Make the folder where a group decides on alerts, apart from keys, ledger and records.

    Alerts of the home move there. The operator scores and collects; analysts and reviewers log in
    at a console that runs as a user of its own, and reads nothing of the home.
    """
    opened = Home.open(home)
    settings = load_settings(opened)
    path = folder.absolute()
    if settings.casework.folder:
        raise UsageError(
            f"casework.folder: expected none in {opened.settings}, found "
            f"{settings.casework.folder}: change who may decide in its {TERMS}"
        )
    if path.resolve().is_relative_to(opened.path.resolve()):
        raise UsageError(
            f"--folder: expected a folder outside of {opened.path}, found one inside: only its "
            "owner can enter a home"
        )
    terms = _terms(settings.id, analyst or [], reviewer or [])
    number = _group(group)
    made = make_casework(path, number, terms)
    moved = _moved(opened, made)
    _name_in_settings(opened, path)
    changed = load_settings(opened)
    with scoring_store(opened, changed) as store:
        tell(store, opened, changed)  # what the group reads of the settings is there from the start
    typer.echo(f"made {path} for the group {group}" + (f"; {moved}" if moved else ""))
    typer.echo("\n".join(_who(made)))
    for line in made.obstacles():
        typer.echo(f"warning: {line}", err=True)
    typer.echo(f"Name the console's user in {path / TERMS}; as that user:")
    typer.echo(f"fieldfare console --home {path} --accounts FOLDER")


def _terms(institution: str, analysts: list[str], reviewers: list[str]) -> CaseworkTerms:
    try:
        return CaseworkTerms(
            institution=institution, analysts=tuple(analysts), reviewers=tuple(reviewers)
        )
    except ValidationError as error:
        raise UsageError("\n".join(f"--{line}" for line in problem_lines(error))) from None


def _group(name: str) -> int:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise UsageError(
            f"--group: expected a group of this machine, found {name}: make it with groupadd {name}"
        ) from None


def _moved(home: Home, casework: Casework) -> str:
    """Copy the home's alerts into the group's store, and take them from the home."""
    before = home.scoring / STORE
    moved = before.exists()
    if moved:
        with open_store(home) as store:
            store.copy_to(casework.operators_store)
    with casework_store(casework) as store:
        alerts = len(store.all())
    if not moved:
        return ""
    before.unlink()
    return f"{alerts} alerts moved there"


def _name_in_settings(home: Home, path: Path) -> None:
    document = tomlkit.parse(home.settings.read_text(encoding="utf-8"))
    section = tomlkit.table()
    section.add("folder", str(path))
    document["casework"] = section
    replace_private(home.settings, tomlkit.dumps(document).encode())


@app.command("institution.casework.collect")
def collect_signed(home: HomeOption = DEFAULT_HOME) -> None:
    """Copy signed decisions into the store and this institution's log, each one once.

    From then on it stands, whatever becomes of their files. Ends with 1 where something that was
    taken over earlier is no longer in anybody's file.
    """
    found = collect(opened := Home.open(home), _needed(opened))
    typer.echo("\n".join(_collected_lines(found)))
    if found.gone:
        raise typer.Exit(EXIT_DOUBTFUL)


def _needed(home: Home) -> Casework:
    casework = casework_of(home, load_settings(home))
    if casework is None:
        raise UsageError(
            f"{home.settings}: expected casework.folder, found none: make a folder with `fieldfare "
            "institution casework make`"
        )
    return casework


def _collected_lines(found: CollectionCounts) -> list[str]:
    lines = [f"{found.taken} taken over", *found.complaints]
    if found.refused:
        lines.append(
            f"{found.refused} not counted: signed on a terminal, by a person who may not decide, "
            "or about an alert that is not there"
        )
    if found.gone:
        lines.append(
            f"{found.gone} acts that were taken over are no longer in any user's file: they "
            "were removed or changed there; store and log still hold them"
        )
    lines += [
        f"{one}: every alert that it acts on is gone, and its comments are still "
        "there: if its user acts no more, remove the file"
        for one in found.over
    ]
    return lines


def _who(casework: Casework) -> list[str]:
    terms, entry = casework.terms, casework.path.stat()
    return [
        f"operator   {user_name(entry.st_uid)}: scores and collects",
        f"analysts   {', '.join(terms.analysts) or 'nobody'}: decide",
        f"reviewers  {', '.join(terms.reviewers) or 'nobody'}: decide, and sign second",
    ]


@app.command("institution.forget")
def forget_expired(home: HomeOption = DEFAULT_HOME) -> None:
    """Delete alerts, decisions, comments and entries whose date has come; `score` does it too.

    `alerts.keep_days` and `alerts.entries_days` in institution.toml say when. Their pages are
    overwritten, and with the key of a day every copy of its entries is unreadable. Persons' own
    files lose their lines about such alerts when they next act. The log says what went; `deletions`
    makes signed statements of it.
    """
    opened = Home.open(home)
    settings = load_settings(opened)
    keys = keys_of(opened, settings)
    with (
        Journal.open(opened.log_folder, clock=utc_now) as journal,
        scoring_store(opened, settings) as store,
    ):
        gone = forget(store, keys, settings, utc_now(), journal)
    typer.echo(f"{gone} alerts deleted; entries kept until before today are gone")
