"""`fieldfare institution transcript verify FILE`: check a run's transcript against the own ledger.

Errors pass through: the root command turns them into exit codes.
"""

import json
from pathlib import Path
from typing import Annotated

import typer

from fieldfare.client.institution.building import open_institution, open_ledger
from fieldfare.client.institution.cli_home import DEFAULT_HOME, HomeOption
from fieldfare.client.institution.screen import SHORT, plain
from fieldfare.client.institution.transcript_check import TranscriptCheck, check_transcript
from fieldfare.shared.clock import utc_now
from fieldfare.shared.errors import UsageError

transcript_verify_app = typer.Typer(add_completion=False)


@transcript_verify_app.command("verify")
def verify(
    file: Annotated[Path, typer.Argument(help="The transcript that the coordinator exported.")],
    home: HomeOption = DEFAULT_HOME,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, as JSON.")] = False,
) -> None:
    """Recompute a run from its transcript, and find your own replies in it as they left."""
    institution = open_institution(home)
    try:
        opened = file.open("rb")
    except OSError as error:
        raise UsageError(f"{file}: expected a readable file, found: {error.strerror}") from None
    with opened, open_ledger(institution, utc_now) as ledger:
        found = check_transcript(institution, ledger, opened, utc_now())
    if as_json:
        typer.echo(json.dumps(_row(found), indent=2))
    else:
        typer.echo("\n".join(lines(found, institution.settings.id)))


def lines(found: TranscriptCheck, institution: str) -> list[str]:
    """Say what was verified, for people."""
    report, own = found.report, found.own
    took_part = institution in report.participants
    text = [
        f"transcript of study {found.header.study[:SHORT]}, run {found.header.run}: "
        f"{report.leaves} leaves, {report.state}"
        + (f" ({plain(report.reason)})" if report.reason else ""),
        f"audit: every signature holds; {_sums(found)}",
    ]
    if not took_part:
        return [*text, "your replies: none, and none is there: you took no part in this run"]
    text.append(
        f"your replies: {own.recorded} of your ledger are there as they left, and "
        f"{own.rehearsals} of a rehearsal; no other in your name"
    )
    if own.lost:
        text.append(
            f"  {own.lost} more bear your signature and are not in your ledger, which was restored "
            "from an older copy since"
        )
    if own.unseen:
        places = ", ".join(f"step {e.debit.step} attempt {e.debit.attempt}" for e in own.unseen[:5])
        text.append(
            f"  {len(own.unseen)} in your ledger are not there ({places}): they came too late, or "
            "were left out; no sum counts them, and they stay spent"
        )
    return [*text, *_rest(found, institution)]


def _sums(found: TranscriptCheck) -> str:
    report = found.report
    if report.purged:
        return (
            f"{report.recomputed} of {report.sums} sums were added up again, the other vectors are "
            "deleted: the rest is the coordinator's word under its signature"
        )
    return f"{report.sums} sums and {report.steps} steps follow from the replies, bit for bit"


def _rest(found: TranscriptCheck, institution: str) -> list[str]:
    report = found.report
    spent = report.institutions.get(institution)
    text = [f"you spent epsilon {spent.epsilon:.4g} in it"] if spent else []
    if found.cosigned:
        text.append(f"you co-signed {found.cosigned} of {report.leaves} leaves")
    else:
        text.append("you have not co-signed it: your custodian does so at a run's end")
    if found.model is not None:
        text.append(f"your model of this run is the transcript's: {found.model.folder}")
    elif report.model:
        text.append("the model of this run has not arrived here")
    return text


def _row(found: TranscriptCheck) -> dict[str, object]:
    report, own = found.report, found.own
    return {
        "study": found.header.study,
        "run": found.header.run,
        "state": report.state,
        "reason": report.reason,
        "leaves": report.leaves,
        "roster_version": found.roster_version,
        "participants": list(report.participants),
        "steps": report.steps,
        "sums": report.sums,
        "recomputed": report.recomputed,
        "model": report.model,
        "own": {
            "recorded": own.recorded,
            "rehearsals": own.rehearsals,
            "lost": own.lost,
            "unseen": [
                {"step": entry.debit.step, "attempt": entry.debit.attempt, "kind": entry.debit.kind}
                for entry in own.unseen
            ],
            "cosigned": found.cosigned,
        },
        "delivered": str(found.model.folder) if found.model else None,
    }
