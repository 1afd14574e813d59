"""Studies that a coordinator proposed: signed, stored in its folder, found by id or name."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.home.public_keys import signing_public
from fieldfare.shared.errors import ProtocolError, UsageError
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.roster import Roster
from fieldfare.shared.protocol.signed_files import (
    EarlierStudyError,
    open_study,
    read_signed,
)
from fieldfare.shared.study.study import Study

SHORT: Final = 12  # digits of an id as it is shown
LEAST_PREFIX: Final = 4
MOST_KNOWN: Final = 500  # verified studies that a process remembers, some 10 KB each

_ID: Final = re.compile(r"[0-9a-f]{64}")
_PREFIX: Final = re.compile(rf"[0-9a-f]{{{LEAST_PREFIX},64}}")


@dataclass(frozen=True)
class Proposal:
    """One study that was proposed.

    Attributes:
        id: the study's id, 64 hexadecimal digits.
        study: the proposed study.
        envelope: as the coordinator signed it.
        at: when it was written.
    """

    id: str
    study: Study
    envelope: bytes
    at: datetime

    @property
    def short(self) -> str:
        """The id as it is shown."""
        return self.id[:SHORT]


class EarlierProposalError(UsageError):
    """A study that an earlier version proposed."""


def proposal(home: CoordinatorHome, study_id: str) -> Proposal:
    """Return one study that was proposed.

    Raises:
        UsageError: unknown, or a file that this coordinator did not sign.
    """
    path = home.study(study_id)
    if not path.is_file():
        raise UsageError(
            f"expected a study that was proposed here, found {study_id[:SHORT]}: see `fieldfare "
            "coordinator studies`"
        )
    content = read_signed(path)
    try:
        study = _verified(content, signing_public(home))
    except EarlierStudyError as error:
        raise EarlierProposalError(f"{path}: {error}") from None
    except ProtocolError as error:
        raise UsageError(
            f"{path}: {error}; move the file away and propose the study again"
        ) from None
    found = study.id
    if found != study_id:
        raise UsageError(f"{path}: expected the study of that id, found another: move it away")
    return Proposal(found, study, content, datetime.fromtimestamp(path.stat().st_mtime, UTC))


@lru_cache(maxsize=MOST_KNOWN)
def _verified(content: bytes, coordinator: str) -> Study:
    """Return a study that this key signed; the very bytes that were verified before are known."""
    own = Roster(version=1, coordinator=coordinator, members=())
    return open_study(content, own, Protection.EXACT)


def proposals(home: CoordinatorHome) -> tuple[Proposal, ...]:
    """Return all studies that were proposed, oldest first, but those of an earlier version.

    Raises:
        UsageError: as `proposal`.
    """
    found = []
    for study_id in _ids(home):
        try:
            found.append(proposal(home, study_id))
        except EarlierProposalError:
            continue  # no run of it is begun; whoever names it is told why
    return tuple(sorted(found, key=lambda one: (one.at, one.id)))


def find_study(home: CoordinatorHome, text: str) -> Proposal:
    """Return the study that a person means: its id, the first digits of it, or its name.

    Raises:
        UsageError: none or several fit.
    """
    if _PREFIX.fullmatch(text):
        by_id = [study_id for study_id in _ids(home) if study_id.startswith(text)]
        if len(by_id) == 1:
            return proposal(home, by_id[0])
        if by_id:
            raise _several(text, by_id)
    named = [one.id for one in proposals(home) if one.study.name == text]
    if len(named) > 1:
        raise _several(text, named)
    if not named:
        raise UsageError(
            f"STUDY: expected an id's first {LEAST_PREFIX} digits or more, or a name, found "
            f"{shown(text)}: see `fieldfare coordinator studies`"
        )
    return proposal(home, named[0])


def shown(text: str) -> str:
    """Return a typed text as one short line."""
    return repr(text if len(text) <= SHORT * 4 else text[: SHORT * 4] + "...")


def _ids(home: CoordinatorHome) -> list[str]:
    paths = sorted(home.studies.glob("*.signed"))
    return [path.stem for path in paths if _ID.fullmatch(path.stem)]


def _several(text: str, ids: list[str]) -> UsageError:
    listed = ", ".join(one[:SHORT] for one in ids)
    return UsageError(
        f"STUDY: expected one study, found {shown(text)}, which fits {listed}: give more of its id"
    )
