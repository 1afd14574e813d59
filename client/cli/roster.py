"""`fieldfare institution roster ...`: pin who takes part, and compare keys with the members.

A code is never shown for another's key: whoever compares has to hear it from its owner.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.table import Table
from rich.text import Text

from fieldfare.client.cli import app
from fieldfare.client.cli.options import (
    DEFAULT_HOME,
    EXIT_DECLINED,
    HomeOption,
    JsonOption,
    PassphraseFileOption,
    agreed,
    ask,
    identity_secret,
)
from fieldfare.client.daemon.telling import notify_custodian
from fieldfare.client.home import keys
from fieldfare.client.home import roster as rosters
from fieldfare.client.home.comparisons import (
    ComparedKey,
    ComparisonMethod,
    MemberStanding,
    keep_compared,
    keep_handed,
    keep_lost,
    keep_revoked,
    keep_vouching,
    next_vouching,
    own_comparisons,
    read_comparisons,
    standings,
)
from fieldfare.client.home.layout import Home
from fieldfare.client.home.policy import load_policy, pinned_coordinator
from fieldfare.client.home.settings import load_settings
from fieldfare.client.home.studies import stamp
from fieldfare.client.institution.institution import Institution, open_institution, open_journal
from fieldfare.client.journal.entries import Event
from fieldfare.shared.advice import at_home
from fieldfare.shared.canonical import claimed_type
from fieldfare.shared.errors import ProtocolError, UsageError
from fieldfare.shared.protocol.comparison import (
    CODE_DIGITS,
    Vouching,
    is_code,
    key_code,
    matches_code,
    open_vouching,
    roster_code,
    sign_vouching,
)
from fieldfare.shared.protocol.identity import KeyRevocation, fingerprint, open_revocation
from fieldfare.shared.protocol.roster import Member, Roster
from fieldfare.shared.protocol.signed_files import read_signed
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.system.private_files import create_private, os_user
from fieldfare.shared.terminal.screen import BAD, GOOD, PlainConsole, console, table
from fieldfare.shared.terminal.texts import counted, plain

EXIT_TWO_STORIES: Final = 6  # as of an audit (shared/audit/verdict.py)
HALF: Final = 35  # characters of six groups: a code is two lines
NAME: Final = 32  # characters of a member's id on a screen of 80 columns

STEP: Final = """\
It lacks this institution's key: nothing is served. Accept the next one.
If none has the key yet: send the coordinator your enrolment, or the statement of its rotation."""

CodeOption = Annotated[
    str, typer.Option("--code", help="The code as it was read aloud.", show_default="asked for")
]


@app.command("institution.roster.accept")
def accept(
    file: Annotated[Path, typer.Argument(help="The signed roster that the coordinator sent.")],
    home: HomeOption = DEFAULT_HOME,
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing: it was checked before.")] = False,
    replaced: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="It lost its key: its new one is not known yet."),
    ] = None,
    lower: Annotated[
        bool, typer.Option("--lower-multiplicity", help="Accept a smaller M: you know why.")
    ] = False,
) -> None:
    """Check a signed roster, show every member's fingerprint, and pin it."""
    opened = Home.open(home)
    settings = load_settings(opened)
    coordinator = pinned_coordinator(opened, load_policy(opened))
    offered = rosters.offered_roster(read_signed(file), str(file), coordinator)
    roster, own = offered.roster, keys.public_identity(opened)
    pinned = rosters.pinned_roster(opened, coordinator) if opened.roster.exists() else None
    newest = rosters.newest_pinned(opened, coordinator)  # after a crash, a later one
    step = rosters.is_step_on_the_way(roster, (pinned, newest), settings.id, own)
    if not step:
        rosters.check_member(roster, str(file), settings.id, own)
    _refuse_two_stories(rosters.two_stories(opened, offered, coordinator))
    rosters.check_follows(offered, newest)
    if roster == pinned:
        typer.echo(f"version {roster.version} is pinned already")
        if step:
            typer.echo(STEP)
        return
    known = read_comparisons(opened)
    lost = known.known.lost
    rosters.check_not_revoked(offered, {one.pair for one in known.revoked})
    rosters.check_replaced(offered, pinned, replaced or (), lost)
    _check_multiplicity(offered, pinned, lower=lower)
    _show(roster, pinned, settings.id, console())
    fresh = [one for one in offered.revocations if (one.institution, one.key) not in lost]
    for one in fresh:
        typer.echo(_taken_back(one))
    if not yes and not typer.confirm("Pin it? Keys are compared with the members, afterwards."):
        typer.echo("nothing was pinned")
        raise typer.Exit(EXIT_DECLINED)
    # Logged first: a roster whose pinning is not in the log never counts.
    with open_journal(opened, utc_now) as journal:
        journal.append(Event.ROSTER, os_user(), fingerprint=roster.hash, version=roster.version)
    _keep_revoked(opened, offered.revocations)
    keep_lost(opened, _lost(offered, pinned, lost))
    keep_handed(opened, offered.rotations)
    rosters.pin_roster(opened, offered.content, roster, pinned)
    typer.echo(f"pinned roster version {roster.version}, {len(roster.members)} members")
    if step:
        typer.echo(STEP)
        return
    if pinned is not None:
        typer.echo(
            "Approvals under the earlier roster count no more: approve running studies again."
        )
    typer.echo(notify_custodian(opened))
    _told_next(home)


