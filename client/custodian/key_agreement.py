"""From approvals to pair keys: the state that an institution keeps of a study and its runs.

Approving a study is the key exchange; a run adds one ML-KEM ciphertext per pair
(docs/design.md, "The secure sum"). Everything private is kept as one opaque state in the ledger's
database, so that a restarted custodian goes on where it was, and forgotten with it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import rfc8785

from fieldfare.client.custodian.party import Site
from fieldfare.shared.errors import ProtocolError, RefusalCode
from fieldfare.shared.privacy.assurance import Assurance
from fieldfare.shared.protocol.messages import Approval, KeyOffer, Opened, Participant, RunOpening
from fieldfare.shared.protocol.secure_sum import (
    RunKeys,
    StudyKeys,
    check_approval_keys,
    decapsulate,
    encapsulate,
    pair_key,
)


@dataclass(frozen=True, repr=False)
class ApprovedStudy:
    """An institution's own approval of a study and the private keys behind it."""

    approval: Approval
    envelope: bytes
    keys: StudyKeys | None  # None in simulations

    @classmethod
    def make(cls, site: Site, study: str, *, number: int, epoch: int) -> "ApprovedStudy":
        """Approve a study: fresh keys, signed."""
        keys = StudyKeys.generate() if site.assurance is Assurance.EXACT else None
        x25519, mlkem768 = keys.public if keys else ("", "")
        approval = Approval(
            study=study,
            roster=site.roster.hash,
            institution=site.institution,
            number=number,
            epoch=epoch,
            x25519=x25519,
            mlkem768=mlkem768,
        )
        return cls(approval, site.sign(approval), keys)

    def to_bytes(self) -> bytes:
        """Return the state for the institution's own store."""
        keys = self.keys.to_bytes().hex() if self.keys else ""
        return rfc8785.dumps({"approval": self.envelope.decode(), "keys": keys})

    @classmethod
    def from_bytes(cls, content: bytes, site: Site) -> "ApprovedStudy":
        """Parse the state; the institution's own signature on it is checked again."""
        data = json.loads(content)
        envelope = data["approval"].encode()
        approval = site.from_member(envelope, Approval, site.institution).body
        keys = StudyKeys.from_bytes(bytes.fromhex(data["keys"])) if data["keys"] else None
        return cls(approval, envelope, keys)


@dataclass(frozen=True, repr=False)
class OpenedRun:
    """A run between its opening and the agreement on pair keys."""

    opening: Opened[RunOpening]
    approvals: Mapping[str, Approval]
    offer: bytes
    secrets: Mapping[str, bytes]  # ML-KEM secrets, by peer with a higher id

    def to_bytes(self) -> bytes:
        """Return the state for the institution's own store."""
        return rfc8785.dumps(
            {
                "opening": self.opening.content.decode(),
                "approvals": {k: v.model_dump(mode="json") for k, v in self.approvals.items()},
                "offer": self.offer.decode(),
                "secrets": {peer: secret.hex() for peer, secret in self.secrets.items()},
            }
        )

    @classmethod
    def from_bytes(cls, content: bytes, site: Site) -> "OpenedRun":
        """Parse the state; the coordinator's signature on the opening is checked again."""
        data = json.loads(content)
        return cls(
            site.from_coordinator(data["opening"].encode(), RunOpening),
            {k: Approval.model_validate(v) for k, v in data["approvals"].items()},
            data["offer"].encode(),
            {peer: bytes.fromhex(secret) for peer, secret in data["secrets"].items()},
        )

    def without_secrets(self) -> "OpenedRun":
        """Return what stays after the agreement: the chain keys replace the secrets."""
        return OpenedRun(self.opening, self.approvals, self.offer, {})


