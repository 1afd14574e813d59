"""`fieldfare coordinator init`, `renew`, `invitation`, `start`, `purge`."""

import fcntl
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from fieldfare.server.cli import app
from fieldfare.server.cli.options import (
    DEFAULT_HOME,
    DraftOption,
    HomeOption,
    JsonOption,
    PassphraseFileOption,
    RosterKeyOption,
    RosterPassphraseOption,
    RosterTokenOption,
    SignedOption,
    drafted_lines,
    opened_roster_key,
)
from fieldfare.server.desk.calls import desk_socket
from fieldfare.server.home import initial_setup
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.home.public_keys import roster_public, signing_public, together
from fieldfare.server.home.roster_key import RosterKeyPlace, load_roster_key
from fieldfare.server.home.settings import DEFAULT_LOCAL_PORT, load_settings
from fieldfare.server.members.publication import (
    draft_invitation,
    invite,
    present_invitation,
    take_invitation,
)
from fieldfare.server.members.standing import spoken_key
from fieldfare.server.store.store import run_store
from fieldfare.server.superlink.process import terms_of
from fieldfare.server.superlink.retention import flower_environment, purge_finished
from fieldfare.server.upkeep.due_deletions import delete_due
from fieldfare.shared.advice import at_home
from fieldfare.shared.cli.typed import token_pin
from fieldfare.shared.errors import UsageError
from fieldfare.shared.protocol.identity import fingerprint
from fieldfare.shared.protocol.signed_files import read_signed
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.system.key_files import read_passphrase
from fieldfare.shared.system.memory import keep_out_of_dumps
from fieldfare.shared.system.private_files import create_private
from fieldfare.shared.system.processes import Child, RestartRules, given_line, supervise_many
from fieldfare.shared.system.sockets import is_short_enough
from fieldfare.shared.terminal.texts import counted
from fieldfare.shared.watch.log import SupervisedLog, in_json


@app.command("coordinator.init")
def init(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Of the coordinator, for institutions.")
    ],
    address: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where institutions' nodes find it.")
    ],
    home: HomeOption = DEFAULT_HOME,
    bind: Annotated[
        str,
        typer.Option(
            metavar="HOST:PORT",
            help="Where it listens for nodes.",
            show_default="every interface, at the address's port",
        ),
    ] = "",
    contact: Annotated[str, typer.Option(help="How to reach its people.", show_default=False)] = "",
    dns: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A further name or address of it; repeat it."),
    ] = None,
    local_port: Annotated[
        int | None,
        typer.Option(
            help="Port on 127.0.0.1 for the commands of this host.",
            show_default=f"{DEFAULT_LOCAL_PORT}, or the next one that is free",
        ),
    ] = None,
    passphrase_file: PassphraseFileOption = None,
    roster_key: RosterKeyOption = None,
    roster_passphrase_file: RosterPassphraseOption = None,
    roster_token: RosterTokenOption = "",
) -> None:
    """Make a coordinator's folder, its keys, certificates and invitation."""
    passphrase, own = read_passphrase(passphrase_file), roster_passphrase_file
    secret = token_pin(own) if roster_token else read_passphrase(own or passphrase_file)
    place = RosterKeyPlace(roster_key, secret, roster_token)
    chosen = initial_setup.free_port(DEFAULT_LOCAL_PORT) if local_port is None else local_port
    setup = initial_setup.CoordinatorSetup(name, address, contact, tuple(dns or ()), bind, chosen)
    made = initial_setup.create_coordinator(
        home, setup, utc_now(), passphrase=passphrase, roster_key=place
    )
    invite(made, load_roster_key(made, secret, roster_key))
    protected = "under your passphrase" if passphrase else "readable by this user, no passphrase"
    lines = [
        f"made {made.path} for {name}",
        f"online key is {protected}",
        together(made) or f"the roster key lies at {roster_key or made.roster_key}",
        *_other_port(chosen, given=local_port is not None),
        *_next(made),
    ]
    typer.echo("\n".join(lines))


def _next(made: CoordinatorHome) -> list[str]:
    return [
        "",
        _told(made),
        "",
        "Read this aloud to every institution, in person or by telephone: it is how they know you.",
        f"Keep a backup of {made.path} as safe as the folder itself.",
        f"Next: send {made.invitation} to the institutions; they answer with a file each:",
        at_home("      fieldfare coordinator enrol FILE..."),
    ]


