"""`fieldfare coordinator runs`, `run start`, `run stop`, `run resume`, `run watch`.

Errors pass through: the root command turns them into exit codes.
"""

import json
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.live import Live

from fieldfare.server.approvals import given, start_obstacles
from fieldfare.server.cli_home import DEFAULT_HOME, HomeOption, JsonOption
from fieldfare.server.cli_proposals import StudyArgument, ask_institutions, heard_now
from fieldfare.server.cli_screen import console
from fieldfare.server.desk import Desk, open_desk
from fieldfare.server.proposals import Proposal, find_study, proposal
from fieldfare.server.publication import published_roster
from fieldfare.server.run_view import (
    Picture,
    last_lines,
    line,
    picture_json,
    plain,
    runs_table,
    screen,
)
from fieldfare.server.steering import (
    SUFFIX_BYTES,
    check_startable,
    find_run,
    look,
    new_run_id,
    resume,
    start,
    stop,
)
from fieldfare.server.store import RunState
from fieldfare.server.watching import follow, news
from fieldfare.shared.clock import utc_now
from fieldfare.shared.errors import PolicyRefusal, RefusalCode, UsageError
from fieldfare.shared.next_command import at_home

EXIT_NOT_FINISHED: Final = 1
EXIT_INTERRUPTED: Final = 130  # 128 + SIGINT, as shells say it
MOST_REASON: Final = 2000  # characters: names of many institutions
STOP_SECONDS: Final = 10.0  # that a process may take to end, beside the step it is at

runs_app = typer.Typer(add_completion=False)
run_start_app = typer.Typer(add_completion=False)
run_stop_app = typer.Typer(add_completion=False)
run_resume_app = typer.Typer(add_completion=False)
run_watch_app = typer.Typer(add_completion=False)

RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="Its id, or the beginning of it.")]