def open_run(
    site: Site, own: ApprovedStudy, opening: Opened[RunOpening], envelopes: Sequence[bytes]
) -> OpenedRun:
    """Check a run's opening and every approval in it, and offer one ciphertext per pair.

    Raises:
        ProtocolError: participants, approvals or keys that do not fit the signed opening.
    """
    approvals = _check_approvals(site, own, opening.body, envelopes)
    if site.assurance is Assurance.SIMULATED:
        return OpenedRun(opening, approvals, b"", {})
    try:
        check_approval_keys(approvals)
        higher = [peer for peer in sorted(approvals) if peer > site.institution]
        fresh = {peer: encapsulate(approvals[peer]) for peer in higher}
    except ProtocolError as error:
        raise ProtocolError(str(error), RefusalCode.BAD_KEYS) from None
    offer = KeyOffer(
        opening=opening.body.hash,
        institution=site.institution,
        ciphertexts={peer: ciphertext for peer, (_, ciphertext) in fresh.items()},
    )
    secrets = {peer: secret for peer, (secret, _) in fresh.items()}
    return OpenedRun(opening, approvals, site.sign(offer), secrets)


def _check_approvals(
    site: Site, own: ApprovedStudy, opening: RunOpening, envelopes: Sequence[bytes]
) -> dict[str, Approval]:
    """Match envelopes to the opening's participants, one to one, each signed by its member."""
    if len(envelopes) != len(opening.participants):
        raise ProtocolError("expected one approval for each participant", RefusalCode.BAD_KEYS)
    approvals = {}
    for participant, envelope in zip(opening.participants, envelopes, strict=True):
        approval = site.from_member(envelope, Approval, participant.institution).body
        expected = Participant(institution=approval.institution, approval=approval.hash)
        same_study = (approval.study, approval.roster) == (opening.study, opening.roster)
        if participant != expected or not same_study:
            raise ProtocolError(
                "expected approvals of this study by the participants", RefusalCode.BAD_PARTICIPANTS
            )
        approvals[participant.institution] = approval
    if approvals.get(site.institution) != own.approval:
        raise ProtocolError(
            "expected this institution's own approval", RefusalCode.BAD_PARTICIPANTS
        )
    return approvals


def agree(site: Site, own: ApprovedStudy, run: OpenedRun, offers: Sequence[bytes]) -> RunKeys:
    """Derive one chain key for each peer from the signed offers of all participants.

    Raises:
        ProtocolError: a missing, foreign or malformed offer, or a key of small order.
    """
    if own.keys is None:
        return RunKeys(0, {})
    received = _offers_by_sender(site, run, offers)
    keys = {}
    for peer, approval in run.approvals.items():
        if peer == site.institution:
            continue
        low, high = sorted((peer, site.institution))
        ciphertext = received[low].ciphertexts.get(high)
        if ciphertext is None:
            raise ProtocolError("expected a ciphertext for each pair", RefusalCode.BAD_KEYS)
        mine = low == site.institution
        try:
            secret = run.secrets[peer] if mine else decapsulate(own.keys, ciphertext)
            keys[peer] = pair_key(
                own.keys,
                secret,
                own.approval,
                approval,
                opening=run.opening.body.hash,
                ciphertext=ciphertext,
            )
        except ProtocolError as error:
            raise ProtocolError(str(error), RefusalCode.BAD_KEYS) from None
    return RunKeys(0, keys)


def _offers_by_sender(site: Site, run: OpenedRun, offers: Sequence[bytes]) -> dict[str, KeyOffer]:
    """Parse one offer from each participant; one's own must come back unchanged."""
    if len(offers) != len(run.approvals) or run.offer not in offers:
        raise ProtocolError("expected one offer from each participant", RefusalCode.BAD_KEYS)
    parsed = {}
    for sender, envelope in zip(sorted(run.approvals), offers, strict=True):
        offer = site.from_member(envelope, KeyOffer, sender).body
        if offer.institution != sender or offer.opening != run.opening.body.hash:
            raise ProtocolError("expected offers for this opening", RefusalCode.BAD_KEYS)
        parsed[sender] = offer
    return parsed
