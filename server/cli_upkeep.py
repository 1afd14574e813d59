"""`fieldfare coordinator transcript export` and `purge`: a file for auditors; deletion.

Errors pass through: the root command turns them into exit codes.
"""

import json
import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from fieldfare.server.cli_home import DEFAULT_HOME, HomeOption, JsonOption, PassphraseFileOption
from fieldfare.server.cli_runs import RunArgument
from fieldfare.server.founding import load_signing_key
from fieldfare.server.home import CoordinatorHome
from fieldfare.server.retention import purge_finished
from fieldfare.server.settings import load_settings
from fieldfare.server.steering import find_run
from fieldfare.server.store import run_store
from fieldfare.server.transcript_export import export_transcript
from fieldfare.shared.clock import utc_now
from fieldfare.shared.errors import RunError
from fieldfare.shared.key_files import read_passphrase
from fieldfare.shared.messages import IdentitySigner

transcript_export_app = typer.Typer(add_completion=False)
purge_app = typer.Typer(add_completion=False)


@transcript_export_app.command("export")
def transcript_export(
    run: RunArgument,
    out: Annotated[Path, typer.Option("--out", help="A new file, JSON Lines.")],
    home: HomeOption = DEFAULT_HOME,
    passphrase_file: PassphraseFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a run's transcript for auditors: every message, signed at the end."""
    opened = CoordinatorHome.open(home)
    signer = IdentitySigner(load_signing_key(opened, read_passphrase(passphrase_file)))
    with run_store(opened.runs_database) as store:
        row = find_run(store, run)
        done = export_transcript(store, row.run, signer, out)
    if as_json:
        found = {
            "run": row.run,
            "file": str(out),
            "leaves": done.leaves,
            "vectors": done.vectors,
            "cosigned": done.cosigned,
            "root": done.root,
        }
        typer.echo(json.dumps(found, indent=2))
        return
    typer.echo(
        f"{out}: {done.leaves} leaves and {done.vectors} masked vectors of {row.run}, "
        f"co-signed by {done.cosigned}"
    )
    typer.echo(f"root {done.root}")
    if row.purged:
        typer.echo("its masked vectors were deleted at the end of their time; hashes stay for good")
    typer.echo(f"Next: fieldfare audit transcript {out}")


@purge_app.command("purge")
def purge(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Delete the masked vectors of runs whose time is over, and what Flower kept of ended runs.

    How long vectors are kept stands in coordinator.toml; signed replies and hashes stay.
    """
    opened = CoordinatorHome.open(home)
    days = load_settings(opened).retention_days
    with run_store(opened.runs_database) as store:
        vectors = store.purge(utc_now() - timedelta(days=days))
    rows = _purge_superlink(opened.superlink_database)
    if as_json:
        found = {"retention_days": days, "vectors": vectors, "superlink_rows": rows}
        typer.echo(json.dumps(found, indent=2))
        return
    typer.echo(f"{vectors} masked vectors of runs that ended more than {days} days ago deleted")
    typer.echo(f"{rows} rows of ended runs deleted from the SuperLink's own state")


def _purge_superlink(database: Path) -> int:
    if not database.is_file():
        return 0
    try:
        return purge_finished(database)
    except sqlite3.Error as error:
        raise RunError(f"{database}: could not be purged now: {error}: repeat it later") from None