class RenewedSecret(StrEnum):
    """What a coordinator replaces."""

    CERTIFICATE = "certificate"
    ONLINE_KEY = "online-key"


@app.command("coordinator.renew")
def renew(
    what: Annotated[
        RenewedSecret,
        typer.Argument(
            metavar="certificate|online-key",
            help="certificate: for another year; its authority stays, so do institutions. "
            "online-key: where it was stolen or lost; the next roster says so to members.",
        ),
    ],
    home: HomeOption = DEFAULT_HOME,
    passphrase_file: PassphraseFileOption = None,
) -> None:
    """Replace the SuperLink's certificate, or the online key."""
    opened = CoordinatorHome.open(home)
    if what is RenewedSecret.ONLINE_KEY:
        _renew_online_key(opened, read_passphrase(passphrase_file))
        return
    ends = initial_setup.renew_server(opened, utc_now())
    typer.echo(f"the SuperLink's certificate is valid until {ends:%Y-%m-%d}")
    typer.echo("`fieldfare coordinator start` shows it within the hour; a new start does at once")


def _renew_online_key(opened: CoordinatorHome, passphrase: bytes | None) -> None:
    aside = initial_setup.renew_online_key(opened, passphrase)
    typer.echo(f"online key   {spoken_key(signing_public(opened))}")
    for study in aside:
        typer.echo(f"study {study[:12]} was signed by the former key: propose it again")
    typer.echo("Next: fieldfare coordinator roster; every member accepts it, and then")
    typer.echo("stop `fieldfare coordinator start` and start it again")


@app.command("coordinator.invitation")
def invitation(
    home: HomeOption = DEFAULT_HOME,
    out: Annotated[
        Path | None,
        typer.Option(help="A copy to send.", show_default=False),
    ] = None,
    draft: DraftOption = None,
    signed: SignedOption = None,
    roster_key: RosterKeyOption = None,
    roster_passphrase_file: RosterPassphraseOption = None,
    passphrase_file: PassphraseFileOption = None,
) -> None:
    """Make the invitation again, after a change of name, address or version."""
    opened = CoordinatorHome.open(home)
    before = present_invitation(opened) if opened.invitation.exists() else None
    if draft is not None:
        create_private(draft, draft_invitation(opened))
        typer.echo("\n".join(drafted_lines(draft, "invitation")))
        return
    if signed is not None:
        made = take_invitation(opened, read_signed(signed), str(signed))
    else:
        key = opened_roster_key(opened, roster_key, roster_passphrase_file, passphrase_file)
        made = invite(opened, key)
    if out is not None:
        if out.exists():
            raise UsageError(
                f"{out}: expected a new file, found an existing one: nothing is overwritten"
            )
        shutil.copyfile(opened.invitation, out)
    trouble = initial_setup.certificate_trouble(opened, utc_now())
    if trouble:
        typer.echo(f"Before you send it: {trouble}")
    typer.echo(f"{out or opened.invitation} invites to {made.hub} at {made.address}")
    typer.echo(_told(opened))
    if before is not None and before.bundle != made.bundle:
        typer.echo(
            f"THE BUNDLE CHANGED from {before.bundle} to {made.bundle}:\n"
            "every institution has to list the new one, with `fieldfare institution join`, before "
            "its node answers runs again"
        )
    elif before is not None and before != made:
        typer.echo("It changed: institutions take the new one with `fieldfare institution join`.")


def _other_port(chosen: int, *, given: bool) -> list[str]:
    if given or chosen == DEFAULT_LOCAL_PORT:
        return []
    said = f"its local_port is {chosen}: something else, another coordinator perhaps, has"
    return [f"{said} {DEFAULT_LOCAL_PORT}"]


def _told(home: CoordinatorHome) -> str:
    return f"coordinator  {fingerprint(bytes.fromhex(roster_public(home)))}"


SUPERLINK: Final = "fieldfare.server.superlink.process"
RUNNER: Final = "fieldfare.server.service.runner_process"
NOTICES: Final = "fieldfare.server.upkeep.notices_process"
DESK: Final = "fieldfare.server.desk.process"
WITNESSES: Final = "fieldfare.server.upkeep.witnesses_process"
WATCH: Final = "fieldfare.server.upkeep.watch_process"
BAD_INPUT: Final = 2
SUPERLINK_RULES: Final = RestartRules(final=frozenset({0, BAD_INPUT}))
RUNNER_RULES: Final = RestartRules(
    final=frozenset({0, BAD_INPUT}), grace_seconds=20.0
)  # it ends runs


