"""Offers: studies and rosters that the coordinator signed and an institution may accept.

A study is signed by the online key, a roster by the roster key.

The envelope carries the canonical text itself, so the text that is read is the signed one, and its
hash is the id that every later message names (docs/design.md, "The study").

Signed files that somebody sent: read with a limit, before anything in them is believed.
"""

import json
from pathlib import Path
from typing import Annotated, ClassVar, Final

from pydantic import Field, ValidationError

from fieldfare.shared.canonical import json_text
from fieldfare.shared.errors import ProtocolError, RefusalCode
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.messages import (
    MAX_MESSAGE_BYTES,
    MessageBody,
    Signer,
    Verifier,
    open_envelope,
    sign_envelope,
)
from fieldfare.shared.protocol.roster import COORDINATOR, ROSTER_SIGNER, Roster, RosterKey
from fieldfare.shared.study.study import MAX_STUDY_BYTES, Study
from fieldfare.shared.study.toml import earlier_keys
from fieldfare.shared.system.private_files import read_at_most

_VALUES: Final = 1 << 19  # of a text's JSON: 4 MiB of empty members came to 1,154 MiB

CanonicalText = Annotated[str, Field(min_length=2, max_length=MAX_STUDY_BYTES)]


class StudyOffer(MessageBody):
    """A study, as canonical JSON text."""

    TYPE: ClassVar[str] = "fieldfare.study-offer.v1"

    study: CanonicalText


class EarlierStudyError(ProtocolError):
    """A study that its coordinator signed, in words that this version has no more."""


class RosterOffer(MessageBody):
    """A roster, as canonical JSON text."""

    TYPE: ClassVar[str] = "fieldfare.roster-offer.v2"

    roster: CanonicalText


def offer_study(study: Study, coordinator: Signer) -> bytes:
    """Sign a study as the coordinator."""
    return sign_envelope(StudyOffer(study=study.canonical().decode()), COORDINATOR, coordinator)


def open_study(content: bytes, roster: Verifier, protection: Protection) -> Study:
    """Parse a signed study and check the coordinator's signature on it.

    Raises:
        EarlierStudyError: signed, and of an earlier version.
        ProtocolError: not signed by the roster's coordinator, no valid study, or text that
            is not the study's own canonical form.
    """
    offer = open_envelope(content, StudyOffer, roster, protection)
    if offer.signer != COORDINATOR:
        raise ProtocolError("expected the coordinator's signature", RefusalCode.BAD_SIGNATURE)
    try:
        study = Study.model_validate(json.loads(json_text(offer.body.study.encode(), _VALUES)))
    except (ValidationError, ValueError, RecursionError) as error:
        earlier = earlier_keys(error) if isinstance(error, ValidationError) else []
        if earlier:
            raise EarlierStudyError(
                f"expected a study of this version, found one of an earlier one ({earlier[0]}): "
                "what it released stays, no run of it goes on; its coordinator proposes it anew"
            ) from None
        raise ProtocolError("expected a valid study of format 1: upgrade or ask again") from None
    if study.canonical() != offer.body.study.encode():
        raise ProtocolError("expected the study's canonical form, found another text")
    return study


def offer_roster(roster: Roster, roster_key: Signer) -> bytes:
    """Sign a roster as the holder of the roster key."""
    return sign_envelope(RosterOffer(roster=roster.canonical().decode()), ROSTER_SIGNER, roster_key)


def open_roster(content: bytes, roster_key: str) -> Roster:
    """Parse a signed roster against the roster key that was compared out of band.

    Args:
        content: the signed offer.
        roster_key: Ed25519 public key, hex; pinned before, never taken from the offer.

    Raises:
        ProtocolError: signed by another key, the online key included; no valid roster, or not its
            canonical form; another roster key in it, or no online key.
    """
    offer = open_envelope(content, RosterOffer, RosterKey(roster_key), Protection.EXACT)
    roster = offered(offer.body)
    if roster.roster_key != roster_key:
        raise ProtocolError("expected a roster that names the pinned roster key")
    if not roster.coordinator:
        raise ProtocolError("expected a roster that names the coordinator's online key, found none")
    return roster


def offered(body: RosterOffer) -> Roster:
    """Return the roster in an offer, whoever signed it.

    Raises:
        ProtocolError: no valid roster, or not its canonical form.
    """
    try:
        roster = Roster.model_validate(json.loads(json_text(body.roster.encode(), _VALUES)))
    except (ValidationError, ValueError, RecursionError):
        raise ProtocolError("expected a valid roster of format 1: upgrade or ask again") from None
    if roster.canonical() != body.roster.encode():
        raise ProtocolError("expected the roster's canonical form, found another text")
    return roster


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

    The papers carry their members' own signatures; the roster key's covers the roster alone.
    """
    offer, *papers = content.replace(b"\r\n", b"\n").split(b"\n")
    return offer, tuple(paper for paper in papers if paper)
