"""From answers to pair keys, and what a member that copies keys gains: nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final

import numpy as np
import pytest

from fieldfare.client.custodian.key_agreement import (
    ApprovedStudy,
    FreshAnswer,
    HeldKeys,
    OpenedRun,
    agree,
    fresh_answer,
    open_run,
)
from fieldfare.client.custodian.party import Party
from fieldfare.client.home.company import CompanyRules
from fieldfare.shared.errors import PolicyRefusal, ProtocolError, RefusalCode
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.comparison import Company
from fieldfare.shared.protocol.messages import (
    KeyOffer,
    Participant,
    RunAnswer,
    RunOpening,
    encode_key,
)
from fieldfare.shared.protocol.secure_sum import (
    MLKEM_PUBLIC_BYTES,
    EphemeralKeys,
    RunKeys,
    pair_key,
)
from fieldfare.shared.ring import WordBits, add
from fieldfare.simulations.federation.federation import Identities

NAMES: Final = ["a", "b", "c", "d"]
STUDY: Final = "5" * 64
REQUEST: Final = "7" * 64
NOW: Final = 1_700_000_000


@dataclass(frozen=True)
class Parties:
    """Institutions that have approved one study and answered `hello`."""

    identities: Identities
    members: Mapping[str, Party]
    studies: Mapping[str, ApprovedStudy]
    answers: Mapping[str, FreshAnswer]

    @classmethod
    def make(cls, protection: Protection = Protection.EXACT) -> "Parties":
        identities = Identities.make(NAMES, 1, protection)
        members = {
            n: Party(
                n, identities.roster, identities.signers[n], protection, CompanyRules(Company())
            )
            for n in NAMES
        }
        studies = {n: ApprovedStudy.make(s, STUDY, number=1, epoch=1) for n, s in members.items()}
        answers = {
            n: fresh_answer(s, studies[n], "r", "9" * 64, "8" * 64) for n, s in members.items()
        }
        return cls(identities, members, studies, answers)

    def opening(self, number: int = 0, changed: RunAnswer | None = None) -> RunOpening:
        answers = {n: a.answer for n, a in self.answers.items()}
        if changed:
            answers[changed.institution] = changed
        return RunOpening(
            study=STUDY,
            roster=self.identities.roster.hash,
            run="r",
            number=number,
            participants=tuple(
                Participant(institution=n, answer=a.hash) for n, a in answers.items()
            ),
        )

    def envelopes(self, changed: RunAnswer | None = None) -> list[bytes]:
        found = {n: a.envelope for n, a in self.answers.items()}
        if changed:
            found[changed.institution] = self.members[changed.institution].sign(changed)
        return list(found.values())

    @property
    def approvals(self) -> list[bytes]:
        return [study.envelope for study in self.studies.values()]

    def opens(self, name: str, opening: RunOpening, envelopes: list[bytes]) -> OpenedRun:
        own = self.answers[name]
        return open_run(self.members[name], own, opening, envelopes, self.approvals, NOW)

    def opened(self, number: int = 0) -> dict[str, OpenedRun]:
        opening = self.opening(number)
        return {n: self.opens(n, opening, self.envelopes()) for n in self.members}

    def agreed(self, opened: Mapping[str, OpenedRun]) -> dict[str, RunKeys]:
        offers = [opened[n].offer for n in NAMES]
        return {n: agree(s, opened[n], offers) for n, s in self.members.items()}


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


def test_openings_share_no_key(parties: Parties) -> None:
    """A key belongs to the opening that was signed, also where the ephemeral keys are the same."""
    first, second = parties.agreed(parties.opened()), parties.agreed(parties.opened(1))
    again = parties.agreed(parties.opened())
    keys = {k for run in (first, second, again) for n in NAMES for k in run[n].keys.values()}
    assert len(keys) == 3 * len(list(combinations(NAMES, 2)))


def test_a_stored_approval_that_was_changed_is_not_taken(parties: Parties) -> None:
    party, state = parties.members["a"], parties.studies["a"].envelope
    assert ApprovedStudy.from_bytes(state, party).approval == parties.studies["a"].approval
    changed = state.replace(b'"number":1', b'"number":2')
    assert changed != state
    with pytest.raises(ProtocolError):
        ApprovedStudy.from_bytes(changed, party)


def test_an_offer_says_when_it_was_made(parties: Parties) -> None:
    offer = parties.members["a"].from_member(parties.opened()["a"].offer, KeyOffer, "a").body
    assert offer.time == NOW


# -- what is held ----------------------------------------------------------------------------------


def test_a_study_has_one_unopened_answer_whatever_is_asked(parties: Parties) -> None:
    """`hello` is no flood: every other run or nonce replaces the keys before."""
    held, party, study = HeldKeys(), parties.members["a"], parties.studies["a"]
    first = held.answer(party, study, "r", "1" * 64)
    assert held.answer(party, study, "r", "1" * 64) == first  # asked again
    seen = {first}
    for run, nonce in (("r", "2" * 64), ("s", "2" * 64), ("r", "1" * 64)):
        seen.add(held.answer(party, study, run, nonce))
        assert held.fresh(STUDY, run).answer.nonce == nonce
    assert len(seen) == 4
    assert len(held._fresh) == 1
    for text in ("", "r" * 65, "r:1"):
        with pytest.raises(ProtocolError):
            held.answer(party, study, text, "1" * 64)
    with pytest.raises(ProtocolError):
        held.answer(party, study, "r", "1" * 62)


def test_keys_are_held_for_one_opening_until_a_newer_one_is_agreed_on(parties: Parties) -> None:
    held, party, study, before = HeldKeys(), parties.members["a"], parties.studies["a"], ""
    for number in (0, 1):
        held.answer(party, study, "r", str(number) * 64)
        answers = {**parties.answers, "a": held.fresh(STUDY, "r")}
        now = Parties(parties.identities, parties.members, parties.studies, answers)
        opened = now.opened(number)
        opening = opened["a"].opening
        if number:  # the old ones are there until then
            held.run_keys(STUDY, "r", before)
        held.opened(opened["a"])
        assert held.offer(opening) == opened["a"].offer
        offers = [opened[n].offer for n in NAMES]
        held.agree(party, STUDY, "r", offers)
        held.agree(party, STUDY, "r", offers)  # a repeat changes nothing
        assert held.run_keys(STUDY, "r", opening.hash) == now.agreed(opened)["a"]
        assert held.offer(opening) == opened["a"].offer
        if number:
            assert gone(held, before)
        before = opening.hash
    held.erase(STUDY)
    assert gone(held, before)
    assert [*held._fresh, *held._opened, *held._agreed] == []


def gone(held: HeldKeys, opening: str) -> bool:
    with pytest.raises(PolicyRefusal) as found:
        held.run_keys(STUDY, "r", opening)
    return found.value.code is RefusalCode.KEYS_GONE


def test_simulations_agree_on_nothing() -> None:
    parties = Parties.make(Protection.SIMULATED)
    opened = parties.opened()
    bodies = [parties.members[n].from_member(o.offer, KeyOffer, n).body for n, o in opened.items()]
    assert [body.ciphertexts for body in bodies] == [{}] * len(NAMES)
    assert {a.answer.x25519 + a.answer.mlkem768 for a in parties.answers.values()} == {""}
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
    answers, opened = parties.answers, parties.opened()
    own, victim = answers["a"], answers["b"].answer
    assert own.keys is not None
    party = parties.members["b"]
    offer = party.from_member(opened["a"].offer, KeyOffer, "a").body
    common = {"opening": "6" * 64, "ciphertext": offer.ciphertexts["b"]}
    secret = opened["a"].secrets["b"]
    copied = victim.model_copy(update={"institution": "d"})
    honest = pair_key(own.keys, secret, own.answer, victim, **common)
    stolen = pair_key(own.keys, secret, own.answer, copied, **common)
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
    keys = parties.answers[victim].answer
    copied = {kind: getattr(keys, kind) for kind in fields}
    changed = parties.answers["d"].answer.model_copy(update=copied)
    opening, envelopes = parties.opening(changed=changed), parties.envelopes(changed)
    for name in ("a", "b", "c"):
        assert refusal(parties.opens, name, opening, envelopes) is RefusalCode.BAD_KEYS


@pytest.mark.parametrize(
    "changes",
    [
        {"x25519": encode_key(bytes(33))},
        {"mlkem768": encode_key(bytes(MLKEM_PUBLIC_BYTES - 1))},
        {"mlkem768": encode_key(b"\xff" * MLKEM_PUBLIC_BYTES)},  # coefficients above q
        {"x25519": "", "mlkem768": ""},  # an answer from a simulation
    ],
)
def test_malformed_keys_are_refused_at_the_opening(
    changes: dict[str, str], parties: Parties
) -> None:
    changed = parties.answers["d"].answer.model_copy(update=changes)
    opening, envelopes = parties.opening(changed=changed), parties.envelopes(changed)
    assert refusal(parties.opens, "a", opening, envelopes) is RefusalCode.BAD_KEYS


def test_one_institution_may_not_stand_in_with_two_answers_of_its_own(parties: Parties) -> None:
    """Its other answer's keys are not held (any more)."""
    other = fresh_answer(parties.members["a"], parties.studies["a"], "r", "7" * 64, "8" * 64)
    opening, envelopes = parties.opening(changed=other.answer), parties.envelopes(other.answer)
    with pytest.raises(PolicyRefusal) as found:
        parties.opens("a", opening, envelopes)
    assert found.value.code is RefusalCode.KEYS_GONE


