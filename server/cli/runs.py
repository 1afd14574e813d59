"""`fieldfare coordinator propose`, `studies`, `runs`, `run ...`."""

import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.live import Live

from fieldfare.server.cli import app
from fieldfare.server.cli.options import DEFAULT_HOME, HomeOption, JsonOption, PassphraseFileOption
from fieldfare.server.home.initial_setup import load_signing_key
from fieldfare.server.home.settings import load_settings
from fieldfare.server.members.roster import published_roster
from fieldfare.server.store.rows import RunStatus
from fieldfare.server.studies import run_control, run_view
from fieldfare.server.studies.open_coordinator import (
    OpenCoordinator,
    changes_in,
    open_coordinator,
    watch_run,
)
from fieldfare.server.studies.proposals import Proposal, find_study, proposal, proposals
from fieldfare.server.studies.proposing import propose
from fieldfare.server.studies.run_life import inspect_run
from fieldfare.server.studies.study_answers import StudyAnswer, given, heard_of
from fieldfare.shared.advice import at_home
from fieldfare.shared.cli.study import plan_lines
from fieldfare.shared.errors import PolicyRefusal, RefusalCode, RunError, UsageError
from fieldfare.shared.protocol.messages import IdentitySigner
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.protocol.prospects import cautions, obstacles
from fieldfare.shared.study.file import load_study
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.system.key_files import read_passphrase
from fieldfare.shared.terminal.screen import PlainConsole, console, table
from fieldfare.shared.terminal.streams import plain_streams
from fieldfare.shared.terminal.texts import SHORT, ago, plain

HELLO_SECONDS = 60.0  # for a process to begin and to end, beside what institutions may take


StudyArgument = Annotated[
    str, typer.Argument(metavar="STUDY", help="Its name, its id or the first digits of it.")
]


