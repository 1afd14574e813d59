"""`fieldfare audit transcript FILE`: check a run without trusting its coordinator.

The report is one screen for people, and JSON for programs.
"""

import json
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fieldfare.shared.audit.audit import AuditReport, InstitutionReport, audit
from fieldfare.shared.audit.opening import Trust
from fieldfare.shared.audit.verdict import (
    AuditVerdict,
    RequiredCosigners,
    cosigners,
    cosigners_needed,
    quorum_words,
    verdict_of,
    witnesses,
)
from fieldfare.shared.audit.witnessed import WitnessClaim, WitnessedFindings
from fieldfare.shared.cli import app
from fieldfare.shared.errors import ProtocolError, UsageError
from fieldfare.shared.evaluation.groups import group_lines
from fieldfare.shared.evaluation.metrics import guard_line
from fieldfare.shared.protocol.identity import fingerprint
from fieldfare.shared.protocol.plan import PICOMU2, Plan
from fieldfare.shared.protocol.roster import contradicts
from fieldfare.shared.protocol.signed_files import open_roster, read_roster, read_signed
from fieldfare.shared.system.private_files import open_regular, read_at_most
from fieldfare.shared.terminal.screen import BAD, console, facts, table
from fieldfare.shared.terminal.texts import SHORT, plain, short
from fieldfare.shared.transcript.heads import LARGEST_HEAD_FILE, TwoStories
from fieldfare.shared.transcript.notes import NoteKey, distinct_witnesses

GOOD: Final = "bold green"
DOUBT: Final = "bold yellow"
STATED: Final = "as the coordinator states them: not computed again"
MOST_SHOWN: Final = 24  # institutions; --json has all


RosterOption = Annotated[
    Path | None,
    typer.Option(help="The signed roster that you know to be right.", show_default=False),
]
KeyOption = Annotated[
    str | None,
    typer.Option(
        metavar="HEX|FILE",
        help="The coordinator's roster key, public, compared out of band; the roster is then the "
        "one that it signed.",
        show_default=False,
    ),
]
RequiredOption = Annotated[
    RequiredCosigners,
    typer.Option(
        "--require-cosigned",
        help="How many participants must have co-signed the end of the log: n - t, all, none.",
    ),
]


HeadsOption = Annotated[
    Path | None,
    typer.Option(
        "--witnessed",
        metavar="FILE",
        help="Heads that witnesses signed, as the coordinator published them.",
        show_default=False,
    ),
]
WitnessOption = Annotated[
    list[str] | None,
    typer.Option(
        "--witness",
        metavar="KEY",
        help="A witness that you believe: its verifier key, name+id+base64; repeat it.",
        show_default=False,
    ),
]
WitnessesOption = Annotated[
    int | None,
    typer.Option(
        "--require-witnesses",
        min=0,
        help="How many of these witnesses must have signed the end of the log.",
        show_default="all that are named",
    ),
]
LaterRosterOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--later-roster",
        metavar="FILE",
        help="A signed roster after the run's, where the coordinator has a new key; repeat it.",
        show_default=False,
    ),
]
LogNumberOption = Annotated[
    int,
    typer.Option("--log-number", min=1, help="The number of the coordinator's log of heads."),
]