@pytest.mark.parametrize("field", ["approval", "study", "roster", "run"])
def test_answers_are_for_this_run_under_the_approvals_beside_them(
    field: str, parties: Parties
) -> None:
    elsewhere = "s" if field == "run" else "0" * 64
    changed = parties.answers["d"].answer.model_copy(update={field: elsewhere})
    opening, envelopes = parties.opening(changed=changed), parties.envelopes(changed)
    assert refusal(parties.opens, "a", opening, envelopes) is RefusalCode.BAD_PARTICIPANTS


@pytest.mark.parametrize("ciphertext", [None, "", encode_key(bytes(1087)), "AAA"])
def test_a_pair_without_a_ciphertext_of_the_right_length_is_refused(
    ciphertext: str | None, parties: Parties
) -> None:
    opened = parties.opened()
    names = [] if ciphertext is None else ["b", "c", "d"]
    lie = KeyOffer(
        opening=opened["a"].opening.hash,
        institution="a",
        ciphertexts=dict.fromkeys(names, ciphertext or ""),
        time=NOW,
    )
    offers = [parties.members["a"].sign(lie), *(opened[n].offer for n in "bcd")]
    arguments = (parties.members["d"], opened["d"], offers)
    assert refusal(agree, *arguments) is RefusalCode.BAD_KEYS


