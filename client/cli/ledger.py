"""`fieldfare institution ledger ...`, `verify`, `head`: the budget, and what others may check."""

import json
import os
from pathlib import Path
from typing import Annotated, BinaryIO, Final, NoReturn

import typer

from fieldfare.client.cli import app
from fieldfare.client.cli.options import (
    DEFAULT_HOME,
    EXIT_DECLINED,
    HomeOption,
    PassphraseFileOption,
    ProofOption,
    agreed,
    identity_secret,
)
from fieldfare.client.daemon.telling import notify_custodian
from fieldfare.client.home.keys import former_identities, load_identity, public_identity
from fieldfare.client.home.layout import Home
from fieldfare.client.home.policy import load_policy
from fieldfare.client.home.roster import online_keys
from fieldfare.client.home.settings import load_settings
from fieldfare.client.institution import recalling, restoring
from fieldfare.client.institution.changed_ids import changed_ids, keep_sides
from fieldfare.client.institution.institution import open_institution
from fieldfare.client.institution.ledger_checks import check_not_behind, open_ledger, recall_of
from fieldfare.client.institution.open import open_institution_ledger, records_loader
from fieldfare.client.journal.journal import (
    LARGEST_HEADS,
    compare_heads,
    read_heads,
    sign_head,
)
from fieldfare.client.journal.journal import verify as verify_journal
from fieldfare.client.ledger.budget import LedgerEntry, from_picomu2, to_picomu2
from fieldfare.client.ledger.ledger import Ledger
from fieldfare.client.ledger.restore import Acceptance
from fieldfare.client.oversight.ledger_report import (
    LedgerReport,
    registry_record,
    report,
    report_json,
    report_lines,
)
from fieldfare.client.oversight.stories import (
    PROOF_SUFFIX,
    TwoStoriesError,
    keep_proof,
    own_head,
)
from fieldfare.client.oversight.study_evidence import study_evidence
from fieldfare.client.oversight.transcript_check import (
    TranscriptCheck,
    TwoRostersError,
    check_transcript,
)
from fieldfare.shared.audit.verdict import AuditVerdict, RequiredCosigners, quorum_words
from fieldfare.shared.cli.audit import RequiredOption
from fieldfare.shared.cli.evidence import GatheredEvidence, GivenEvidence, PartyEvidence
from fieldfare.shared.errors import ProtocolError, UsageError
from fieldfare.shared.evidence.pack import PackSigner
from fieldfare.shared.protocol.identity import public_hex
from fieldfare.shared.protocol.messages import IdentitySigner
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.system.private_files import (
    create_private,
    open_regular,
    os_user,
    read_at_most,
)
from fieldfare.shared.terminal.texts import SHORT, listed, plain

NAMED: Final = 5  # members
CHECKED_WITH: Final = (
    "send both to every member: fieldfare audit stories FILE FILE --coordinator-key KEY"
)

ReasonOption = Annotated[
    str, typer.Option("--reason", help="Why; it stays in the ledger and in the log.")
]


@app.command("institution.ledger")
def show(
    home: HomeOption = DEFAULT_HOME,
    as_json: Annotated[bool, typer.Option("--json", help="All figures, for programs.")] = False,
    registry: Annotated[
        bool,
        typer.Option(
            "--registry",
            help="A record for OpenDP's registry of deployments, as JSON; it says what to fill in.",
        ),
    ] = False,
) -> None:
    """Show the remaining budget, the spending by study and kind, and the last entries."""
    opened = Home.open(home)
    if registry:
        typer.echo(json.dumps(_registry(opened), indent=2))
        return
    with open_ledger(opened) as ledger:
        found = _report(opened, ledger)
        if as_json:
            typer.echo(json.dumps(report_json(found), indent=2))
        else:
            typer.echo("\n".join(report_lines(found)))
        check_not_behind(ledger, opened)


def _registry(home: Home) -> dict[str, object]:
    with open_ledger(home) as ledger:
        check_not_behind(ledger, home)
        found, first = _report(home, ledger), next(ledger.entries(), None)
    time = first.time if isinstance(first, LedgerEntry) else None
    return registry_record(found, load_settings(home).id, time)