@runs_app.command("runs")
def runs(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """List all runs, oldest first: where they stand and what each of them spent."""
    with open_desk(home) as desk:
        pictures = [_copied(one) for one in desk.pictures(utc_now())]
    if as_json:
        typer.echo(json.dumps([picture_json(one) for one in pictures], indent=2))
    elif pictures:
        console().print(runs_table(pictures))
    else:
        typer.echo(at_home("no run yet: fieldfare coordinator run start STUDY"))


@run_start_app.command("start")
def run_start(
    study: StudyArgument,
    home: HomeOption = DEFAULT_HOME,
    run: Annotated[
        str, typer.Option("--run", help="The run's id.", show_default="day, study, random digits")
    ] = "",
    force: Annotated[
        bool, typer.Option("--force", help="Start it even where it cannot finish.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Start a run of a study, with every institution that approved it and is online.

    Refused, with exit status 3, where the study's budget, its approvals, a missing unit or
    noise that hides every metric would waste what it spends.
    """
    with open_desk(home) as desk:
        found = find_study(desk.home, study)
        if published_roster(desk.home) is None:
            raise UsageError(
                "expected a published roster, found none: fieldfare coordinator roster"
            )
        now = utc_now()
        chosen = run or new_run_id(found, now, secrets.token_bytes(SUFFIX_BYTES))
        check_startable(desk.store, chosen, found.id)
        _check_prospects(desk, found, force=force)
        start(desk.store, desk.control, desk.bundle, chosen, found.id, now)
        _say_begun(desk, chosen, "started", as_json=as_json)


def _check_prospects(desk: Desk, found: Proposal, *, force: bool) -> None:
    """Refuse a run that would spend budget for nothing; with `force`, say so and go on.

    Raises:
        PolicyRefusal: it cannot finish, one line for each reason.
        RunError: the institutions cannot be asked.
    """
    heard = heard_now(desk, found)
    if not force and given(heard) < found.study.aggregation.minimum_institutions:
        typer.echo("too few approvals are known: asking the institutions", err=True)
        ask_institutions(desk, found)
        heard = heard_now(desk, found)
    reasons = start_obstacles(found.plan, heard, desk.spent(found.id))
    if reasons and not force:
        remedy = "nothing was started and nothing spent; --force starts it all the same"
        raise PolicyRefusal(RefusalCode.POLICY, "\n".join([*reasons, remedy]))
    for reason in reasons:
        typer.echo(f"warning: {plain(reason, MOST_REASON)}", err=True)


@run_resume_app.command("resume")
def run_resume(
    run: RunArgument, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False
) -> None:
    """Carry on a run that stopped, failed or was interrupted, at its next step."""
    with open_desk(home) as desk:
        chosen = find_run(desk.store, run).run
        before = resume(desk.store, desk.control, desk.bundle, chosen, utc_now())
        done = before.progress.step if before.progress else 0
        _say_begun(desk, chosen, f"resumed after step {done}", as_json=as_json)


def _say_begun(desk: Desk, run: str, what: str, *, as_json: bool) -> None:
    row = desk.store.row(run)
    if as_json:
        found = {"run": run, "study": row.study, "flower_run": row.flower_run}
        typer.echo(json.dumps(found, indent=2))
        return
    typer.echo(f"{what}: {run}")
    typer.echo(at_home(f"Next: fieldfare coordinator run watch {run}"))


@run_stop_app.command("stop")
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
    with open_desk(home) as desk:
        row = find_run(desk.store, run)
        ended = stop(
            desk.store,
            desk.control,
            row.run,
            grace_seconds=_grace(desk, row.study) if grace is None else grace,
            now=utc_now,
            monotonic=time.monotonic,
            sleep=time.sleep,
        )
        picture = _copied(desk.picture(look(desk.store, desk.control, ended.run), utc_now()))
    _say(picture, as_json=as_json)


def _grace(desk: Desk, study: str) -> float:
    try:
        aggregation = proposal(desk.home, study).study.aggregation
    except UsageError:
        return STOP_SECONDS
    return aggregation.deadline_seconds + STOP_SECONDS


@run_watch_app.command("watch")
def run_watch(
    run: RunArgument, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False
) -> None:
    """Watch a run until it ends; Ctrl-C leaves it alone. Exit status 0 if it finished."""
    with open_desk(home) as desk:
        chosen = find_run(desk.store, run).run
        try:
            last = _watch(desk, chosen, as_json=as_json)
        except KeyboardInterrupt:
            again = at_home(f"fieldfare coordinator run watch {chosen}")
            typer.echo(f"the run goes on; watch it again: {again}", err=True)
            raise typer.Exit(EXIT_INTERRUPTED) from None
    if last.seen.row.state is not RunState.FINISHED:
        raise typer.Exit(EXIT_NOT_FINISHED)


def _watch(desk: Desk, run: str, *, as_json: bool) -> Picture:
    followed = follow(desk, run, now=utc_now, monotonic=time.monotonic, sleep=time.sleep)
    pictures = map(_copied, followed)
    if as_json:
        return _print_each(news(pictures, _json_without_time_left), _json_line)
    to = console()
    if to.is_terminal:
        return _show_each(pictures, to)
    last = _print_each(news(pictures, line), line)
    _say(last, as_json=False)
    return last


def _copied(picture: Picture) -> Picture:
    """Return a picture whose command can be copied: with the home that was named."""
    if not picture.seen.command:
        return picture
    seen = replace(picture.seen, command=at_home(picture.seen.command))
    return replace(picture, seen=seen)


def _print_each(pictures: Iterator[Picture], said: Callable[[Picture], str]) -> Picture:
    last = next(pictures)
    typer.echo(said(last))
    for last in pictures:
        typer.echo(said(last))
    return last


def _show_each(pictures: Iterator[Picture], to: Console) -> Picture:
    last = next(pictures)
    with Live(screen(last), console=to, auto_refresh=False) as live:
        live.refresh()
        for last in pictures:
            live.update(screen(last), refresh=True)
    return last


def _say(picture: Picture, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(picture_json(picture), indent=2))
        return
    for text in last_lines(picture):
        typer.echo(text)


def _json_line(picture: Picture) -> str:
    return json.dumps(picture_json(picture))


def _json_without_time_left(picture: Picture) -> str:
    return json.dumps(picture_json(replace(picture, seconds_left=None)))
