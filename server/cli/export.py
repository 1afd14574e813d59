"""`fieldfare coordinator export`: files of a run to send."""

import json
import shlex
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fieldfare.server.cli import app
from fieldfare.server.cli.options import DEFAULT_HOME, HomeOption, JsonOption, PassphraseFileOption
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.home.public_keys import signing_public
from fieldfare.server.run.closing import kept_delivery
from fieldfare.server.store.export import export_transcript
from fieldfare.server.store.store import run_store
from fieldfare.server.studies.run_control import find_run
from fieldfare.server.upkeep.publication import head_signer
from fieldfare.shared.errors import ProtocolError, RunError
from fieldfare.shared.protocol.delivery import DeliveryFile
from fieldfare.shared.protocol.flower_record import bytes_of
from fieldfare.shared.protocol.roster import Roster
from fieldfare.shared.system.key_files import read_passphrase
from fieldfare.shared.system.private_files import create_private


class ExportedFile(StrEnum):
    """What a run leaves that is sent to others."""

    MODEL = "model"
    TRANSCRIPT = "transcript"


@app.command("coordinator.export")
def export(
    what: Annotated[
        ExportedFile,
        typer.Argument(
            help="model: the finished one, its card and your signature, for an institution; "
            "transcript: every message, signed at the end, for auditors."
        ),
    ],
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="Its id; of a transcript the beginning will do.")
    ],
    out: Annotated[Path, typer.Option("--out", help="The file to write; a new one.")],
    home: HomeOption = DEFAULT_HOME,
    passphrase_file: PassphraseFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a run's model, or its transcript for auditors, into one file to send."""
    opened = CoordinatorHome.open(home)
    if what is ExportedFile.MODEL:
        found, lines = _export_model(opened, run, out)
    else:
        found, lines = _export_transcript(opened, run, out, passphrase_file)
    typer.echo(json.dumps(found, indent=2) if as_json else "\n".join(lines))


def _export_model(
    opened: CoordinatorHome, run: str, out: Path
) -> tuple[dict[str, str | int], list[str]]:
    file = delivery_file(opened, run)
    own = Roster(version=1, coordinator=signing_public(opened), members=())
    try:
        file.open(own)  # what no institution would take is not sent either
    except ProtocolError as error:
        raise RunError(
            f"{run}: expected a delivery that the present online key signed, found another "
            f"({error}): after `renew online-key` or a restore no institution takes an earlier "
            "one; its participants have the model"
        ) from None
    create_private(out, file.to_bytes())
    told = f"wrote {out}: send it; they take it with `fieldfare institution import {out.name}`"
    return {"run": run, "file": str(out)}, [told]


def _export_transcript(
    opened: CoordinatorHome, run: str, out: Path, passphrase_file: Path | None
) -> tuple[dict[str, str | int], list[str]]:
    signer = head_signer(opened, read_passphrase(passphrase_file))
    with run_store(opened.runs_database) as store:
        row = find_run(store, run)
        done = export_transcript(store, row.run, signer, out)
    vectors = f"{done.leaves} leaves and {done.vectors} masked vectors"
    lines = [
        f"{out}: {vectors} of {row.run}, co-signed by {done.cosigned}",
        f"root {done.root}",
    ]
    if row.purged:
        lines.append(
            "its masked vectors were deleted at the end of their time; hashes stay for good"
        )
    lines.append(f"Next: fieldfare audit transcript {shlex.quote(str(out))}")
    found: dict[str, str | int] = {
        "run": row.run,
        "file": str(out),
        "leaves": done.leaves,
        "vectors": done.vectors,
        "cosigned": done.cosigned,
        "root": done.root,
    }
    return found, lines


def delivery_file(home: CoordinatorHome, run: str) -> DeliveryFile:
    """Return a finished run's delivery as one file.

    Raises:
        UsageError: no run id.
        RunError: the run has not finished a model, or its files are gone.
    """
    folder = home.model(run)
    if not folder.is_dir():
        raise RunError(
            f"expected a finished run, found {run}, which has no model yet: see `fieldfare "
            "coordinator runs`"
        )
    content = kept_delivery(folder)
    return DeliveryFile(*(bytes_of(content, name) for name in ("delivery", "model", "card")))