@app.command("institution.ledger.accept-restore")
def accept(
    reason: ReasonOption,
    home: HomeOption = DEFAULT_HOME,
    kept: Annotated[
        int | None,
        typer.Option(
            min=0, help="The last entry that was in the restored copy.", show_default=False
        ),
    ] = None,
    spent: Annotated[
        float | None,
        typer.Option(
            help="Sum of all debits in mu^2, not what is spent, if no witness is left.",
            show_default=False,
        ),
    ] = None,
    study: Annotated[
        str,
        typer.Option(
            help="The study that spent the lost entries; otherwise every study.", show_default=False
        ),
    ] = "",
) -> None:
    """Continue with a restored ledger as a new epoch: all that was lost counts as spent."""
    terms = Acceptance(
        user=os_user(),
        reason=reason,
        kept=kept,
        spent=None if spent is None else to_picomu2(spent),
        study=study,
    )
    opened = Home.open(home)
    accepted = restoring.accept_restore(opened, terms)
    position, carried = accepted.position, accepted.stated.carried
    typer.echo(
        f"accepted as epoch {position.epoch}: mu^2 {from_picomu2(carried)!r} carried over, "
        f"{from_picomu2(position.cumulative)!r} spent in all\n"
        "Every earlier key and approval is gone: approve the studies that are to go on.\n"
        + notify_custodian(opened)
    )


@app.command("institution.ledger.clock")
def clock(
    home: HomeOption = DEFAULT_HOME,
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing: it was compared.")] = False,
) -> None:
    """State that this machine's clock is right, where it is far from the last release.

    A budget's window follows the clock: one that is a year ahead would give a year's budget anew.
    """
    opened = Home.open(home)
    typer.echo(f"this machine's clock says {utc_now():%Y-%m-%d %H:%M} UTC")
    if not yes and not agreed("Did you compare it with another clock?"):
        typer.echo("nothing was written")
        raise typer.Exit(EXIT_DECLINED)
    restoring.accept_clock(opened, os_user())
    typer.echo("written down: the custodian starts with this clock")


