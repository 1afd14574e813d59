"""`fieldfare evidence pack` and `evidence verify`: what a supervisor gets, and a check of it.

Each party gathers from its own home, by its `PartyEvidence`. Without a home, a transcript alone is
enough.
"""

import hashlib
import json
import platform
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from fieldfare.shared.cli import app
from fieldfare.shared.cli.audit import KeyOption, RosterOption, trusted
from fieldfare.shared.cli.parties import PassphraseFileOption, party_of, party_table
from fieldfare.shared.errors import ProtocolError, UsageError
from fieldfare.shared.evidence.facts import EvidenceFacts, Package, SoftwareFacts
from fieldfare.shared.evidence.pack import (
    LARGEST_PACK,
    PackCheck,
    PackSigner,
    check_pack,
    packed_files,
    roster_says,
)
from fieldfare.shared.evidence.recomputed import auditors_facts, recomputed_run
from fieldfare.shared.evidence.writing import PAGE, PROGRAMS, evidence_pack
from fieldfare.shared.party.installed_software import OURS, installed_packages
from fieldfare.shared.party.software_bill import bill_bytes
from fieldfare.shared.protocol.identity import fingerprint, parse_public_hex
from fieldfare.shared.protocol.signed_files import open_roster
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.system.private_files import open_regular, read_at_most
from fieldfare.shared.system.whole_files import new_file
from fieldfare.shared.terminal.texts import counted, folded, listed, plain

EXIT_CHANGED: Final = 1
MOST_PROBLEMS: Final = 10  # shown


@dataclass(frozen=True)
class GivenEvidence:
    """What was given beside a home.

    Attributes:
        transcript: of the run; None: what the home itself has.
        passphrase: the file with that of the home's key.
        now: the present.
        software: that makes the pack.
    """

    transcript: Path | None
    passphrase: Path | None
    now: datetime
    software: SoftwareFacts


@dataclass(frozen=True)
class GatheredEvidence:
    """The facts of a home, and its key, which signs the pack."""

    facts: EvidenceFacts
    by: PackSigner


@dataclass(frozen=True)
class PartyEvidence:
    """How a party gathers the facts of a study or a run that a person means, from its home.

    `gather` raises FieldfareError where it is not known there, or the home cannot be read.
    """

    gather: Callable[[Path, str, GivenEvidence], GatheredEvidence]


@app.command("evidence.pack")
def pack(
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The pack; a new file.")],
    subject: Annotated[
        str,
        typer.Argument(
            metavar="STUDY|RUN",
            help="A coordinator's run, an institution's study; nothing with --transcript alone.",
            show_default=False,
        ),
    ] = "",
    home: Annotated[
        Path | None,
        typer.Option(
            help="A coordinator's or an institution's folder, whose key signs the pack.",
            show_default="FIELDFARE_COORDINATOR, FIELDFARE_HOME, ./coordinator or ./institution",
        ),
    ] = None,
    transcript: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The run's transcript; without a home: nobody signs."),
    ] = None,
    roster: RosterOption = None,
    coordinator_key: KeyOption = None,
    names: Annotated[
        bool,
        typer.Option("--names", help="Name who decided by account; else people are numbered."),
    ] = False,
    passphrase_file: PassphraseFileOption = None,
) -> None:
    """Write the evidence of a run or a study: a page for people, the same for programs, signed.

    Without STUDY|RUN, of a transcript alone: say what you know of its coordinator (--roster or
    --coordinator-key). Nobody signs that pack, and it says so.
    """
    if out.exists():
        raise UsageError(f"{out}: expected a new file, found an existing one: move it away first")
    given = GivenEvidence(transcript, passphrase_file, utc_now(), software_facts())
    if subject:
        party, folder = party_of(home)
        found = party_table(party, PartyEvidence).gather(folder, subject, given)
        facts, by = replace(found.facts, names_people=names), found.by
    else:
        facts, by = _of_a_transcript(given, roster, coordinator_key), None
    content = evidence_pack(facts, by)
    with new_file(out) as file:
        file.write(content)
    typer.echo("\n".join(_written_lines(out, facts, by)))


def _written_lines(out: Path, facts: EvidenceFacts, by: PackSigner | None) -> Iterator[str]:
    told = json.loads(packed_files(read_at_most(out, LARGEST_PACK))[PROGRAMS])
    blocks = [block for part in told["parts"] for block in part["blocks"]]
    persons = dict.fromkeys(block["whose"] for block in blocks if "whose" in block)
    questions = [block for block in blocks if block["kind"] == "question"]
    answered = sum("answer" in block for block in questions)
    yield f"wrote {out}: {counted(len(told['parts']), 'part')}; open its {PAGE}"
    yield f"  {answered} of {len(questions)} questions answered, the others are a person's"
    yield from folded("  to write: ", listed(list(persons), len(persons)))
    if by is None:
        yield "  nobody signed it: there is no home here whose key could"
    else:
        yield from folded(f"  signed by {by.name}, key ", fingerprint(bytes.fromhex(by.key)))
    if facts.report is None:
        yield "  no transcript was read: --transcript FILE adds what the run itself shows"
    yield f"Next: fieldfare evidence verify {shlex.quote(str(out))}"


