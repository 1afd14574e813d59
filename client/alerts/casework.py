"""A folder where a group of persons decides on alerts, apart from keys, ledger and records.

casework.toml     0640  the operator's: who may decide, who may be the second to sign
operator.sqlite   0600  the operator's: alerts, and decisions that were collected
alerts.sqlite     0640  a copy for the group, replaced after every change
models/           2750  the operator's: the card of every model that made alerts
decisions/        3770  NAME.jsonl of the console's user, 0640, that user's own

Whoever may read a SQLite file may lock it, so the group reads a copy. Whoever may make a file in
`decisions/` may take the console's name before it does, which then signs in NAME~DIGITS.jsonl.

Persons log in at the console, a user of the operating system of its own, whose file alone counts;
whose file it is, the kernel says: a member of the group can neither sign nor change or remove that
file (sticky bit). What a person signed stands in the operator's store and log once it was
collected, whatever becomes of that file. Files in which users signed on a terminal, as an earlier
Fieldfare had it, are read for what was collected of them, and for nothing new.
"""

import os
import pwd
import secrets
import stat
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from fieldfare.client.alerts.acts import CaseAct, CaseActKind
from fieldfare.client.alerts.entry_keys import EntryKeys, keys_beside
from fieldfare.client.alerts.feedback import Confidence, Disposition, Feedback, PartyRole
from fieldfare.client.home.layout import Home
from fieldfare.client.home.settings import HomeSettings
from fieldfare.client.journal.entries import printable
from fieldfare.shared.canonical import TYPE_SEPARATOR, bytes_hash
from fieldfare.shared.errors import UsageError
from fieldfare.shared.study.toml import Section, load_toml
from fieldfare.shared.system.first_settings import fill_toml
from fieldfare.shared.system.private_files import (
    OTHERS,
    PRIVATE_FILE,
    create_private_folder,
    os_user,
    sync_folder,
    user_name,
)

FORMAT: Final = 1
TERMS: Final = "casework.toml"
STORE: Final = "alerts.sqlite"
OPERATORS_STORE: Final = "operator.sqlite"
MODELS: Final = "models"
DECISIONS: Final = "decisions"
FOLDER_MODE: Final = 0o2750
DECISIONS_MODE: Final = 0o3770
FILE_MODE: Final = 0o640
NOT_OF_FOLDER: Final = 0o027  # nobody but the operator writes, others see nothing
NOT_OF_DECISIONS: Final = 0o007
NOT_OF_FILE: Final = 0o037
MOST_BYTES: Final = 64 * 1024 * 1024  # of one person's file
MOST_LINE: Final = 64 * 1024
MOST_PERSONS: Final = 1000
EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)  # of an act; before it, calendars end

UserName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.@ -]{0,63}\$?$")]


class CaseworkTerms(Section):
    """`casework.toml`: the rights of analysts and reviewers.

    Attributes:
        institution: whose alerts these are.
        analysts: persons who may decide, by the names of their accounts (docs/console.md).
        reviewers: persons who may decide, and be the second to sign that an alert is filed.
        console: the user of the operating system as whom the console runs; empty: nobody decides.
    """

    format: Literal[1] = FORMAT
    institution: str = Field(min_length=1, max_length=128)
    analysts: tuple[UserName, ...] = Field(default=(), max_length=MOST_PERSONS, strict=False)
    reviewers: tuple[UserName, ...] = Field(default=(), max_length=MOST_PERSONS, strict=False)
    console: UserName | Literal[""] = ""

    def may_decide(self, person: str) -> bool:
        """Tell whether a person may decide on alerts."""
        return person in self.analysts or person in self.reviewers

    def may_review(self, person: str) -> bool:
        """Tell whether a person's may be the second signature."""
        return person in self.reviewers


class Deed(StrEnum):
    """An action of a person."""

    FEEDBACK = "feedback"
    LABELS = "labels exported"
    DRAFTED = "report drafted"
    ACT = "act"  # on an alert; `act` says what
    CONSOLE = "console"  # of a log-in or an account; `kind` says what