def _told_next(home: Path) -> None:
    _told_standing(open_institution(home))
    typer.echo(at_home("Next: fieldfare institution roster"))


def _taken_back(one: KeyRevocation) -> str:
    spoken = fingerprint(bytes.fromhex(one.key))
    return (
        f"{plain(one.institution)} TOOK ITS KEY BACK: {spoken}\n"
        "Nothing that it signed counts here any more; compare its new key again."
    )


def _keep_revoked(home: Home, revocations: Sequence[KeyRevocation]) -> None:
    """Log what is new first, as a comparison."""
    known = {one.pair for one in read_comparisons(home).revoked}
    with open_journal(home, utc_now) as journal:
        for one in revocations:
            if (one.institution, one.key) not in known:
                facts = {"kind": "revoked", "institution": one.institution, "fingerprint": one.key}
                journal.append(Event.KEY, os_user(), **facts)
    keep_revoked(home, revocations)


def _lost(
    offered: rosters.OfferedRoster, pinned: Roster | None, lost: Collection[tuple[str, str]]
) -> set[tuple[str, str]]:
    """Return the members' keys before that somebody else may sign with now."""
    gone = rosters.replaced_keys(offered, pinned, lost)
    return {(one.id, one.key) for one in (pinned.members if pinned else ()) if one.id in gone}


def _refuse_two_stories(files: Sequence[Path]) -> None:
    """Print the proof that a coordinator told two stories; nothing of it is pinned."""
    if not files:
        return
    typer.echo("PROOF: the coordinator signed two rosters that cannot both be of one history:")
    for path in files:
        typer.echo(f"  {path}")
    typer.echo(
        "Nothing was pinned. Approve nothing; send both files to every member: anybody checks"
    )
    typer.echo("them with fieldfare audit stories FILE FILE --coordinator-key KEY")
    raise typer.Exit(EXIT_TWO_STORIES)


def _check_multiplicity(
    offered: rosters.OfferedRoster, pinned: Roster | None, *, lower: bool
) -> None:
    """Let M fall by a person's word alone: with a smaller one everything is promised to fewer."""
    if pinned is None or lower or offered.roster.multiplicity >= pinned.multiplicity:
        return
    raise UsageError(
        f"{offered.name}: expected M of {pinned.multiplicity} or more, found "
        f"{offered.roster.multiplicity}: a person known to more institutions than M is promised "
        "less. If that is right, --lower-multiplicity; what was spent counts as before"
    )


def _show(roster: Roster, pinned: Roster | None, institution: str, to: PlainConsole) -> None:
    since = f" (pinned: version {pinned.version})" if pinned else " (none pinned yet)"
    to.print(Text(f"roster version {roster.version}{since}"))
    table = Table.grid(padding=(0, 2))
    table.add_row("coordinator", fingerprint(bytes.fromhex(roster.roster_key)), "")
    replaced = pinned is not None and pinned.coordinator != roster.coordinator
    online = fingerprint(bytes.fromhex(roster.coordinator))
    table.add_row("its online key", online, Text("KEY CHANGED" if replaced else "", BAD))
    for line in rosters.member_lines(roster, pinned):
        changed = line.change is not rosters.MemberChange.SAME
        name = plain(line.id) + (" (you)" if line.id == institution else "")
        table.add_row(Text(name), line.fingerprint, Text(line.change.value, BAD if changed else ""))
    to.print(table)
    known = f"one person may be known to at most {roster.multiplicity} of them"
    if pinned is not None and pinned.multiplicity != roster.multiplicity:
        to.print(Text(f"{known}; CHANGED from {pinned.multiplicity}", BAD))
    else:
        to.print(Text(known))


