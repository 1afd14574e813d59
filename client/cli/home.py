"""`fieldfare institution join`, `keys ...`, `policy`, `log`.

Who pins or accepts looks at every fingerprint first.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from fieldfare.client.cli import app
from fieldfare.client.cli.options import (
    DEFAULT_HOME,
    EXIT_DECLINED,
    HomeOption,
    KeyOption,
    PassphraseFileOption,
    agreed,
    identity_secret,
)
from fieldfare.client.cli.studies import meant_study
from fieldfare.client.daemon.telling import notify_custodian
from fieldfare.client.home import keys
from fieldfare.client.home.layout import NODE_FILE, Home
from fieldfare.client.home.policy import load_policy, pinned_coordinator
from fieldfare.client.home.policy_explained import allowing, explain
from fieldfare.client.home.settings import load_settings
from fieldfare.client.institution import initial_setup
from fieldfare.client.institution.institution import open_institution, open_journal
from fieldfare.client.journal.entries import Event
from fieldfare.client.journal.journal import (
    read,
)
from fieldfare.client.node.settings import AUTHORITY_FILE
from fieldfare.shared.advice import at_home
from fieldfare.shared.cli.typed import token_pin
from fieldfare.shared.errors import UsageError
from fieldfare.shared.protocol.identity import (
    Invitation,
    fingerprint,
    matches_fingerprint,
    public_hex,
)
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.protocol.signed_files import read_signed
from fieldfare.shared.study.file import load_study
from fieldfare.shared.study.study import Study
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.system.private_files import (
    create_private,
    os_user,
    replace_private,
)

PIN_AT_START: Final = (
    "A custodian that runs has the old key: stop it and start it with the token's PIN\n"
    "(fieldfare institution start asks, or --passphrase-file)."
)
HALF: Final = 39  # characters of eight groups: a fingerprint is two lines


@app.command("institution.keys")
def show(home: HomeOption = DEFAULT_HOME) -> None:
    """Print the fingerprints of the identity and the node key."""
    typer.echo("\n".join(fingerprint_lines(Home.open(home))))


class OwnKey(StrEnum):
    """A key that an institution can replace."""

    IDENTITY = "identity"
    NODE = "node"


@app.command("institution.keys.rotate")
def rotate(
    which: Annotated[OwnKey, typer.Argument(help="Which key.")] = OwnKey.IDENTITY,
    home: HomeOption = DEFAULT_HOME,
    passphrase_file: PassphraseFileOption = None,
    key: KeyOption = "",
    pin_file: Annotated[
        Path | None,
        typer.Option(
            help="With --key: holds the token's PIN; otherwise it is asked.", show_default=False
        ),
    ] = None,
) -> None:
    """Replace the identity by a new key, which both sign; or the node's, where it was stolen.

    Also where the coordinator took the node's key off.
    """
    opened = Home.open(home)
    if which is OwnKey.NODE:
        if key:
            raise UsageError("--key: expected no `node` beside it: only an identity is in a token")
        typer.echo("\n".join(_replace_node_key(opened)))
        return
    secret = identity_secret(opened, passphrase_file)
    settings = load_settings(opened)
    pin = token_pin(pin_file) if key else None
    done = keys.rotate_identity(opened, settings.id, secret, uri=key, pin=pin)
    lines = [
        *two_lines("old", fingerprint(bytes.fromhex(done.old))),
        *two_lines("new", fingerprint(bytes.fromhex(done.new))),
        "",
        f"Send {done.statement} to the coordinator and compare the new fingerprint.",
        "Accept the roster that carries the new key, and approve running studies again: until",
        "then this institution takes part in nothing.",
        notify_custodian(opened),
    ]
    if key:
        lines.append(PIN_AT_START)
    typer.echo("\n".join(lines))


def _replace_node_key(home: Home) -> list[str]:
    keys.renew_node_key(home)
    return [
        *two_lines("node", keys.node_fingerprint(home)),
        "",
        "The coordinator does not know this node yet. Make a new enrolment with",
        at_home("      fieldfare institution join INVITATION"),
        "send it, and restart the node; where it runs as another user, copy the key to its folder.",
    ]


@app.command("institution.keys.revoke")
def revoke(
    out: Annotated[Path, typer.Option(help="The file to write the statement to.")],
    home: HomeOption = DEFAULT_HOME,
    passphrase_file: PassphraseFileOption = None,
) -> None:
    """Write the statement that takes the identity back; it changes nothing until it is sent."""
    opened = Home.open(home)
    passphrase = identity_secret(opened, passphrase_file)
    create_private(out, keys.revoke_identity(opened, load_settings(opened).id, passphrase))
    typer.echo(
        f"wrote {out}: its holder can end this identity, and no party can undo that.\n"
        "Keep it offline, apart from the key; send it to the coordinator if the key is lost "
        "or stolen."
    )


def fingerprint_lines(home: Home) -> list[str]:
    """Return the fingerprints of a home's two keys, for people to compare."""
    return [
        *two_lines("identity", keys.identity_fingerprint(home)),
        *two_lines("node", keys.node_fingerprint(home)),
    ]


def two_lines(name: str, groups: str) -> list[str]:
    """Return a fingerprint in two lines, under a name."""
    return [f"{name:<13}{groups[:HALF]}", f"{'':<13}{groups[HALF + 1 :]}"]