def report_json(
    report: AuditReport,
    trust: Trust,
    required: RequiredCosigners = RequiredCosigners.ENOUGH,
    required_witnesses: int = 0,
) -> dict[str, Any]:
    """Return a report for programs; mu^2 as numbers and, exactly, in units of 1e-12."""
    verdict = verdict_of(report, required, required_witnesses)
    header, roster, plan, misfit = report.header, report.roster, report.plan, report.misfit
    return {
        "verdict": verdict.word,
        "exit_status": verdict.value,
        "verified": misfit is None,
        "misfit": None if misfit is None else misfit.as_dict(),
        "study": None if header is None else header.study,
        "run": None if header is None else header.run,
        "name": None if plan is None else plan.study.name,
        "roster_key": trust.roster_key,
        "roster": None
        if roster is None
        else {
            "version": roster.version,
            "hash": roster.hash,
            "pinned": trust.roster is not None,
        },
        "state": report.state,
        "reason": report.reason,
        "blame": None if report.blame is None else report.blame.as_dict(),
        "leaves": report.leaves,
        "steps": report.steps,
        "planned_steps": None if plan is None else plan.study.training.steps,
        "attempts": report.requests,
        "failed_attempts": report.failed_attempts,
        "sums": report.sums,
        "recomputed_sums": report.recomputed,
        "cosigners": cosigners(report),
        "cosigners_needed": cosigners_needed(report, required),
        "cosigners_leave_open": quorum_words(report) or None,
        "witnessed": _witnessed_json(report.witnessed),
        "witnesses_needed": required_witnesses,
        "model": report.model or None,
        "metrics": json.loads(report.metrics) if report.metrics else None,
        "recomputed_metrics": report.measured,
        "groups": report.groups,
        **({} if report.guard is None else {"guard": report.guard}),  # of a public start
        "questions": sum(len(record.group.questions) for record in report.answers),
        "delta": None if plan is None else plan.study.privacy.delta,
        "planned_epsilon": None if plan is None else plan.epsilon(),
        "spent_epsilon": report.epsilon,
        "institutions": {
            name: _institution_json(found, report.cosigned.get(name))
            | {"checked": report.checked.get(name), "objects_to": report.objections.get(name)}
            for name, found in report.institutions.items()
        },
    }


def _witnessed_json(found: WitnessedFindings | None) -> dict[str, Any] | None:
    if found is None:
        return None
    other = found.contradicting
    return {
        "log": found.origin,
        "heads": found.size,
        "heads_of_the_run": found.heads,
        "times": {name: _moment(at) for name, at in found.times.items()},
        "unknown_signatures": found.others,
        "contradicting": None if other is None else {"size": other.size, "root": other.root},
    }


def _moment(seconds: int) -> str:
    """Return a witness's time for people; one that no calendar holds as it is."""
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (ValueError, OverflowError, OSError):
        return f"{seconds} s after 1970"


def _institution_json(found: InstitutionReport, cosigned: int | None) -> dict[str, Any]:
    return {
        "releases": found.spent.releases,
        "picomu2": found.spent.debits,
        "mu2": found.spent.debits / PICOMU2,
        "epsilon": found.epsilon,
        "epsilon_at_most": found.at_most,
        "picomu2_elsewhere": found.spent.elsewhere,
        "cosigned_leaves": cosigned,
    }


def report_screen(
    report: AuditReport,
    trust: Trust,
    required: RequiredCosigners = RequiredCosigners.ENOUGH,
    required_witnesses: int = 0,
) -> RenderableType:
    """Render a report for one terminal screen.

    Names in it come from others: nothing in them is read as markup or moves a cursor.
    """
    parts: list[RenderableType] = [facts(_rows(report, trust))]
    if report.institutions:
        parts += [Text(), _institutions(report)]
    return Group(*parts, Text(), *_verdict(report, required, required_witnesses))


def _rows(report: AuditReport, trust: Trust) -> Iterator[tuple[str, str]]:
    if report.header is not None:
        name = f", {report.plan.study.name}" if report.plan else ""
        yield "run", report.header.run
        yield "study", report.header.study + name
    yield "roster key", fingerprint(bytes.fromhex(trust.roster_key))
    if report.roster is not None:
        whose = "the one that you gave" if trust.roster else "as the coordinator signed it"
        count = len(report.roster.members)
        yield "roster", f"version {report.roster.version}, {count} institutions, {whose}"
    if report.plan is None or not report.participants:
        return
    yield "log", f"{report.leaves:,} leaves; {_ended(report)}"
    planned = report.plan.study.training.steps
    yield "steps", f"{report.steps} of {planned}, {_attempts(report)}"
    yield "sums", _sums(report)
    geometry = report.final.results.geometry if report.final else None
    if geometry is not None:
        kind = "centred" if geometry.matrix is None else "whitened"
        yield (
            "moments",
            f"in the transcript; the {kind} coordinates of training made again from them",
        )
    yield from _outcome(report)
    yield "promise", _promise(report, report.plan)
    elsewhere = [name for name, found in report.institutions.items() if found.spent.elsewhere]
    if elsewhere:
        yield "elsewhere", _elsewhere(report, elsewhere)
    if report.witnessed is not None:
        yield "witnesses", _witnessed(report.witnessed)