# -- codes -----------------------------------------------------------------------------------------


def _spoken_code(text: str) -> str:
    return f"    {text[:HALF]}\n    {text[HALF + 1 :]}"


@app.command("institution.roster.compare")
def compare(
    member: Annotated[str, typer.Argument(help="Its id on the roster; its people read the code.")],
    home: HomeOption = DEFAULT_HOME,
    said: CodeOption = "",
    how: Annotated[
        ComparisonMethod, typer.Option(help="How you speak with its people.")
    ] = ComparisonMethod.CALL,
    present: Annotated[
        list[str] | None,
        typer.Option("--present", metavar="ID", help="In a meeting: another member there; repeat."),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="In a meeting: ask nothing, each member approved.")
    ] = False,
) -> None:
    """Type the code that a member reads to you, so that its key counts as known here.

    In a meeting (--how meeting) it is the roster's code, and verifies those present who confirm it.
    """
    institution = open_institution(home)
    if how is ComparisonMethod.MEETING:
        _meet(institution, list(dict.fromkeys((member, *(present or ())))), said, yes=yes)
        return
    if present or yes:
        raise UsageError("--present, --yes: expected --how meeting beside them")
    found = _member(institution, member)
    heard = said or ask(f"The {CODE_DIGITS} digits that {member} reads to you", "--code")
    _check_code(
        heard,
        key_code(found.id, found.key),
        f"the code of the key that the roster has for {member!r}",
        f"listen once more; if {member} still reads other digits, the roster has a key that is not "
        "theirs: approve nothing, and tell the other members",
        {
            roster_code(institution.roster, found.id): "the roster's code, for a meeting (--how "
            f"meeting): let {member} read the code of its key, which stands above it"
        },
    )
    _keep(institution, [found], how)
    typer.echo(f"{member}: key compared ({how.value}); it stays so under later rosters")
    _told_standing(open_institution(home))


def _meet(institution: Institution, present: Sequence[str], said: str, *, yes: bool) -> None:
    """Compare the roster's code, which the first of those present reads."""
    reader = present[0]
    members = [_member(institution, name) for name in present]
    heard = said or ask(f"The {CODE_DIGITS} digits that {plain(reader)} reads", "--code")
    _check_code(
        heard,
        roster_code(institution.roster, reader),
        f"the code that {reader!r} reads of roster version {institution.roster.version}, which is "
        "pinned here",
        "let all say which version they pinned; if it is the same, the coordinator gave out "
        "two rosters of one version: approve nothing, compare the files",
        {
            key_code(one.id, one.key): f"the code of {one.id!r}'s key, for another --how: let "
            f"{reader!r} read the roster's code, which stands below it"
            for one in members
        }
        | {
            roster_code(institution.roster, name): f"the roster's code as {name!r} reads it: type "
            "what another member reads, and name it first"
            for name in institution.roster.ids
            if name != reader
        },
    )
    question = "did its people say, here, that their own software took this code?"
    confirmed = [one for one in members if yes or agreed(f"{plain(one.id)}: {question}")]
    _keep(institution, confirmed, ComparisonMethod.MEETING)
    typer.echo(f"{counted(len(confirmed), 'key')} compared in a meeting")
    _told_standing(open_institution(institution.home.path))