@app.command("coordinator.start")
def start(home: HomeOption = DEFAULT_HOME, passphrase_file: PassphraseFileOption = None) -> None:
    """Serve nodes and runs until this is stopped.

    Opens the port that nodes need and, on 127.0.0.1 only, one for this host's own commands.
    """
    keep_out_of_dumps()
    opened = CoordinatorHome.open(home)
    passphrase = read_passphrase(passphrase_file)
    initial_setup.load_signing_key(opened, passphrase)  # now, not when the first run needs it
    terms_of(opened)
    trouble = initial_setup.certificate_trouble(opened, utc_now())
    if trouble:
        _say("superlink", trouble)
    if lies := together(opened):
        _say("keys", lies)
    file = load_settings(opened).log_file
    with _only_one(opened):
        screen = SupervisedLog(opened.path / file if file else None)
        status = supervise_many(_children(opened, passphrase), screen.say)
    raise typer.Exit(status)


def _children(home: CoordinatorHome, passphrase: bytes | None) -> list[Child]:
    environment = in_json(flower_environment(os.environ, home.run))
    python = (sys.executable, "-I", "-m")
    modules = (SUPERLINK, RUNNER, NOTICES, DESK, WITNESSES, WATCH)
    superlink, runner, notices, desk, witnesses, watch = (
        [*python, module, str(home.path)] for module in modules
    )
    given, rules = given_line(passphrase), RUNNER_RULES
    children = [
        Child(name="superlink", command=superlink, environment=environment, rules=SUPERLINK_RULES),
        Child(name="runs", command=runner, environment=environment, given=given, rules=rules),
    ]
    if is_short_enough(desk_socket(home)):
        rules = SUPERLINK_RULES
        children.append(
            Child(name="desk", command=desk, environment=environment, given=given, rules=rules)
        )
    else:
        _say("desk", f"{home.run}: too long for a socket: a console proposes and starts nothing")
    if home.notices.exists():
        children.append(Child(name="notices", command=notices, environment=environment))
    if load_settings(home).witnesses.witness:
        children.append(Child(name="witnesses", command=witnesses, environment=environment))
    if load_settings(home).watch:
        children.append(Child(name="watch", command=watch, environment=environment))
    return children


def _say(name: str, text: str) -> None:
    typer.echo(f"fieldfare: {name}: {text}", err=True)


@contextmanager
def _only_one(home: CoordinatorHome) -> Iterator[None]:
    """Hold the home against a second start; the lock ends with this process, however it ends."""
    descriptor = os.open(home.run / "start.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            other = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
            raise UsageError(
                f"{home.path}: expected a coordinator that does not run, found one that runs as "
                f"process {other}: end that one first, or give another --home"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


@app.command("coordinator.purge")
def purge(
    home: HomeOption = DEFAULT_HOME,
    passphrase_file: PassphraseFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete the masked vectors of runs whose time is over, and Flower's files of ended runs.

    How long vectors are kept stands in coordinator.toml; signed replies and hashes stay, and a
    signed statement says what was deleted. `coordinator start` does it once a day.
    """
    opened = CoordinatorHome.open(home)
    with run_store(opened.runs_database) as store:
        done = delete_due(opened, store, read_passphrase(passphrase_file), utc_now())
    state = opened.superlink_database
    rows = purge_finished(state, utc_now()) if state.is_file() else 0
    if as_json:
        found = {
            "retention_days": done.days,
            "vectors": done.vectors,
            "statements": done.stated,
            "unstated": done.unstated,
            "superlink_rows": rows,
        }
        typer.echo(json.dumps(found, indent=2))
        return
    typer.echo(
        f"{done.vectors} masked vectors of runs that ended more than {done.days} days ago deleted"
    )
    typer.echo(f"{counted(done.stated, 'statement')} of deletion signed")
    if done.unstated:
        typer.echo(
            f"{counted(done.unstated, 'deletion')} without a statement: --passphrase-file FILE "
            "signs it"
        )
    typer.echo(f"{rows} rows of ended runs deleted from the SuperLink's own state")