def _witnessed(found: WitnessedFindings) -> str:
    seen = ", ".join(f"{plain(name)} at {_moment(at)}" for name, at in found.times.items())
    others = f"; {found.others} more that you did not name" if found.others else ""
    return f"{seen or 'none of yours'}{others}; {found.size} heads in the coordinator's log"


def _outcome(report: AuditReport) -> Iterator[tuple[str, str]]:
    if report.blame is not None:
        yield "blame", f"{report.blame.text} (made again from the keys that were published)"
    if report.model:
        again = "as the coordinator states it" if report.purged else "computed again, bit for bit"
        yield "model", f"{report.model} {again}"
    if report.metrics is not None:
        yield "metrics", "read off the evaluation's sum again" if report.measured else STATED
    if report.guard is not None:
        yield "start", guard_line(report.guard)
    if report.groups is not None:
        for line in group_lines(report.groups):
            yield "fairness", line
    if report.answers:
        count = sum(len(record.group.questions) for record in report.answers)
        yield "questions", f"{count} answered; their sums are in the transcript"


def _ended(report: AuditReport) -> str:
    if report.state == "unfinished":
        return "the run had not ended"
    return f"the run {report.state}" if report.state == "finished" else _stopped(report)


def _stopped(report: AuditReport) -> str:
    how = "was stopped" if report.state == "stopped" else "failed"
    return f"the run {how}: {report.reason}" if report.reason else f"the run {how}"


def _attempts(report: AuditReport) -> str:
    failed = report.failed_attempts
    return f"{report.requests} requests, {failed or 'none'} of them without a sum"


def _sums(report: AuditReport) -> str:
    if not report.purged:
        return f"{report.recomputed} of {report.sums} added up again, bit for bit"
    return (
        f"none of {report.sums} could be added up again: the masked vectors are not in the file "
        "(a coordinator deletes them after the retention time, or leaves them out)"
    )


def _promise(report: AuditReport, plan: Plan) -> str:
    delta = plan.study.privacy.delta
    return (
        f"epsilon {short(plan.epsilon())} planned, {short(report.epsilon)} spent in this "
        f"run, at delta {delta:g}"
    )


def _elsewhere(report: AuditReport, names: Sequence[str]) -> str:
    shown = ", ".join(
        f"{name} mu^2 {short(report.institutions[name].spent.elsewhere / PICOMU2)}"
        for name in names[:MOST_SHOWN]
    )
    return (
        f"between their replies ledgers debited what is not in this transcript: {shown} (other "
        "runs, or answers that were lost)"
    )


def _institutions(report: AuditReport) -> Table:
    rows = [
        (
            name,
            str(found.spent.releases),
            short(found.spent.debits / PICOMU2),
            _epsilon(found),
            _cosigned(report, name),
        )
        for name, found in list(report.institutions.items())[:MOST_SHOWN]
    ]
    numbers = ("releases", "mu^2", "epsilon", "co-signed")
    found = table(("institution", *numbers), rows, numbers=numbers)
    more = len(report.institutions) - MOST_SHOWN
    if more > 0:
        found.add_row(f"and {more} more")
    return found


def _epsilon(found: InstitutionReport) -> str:
    text = short(found.epsilon)
    if found.at_most > found.epsilon:  # an answer that was lost is debited all the same
        text += f" (at most {short(found.at_most)})"
    return text


def _cosigned(report: AuditReport, name: str) -> str:
    size = report.cosigned.get(name)
    if size is None:
        return "no"
    if name in report.objections:
        return f"leaf {report.objections[name]} does not fit"
    whole = "all of it" if size == report.leaves else f"the first {size} leaves"
    return whole if report.checked.get(name) == "recomputed" else f"{whole}, by hashes only"