@app.command("coordinator.propose")
def propose_study(
    file: Annotated[Path, typer.Argument(metavar="STUDY.toml", help="The study.")],
    home: HomeOption = DEFAULT_HOME,
    passphrase_file: PassphraseFileOption = None,
    no_hello: Annotated[
        bool, typer.Option("--no-hello", help="Sign and keep it, send nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check and sign a study, and let the institutions know of it."""
    with open_coordinator(home) as coordinator:
        signer = IdentitySigner(
            load_signing_key(coordinator.home, read_passphrase(passphrase_file))
        )
        made = propose(coordinator.home, load_study(file), signer)
        hello, note = (None, "nothing was sent") if no_hello else _greet(coordinator, made)
        path = coordinator.home.study(made.id)
    if as_json:
        found = {"study": made.id, "name": made.study.name, "file": str(path)}
        weak = {
            "obstacles": obstacles(plan_for(made.study)),
            "cautions": cautions(plan_for(made.study)),
        }
        typer.echo(json.dumps({**found, **weak, "hello": hello, "note": note}, indent=2))
        return
    for text in plan_lines(plan_for(made.study)):
        typer.echo(text)
    typer.echo(f"proposed as {made.short}, signed in {path}")
    typer.echo(note)
    typer.echo(at_home(f"Next: fieldfare coordinator studies {made.short} --refresh"))


def _greet(coordinator: OpenCoordinator, made: Proposal) -> tuple[int | None, str]:
    """Send a study out; without a SuperLink it is enough to say so."""
    if published_roster(coordinator.home) is None:
        return None, (
            "nothing was sent, for no roster is published: fieldfare coordinator roster, then "
            "propose it again"
        )
    try:
        hello = run_control.say_hello(coordinator.control, coordinator.bundle, made.id)
    except RunError as error:
        return None, f"institutions get it with the next run or hello: {error}"
    return hello, "institutions that are online get it now, others with the next run or hello"


@app.command("coordinator.studies")
def studies(
    study: Annotated[
        str | None,
        typer.Argument(metavar="STUDY", help="One study: who approved or rejected it, and when."),
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    refresh: Annotated[
        bool,
        typer.Option("--refresh", help="Ask the institutions about STUDY first; they are online."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List the proposed studies with who approved them, or one with every institution's answer."""
    if study is None and refresh:
        raise UsageError("--refresh: expected a STUDY to ask about, found none")
    with open_coordinator(home) as coordinator:
        if study is not None:
            _show_study(coordinator, find_study(coordinator.home, study), refresh, as_json=as_json)
            return
        roster = published_roster(coordinator.home)
        found = [
            (one, heard_of(roster, one.id, coordinator.store.approvals(one.id)))
            for one in proposals(coordinator.home)
        ]
    if as_json:
        typer.echo(json.dumps([_study_json(one, heard) for one, heard in found], indent=2))
        return
    if not found:
        typer.echo("no study was proposed: fieldfare coordinator propose STUDY.toml")
        return
    noes = ["no from"] if any(said.no for _, heard in found for said in heard.values()) else []
    titles = ("study", "name", "epsilon", "proposed", "approved by", *noes)
    console().print(table(titles, (_cells(one, heard)[: len(titles)] for one, heard in found)))


def _cells(one: Proposal, heard: Mapping[str, StudyAnswer]) -> tuple[str, ...]:
    privacy = one.study.privacy
    return (
        one.short,
        one.study.name,
        f"{privacy.epsilon:g} at {privacy.delta:g}",
        ago(utc_now() - one.at),
        plain(
            ", ".join(n for n, said in heard.items() if said.approval) or "nobody yet",
            run_view.MOST_TEXT,
        ),
        plain(", ".join(name for name, said in heard.items() if said.no), run_view.MOST_TEXT),
    )


def _show_study(
    coordinator: OpenCoordinator, found: Proposal, refresh: bool, *, as_json: bool
) -> None:
    """Show which institution approved a study, under which hash, and when it answered."""
    if refresh:
        ask_institutions(coordinator, found)
    heard = coordinator.heard(found.id)
    if as_json:
        typer.echo(json.dumps(_study_json(found, heard), indent=2))
        return
    typer.echo(f"{found.study.name}  {found.id}")
    if not heard:
        typer.echo("no institution is on the roster: fieldfare coordinator roster")
        return
    rows = (
        (
            *(
                plain(name, run_view.MOST_TEXT),
                plain(said.text, run_view.MOST_TEXT),
                said.approval[:SHORT],
            ),
            ago(utc_now() - said.at) if said.at else "",
        )
        for name, said in heard.items()
    )
    console().print(table(("institution", "says", "approval", "heard"), rows))
    least = found.study.aggregation.minimum_institutions
    if given(heard) < least:
        typer.echo(f"{given(heard)} of at least {least} approvals")
    else:
        typer.echo(at_home(f"Next: fieldfare coordinator run start {found.short}"))


def ask_institutions(coordinator: OpenCoordinator, found: Proposal) -> None:
    """Ask the institutions that are online for their answers to a study, and wait for them.

    Raises:
        RunError: the SuperLink cannot be reached, or the hello did not end well.
    """
    wait = load_settings(coordinator.home).wait_seconds + found.study.aggregation.deadline_seconds
    hello = run_control.say_hello(coordinator.control, coordinator.bundle, found.id)
    status = run_control.await_end(
        coordinator.control,
        hello,
        seconds=2 * wait + HELLO_SECONDS,
        monotonic=time.monotonic,
        sleep=time.sleep,
    )
    if status.state != "completed":
        raise RunError(
            f"expected answers of the institutions, found that the hello ended as {status.state}: "
            f"{status.reason or 'see what `fieldfare coordinator start` says'}"
        )


def _study_json(one: Proposal, heard: Mapping[str, StudyAnswer]) -> dict[str, Any]:
    privacy = one.study.privacy
    return {
        "study": one.id,
        "name": one.study.name,
        "epsilon": privacy.epsilon,
        "delta": privacy.delta,
        "proposed": one.at.isoformat(),
        "minimum_institutions": one.study.aggregation.minimum_institutions,
        "institutions": {
            name: {
                "says": said.text,
                "approval": said.approval or None,
                "no": said.no,
                "heard": said.at.isoformat() if said.at else None,
            }
            for name, said in heard.items()
        },
    }


EXIT_NOT_FINISHED: Final = 1
EXIT_INTERRUPTED: Final = 130  # 128 + SIGINT, as shells say it
MOST_REASON: Final = 2000  # characters: names of many institutions
STOP_SECONDS: Final = 10.0  # that a process may take to end, beside the step it is at


RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="Its id, or the beginning of it.")]


@app.command("coordinator.runs")
def runs(
    run: Annotated[
        str | None, typer.Argument(metavar="RUN", help="One of them: watch it until it ends.")
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """List all runs, oldest first, or watch one until it ends; Ctrl-C leaves it alone.

    With RUN, the exit status is 0 if it finished.
    """
    with open_coordinator(home) as coordinator:
        if run is not None:
            _watch_to_end(coordinator, run, as_json=as_json)
            return
        summaries = [_copied(one) for one in coordinator.summaries(utc_now())]
    if as_json:
        typer.echo(json.dumps([run_view.summary_json(one) for one in summaries], indent=2))
    elif summaries:
        console().print(run_view.runs_table(summaries))
    else:
        typer.echo(at_home("no run yet: fieldfare coordinator run start STUDY"))


@app.command("coordinator.run.start")
def run_start(
    study: StudyArgument,
    home: HomeOption = DEFAULT_HOME,
    run: Annotated[
        str, typer.Option("--run", help="The run's id.", show_default="day, study, random digits")
    ] = "",
    force: Annotated[
        bool, typer.Option("--force", help="Start it even where it cannot finish.")
    ] = False,
    not_before: Annotated[
        datetime | None,
        typer.Option(
            "--not-before",
            formats=["%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"],
            help="Let it begin by itself at this time (UTC) or later, outside of quiet hours.",
            show_default="now",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Start a run of a study, with every institution that approved it and is online.

    Refused, with exit status 3, where the study's budget, its approvals, a missing unit or
    noise that hides every metric would waste what it spends.
    """
    with open_coordinator(home) as coordinator:
        found = find_study(coordinator.home, study)
        if published_roster(coordinator.home) is None:
            raise UsageError(
                "expected a published roster, found none: fieldfare coordinator roster"
            )
        now = utc_now()
        chosen = run or run_control.new_run_id(
            found, now, secrets.token_bytes(run_control.SUFFIX_BYTES)
        )
        run_control.check_startable(coordinator.store, chosen, found.id)
        _check_prospects(coordinator, found, force=force)
        if not_before is not None:
            due = not_before.replace(tzinfo=UTC)
            run_control.schedule(coordinator.store, chosen, found.id, due, now)
            _say_begun(
                coordinator, chosen, f"begins after {due:%Y-%m-%d %H:%M} UTC", as_json=as_json
            )
            return
        run_control.start(
            coordinator.store, coordinator.control, coordinator.bundle, chosen, found.id, now
        )
        _say_begun(coordinator, chosen, "started", as_json=as_json)


def _check_prospects(coordinator: OpenCoordinator, found: Proposal, *, force: bool) -> None:
    """Refuse a run that would spend budget for nothing; with `force`, say so and go on.

    Raises:
        PolicyRefusal: it cannot finish, one line for each reason.
        RunError: the institutions cannot be asked.
    """
    heard = coordinator.heard(found.id)
    if not force and given(heard) < found.study.aggregation.minimum_institutions:
        typer.echo("too few approvals are known: asking the institutions", err=True)
        ask_institutions(coordinator, found)
        heard = coordinator.heard(found.id)
    reasons = run_view.start_obstacles(plan_for(found.study), heard, coordinator.spent(found.id))
    if reasons and not force:
        remedy = "nothing was started and nothing spent; --force starts it anyway"
        raise PolicyRefusal(RefusalCode.POLICY, "\n".join([*reasons, remedy]))
    for reason in reasons:
        typer.echo(f"warning: {plain(reason, MOST_REASON)}", err=True)


@app.command("coordinator.run.resume")
def run_resume(
    run: RunArgument, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False
) -> None:
    """Resume a run that stopped, failed or was interrupted, at its next step."""
    with open_coordinator(home) as coordinator:
        chosen = run_control.find_run(coordinator.store, run).run
        before = run_control.resume(
            coordinator.store, coordinator.control, coordinator.bundle, chosen, utc_now()
        )
        done = before.progress.step if before.progress else 0
        _say_begun(coordinator, chosen, f"resumed after step {done}", as_json=as_json)


def _say_begun(coordinator: OpenCoordinator, run: str, what: str, *, as_json: bool) -> None:
    row = coordinator.store.row(run)
    if as_json:
        found = {"run": run, "study": row.study, "flower_run": row.flower_run}
        typer.echo(json.dumps(found, indent=2))
        return
    typer.echo(f"{what}: {run}")
    typer.echo(at_home(f"Next: fieldfare coordinator runs {run}"))


@app.command("coordinator.run.stop")
def run_stop(
    run: RunArgument,
    home: HomeOption = DEFAULT_HOME,
    grace: Annotated[
        float | None,
        typer.Option(
            "--grace",
            min=0.0,
            help="Seconds until its process is ended.",
            show_default="the study's deadline and 10 more",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """End a run after the step it is at; it can be resumed."""
    with open_coordinator(home) as coordinator:
        row = run_control.find_run(coordinator.store, run)
        ended = run_control.stop(
            coordinator.store,
            coordinator.control,
            row.run,
            grace_seconds=_grace(coordinator, row.study) if grace is None else grace,
            now=utc_now,
            monotonic=time.monotonic,
            sleep=time.sleep,
        )
        summary = _copied(
            coordinator.summary(
                inspect_run(coordinator.store, coordinator.control, ended.run),
                utc_now(),
            )
        )
    _say(summary, as_json=as_json)


def _grace(coordinator: OpenCoordinator, study: str) -> float:
    try:
        aggregation = proposal(coordinator.home, study).study.aggregation
    except UsageError:
        return STOP_SECONDS
    return aggregation.deadline_seconds + STOP_SECONDS


def _watch_to_end(coordinator: OpenCoordinator, run: str, *, as_json: bool) -> None:
    """Watch a run until it ends; exit status 0 if it finished."""
    chosen = run_control.find_run(coordinator.store, run).run
    try:
        last = _watch(coordinator, chosen, as_json=as_json)
    except KeyboardInterrupt:
        again = at_home(f"fieldfare coordinator runs {chosen}")
        typer.echo(f"the run goes on; watch it again: {again}", err=True)
        raise typer.Exit(EXIT_INTERRUPTED) from None
    if last.inspected.row.state is not RunStatus.FINISHED:
        raise typer.Exit(EXIT_NOT_FINISHED)


def _watch(coordinator: OpenCoordinator, run: str, *, as_json: bool) -> run_view.RunSummary:
    watched = watch_run(coordinator, run, now=utc_now, monotonic=time.monotonic, sleep=time.sleep)
    summaries = map(_copied, watched)
    if as_json:
        return _print_each(changes_in(summaries, _json_without_time_left), _json_line)
    to = console()
    if to.is_terminal:
        return _show_each(summaries, to)
    last = _print_each(changes_in(summaries, run_view.line), run_view.line)
    _say(last, as_json=False)
    return last


def _copied(summary: run_view.RunSummary) -> run_view.RunSummary:
    """Return a summary whose command can be copied: with the home that was named."""
    if not summary.inspected.command:
        return summary
    inspected = replace(summary.inspected, command=at_home(summary.inspected.command))
    return replace(summary, inspected=inspected)


def _print_each(
    summaries: Iterator[run_view.RunSummary], said: Callable[[run_view.RunSummary], str]
) -> run_view.RunSummary:
    last = next(summaries)
    typer.echo(said(last))
    for last in summaries:
        typer.echo(said(last))
    return last


def _show_each(summaries: Iterator[run_view.RunSummary], to: PlainConsole) -> run_view.RunSummary:
    last = next(summaries)
    shown = Live(run_view.screen(last), console=to, auto_refresh=False)
    with shown as live, plain_streams():  # lines go above it, where colours would be read
        live.refresh()
        for last in summaries:
            live.update(run_view.screen(last), refresh=True)
    return last


def _say(summary: run_view.RunSummary, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(run_view.summary_json(summary), indent=2))
        return
    for text in run_view.last_lines(summary):
        typer.echo(text)


def _json_line(summary: run_view.RunSummary) -> str:
    return json.dumps(run_view.summary_json(summary))


def _json_without_time_left(summary: run_view.RunSummary) -> str:
    return json.dumps(run_view.summary_json(replace(summary, seconds_left=None)))