@app.command("institution.roster.forget")
def forget(
    member: Annotated[str, typer.Argument(help="Its id, as on the roster.")],
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Stop trusting a member's key and what it signs: it was stolen, or compared by mistake."""
    institution = open_institution(home)
    found = _member(institution, member)
    with open_journal(institution.home, utc_now) as journal:
        facts = {"kind": "forgotten", "institution": found.id, "fingerprint": found.key}
        journal.append(Event.KEY, os_user(), **facts)
    keep_lost(institution.home, {(found.id, found.key)})
    notify_custodian(institution.home)
    typer.echo(f"{plain(member, NAME)}: key not known any more, until it is compared anew")
    _told_standing(open_institution(home))


def _member(institution: Institution, name: str) -> Member:
    if name == institution.settings.id:
        raise UsageError(f"{name}: expected another member, found this institution itself")
    for member in institution.roster.members:
        if member.id == name:
            return member
    raise UsageError(
        f"{name}: expected a member of the pinned roster, found none: see "
        f"{at_home('fieldfare institution roster')}"
    )


def _check_code(heard: str, code: str, what: str, remedy: str, mistaken: Mapping[str, str]) -> None:
    """Compare what was heard; a right code in the wrong place is no alarm."""
    if not is_code(heard):
        raise UsageError(f"--code: expected {CODE_DIGITS} digits, found something else")
    for other, found in mistaken.items():
        if matches_code(heard, other):
            raise UsageError(f"--code: expected {what}, found {found}; nothing was recorded")
    if not matches_code(heard, code):
        raise UsageError(f"--code: expected {what}, found another: nothing was recorded; {remedy}")


def _keep(institution: Institution, members: Sequence[Member], how: ComparisonMethod) -> None:
    """Log first: a comparison that is not in the log never counts."""
    now, user = utc_now(), os_user()
    kind = f"compared: {how.value}"
    with open_journal(institution.home, utc_now) as journal:
        for one in members:
            journal.append(Event.KEY, user, kind=kind, institution=one.id, fingerprint=one.key)
    time = stamp(now.astimezone(UTC))
    compared = [
        ComparedKey(institution=one.id, key=one.key, how=how, user=user, time=time)
        for one in members
    ]
    keep_compared(institution.home, compared)
    notify_custodian(institution.home)


# -- how members stand -----------------------------------------------------------------------------


@app.command("institution.roster")
def show(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Show whose keys are known here, how, since when, and the codes to read to members."""
    opened = Home.open(home)
    own = load_settings(opened).id
    code = key_code(own, keys.public_identity(opened))
    if not opened.roster.exists():
        if as_json:
            typer.echo(json.dumps({"institution": own, "code": code, "roster": ""}, indent=2))
            return
        typer.echo("\n".join(_code_lines(own, code, "")))
        typer.echo("no roster is pinned yet: fieldfare institution roster accept FILE")
        return
    institution = open_institution(home)
    tolerance = institution.policy.participants.minimum_tolerance
    found, whole = _standings(institution, tolerance), roster_code(institution.roster, own)
    if as_json:
        codes = {"institution": own, "code": code, "roster": whole}
        listed = [vars(one) for one in found]
        told = {"version": institution.roster.version, **codes, "members": listed}
        typer.echo(json.dumps(told, indent=2))
        return
    to = console()
    to.print(Text(f"roster version {institution.roster.version}"))
    to.print(table(("member", "key", "how", "when"), map(_cells, found), whole=("key", "when")))
    typer.echo("\n".join(_code_lines(own, code, whole)))
    for line in _meaning(found, tolerance, _needed(institution)):
        typer.echo(line)  # a command that is folded cannot be copied


def _code_lines(own: str, code: str, whole: str) -> list[str]:
    lines = [
        f"your key's code, for each member that compares it with you ({own}):",
        _spoken_code(code),
    ]
    if whole:
        lines.append("the roster's code as you read it in a meeting of members:")
        lines.append(_spoken_code(whole))
    return lines


def _standings(institution: Institution, tolerance: int) -> list[MemberStanding]:
    own = institution.settings.id
    return list(standings(institution.roster, institution.comparisons, own, tolerance))


def _cells(one: MemberStanding) -> tuple[str | Text, ...]:
    state = "known, compare anew" if one.marked else "known" if one.verified else "NOT KNOWN"
    return plain(one.id, NAME), Text(state, GOOD if one.verified else BAD), one.how, one.when


def _needed(institution: Institution) -> int:
    """Return the least t of a study that may begin with all: a larger t asks for more vouchers."""
    company, own = institution.company, institution.settings.id
    roster, tolerance = institution.roster, -1
    needed = company.minimum_tolerance
    while tolerance < needed:
        tolerance = needed
        unknown = company.unverified(roster, roster.ids, own, tolerance)
        needed = len(unknown) + company.minimum_tolerance
    return needed


def _meaning(found: Sequence[MemberStanding], tolerance: int, needed: int) -> list[str]:
    missing = sum(not one.verified for one in found)
    lines = [
        f"This is at t = {tolerance}; with a larger t, t + 1 members have to vouch for a key.",
        f"A study must withstand {counted(tolerance, 'colluder')} beside each unknown key;",
        "a member that runs the coordinator is one of its t.",
    ]
    if not missing:
        return ["Every key is known here.", *lines]
    return [
        f"{counted(missing, 'key')} not known: a run with all needs a study with t = {needed}.",
        *lines,
        at_home("Next: fieldfare institution roster compare MEMBER"),
    ]


def _told_standing(institution: Institution) -> None:
    found = _standings(institution, institution.policy.participants.minimum_tolerance)
    missing = [plain(one.id, NAME) for one in found if not one.verified]
    if missing:
        typer.echo(f"not known yet: {', '.join(missing[:5])}{' ...' if len(missing) > 5 else ''}")  # noqa: PLR2004
    else:
        typer.echo("every key on the roster is known here")


# -- what members say ------------------------------------------------------------------------------


@app.command("institution.roster.vouch")
def vouch(
    out: Annotated[Path, typer.Option(help="The file to write.")],
    home: HomeOption = DEFAULT_HOME,
    passphrase_file: PassphraseFileOption = None,
) -> None:
    """Sign which keys your people compared, for members that were not there."""
    institution = open_institution(home)
    said = own_comparisons(institution.roster, institution.comparisons)
    if not said:
        raise UsageError(
            "expected a key that was compared here, found none: compare first; what others vouch "
            "for is never handed on"
        )
    secret = identity_secret(institution.home, passphrase_file)
    identity = keys.load_identity(institution.home, secret)
    pairs = [one.pair for one in said]
    number = next_vouching(institution.home, institution.settings.id, utc_now())
    create_private(out, sign_vouching(institution.settings.id, pairs, identity, number))
    names = ", ".join(plain(one.institution, NAME) for one in said)
    typer.echo(f"wrote {out}: you compared {names}. Send it to the other members;")
    typer.echo("each takes it with fieldfare institution import FILE")


STATEMENTS: Final = frozenset({Vouching.TYPE, KeyRevocation.TYPE})


def take_statement(institution: Institution, file: Path) -> None:
    """Keep what a member says that it compared, or that it takes its key back.

    Enough known members make a key known. A revocation counts at once, whatever the coordinator
    publishes.

    Raises:
        UsageError: another file, or a member's that is not on the roster.
    """
    _take(institution, file)
    notify_custodian(institution.home)
    _told_standing(open_institution(institution.home.path))


def _take(institution: Institution, file: Path) -> None:
    content = read_signed(file)
    try:
        if claimed_type(content) == KeyRevocation.TYPE:
            one = open_revocation(content)
            _keep_revoked(institution.home, [one])
            typer.echo(_taken_back(one))
            return
        said = open_vouching(content)
    except ProtocolError as error:
        raise UsageError(f"{file}: {error}") from None
    if said.institution not in institution.roster.ids:
        raise UsageError(f"{file}: expected what a member of the roster says, found another's")
    facts = {"kind": "vouched", "institution": said.institution, "fingerprint": said.key}
    with open_journal(institution.home, utc_now) as journal:
        journal.append(Event.KEY, os_user(), **facts)
    try:
        keep_vouching(institution.home, content)
    except ProtocolError as error:
        raise UsageError(f"{file}: {error}") from None
    known = _is_known(institution, said.institution, said.key)
    who = plain(said.institution, NAME) + ("" if known else ", whose key is NOT KNOWN,")
    typer.echo(f"{who} vouches for {counted(len(said.compared), 'key')}")


def _is_known(institution: Institution, name: str, key: str) -> bool:
    tolerance = institution.policy.participants.minimum_tolerance
    known = {one.id for one in _standings(institution, tolerance) if one.verified}
    return name in known and Member(id=name, key=key) in institution.roster.members