def _verdict(
    report: AuditReport, required: RequiredCosigners, required_witnesses: int
) -> Iterator[Text]:
    verdict = verdict_of(report, required, required_witnesses)
    if verdict is AuditVerdict.TWO_STORIES:
        yield Text("TWO STORIES  ", style=BAD).append(
            "the coordinator signed another log of this run: its head stands among the witnessed "
            "ones; keep both files, they are the proof"
        )
        return
    if report.misfit is not None:
        yield Text("DOES NOT FIT  ", style=BAD).append(plain(report.misfit.place))
        yield Text(plain(report.misfit.reason))
        return
    if verdict is AuditVerdict.NOT_COSIGNED and not report.participants:
        yield Text("NOT CO-SIGNED  ", style=BAD).append(
            "this log opens no run: only the coordinator answers for what is in it"
        )
        return
    if verdict is AuditVerdict.NOT_COSIGNED:
        needed = cosigners_needed(report, required)
        yield Text("NOT CO-SIGNED  ", style=BAD).append(
            f"{cosigners(report)} of {len(report.participants)} institutions signed the end of "
            f"this log, {needed} have to: ask them for what they signed"
        )
    if witnesses(report) < required_witnesses:
        yield Text("NOT WITNESSED  ", style=BAD).append(
            f"{witnesses(report)} of your witnesses signed the end of this log, "
            f"{required_witnesses} have to"
        )
    if report.purged:
        yield Text("FITS AS FAR AS KEPT  ", style=DOUBT).append(
            "signatures, order and debits; not the sums"
        )
    else:
        yield Text("FITS  ", style=GOOD).append("every signature, sum, step, figure and debit")
    if words := quorum_words(report):
        yield Text(words, style=DOUBT)


@app.command("audit.transcript")
def audit_transcript(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="As the coordinator exported it.")],
    roster: RosterOption = None,
    coordinator_key: KeyOption = None,
    required: RequiredOption = RequiredCosigners.ENOUGH,
    witnessed: HeadsOption = None,
    witness: WitnessOption = None,
    required_witnesses: WitnessesOption = None,
    log_number: LogNumberOption = 1,
    later_roster: LaterRosterOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, for programs.")] = False,
) -> None:
    """Check every signature, sum and step of a run, and what it spent; name what does not fit.

    Exits with 0 where all of it fits, 1 where something does not, 4 where it fits as far as
    vectors are kept, 5 where too few institutions co-signed it, 6 where the coordinator signed
    another log of the run, 7 where too few witnesses signed its end.
    """
    trust = trusted(roster, coordinator_key)
    keys = witness_keys(witness or [])
    least = len(keys) if required_witnesses is None else required_witnesses
    if least > len(keys):
        raise UsageError(f"expected --witness for each of {least} witnesses, found {len(keys)}")
    if later_roster and witnessed is None:
        raise UsageError("expected --witnessed beside --later-roster, whose key signed its heads")
    claim = None
    if witnessed is not None:
        later = tuple(_later_roster(one, trust.roster_key) for one in later_roster or ())
        heads = read_at_most(witnessed, LARGEST_HEAD_FILE)
        claim = WitnessClaim(heads, keys, log_number, later)
    try:
        with open_regular(file) as content:
            report = audit(content, trust, claim)
    except OSError as error:
        raise UsageError(f"{file}: expected a readable file, found: {error.strerror}") from None
    if as_json:
        typer.echo(json.dumps(report_json(report, trust, required, least), indent=2))
    else:
        console().print(report_screen(report, trust, required, least))
    if status := verdict_of(report, required, least).value:
        raise typer.Exit(status)


def witness_keys(texts: Sequence[str]) -> tuple[NoteKey, ...]:
    """Return witnesses' keys as a person names them.

    Raises:
        UsageError: no verifier key, or two witnesses of one name or key.
    """
    try:
        return distinct_witnesses(texts)
    except ProtocolError as error:
        raise UsageError(f"--witness: {error}") from None