class Act(BaseModel):
    """One line of the console's file. Who wrote it is not in it: the file's owner did.

    Attributes:
        person: who logged in at the console and did it; empty in earlier files.
        account: whose account an act of the console is about.
        nonce: so that the line's hash in the log says nothing of the line.
        alert, disposition, party_role, confidence, note: of feedback.
        act: taken, given back, commented (in `note`) or undone.
        key: so that asking twice does nothing twice.
        study, run: whose alert it is.
        kind, fingerprint: of a draft.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = FORMAT
    nonce: str = Field(default_factory=lambda: secrets.token_hex(16), pattern=r"^[0-9a-f]{32}$")
    time: AwareDatetime
    deed: Deed
    person: UserName | Literal[""] = ""
    account: str = Field(default="", max_length=64)
    alert: str = Field(default="", max_length=64)
    study: str = Field(default="", max_length=64)
    run: str = Field(default="", max_length=64)
    disposition: Disposition | None = None
    party_role: PartyRole = PartyRole.UNKNOWN
    confidence: Confidence = Confidence.MEDIUM
    note: str = Field(default="", max_length=4000)
    act: CaseActKind | None = None
    key: str = Field(default="", max_length=64)
    kind: str = Field(default="", max_length=64)
    fingerprint: str = Field(default="", max_length=64)


@dataclass(frozen=True)
class SignedAct:
    """An act, who did it as the kernel says, and the hash of both.

    Of both: files can be read by the group, and a copy of the console's line in another's own file
    must not stand for it.

    Attributes:
        file: whose file it stands in.
    """

    user: str
    act: Act
    line: str
    file: str


class Casework:
    """An open folder; its owner and modes were looked at."""

    def __init__(self, path: Path, terms: CaseworkTerms, owner: int) -> None:
        """Use `Casework.open`."""
        self.path, self.terms, self.owner = path, terms, owner

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a folder after a look at its owner and modes.

        Raises:
            UsageError: no such folder, one that this user cannot reach, or one that somebody
                else could change.
            StudyError: casework.toml has mistakes.
        """
        try:
            owner = path.stat().st_uid
            problems = list(_problems(path, owner))
        except OSError as error:
            raise UsageError(
                f"{path}: expected a casework folder that this user ({os_user()}) can reach, "
                f"found: {error.strerror}; the operator lets persons in: they belong to the "
                "folder's group, and log in anew after they were added to it"
            ) from None
        if problems:
            raise UsageError("\n".join(problems))
        return cls(path, load_toml(path / TERMS, CaseworkTerms), owner)

    @property
    def store(self) -> Path:
        """The alerts, as the group reads them."""
        return self.path / STORE

    @property
    def operators_store(self) -> Path:
        """The alerts, as the operator writes them."""
        return self.path / OPERATORS_STORE

    @property
    def decisions(self) -> Path:
        """Folder of the console's file."""
        return self.path / DECISIONS

    @property
    def models(self) -> Path:
        """Folder of the models' cards."""
        return self.path / MODELS

    def keep_card(self, name: str, page: bytes) -> None:
        """Keep the page of a model's card for the group to read; its newest one counts.

        Raises:
            OSError: the disk refuses it.
        """
        fresh = self.models / f"{name}.new"
        fresh.write_bytes(page)
        fresh.chmod(FILE_MODE)
        fresh.replace(self.models / name)

    def check_right(self, person: str) -> None:
        """Refuse who may not decide here.

        Raises:
            UsageError: says who may, and who changes it.
        """
        if not self.terms.may_decide(person):
            raise UsageError(
                f"{person}: expected an analyst or a reviewer of {self.path / TERMS}, found "
                "neither: the operator names those who may decide there"
            )

    def obstacles(self) -> Iterator[str]:
        """Say what keeps persons out, from deciding or from filing."""
        terms = self.terms
        if len({*terms.analysts, *terms.reviewers}) < 2 or not terms.reviewers:  # noqa: PLR2004
            yield "a filing needs two persons, one of them a reviewer: fewer are named"
        if terms.console:
            yield from self._obstacles_to(terms.console)
        else:
            yield f"no console is named, so nobody can decide: name its user in {self.path / TERMS}"
        for parent in self.path.parents:
            if not parent.stat().st_mode & stat.S_IXOTH:
                yield f"{parent}: other users may not pass through it, so the group cannot enter"

    def _obstacles_to(self, user: str) -> Iterator[str]:
        group = self.path.stat().st_gid
        try:
            if group not in os.getgrouplist(user, pwd.getpwnam(user).pw_gid):
                yield f"{user}, the console's user, is not in the folder's group, {group}"
        except KeyError:
            yield f"console = {user!a}: expected a user of this machine, found none"

    def signed_by(self, user: str) -> Path:
        """Return where a user of this machine signs: the first file of that name that is theirs.

        Others may have made one before, and only the operator can remove it; no other user
        can guess the digits of a new one.
        """
        plain = self.decisions / f"{user}.jsonl"
        for path in (plain, *sorted(self.decisions.glob(f"{user}~*.jsonl"))):
            with suppress(OSError):
                if user_name(path.lstat().st_uid) == user:
                    return path
        taken = os.path.lexists(plain)
        return plain.with_name(f"{user}~{secrets.token_hex(8)}.jsonl") if taken else plain

    def sign(self, act: Act) -> None:
        """Add a person's act to the console's file (0640); it is on the disk when this returns.

        Raises:
            UsageError: this user is not the console's, the person has no right here, or the file
                cannot be written.
        """
        user = os_user()
        if user != self.terms.console:
            raise UsageError(
                "nobody can sign on a terminal: log in at the console "
                f"(the user who runs it is console in {self.path / TERMS})"
            )
        if act.deed is not Deed.CONSOLE:
            self.check_right(act.person)
        path = self.signed_by(user)
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            descriptor = os.open(path, flags, FILE_MODE)
            with os.fdopen(descriptor, "r+b", buffering=0) as file:
                found = os.fstat(descriptor)
                if found.st_uid != os.geteuid():
                    raise UsageError(
                        f"{path}: expected a file of {user}, found another user's: "
                        "ask the operator to move it away"
                    )
                os.fchmod(descriptor, FILE_MODE)  # whatever the umask says
                torn = found.st_size and os.pread(descriptor, 1, found.st_size - 1) != b"\n"
                file.write(b"\n" * bool(torn) + act.model_dump_json().encode() + b"\n")
                os.fsync(descriptor)
            sync_folder(self.decisions)
        except OSError as error:
            raise UsageError(
                f"{path}: expected a file that {user} can add to, found: {error.strerror}; nothing "
                "was decided"
            ) from None

    def blank(self, over: Collection[str]) -> None:
        """Overwrite this user's own lines of alerts that are gone, whose comments go with them.

        In place: no line moves, and one that is added meanwhile stays. What a power failure left of
        a line that was being overwritten begins or ends with a blank, and goes too.

        Args:
            over: hashes of lines that were taken over, of alerts that are gone.

        Raises:
            UsageError: the file cannot be changed.
        """
        user = os_user()
        path, place = self.signed_by(user), 0
        if not over or not path.exists():
            return
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            with os.fdopen(descriptor, "r+b", buffering=0) as file:
                for line in file.read().split(b"\n"):
                    torn = line.strip(b" ") not in {b"", line}
                    if torn or _hash(user, line) in over:
                        os.pwrite(descriptor, b" " * len(line), place)
                    place += len(line) + 1
                os.fsync(descriptor)
        except OSError as error:
            raise UsageError(
                f"{path}: expected a file that {user} can change, found: {error.strerror}; nothing "
                "was decided"
            ) from None

    def acts(self, now: datetime, taken: Collection[str] = ()) -> tuple[list[SignedAct], list[str]]:
        """Read all signed acts, by time, and count the lines that are none.

        Those of another user than the console's count as nothing; that they are there says that
        nothing was taken away that was collected of them (`counts`).

        Args:
            now: acts that are dated later do not count yet; nor do those from before 2000.
            taken: hashes of lines that were taken over: of a user who was the console's then.
        """
        signed: list[SignedAct] = []
        complaints: list[str] = []
        users: set[str] = set()  # of whom a file was read: a name of its own comes first
        for path in sorted(self.decisions.glob("*.jsonl")):
            try:
                user, content = _read_owned(path, users)
            except UsageError as error:
                # Every member of the group can choose its name.
                complaints.append(printable(f"{error}: it is not counted", MOST_LINE))
                continue
            users.add(user)
            speaks = None if user == self.terms.console else taken
            found = list(_parse_acts(user, content, now, speaks))
            signed += [one for one in found if one is not None]
            bad = sum(one is None for one in found)
            if bad:
                complaints.append(
                    f"{path}: {bad} lines are no acts or have an impossible time, and do not count"
                )
        return sorted(signed, key=lambda one: one.act.time), complaints

    def counts(self, signed: SignedAct) -> bool:
        """Tell whether the console signed it for a person who may, now: it speaks alone."""
        named = bool(self.terms.console) and signed.file == self.terms.console
        return named and (signed.act.deed is Deed.CONSOLE or self.terms.may_decide(signed.user))

    def feedback_of(self, signed: SignedAct) -> Feedback | None:
        """Return a decision with its person's present rights; None where it counts as nothing."""
        act, user = signed.act, signed.user
        if act.disposition is None or not self.counts(signed):
            return None
        return Feedback(
            act.alert, act.time, user, act.disposition, act.party_role, act.confidence, act.note,
            reviewer=self.terms.may_review(user), key=act.key,
        )  # fmt: skip

    def case_act_of(self, signed: SignedAct) -> CaseAct | None:
        """Return an act on an alert that is no decision; None where it counts as nothing."""
        act, user = signed.act, signed.user
        if act.act is None or not self.counts(signed):
            return None
        return CaseAct(act.alert, act.time, user, act.act, act.note, act.key)

    @property
    def entry_keys(self) -> EntryKeys:
        """Keys of kept entries, beside the folder and not in it: the group reads them."""
        group = self.path.stat().st_gid
        return EntryKeys(keys_beside(self.path), FOLDER_MODE, FILE_MODE, group)