@app.command("institution.join")
def join(
    file: Annotated[
        Path, typer.Argument(metavar="INVITATION", help="The file that the coordinator sent.")
    ],
    home: HomeOption = DEFAULT_HOME,
    contact: Annotated[
        str, typer.Option(help="How the coordinator reaches your people.", show_default=False)
    ] = "",
    out: Annotated[
        Path | None,
        typer.Option(help="The enrolment.", show_default="ID.enrolment in the home"),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Ask nothing: the fingerprint was compared before.")
    ] = False,
    expected: Annotated[
        str,
        typer.Option(
            "--fingerprint", help="The coordinator's, as it was said aloud.", show_default=False
        ),
    ] = "",
    passphrase_file: PassphraseFileOption = None,
) -> None:
    """Show a coordinator's fingerprint, pin it, and write the enrolment to send back."""
    opened = Home.open(home)
    institution = load_settings(opened).id
    content = read_signed(file)
    invitation = initial_setup.read_invitation(content, str(file))
    pinned = initial_setup.check_pinned(opened, invitation, str(file))
    identity = keys.load_identity(opened, identity_secret(opened, passphrase_file))
    signed = initial_setup.enrolment_for(opened, institution, invitation, identity, contact)
    to = (
        _free(out, signed)
        if out
        else opened.path / f"{institution}{initial_setup.ENROLMENT_SUFFIX}"
    )
    typer.echo(f"{invitation.hub} at {invitation.address}")
    typer.echo(f"coordinator  {fingerprint(bytes.fromhex(invitation.roster_key))}")
    _agree(invitation, pinned=pinned, yes=yes, expected=expected)
    if not pinned:
        # Logged first: a key whose pinning is not in the log never counts.
        with open_journal(opened, utc_now) as journal:
            pin = invitation.roster_key
            journal.append(Event.KEY, os_user(), kind="coordinator", fingerprint=pin)
        initial_setup.pin_coordinator(opened, invitation)
    initial_setup.write_node_files(opened, invitation)
    replace_private(to, signed)
    lines = [
        f"pinned; wrote {NODE_FILE} and {AUTHORITY_FILE}"
        if not pinned
        else "pinned already; a node that runs has to start again",
        f"identity     {fingerprint(bytes.fromhex(public_hex(identity)))}",
        "",
        f"Send {to} to the coordinator and read your identity's fingerprint aloud.",
        "Then, with the roster that the coordinator sends:",
        at_home("      fieldfare institution roster accept FILE"),
    ]
    typer.echo("\n".join(lines))


def _free(path: Path, content: bytes) -> Path:
    if path.exists() and (not path.is_file() or path.read_bytes() != content):
        raise UsageError(
            f"{path}: expected a new file, found an existing one: nothing is overwritten"
        )
    return path


def _agree(invitation: Invitation, *, pinned: bool, yes: bool, expected: str) -> None:
    if expected and not matches_fingerprint(expected, bytes.fromhex(invitation.roster_key)):
        raise UsageError(
            "--fingerprint: expected the fingerprint above, found another: nothing was pinned. Ask "
            "the coordinator out of band which is theirs; the file may come from another party"
        )
    if pinned or yes or expected:
        return
    if not typer.confirm("Did you compare this with the coordinator, in person or by telephone?"):
        typer.echo("nothing was pinned")
        raise typer.Exit(EXIT_DECLINED)


@app.command("institution.policy")
def policy(
    which: Annotated[
        str | None,
        typer.Argument(
            metavar="[STUDY]",
            help="Allow this study: its file, or first digits of one that arrived.",
        ),
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    yes: Annotated[
        bool, typer.Option("--yes", help="With STUDY: ask nothing, it was checked before.")
    ] = False,
) -> None:
    """Check policy.toml, and explain its limits; of STUDY, show what it lacks, ask, and add it.

    Comments stay. It adds columns, kinds of sums, packages and budget. It approves nothing: that
    is another command, after `review`.
    """
    opened = Home.open(home)
    if which is not None:
        _allow(opened, _study(home, which), ask=not yes)
        return
    if yes:
        raise UsageError("--yes: expected a STUDY beside it: without one, nothing is asked")
    found = load_policy(opened)
    if found.coordinator or opened.coordinator_key.exists():
        pinned = pinned_coordinator(opened, found)  # the file and the policy agree
        found = found.model_copy(update={"coordinator": pinned})
    typer.echo("\n".join(explain(found)))


def _allow(opened: Home, study: Study, *, ask: bool) -> None:
    before = opened.policy.read_text(encoding="utf-8")
    found = allowing(before, str(opened.policy), plan_for(study))
    for objection in found.left:
        typer.echo(f"left to you: {objection}")
    if not found.added:
        typer.echo(f"{opened.policy} allows all else that {study.name} needs: nothing to add")
        return
    typer.echo(f"{study.name} needs in {opened.policy}:")
    typer.echo("\n".join(f"  {line}" for line in found.added))
    typer.echo("\n".join(["", *found.diff(before), ""]))
    if ask and not agreed("Write this?"):
        typer.echo("nothing was written")
        raise typer.Exit(EXIT_DECLINED)
    replace_private(opened.policy, found.text.encode())
    typer.echo("written; a running custodian sees it within two seconds")


def _study(home: Path, which: str) -> Study:
    path = Path(which)
    if path.suffix == ".toml" and path.is_file():
        return load_study(path)
    return meant_study(open_institution(home), which)


@app.command("institution.log")
def log(
    home: HomeOption = DEFAULT_HOME,
    since: Annotated[
        int, typer.Option(min=0, help="The last entry that the collector has; 0: none.")
    ] = 0,
) -> None:
    """Print every entry of your log after a number as a line of JSON, for a collector (SIEM)."""
    for entry in read(Home.open(home).log_folder, since=since):
        typer.echo(entry.line.decode())