def test_a_ciphertext_for_somebody_else_gives_keys_that_differ(parties: Parties) -> None:
    """ML-KEM rejects implicitly (FIPS 203, section 7.3): the rehearsal finds such keys."""
    opened = parties.opened()
    party = parties.members["a"]
    body = party.from_member(opened["a"].offer, KeyOffer, "a").body
    swapped = body.ciphertexts | {"d": body.ciphertexts["b"]}
    lie = party.sign(body.model_copy(update={"ciphertexts": swapped}))
    offers = [lie, *(opened[n].offer for n in "bcd")]
    keys = agree(parties.members["d"], opened["d"], offers)
    assert keys.keys["a"] != parties.agreed(opened)["a"].keys["d"]


def test_offers_come_from_their_own_senders_for_this_opening(parties: Parties) -> None:
    opened, elsewhere = parties.opened(), parties.opened(1)
    offers = {n: o.offer for n, o in opened.items()}
    body = parties.members["b"].from_member(offers["b"], KeyOffer, "b").body
    impostor = parties.members["c"].sign(body.model_copy(update={"institution": "c"}))
    renamed = parties.members["b"].sign(body.model_copy(update={"institution": "c"}))
    for wrong, code in (
        ({"c": offers["b"]}, RefusalCode.BAD_SIGNATURE),
        ({"b": impostor}, RefusalCode.BAD_SIGNATURE),
        ({"b": renamed}, RefusalCode.BAD_KEYS),
        ({"b": elsewhere["b"].offer}, RefusalCode.BAD_KEYS),
        ({"d": elsewhere["d"].offer}, RefusalCode.BAD_KEYS),
    ):
        given = list((offers | wrong).values())
        arguments = (parties.members["d"], opened["d"], given)
        assert refusal(agree, *arguments) is code


def test_ones_own_offer_must_come_back_unchanged(parties: Parties) -> None:
    """Also when it is genuine: secrets belong to the offer that was kept."""
    opened, again = parties.opened(), parties.opened()
    assert again["a"].offer != opened["a"].offer
    offers = [again["a"].offer, *(opened[n].offer for n in "bcd")]
    arguments = (parties.members["a"], opened["a"], offers)
    assert refusal(agree, *arguments) is RefusalCode.BAD_KEYS


# -- secrets ---------------------------------------------------------------------------------------


def test_nothing_that_holds_a_secret_shows_it_or_has_a_form_for_a_store(parties: Parties) -> None:
    own, opened = parties.answers["a"], parties.opened()["a"]
    keys = parties.agreed(parties.opened())["a"]
    assert isinstance(own.keys, EphemeralKeys)
    private = [own.keys.x25519.private_bytes_raw(), own.keys.mlkem.private_bytes_raw()]
    secrets = [*private, *opened.secrets.values(), *keys.keys.values()]
    holding = (own, own.keys, opened, keys, HeldKeys())
    shown = " ".join(repr(thing) for thing in holding)
    for secret in secrets:
        for form in (secret.hex(), encode_key(secret), repr(secret)):
            assert form not in shown
    assert not any(hasattr(thing, "to_bytes") for thing in holding)