def make_casework(path: Path, group: int, terms: CaseworkTerms) -> Casework:
    """Make the folder of a group, owned by this user.

    Args:
        path: a new or empty folder's.
        group: whose number; this user has to belong to it, or be root.
        terms: who may do what.

    Raises:
        UsageError: something is there already, or this user is not of the group.
        OSError: the disk refuses it.
    """
    create_private_folder(path)
    for one in (path / DECISIONS, path / MODELS):
        one.mkdir(0o700)
    text = fill_toml("fieldfare.client.alerts", TERMS, **terms.model_dump(exclude={"format"}))
    (path / TERMS).write_text(text, encoding="utf-8")
    modes = ((path / TERMS, FILE_MODE), (path / MODELS, FOLDER_MODE),
             (path / DECISIONS, DECISIONS_MODE), (path, FOLDER_MODE))  # fmt: skip
    try:
        for one, mode in modes:  # the folder last: until then no member gets in
            os.chown(one, -1, group)
            one.chmod(mode)
    except PermissionError:
        raise UsageError(
            f"{path}: expected a user who belongs to the group, found {os_user()}, who does not: "
            "add the operator to it too, log in anew, remove the folder and repeat; or do it as "
            "root"
        ) from None
    sync_folder(path)
    return Casework.open(path)


