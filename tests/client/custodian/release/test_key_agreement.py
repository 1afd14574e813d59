"""From approvals to pair keys, and what a member that copies keys gains: nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final

import numpy as np
import pytest

from fieldfare.client.custodian.key_agreement import ApprovedStudy, OpenedRun, agree, open_run
from fieldfare.client.custodian.party import Site
from fieldfare.shared.errors import ProtocolError, RefusalCode
from fieldfare.shared.privacy.assurance import Assurance
from fieldfare.shared.protocol.messages import (
    Approval,
    KeyOffer,
    Opened,
    Participant,
    RunOpening,
    encode_key,
    sign_envelope,
)
from fieldfare.shared.protocol.roster import COORDINATOR
from fieldfare.shared.protocol.secure_sum import MLKEM_PUBLIC_BYTES, RunKeys, StudyKeys, pair_key
from fieldfare.shared.ring import WordBits, add
from fieldfare.simulations.federation.federation import Identities

NAMES: Final = ["a", "b", "c", "d"]
STUDY: Final = "5" * 64
REQUEST: Final = "7" * 64


@dataclass(frozen=True)
class Parties:
    """Institutions that have approved one study."""

    identities: Identities
    sites: Mapping[str, Site]
    studies: Mapping[str, ApprovedStudy]

    @classmethod
    def make(cls, assurance: Assurance = Assurance.EXACT) -> "Parties":
        identities = Identities.make(NAMES, 1, assurance)
        sites = {n: Site(n, identities.roster, identities.signers[n], assurance) for n in NAMES}
        studies = {n: ApprovedStudy.make(s, STUDY, number=1, epoch=1) for n, s in sites.items()}
        return cls(identities, sites, studies)

    def opening(self, run: str = "r", changed: Approval | None = None) -> Opened[RunOpening]:
        approvals = {n: s.approval for n, s in self.studies.items()}
        if changed:
            approvals[changed.institution] = changed
        body = RunOpening(
            study=STUDY,
            roster=self.identities.roster.hash,
            run=run,
            participants=tuple(
                Participant(institution=n, approval=a.hash) for n, a in approvals.items()
            ),
        )
        content = sign_envelope(body, COORDINATOR, self.identities.coordinator)
        return self.sites["a"].from_coordinator(content, RunOpening)

    def envelopes(self, changed: Approval | None = None) -> list[bytes]:
        found = {n: s.envelope for n, s in self.studies.items()}
        if changed:
            found[changed.institution] = self.sites[changed.institution].sign(changed)
        return list(found.values())

    def opened(self, run: str = "r") -> dict[str, OpenedRun]:
        opening = self.opening(run)
        return {
            n: open_run(s, self.studies[n], opening, self.envelopes())
            for n, s in self.sites.items()
        }

    def agreed(self, opened: Mapping[str, OpenedRun]) -> dict[str, RunKeys]:
        offers = [opened[n].offer for n in NAMES]
        return {n: agree(s, self.studies[n], opened[n], offers) for n, s in self.sites.items()}


@pytest.fixture(scope="module")
def parties() -> Parties:
    return Parties.make()


def test_both_sides_of_every_pair_have_one_key_and_no_two_pairs_share_one(
    parties: Parties,
) -> None:
    keys = parties.agreed(parties.opened())
    pairs = [(keys[a].keys[b], keys[b].keys[a]) for a, b in combinations(NAMES, 2)]
    assert all(one == other for one, other in pairs)
    assert len({one for one, _ in pairs}) == len(pairs)
    assert all(set(keys[n].keys) == set(NAMES) - {n} for n in NAMES)
    masks = [keys[n].mask(n, frozenset(NAMES) - {n}, REQUEST, 100, WordBits.K64) for n in NAMES]
    total = np.zeros(100, dtype=np.uint64)
    for mask in masks:
        assert mask.any()
        total = add(total, mask, WordBits.K64)
    assert not total.any()


def test_runs_of_one_study_share_no_key(parties: Parties) -> None:
    """Also two openings of one run id: a key belongs to the opening that was signed."""
    first, second = parties.agreed(parties.opened()), parties.agreed(parties.opened("s"))
    again = parties.agreed(parties.opened())
    keys = {k for run in (first, second, again) for n in NAMES for k in run[n].keys.values()}
    assert len(keys) == 3 * len(list(combinations(NAMES, 2)))


def test_states_survive_a_restart(parties: Parties) -> None:
    opened = parties.opened()
    stored = {
        n: OpenedRun.from_bytes(opened[n].to_bytes(), site) for n, site in parties.sites.items()
    }
    studies = {
        n: ApprovedStudy.from_bytes(parties.studies[n].to_bytes(), site)
        for n, site in parties.sites.items()
    }
    restarted = Parties(parties.identities, parties.sites, studies)
    assert restarted.agreed(stored) == parties.agreed(opened)
    assert [s.envelope for s in studies.values()] == parties.envelopes()


def test_a_stored_approval_that_was_changed_is_not_taken(parties: Parties) -> None:
    state = parties.studies["a"].to_bytes().replace(b'\\"number\\":1', b'\\"number\\":2')
    assert state != parties.studies["a"].to_bytes()
    with pytest.raises(ProtocolError):
        ApprovedStudy.from_bytes(state, parties.sites["a"])


def test_after_the_agreement_the_ciphertexts_secrets_are_gone(parties: Parties) -> None:
    opened = parties.opened()["a"]
    assert set(opened.secrets) == {"b", "c", "d"}
    kept = opened.without_secrets().to_bytes()
    for secret in opened.secrets.values():
        assert secret.hex().encode() in opened.to_bytes()
        assert secret.hex().encode() not in kept


def test_simulations_agree_on_nothing() -> None:
    parties = Parties.make(Assurance.SIMULATED)
    opened = parties.opened()
    assert {o.offer for o in opened.values()} == {b""}
    assert parties.agreed(opened) == {n: RunKeys(0, {}) for n in NAMES}


def refusal(call: Any, *arguments: Any) -> RefusalCode:
    with pytest.raises(ProtocolError) as found:
        call(*arguments)
    return found.value.code


# -- members that lie ----------------------------------------------------------------------------


def test_a_copied_key_makes_no_mask_cancel(parties: Parties) -> None:
    """d copies b's public keys, and replays b's ciphertext; a's two masks still differ.

    The shared secrets of a-b and a-d are then the same: only ids and keys in the derivation
    keep d from holding the mask that b's is to cancel (docs/design.md, "The secure sum").
    """
    studies, opened = parties.studies, parties.opened()
    own, victim = studies["a"], studies["b"].approval
    assert own.keys is not None
    site = parties.sites["b"]
    offer = site.from_member(opened["a"].offer, KeyOffer, "a").body
    common = {"opening": "6" * 64, "ciphertext": offer.ciphertexts["b"]}
    secret = opened["a"].secrets["b"]
    copied = victim.model_copy(update={"institution": "d"})
    honest = pair_key(own.keys, secret, own.approval, victim, **common)
    stolen = pair_key(own.keys, secret, own.approval, copied, **common)
    assert honest != stolen
    keys = RunKeys(0, {"b": honest, "d": stolen})
    with_both = keys.mask("a", frozenset({"b", "d"}), REQUEST, 64, WordBits.K64)
    assert (with_both != 0).all()
    pair = RunKeys(0, {"b": honest, "d": honest}).mask(
        "c", frozenset({"b", "d"}), REQUEST, 64, WordBits.K64
    )
    assert not pair.any(), "with equal keys c's masks would have cancelled"


@pytest.mark.parametrize("fields", [("x25519",), ("mlkem768",), ("x25519", "mlkem768")])
@pytest.mark.parametrize("victim", ["a", "b"])
def test_copied_keys_are_refused_at_the_opening(
    fields: tuple[str, ...], victim: str, parties: Parties
) -> None:
    keys = parties.studies[victim].approval
    copied = {kind: getattr(keys, kind) for kind in fields}
    changed = parties.studies["d"].approval.model_copy(update=copied)
    opening, envelopes = parties.opening(changed=changed), parties.envelopes(changed)
    for name in ("a", "b", "c"):
        arguments = (parties.sites[name], parties.studies[name], opening, envelopes)
        assert refusal(open_run, *arguments) is RefusalCode.BAD_KEYS


@pytest.mark.parametrize(
    "changes",
    [
        {"x25519": encode_key(bytes(33))},
        {"mlkem768": encode_key(bytes(MLKEM_PUBLIC_BYTES - 1))},
        {"mlkem768": encode_key(b"\xff" * MLKEM_PUBLIC_BYTES)},  # coefficients above q
        {"x25519": "", "mlkem768": ""},  # an approval from a simulation
    ],
)
def test_malformed_keys_are_refused_at_the_opening(
    changes: dict[str, str], parties: Parties
) -> None:
    changed = parties.studies["d"].approval.model_copy(update=changes)
    opening, envelopes = parties.opening(changed=changed), parties.envelopes(changed)
    arguments = (parties.sites["a"], parties.studies["a"], opening, envelopes)
    assert refusal(open_run, *arguments) is RefusalCode.BAD_KEYS


def test_one_institution_may_not_stand_in_with_two_approvals_of_its_own(
    parties: Parties,
) -> None:
    other = ApprovedStudy.make(parties.sites["a"], STUDY, number=2, epoch=1)
    opening = parties.opening(changed=other.approval)
    envelopes = parties.envelopes(other.approval)
    arguments = (parties.sites["a"], parties.studies["a"], opening, envelopes)
    assert refusal(open_run, *arguments) is RefusalCode.BAD_PARTICIPANTS


@pytest.mark.parametrize("ciphertext", [None, "", encode_key(bytes(1087)), "AAA"])
def test_a_pair_without_a_ciphertext_of_the_right_length_is_refused(
    ciphertext: str | None, parties: Parties
) -> None:
    opened = parties.opened()
    names = [] if ciphertext is None else ["b", "c", "d"]
    lie = KeyOffer(
        opening=opened["a"].opening.body.hash,
        institution="a",
        ciphertexts=dict.fromkeys(names, ciphertext or ""),
    )
    offers = [parties.sites["a"].sign(lie), *(opened[n].offer for n in "bcd")]
    arguments = (parties.sites["d"], parties.studies["d"], opened["d"], offers)
    assert refusal(agree, *arguments) is RefusalCode.BAD_KEYS


def test_a_ciphertext_for_somebody_else_gives_keys_that_differ(parties: Parties) -> None:
    """ML-KEM rejects implicitly (FIPS 203, section 7.3): the rehearsal finds such keys."""
    opened = parties.opened()
    site = parties.sites["a"]
    body = site.from_member(opened["a"].offer, KeyOffer, "a").body
    swapped = body.ciphertexts | {"d": body.ciphertexts["b"]}
    lie = site.sign(body.model_copy(update={"ciphertexts": swapped}))
    offers = [lie, *(opened[n].offer for n in "bcd")]
    keys = agree(parties.sites["d"], parties.studies["d"], opened["d"], offers)
    assert keys.keys["a"] != parties.agreed(opened)["a"].keys["d"]


def test_offers_come_from_their_own_senders_for_this_opening(parties: Parties) -> None:
    opened, elsewhere = parties.opened(), parties.opened("s")
    offers = {n: o.offer for n, o in opened.items()}
    body = parties.sites["b"].from_member(offers["b"], KeyOffer, "b").body
    impostor = parties.sites["c"].sign(body.model_copy(update={"institution": "c"}))
    renamed = parties.sites["b"].sign(body.model_copy(update={"institution": "c"}))
    for wrong, code in (
        ({"c": offers["b"]}, RefusalCode.BAD_SIGNATURE),
        ({"b": impostor}, RefusalCode.BAD_SIGNATURE),
        ({"b": renamed}, RefusalCode.BAD_KEYS),
        ({"b": elsewhere["b"].offer}, RefusalCode.BAD_KEYS),
        ({"d": elsewhere["d"].offer}, RefusalCode.BAD_KEYS),
    ):
        given = list((offers | wrong).values())
        arguments = (parties.sites["d"], parties.studies["d"], opened["d"], given)
        assert refusal(agree, *arguments) is code


def test_ones_own_offer_must_come_back_unchanged(parties: Parties) -> None:
    """Also when it is genuine: secrets belong to the offer that was kept."""
    opened, again = parties.opened(), parties.opened()
    assert again["a"].offer != opened["a"].offer
    offers = [again["a"].offer, *(opened[n].offer for n in "bcd")]
    arguments = (parties.sites["a"], parties.studies["a"], opened["a"], offers)
    assert refusal(agree, *arguments) is RefusalCode.BAD_KEYS


# -- secrets ---------------------------------------------------------------------------------------


def test_nothing_that_holds_a_secret_shows_it(parties: Parties) -> None:
    study, opened = parties.studies["a"], parties.opened()["a"]
    keys = parties.agreed(parties.opened())["a"]
    assert isinstance(study.keys, StudyKeys)
    raw = study.keys.to_bytes()
    secrets = [raw[:32], raw[32:], *opened.secrets.values(), *keys.keys.values()]
    shown = " ".join(repr(thing) for thing in (study, study.keys, opened, keys))
    for secret in secrets:
        for form in (secret.hex(), encode_key(secret), repr(secret)):
            assert form not in shown