@app.command("audit.stories")
def audit_two_stories(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="The proof: one file, or two rosters.")
    ],
    roster: RosterOption = None,
    coordinator_key: KeyOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, for programs.")] = False,
) -> None:
    """Check a proof that a coordinator signed two logs of one run, neither the other's beginning.

    Or two rosters, in a file each, that cannot both be of one history. Exits with 6 where it
    proves that, and with 1 where it proves nothing.
    """
    trust, verdict = trusted(roster, coordinator_key), AuditVerdict.TWO_STORIES
    found, words = (_two_logs if len(files) == 1 else _two_rosters)(files, trust)
    if as_json:
        said = {"verdict": verdict.word, "exit_status": verdict.value, **found}
        typer.echo(json.dumps(said, indent=2))
    else:
        typer.echo(f"TWO STORIES: {words}")
    raise typer.Exit(verdict.value)


def _two_logs(files: Sequence[Path], trust: Trust) -> tuple[dict[str, Any], str]:
    if trust.roster is None:
        raise UsageError(
            "expected --roster beside a log's proof, found the roster key alone: give the roster "
            "of that run, which names the key that signed its log"
        )
    proof = TwoStories.from_bytes(read_at_most(files[0], LARGEST_HEAD_FILE))
    told = proof.told(trust.roster)
    heads = [head.model_dump(mode="json") for head in (told.first, told.second)]
    return {"heads": heads}, f"{told.words}\nstudy {told.study}"


def _two_rosters(files: Sequence[Path], trust: Trust) -> tuple[dict[str, Any], str]:
    if len(files) != 2:  # noqa: PLR2004 -- two stories
        raise UsageError(f"expected one proof or two rosters, found {len(files)} files")
    one, other = (open_roster(read_roster(path), trust.roster_key) for path in files)
    if not contradicts(one, other):
        raise ProtocolError(
            "expected two rosters of one version, or two that follow one, found two that fit "
            "together: they prove nothing"
        )
    rosters = [{"version": each.version, "hash": each.hash} for each in (one, other)]
    words = " and ".join(f"version {each.version} ({each.hash[:SHORT]})" for each in (one, other))
    return {"rosters": rosters}, f"the coordinator signed two rosters of one history, {words}"


def trusted(roster: Path | None, coordinator_key: str | None) -> Trust:
    """Read the auditor's trust anchor: a roster, or the coordinator's key.

    Raises:
        UsageError: neither or both, or something that is no roster or no key.
    """
    if (roster is None) == (coordinator_key is None):
        raise UsageError("expected either --roster or --coordinator-key: say which one you trust")
    if roster is None:
        return Trust(_key(coordinator_key or ""))
    return in_roster_file(roster)


def in_roster_file(path: Path) -> Trust:
    """Trust a signed roster that a person knows to be right.

    Raises:
        UsageError: it cannot be read, or is no roster that its own roster key signed.
    """
    try:
        return Trust.in_roster(read_roster(path))
    except ProtocolError as error:
        raise UsageError(f"{path}: {error}: give the roster as it was published") from None


def _later_roster(path: Path, roster_key: str) -> bytes:
    content = read_roster(path)
    try:
        open_roster(content, roster_key)
    except ProtocolError as error:
        raise UsageError(f"--later-roster: {path}: {error}") from None
    return content


def _key(text: str) -> str:
    """Read a public key: 64 hexadecimal digits, or a file that holds them."""
    path = Path(text)
    found = text if _is_key(text) or not path.is_file() else _line_of(path)
    if not _is_key(found):
        raise UsageError(
            "--coordinator-key: expected 64 hexadecimal digits, or a file that holds them: the "
            "coordinator's roster.pub"
        )
    return found.strip().lower()


def _is_key(text: str) -> bool:
    return re.fullmatch(r"[0-9a-fA-F]{64}", text.strip()) is not None


def _line_of(path: Path) -> str:
    return read_signed(path).decode("ascii", errors="replace")