@cache
def software_facts() -> SoftwareFacts:
    """Return what is installed here; it does not change while a process runs."""
    found = installed_packages()
    own = next(one for one in found if one.name == OURS)
    return SoftwareFacts(
        version=own.version,
        python=platform.python_version(),
        packages=tuple(Package(one.name, one.version, one.licence) for one in found if one != own),
        digest=own.digest,
        bill=bill_bytes(),
    )


def _of_a_transcript(
    given: GivenEvidence, roster: Path | None, coordinator_key: str | None
) -> EvidenceFacts:
    if given.transcript is None:
        raise UsageError("expected STUDY|RUN or --transcript FILE, found neither")
    trust = trusted(roster, coordinator_key)
    try:
        with open_regular(given.transcript) as file:
            found = recomputed_run(file, trust)
            digest = file_digest(file)
    except OSError as error:
        raise UsageError(
            f"{given.transcript}: expected a readable file, found: {error.strerror}"
        ) from None
    return auditors_facts(found, digest, given.software, given.now)


def file_digest(file: Any) -> str:
    """Return the SHA-256 of an open file from its start, hex."""
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()


# -- verify ---------------------------------------------------------------------------------------


@app.command("evidence.verify")
def verify(
    file: Annotated[Path, typer.Argument(metavar="PACK", help="As `evidence pack` wrote it.")],
    roster: RosterOption = None,
    key: Annotated[
        str | None,
        typer.Option(
            "--key",
            metavar="HEX|FILE",
            help="The public key that has to have signed it, compared out of band.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Check every byte of a pack, and say who signed it.

    Exits with 0 where nothing was changed since it was made and the key that --key, --roster or
    else the pack's own roster names signed it (an auditor's pack has no key), otherwise with 1.
    """
    content = read_at_most(file, LARGEST_PACK)
    check = check_pack(content)
    doubt = _doubt(check, content, roster, key)
    if as_json:
        typer.echo(json.dumps(_check_json(check, doubt), indent=2))
    else:
        typer.echo("\n".join(_check_lines(check, doubt, given=bool(roster or key))))
    an_auditors = check.manifest is not None and check.manifest.role == "auditor"
    unsigned = an_auditors and not (check.signed or roster or key)  # as an auditor made it
    if check.problems or (doubt and not unsigned):
        raise typer.Exit(EXIT_CHANGED)


def _doubt(check: PackCheck, content: bytes, roster: Path | None, key: str | None) -> str:
    """Return why the signer may be another than the pack says; empty: what was given says it is."""
    if check.problems or check.manifest is None:
        return ""
    if key is not None:
        wanted = _given_key(key)
        same = check.signed and check.manifest.key == wanted
        return "" if same else "another key signed it than the one that you gave"
    if roster is not None:
        return roster_says(check, trusted(roster, None).roster or _unread(roster))
    if not check.signed:
        return "nobody signed it: anybody can have made it"
    return _by_own_roster(check, content)


def _unread(path: Path) -> Any:
    raise UsageError(f"{path}: expected a signed roster, found none")


def _given_key(text: str) -> str:
    path = Path(text)
    content = read_at_most(path, 1024) if path.is_file() else text.encode()
    return parse_public_hex(content, "--key")


def _by_own_roster(check: PackCheck, content: bytes) -> str:
    """Compare with the roster that travels in the pack, which is itself no proof."""
    papers = packed_files(content)
    signed = papers.get("papers/roster.signed")
    if signed is None:
        return "compare the key's fingerprint with its owner"
    try:
        claimed = json.loads(json.loads(signed)["body"]["roster"])["roster_key"]
        said = roster_says(check, open_roster(signed, claimed))
    except (ProtocolError, ValueError, TypeError, KeyError, RecursionError):
        return "the roster in the pack cannot be read: compare the key's fingerprint"
    return said


def _check_json(check: PackCheck, doubt: str) -> dict[str, Any]:
    manifest = check.manifest
    return {
        "intact": not check.problems,
        "problems": list(check.problems),
        "signed": check.signed,
        "signer": check.signer or None,
        "key": manifest.key if manifest and manifest.key else None,
        "doubt": doubt or None,
        "manifest": None if manifest is None else manifest.model_dump(mode="json"),
    }


def _check_lines(check: PackCheck, doubt: str, *, given: bool) -> Iterator[str]:
    if check.problems:
        yield f"CHANGED  {counted(len(check.problems), 'place')} not as it was made"
        for problem in check.problems[:MOST_PROBLEMS]:
            yield from folded("  ", plain(problem, 400))
        return
    manifest = check.manifest
    if manifest is None:
        return
    what = f"run {manifest.run} of study" if manifest.run else "study"
    yield f"INTACT   {counted(len(manifest.files), 'file')}, made {plain(manifest.made)}"
    yield from folded("  of       ", f"{what} {manifest.study}")
    if not check.signed:
        yield "UNSIGNED nobody signed it: anybody can have made it"
        return
    yield from folded("  signed   ", f"in the name of {plain(check.signer)}")
    yield from folded("  key      ", fingerprint(bytes.fromhex(manifest.key)))
    if doubt:
        yield from folded("ANOTHER KEY  ", f"{plain(doubt, 400)}")
    elif given:
        yield "  whose    the key that you gave"
    else:
        own = "as the roster in the pack says, which is no proof: compare the key, or give --roster"
        yield from folded("  whose    ", own)