def _problems(path: Path, owner: int) -> Iterator[str]:
    """Yield each fault that lets another user than the operator change the operator's files."""
    looked = (
        (path, NOT_OF_FOLDER, FOLDER_MODE),
        (path / TERMS, NOT_OF_FILE, FILE_MODE),
        (path / STORE, NOT_OF_FILE, FILE_MODE),
        (path / OPERATORS_STORE, OTHERS, PRIVATE_FILE),
        (path / DECISIONS, NOT_OF_DECISIONS, DECISIONS_MODE),
    )
    for one, forbidden, mode in looked:
        if one.name in {STORE, OPERATORS_STORE} and not one.exists():
            continue
        found = one.stat()
        given = stat.S_IMODE(found.st_mode)
        sticky = one.name == DECISIONS and not found.st_mode & stat.S_ISVTX
        if found.st_uid != owner:
            yield f"{one}: expected a path of the folder's owner, found another user's"
        elif given & forbidden or sticky:
            yield f"{one}: expected mode {mode:04o}, found {given:04o}: chmod {mode:04o} {one}"


def _read_owned(path: Path, before: Collection[str] = ()) -> tuple[str, bytes]:
    """Return the owner and the content, both of the open file.

    Raises:
        UsageError: another user may have written it, or may write it later; or its owner is among
            those of whom a file was read before.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags)
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            content = file.read(MOST_BYTES + 1) if stat.S_ISREG(found.st_mode) else b""
    except OSError as error:
        raise UsageError(f"{path}: expected a readable file, found: {error.strerror}") from None
    user = user_name(found.st_uid)
    # A second name of a file, or one that others may write, may hold what others wrote.
    if (
        not stat.S_ISREG(found.st_mode)
        or found.st_nlink != 1
        or path.stem.partition("~")[0] != user
    ):
        raise UsageError(
            f"{path}: expected a plain file of the user in its name, found something else"
        )
    if user in before:
        raise UsageError(f"{path}: expected one file of {user}, found a second one")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise UsageError(
            f"{path}: expected a file that only {user} can write, found one that others can write: "
            f"chmod 640 {path}"
        )
    if len(content) > MOST_BYTES:
        raise UsageError(f"{path}: expected at most {MOST_BYTES >> 20} MB, found more")
    return user, content


def _parse_acts(
    user: str, content: bytes, now: datetime, taken: Collection[str] | None
) -> Iterator[SignedAct | None]:
    """Yield each line's act, or None; `taken` is None of the console's own file."""
    for line in content.split(b"\n"):
        if not line.strip(b" "):
            continue  # or blanked
        try:
            act = Act.model_validate_json(line) if len(line) <= MOST_LINE else None
        except ValidationError:
            act = None
        if act is None or not EARLIEST <= act.time <= now:
            yield None
            continue
        # Nobody but the console speaks for others, and it speaks for others only in such acts.
        # Lines of a user who was the console before stay known, not new ones.
        hashed, for_others = _hash(user, line), act.person or act.deed is Deed.CONSOLE
        may = taken is None or not for_others or hashed in taken
        yield SignedAct(act.person or user, act, hashed, user) if may else None


def _hash(user: str, line: bytes) -> str:
    """Return what the log says of a line, and of who signed it."""
    return bytes_hash(user.encode() + TYPE_SEPARATOR + line)


def casework_of(home: Home, settings: HomeSettings) -> Casework | None:
    """Return the group's folder that institution.toml names; None where it names none.

    Raises:
        UsageError: it cannot be reached, or another user can change it.
        StudyError: casework.toml has mistakes.
    """
    named = settings.casework.folder
    return Casework.open(home.resolve(named)) if named else None