@app.command("institution.ledger.split")
def split(
    reason: ReasonOption,
    into: Annotated[
        Path,
        typer.Option("--into", help="The part's own folder: made by init, its population named."),
    ],
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Declare that some people or cases are a separate population, from now on and for good.

    Both go on with everything that was spent so far. No person or case may ever be in both.
    """
    part = restoring.split_off(Home.open(home), Home.open(into), user=os_user(), reason=reason)
    typer.echo(
        f"split off {part.name}: {part.path}\n"
        "Both ledgers have spent what was spent so far, and debit apart from now on. It holds "
        "while no person or case is in the records of both, and none moves between them."
    )


@app.command("institution.ledger.holdout-key")
def holdout_key(
    reason: ReasonOption,
    home: HomeOption = DEFAULT_HOME,
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing: it is so.")] = False,
    keep: Annotated[
        bool,
        typer.Option(
            "--keep-sides",
            help="No id changed, other people came: every unit stays on its side.",
        ),
    ] = False,
) -> None:
    """Continue after the hold-out key of a started study was lost, or ids in records changed.

    Units change their sides, so what either side cost so far counts beside what follows. A backup
    of keys/holdout, or an export with the earlier ids, costs nothing: look for it first. With
    --keep-sides records are read, and what is there is taken for the ids of from now on.
    """
    opened = Home.open(home)
    if keep:
        _keep_sides(opened, reason, ask=not yes)
        return
    question = "Is the hold-out key of studies that began lost for good, or are ids named anew?"
    if not yes and not agreed(question):
        typer.echo("nothing was written")
        raise typer.Exit(EXIT_DECLINED)
    for one in restoring.renew_holdout_key(opened, user=os_user(), reason=reason):
        stated = one.stated
        typer.echo(
            f"study {stated.study[:SHORT]}: mu^2 {from_picomu2(stated.carried)!r} more spent"
        )
    typer.echo(
        "From here on the hold-out is another one. Some of its units trained the earlier models, "
        "so its figures about those models are no figures of a hold-out.\n"
        + notify_custodian(opened)
    )


def _keep_sides(home: Home, reason: str, *, ask: bool) -> None:
    """Ask, for each study that is held up by its ids, whether the people are others."""
    institution = open_institution(home.path)
    with open_institution_ledger(institution, utc_now) as ledger:
        found = list(changed_ids(institution, ledger, records_loader(institution, os.environ)))
        for one in found:
            typer.echo(f"study {one.study[:SHORT]}: {one.change.words}")
        if not found:
            typer.echo("the ids of every study are unchanged: nothing was written")
            return
        if ask and not agreed("Did other people come, and did every person keep the same id?"):
            typer.echo("nothing was written")
            raise typer.Exit(EXIT_DECLINED)
        for one in found:
            keep_sides(institution, ledger, one, user=os_user(), reason=reason)
    typer.echo("written down: no person's id was changed\n" + notify_custodian(home))


@app.command("institution.ledger.recall")
def recall(
    home: HomeOption = DEFAULT_HOME,
    without: Annotated[
        list[str] | None,
        typer.Option("--without", help="A silent member; may be repeated.", show_default=False),
    ] = None,
    honest: Annotated[
        int,
        typer.Option(
            "--honest",
            min=0,
            show_default=False,
            help="Fewest honest institutions of any run since the backup.",
        ),
    ] = 0,
    last: Annotated[
        Path | None,
        typer.Option("--last", help="Leave: write the last answer there.", show_default=False),
    ] = None,
    reason: ReasonOption = "",
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing.")] = False,
    passphrase_file: PassphraseFileOption = None,
) -> None:
    """Show whose memory the last start asked for and has; decide about members that are silent.

    A home that was restored has forgotten what it spent. Without a witness elsewhere its custodian
    asks every member, and opens nothing before all have answered. Going on without one debits all
    that the limits still allow; --honest, h, lets h - 2 be silent and debits nothing.
    """
    opened = Home.open(home)
    if (without or honest or last) and not reason:
        raise UsageError("--reason: expected why, found none: it stays in the log")
    if last is not None:
        _leave(opened, last, passphrase_file, reason, yes=yes)
    elif without or honest:
        _go_on(opened, tuple(without or ()), honest, reason, yes=yes)
    else:
        typer.echo("\n".join(_recall_lines(opened)))


def _go_on(home: Home, without: tuple[str, ...], honest: int, reason: str, *, yes: bool) -> None:
    asks = f"Go on without what {', '.join(without)} remember? That spends the whole budget."
    if not without:
        asks = f"Had every run since the backup {honest} honest institutions or more?"
    if not yes and not agreed(asks):
        typer.echo("nothing was written")
        raise typer.Exit(EXIT_DECLINED)
    carried = recalling.decide(home, without=without, honest=honest, user=os_user(), reason=reason)
    said = (
        f"mu^2 {from_picomu2(carried)!r} debited: all that the limits still allowed"
        if without
        else f"silent members allowed: {max(0, honest - 2)}"
    )
    typer.echo(f"written down, for this start alone: {said}")


def _leave(home: Home, out: Path, passphrase_file: Path | None, reason: str, *, yes: bool) -> None:
    if not yes and not agreed("Leave for good? This home opens nothing after its last answer."):
        typer.echo("nothing was written")
        raise typer.Exit(EXIT_DECLINED)
    secret = identity_secret(home, passphrase_file)
    institution = open_institution(home.path)
    recalling.leave(institution, user=os_user(), reason=reason)
    told = notify_custodian(home)  # whatever it was answering is done then
    create_private(out, recalling.last_answer(institution, secret))
    typer.echo(
        f"{told}\nwrote {out}: send it to the coordinator, which removes you with it "
        "(coordinator remove --last-answer), so that restored members still get your answer"
    )


def _recall_lines(home: Home) -> list[str]:
    with open_ledger(home) as ledger:
        found = recall_of(ledger)
    if found is None:
        return [
            "no member was asked: this custodian has not been started for a run, or a witness",
            "elsewhere answers",
        ]
    standing, decision = found
    text = [f"the last start asked {len(standing.asked)} members what they remember:"]
    for name in standing.asked:
        state = "answered" if name in standing.heard else "NO ANSWER"
        decided = ": a start goes on without it" if name in decision.silent else ""
        text.append(f"  {name:<24} {state}{decided}")
    if not decision.allows(standing.missing):
        text.append("nothing opens before they answer: have them connect")
    return text


def _report(home: Home, ledger: Ledger) -> LedgerReport:
    return report(ledger, load_settings(home).population, load_policy(home), utc_now())


LOG: Final = "log"
LEDGER: Final = "ledger"


@app.command("institution.verify")
def verify(
    book: Annotated[
        str | None,
        typer.Argument(
            metavar="[log|ledger|FILE]",
            help="FILE: the transcript that the coordinator exported.",
            show_default="log and ledger",
        ),
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    heads: Annotated[
        Path | None,
        typer.Option(
            "--head",
            help="Of the log: heads that were signed before, a line each.",
            show_default=False,
        ),
    ] = None,
    required: RequiredOption = RequiredCosigners.ENOUGH,
    proof: ProofOption = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Of a transcript: everything, as JSON.")
    ] = False,
) -> None:
    """Recompute your log and ledger, and name the first misfit; or a run from its transcript.

    Of the ledger: its chain, all totals and the hash of everything that left. Your own replies are
    found in a transcript as they left, and it is held against the log that you co-signed. That
    exits like `audit transcript`: 0 fits, 1 does not fit, 4 fits as far as kept, 5 not co-signed
    by enough, 6 two stories, with the proof.
    """
    if heads is not None and book not in {None, LOG}:
        raise UsageError("--head: expected your log to verify, found something else")
    if book not in {None, LOG, LEDGER}:
        _verify_transcript(Path(str(book)), home, required, proof, as_json=as_json)
        return
    if as_json:
        raise UsageError("--json: expected a transcript's file beside it")
    if book != LEDGER:
        typer.echo(_verify_log(Home(home), heads))
    if book != LOG:
        typer.echo(_verify_ledger(Home.open(home)))


def _verify_log(home: Home, heads: Path | None) -> str:
    if heads is None:
        signed, count = [], verify_journal(home.log_folder).sequence
    else:
        own = (public_identity(home), *former_identities(home))
        signed = read_heads(read_at_most(heads, LARGEST_HEADS), load_settings(home).id, own)
        count = compare_heads(home.log_folder, signed).sequence
    entries = f"{count} entries, 1 to {count}" if count else "no entries"
    fits = f"; {len(signed)} signed heads fit" if heads else ""
    return f"log verified: {entries}{fits}"


def _verify_ledger(home: Home) -> str:
    with open_ledger(home) as ledger:
        ledger.verify()
        check_not_behind(ledger, home)
        position = ledger.position()
    return (
        f"ledger verified: {position.sequence} entries, epoch {position.epoch}, mu^2 "
        f"{from_picomu2(position.cumulative)!r} spent, {from_picomu2(position.debited)!r} debited, "
        f"head {position.head[:SHORT]}"
    )


def _verify_transcript(
    file: Path,
    home: Path,
    required: RequiredCosigners,
    proof: Path | None,
    *,
    as_json: bool,
) -> None:
    institution = open_institution(home)
    try:
        with (
            _opened(file) as opened,
            open_institution_ledger(institution, utc_now) as ledger,
        ):
            found = check_transcript(institution, ledger, opened, utc_now())
    except TwoStoriesError as stories:
        told = keep_proof(proof or file.with_name(file.name + PROOF_SUFFIX), stories.proof)
        _tell(AuditVerdict.TWO_STORIES, [f"TWO STORIES: {stories}", *told], as_json=as_json)
    except TwoRostersError as stories:
        told = [f"TWO STORIES: {stories}:", *(f"  {path}" for path in stories.files)]
        _tell(AuditVerdict.TWO_STORIES, [*told, CHECKED_WITH], as_json=as_json)
    except ProtocolError as error:
        if as_json:
            _tell(AuditVerdict.DOES_NOT_FIT, [str(error)], as_json=True)
        raise
    verdict = found.verdict(required)
    if as_json:
        typer.echo(json.dumps(_verdict(verdict) | _row(found), indent=2))
    else:
        typer.echo("\n".join([*lines(found, institution.settings.id), WORDS[verdict]]))
    if verdict is not AuditVerdict.FITS:
        raise typer.Exit(verdict.value)


WORDS: Final = {
    AuditVerdict.FITS: "it fits",
    AuditVerdict.AS_FAR_AS_KEPT: "it fits as far as it is kept: ask for the whole transcript",
    AuditVerdict.NOT_COSIGNED: (
        "too few institutions co-signed it: ask them for the heads that they signed, and compare "
        "them with yours: `fieldfare institution check --head FILE`"
    ),
}


def _opened(file: Path) -> BinaryIO:
    try:
        return open_regular(file)
    except OSError as error:
        raise UsageError(
            f"{file}: expected log, ledger or a readable file, found: {error.strerror}"
        ) from None


def _verdict(verdict: AuditVerdict) -> dict[str, object]:
    return {"verdict": verdict.word, "exit_status": verdict.value}


def _tell(verdict: AuditVerdict, said: list[str], *, as_json: bool) -> NoReturn:
    """Say what is wrong and end with its exit status."""
    text = (
        json.dumps(_verdict(verdict) | {"reason": said}, indent=2) if as_json else "\n".join(said)
    )
    typer.echo(text)
    raise typer.Exit(verdict.value)


@app.command("institution.head")
def head(
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="A run's id.", show_default="your log")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Of a run: the file to write.", show_default=False)
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    passphrase_file: PassphraseFileOption = None,
) -> None:
    """Recompute the log and print its size, last hash and time, signed; or write a run's head.

    Keep it where this machine cannot change it: `verify --head` then finds a rewritten log. Of a
    run, it is the head that you co-signed, for other members to hold theirs against. It holds the
    coordinator's signature and hashes, and nothing of any record.
    """
    if run is None:
        if out is not None:
            raise UsageError("--out: expected a RUN beside it: the head of your log is printed")
        typer.echo(_own_log_head(Home.open(home), passphrase_file))
        return
    if out is None:
        raise UsageError("--out: expected a file for the run's head, found none")
    _write_run_head(run, out, home)


def _own_log_head(home: Home, passphrase_file: Path | None) -> str:
    signer = IdentitySigner(load_identity(home, identity_secret(home, passphrase_file)))
    end = verify_journal(home.log_folder)
    return sign_head(end, load_settings(home).id, signer, utc_now()).decode()


def _write_run_head(run: str, out: Path, home: Path) -> None:
    institution = open_institution(home)
    with open_institution_ledger(institution, utc_now) as ledger:
        seen = own_head(ledger, online_keys(institution.home, institution.roster_key), run)
    create_private(out, seen.to_bytes())
    typer.echo(f"wrote {out}: others check it with `fieldfare institution check --head {out.name}`")


def lines(found: TranscriptCheck, institution: str) -> list[str]:
    """Return the result of the verification as text."""
    report, own = found.report, found.own
    took_part = institution in report.participants
    text = [
        f"transcript of study {found.header.study[:SHORT]}, run {found.header.run}: "
        f"{report.leaves} leaves, {report.state}"
        + (f" ({plain(report.reason)})" if report.reason else ""),
        f"audit: every signature holds; {_sums(found)}",
    ]
    if found.strangers:
        text.append(
            f"UNKNOWN KEYS: those of {listed(found.strangers, NAMED)}; the run may be invented: "
            "compare them (fieldfare institution roster compare), and verify it again"
        )
    if not took_part:
        return [*text, "your replies: none, here or in it: you took no part in this run"]
    text.append(
        f"your replies: {own.recorded} of your ledger are in it as they left, and "
        f"{own.rehearsals} of a rehearsal; it has no other in your name"
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
    if report.blame is not None:
        text.append(report.blame.text)
    if found.known > report.leaves:
        text.append(
            f"this file is the beginning of the log that you co-signed, {report.leaves} of "
            f"{found.known} leaves"
        )
    if found.cosigned:
        text.append(f"you co-signed {found.cosigned} of {report.leaves} leaves")
    else:
        text.append("you have not co-signed it: your custodian does so at a run's end")
    if words := quorum_words(report):
        text.append(words)
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
        "blame": None if report.blame is None else report.blame.as_dict(),
        "leaves": report.leaves,
        "roster_version": found.roster_version,
        "participants": list(report.participants),
        "unknown_keys": list(found.strangers),
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


# -- evidence -----------------------------------------------------------------------------------


def _gather(home: Path, subject: str, given: GivenEvidence) -> GatheredEvidence:
    opened = Home.open(home)
    key = load_identity(opened, identity_secret(opened, given.passphrase))
    facts = study_evidence(home, subject, given.software, given.now, given.transcript)
    return GatheredEvidence(facts, PackSigner(facts.maker, public_hex(key), IdentitySigner(key)))


EVIDENCE: Final = PartyEvidence(_gather)
