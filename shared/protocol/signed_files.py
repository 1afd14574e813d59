"""Offers: studies and rosters that the coordinator signed and an institution may accept.

The envelope carries the canonical text itself, so the text that is read is the signed one, and its
hash is the id that every later message names (docs/design.md, "The study").

Signed files that somebody sent: read with a limit, before anything in them is believed.
"""

import json
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field, ValidationError

from fieldfare.shared.errors import ProtocolError, RefusalCode
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.messages import (
    MAX_MESSAGE_BYTES,
    MessageBody,
    Signer,
    open_envelope,
    sign_envelope,
)
from fieldfare.shared.protocol.roster import COORDINATOR, Roster
from fieldfare.shared.study.study import MAX_STUDY_BYTES, Study
from fieldfare.shared.system.private_files import read_at_most

CanonicalText = Annotated[str, Field(min_length=2, max_length=MAX_STUDY_BYTES)]


class StudyOffer(MessageBody):
    """A study, as canonical JSON text."""

    TYPE: ClassVar[str] = "fieldfare.study-offer.v1"

    study: CanonicalText


class RosterOffer(MessageBody):
    """A roster, as canonical JSON text."""

    TYPE: ClassVar[str] = "fieldfare.roster-offer.v1"

    roster: CanonicalText


def offer_study(study: Study, coordinator: Signer) -> bytes:
    """Sign a study as the coordinator."""
    return sign_envelope(StudyOffer(study=study.canonical().decode()), COORDINATOR, coordinator)


def open_study(content: bytes, roster: Roster, protection: Protection) -> Study:
    """Parse a signed study and check the coordinator's signature on it.

    Raises:
        ProtocolError: not signed by the roster's coordinator, no valid study, or text that
            is not the study's own canonical form.
    """
    offer = open_envelope(content, StudyOffer, roster, protection)
    _by_coordinator(offer.signer)
    try:
        study = Study.model_validate(json.loads(offer.body.study))
    except (ValidationError, ValueError, RecursionError):
        raise ProtocolError("expected a valid study of format 1: upgrade or ask again") from None
    if study.canonical() != offer.body.study.encode():
        raise ProtocolError("expected the study's canonical form, found another text")
    return study


def offer_roster(roster: Roster, coordinator: Signer) -> bytes:
    """Sign a roster as the coordinator."""
    return sign_envelope(RosterOffer(roster=roster.canonical().decode()), COORDINATOR, coordinator)


def open_roster(content: bytes, coordinator_key: str) -> Roster:
    """Parse a signed roster against the coordinator's key that was compared out of band.

    Args:
        content: the signed offer.
        coordinator_key: Ed25519 public key, hex; pinned before, never taken from the offer.

    Raises:
        ProtocolError: signed by another key, no valid roster, or not its canonical form.
    """
    pinned = Roster(version=1, coordinator=coordinator_key, members=())
    offer = open_envelope(content, RosterOffer, pinned, Protection.EXACT)
    _by_coordinator(offer.signer)
    try:
        roster = Roster.model_validate(json.loads(offer.body.roster))
    except (ValidationError, ValueError, RecursionError):
        raise ProtocolError("expected a valid roster of format 1: upgrade or ask again") from None
    if roster.canonical() != offer.body.roster.encode():
        raise ProtocolError("expected the roster's canonical form, found another text")
    if roster.coordinator != coordinator_key:
        raise ProtocolError("expected a roster that names the pinned coordinator's key")
    return roster


def _by_coordinator(signer: str) -> None:
    if signer != COORDINATOR:
        raise ProtocolError("expected the coordinator's signature", RefusalCode.BAD_SIGNATURE)


# -- signed files ---------------------------------------------------------------------------------


def read_signed(path: Path) -> bytes:
    """Read a signed file that somebody sent, at most 16 MiB; line ends after it are dropped.

    Raises:
        UsageError: not readable, or too large.
    """
    # Mail and editors add a line end; canonical JSON ends in "}".
    return read_at_most(path, MAX_MESSAGE_BYTES).rstrip(b"\r\n")


def read_roster(path: Path) -> bytes:
    """Read a signed roster, without the members' own papers that may come after it.

    Raises:
        UsageError: not readable, or too large.
    """
    return roster_and_papers(read_signed(path))[0]


def roster_and_papers(content: bytes) -> tuple[bytes, tuple[bytes, ...]]:
    """Split a roster's file: the signed roster, then papers of members, a line for each signature.

    The papers carry their members' own signatures; the coordinator's covers the roster alone.
    """
    offer, *papers = content.replace(b"\r\n", b"\n").split(b"\n")
    return offer, tuple(paper for paper in papers if paper)
