"""Hostile openings, key offers and hellos: rows of the same table as hostile requests."""

from collections.abc import Sequence
from typing import Final

from tests.support.attacks.requests import (
    CASES,
    NOBODY,
    Hostile,
    Send,
    case,
    other,
    sends,
    sends_raw,
)
from tests.support.federations.bench import Bench, Run

from fieldfare.client.custodian.ports import HelloAnswer
from fieldfare.shared.errors import RefusalCode
from fieldfare.shared.protocol.messages import (
    Approval,
    KeyOffer,
    Participant,
    RunAnswer,
    RunOpening,
    encode_key,
    open_envelope,
    sign_envelope,
)
from fieldfare.shared.protocol.roster import COORDINATOR
from fieldfare.shared.protocol.secure_sum import EphemeralKeys, encapsulate

NONCE: Final = "7" * 64

# -- openings ----------------------------------------------------------------------------------


def new(run: Run) -> str:
    return f"{run.federation.run}-new{run.tag}"


def hellos(
    run: Run, names: Sequence[str] | None = None, run_id: str = ""
) -> dict[str, HelloAnswer]:
    """What `hello` gets of a run that is about to open: fresh keys of everybody."""
    asked = run_id or new(run)
    return {n: run.bench.described(n, asked, NONCE) for n in names or run.bench.names}


def answer_of(run: Run, name: str, run_id: str = "") -> RunAnswer:
    party = run.bench.party(name)
    envelope = run.bench.described(name, run_id or new(run), NONCE).answer
    return open_envelope(envelope, RunAnswer, party.roster, party.protection).body


def opening(run: Run, run_id: str = "", **changes: object) -> RunOpening:
    """The opening of a run that nobody has seen yet."""
    answers = [answer_of(run, name, run_id) for name in run.bench.names]
    body = RunOpening(
        study=run.bench.study.id,
        roster=run.federation.roster.hash,
        run=run_id or new(run),
        number=0,
        participants=tuple(
            Participant(institution=answer.institution, answer=answer.hash) for answer in answers
        ),
    )
    return body.model_copy(update=changes)


def signed_opening(bench: Bench, body: RunOpening) -> bytes:
    return sign_envelope(body, COORDINATOR, bench.federation.identities.coordinator)


def answers(run: Run) -> list[bytes]:
    return [one.answer for one in hellos(run).values()]


def approvals(run: Run) -> list[bytes]:
    return [one.approval for one in hellos(run).values()]


def opens(
    run: Run,
    name: str,
    body: RunOpening,
    envelopes: Sequence[bytes] | None = None,
    approved: Sequence[bytes] | None = None,
) -> Send:
    content = signed_opening(run.bench, body)
    sent = answers(run) if envelopes is None else envelopes
    beside = approvals(run) if approved is None else approved
    return lambda: run.bench.custodian(name).open_run(content, sent, beside)


def with_answer(run: Run, answer: RunAnswer) -> tuple[RunOpening, list[bytes]]:
    """An opening in which one institution stands with another answer, which it did sign."""
    name, signers = answer.institution, run.bench.federation.identities.signers
    changed, body = Participant(institution=name, answer=answer.hash), opening(run)
    participants = tuple(changed if one.institution == name else one for one in body.participants)
    envelopes = {n: one.answer for n, one in hellos(run).items()}
    envelopes[name] = sign_envelope(answer, name, signers[name])
    return body.model_copy(update={"participants": participants}), list(envelopes.values())


@case("a run opened again under the same number", RefusalCode.REPLAY_CHANGED)
def _reopened(run: Run, name: str) -> Send:
    again = run.federation.run
    body = opening(run, again)
    sent = hellos(run, run_id=again).values()
    return opens(run, name, body, [one.answer for one in sent], [one.approval for one in sent])


@case("the opening of a run whose keys it does not hold", RefusalCode.KEYS_GONE)
def _opening_without_keys(run: Run, name: str) -> Send:
    body, sent, beside = opening(run), answers(run), approvals(run)
    run.bench.described(name, new(run), NOBODY)  # another hello, other keys
    return opens(run, name, body, sent, beside)


@case("hello with a nonce that is none", RefusalCode.MALFORMED)
def _hello_nonce(run: Run, name: str) -> Send:
    return lambda: run.bench.custodian(name).describe(run.bench.study.id, run="r", nonce="1")


@case("hello for a run that is no name", RefusalCode.MALFORMED)
def _hello_run(run: Run, name: str) -> Send:
    return lambda: run.bench.custodian(name).describe(
        run.bench.study.id, run=":approval", nonce=NONCE
    )


@case("an opening signed by a member", RefusalCode.BAD_SIGNATURE)
def _opening_by_member(run: Run, name: str) -> Send:
    member = other(run, name)
    content = sign_envelope(opening(run), member, run.bench.federation.identities.signers[member])
    sent, beside = answers(run), approvals(run)
    return lambda: run.bench.custodian(name).open_run(content, sent, beside)


@case("an opening of another study", RefusalCode.UNKNOWN_STUDY)
def _opening_study(run: Run, name: str) -> Send:
    return opens(run, name, opening(run, study=NOBODY))


@case("an opening under another roster", RefusalCode.WRONG_ROSTER)
def _opening_roster(run: Run, name: str) -> Send:
    return opens(run, name, opening(run, roster=NOBODY))


@case("an opening with participants out of order", RefusalCode.MALFORMED)
def _opening_unsorted(run: Run, name: str) -> Send:
    body = opening(run)
    backwards = body.model_copy(update={"participants": body.participants[::-1]})
    return opens(run, name, backwards, answers(run)[::-1], approvals(run)[::-1])


@case("an opening without itself", RefusalCode.BAD_PARTICIPANTS)
def _opening_without(run: Run, name: str) -> Send:
    body = opening(run)
    others = tuple(one for one in body.participants if one.institution != name)
    sent = {n: one for n, one in hellos(run).items() if n != name}.values()
    return opens(
        run,
        name,
        body.model_copy(update={"participants": others}),
        [one.answer for one in sent],
        [one.approval for one in sent],
    )


@case("an answer too few", RefusalCode.BAD_KEYS)
def _answer_missing(run: Run, name: str) -> Send:
    return opens(run, name, opening(run), answers(run)[:-1])


@case("answers in the wrong places", RefusalCode.BAD_SIGNATURE)
def _answers_swapped(run: Run, name: str) -> Send:
    return opens(run, name, opening(run), answers(run)[::-1])


@case("an approval too few", RefusalCode.BAD_KEYS)
def _approval_missing(run: Run, name: str) -> Send:
    return opens(run, name, opening(run), approved=approvals(run)[:-1])


@case("approvals in the wrong places", RefusalCode.BAD_SIGNATURE)
def _approvals_swapped(run: Run, name: str) -> Send:
    return opens(run, name, opening(run), approved=approvals(run)[::-1])


def reapproved(run: Run, name: str, **changes: object) -> list[bytes]:
    """Everybody's approvals, of which one says something else, signed by whom it speaks for."""
    party, place = run.bench.party(name), run.bench.names.index(name)
    found = approvals(run)
    body = open_envelope(found[place], Approval, party.roster, party.protection).body
    signer = run.bench.federation.identities.signers[name]
    found[place] = sign_envelope(body.model_copy(update=changes), name, signer)
    return found


@case("an approval that the answer does not name", RefusalCode.BAD_PARTICIPANTS)
def _approval_unnamed(run: Run, name: str) -> Send:
    approved = reapproved(run, other(run, name), number=2)
    return opens(run, name, opening(run), approved=approved)


@case("an approval of another study", RefusalCode.BAD_PARTICIPANTS)
def _approval_study(run: Run, name: str) -> Send:
    approved = reapproved(run, other(run, name), study=NOBODY)
    return opens(run, name, opening(run), approved=approved)


@case("an answer that the opening does not name", RefusalCode.BAD_PARTICIPANTS)
def _answer_unnamed(run: Run, name: str) -> Send:
    changed = answer_of(run, other(run, name)).model_copy(update={"boot": NOBODY})
    _, envelopes = with_answer(run, changed)
    return opens(run, name, opening(run), envelopes)


@case("an answer for another run", RefusalCode.BAD_PARTICIPANTS)
def _answer_run(run: Run, name: str) -> Send:
    changed = answer_of(run, other(run, name)).model_copy(update={"run": "elsewhere"})
    return opens(run, name, *with_answer(run, changed))


@case("its own answer with other keys", RefusalCode.KEYS_GONE)
def _own_keys(run: Run, name: str) -> Send:
    x25519, mlkem768 = EphemeralKeys.generate().public
    changed = answer_of(run, name).model_copy(update={"x25519": x25519, "mlkem768": mlkem768})
    return opens(run, name, *with_answer(run, changed))


def _copied(fields: Sequence[str], *, from_itself: bool) -> Hostile:
    """A member that copies another's keys: its masks could be made to cancel."""

    def build(run: Run, name: str) -> Send:
        mallory, victim = [n for n in run.bench.names if n != name][:2]
        keys = answer_of(run, name if from_itself else victim)
        copied = {kind: getattr(keys, kind) for kind in fields}
        changed = answer_of(run, mallory).model_copy(update=copied)
        return opens(run, name, *with_answer(run, changed))

    return Hostile(RefusalCode.BAD_KEYS, build)


CASES |= {
    "a member with another's keys": _copied(("x25519", "mlkem768"), from_itself=False),
    "a member with another's X25519 key": _copied(("x25519",), from_itself=False),
    "a member with another's ML-KEM key": _copied(("mlkem768",), from_itself=False),
    "a member with one's own keys": _copied(("x25519", "mlkem768"), from_itself=True),
}


@case("a key that is too short", RefusalCode.BAD_KEYS)
def _short_key(run: Run, name: str) -> Send:
    changed = answer_of(run, other(run, name)).model_copy(update={"x25519": encode_key(bytes(31))})
    return opens(run, name, *with_answer(run, changed))


@case("an opening as a request", RefusalCode.MALFORMED)
def _opening_as_request(run: Run, name: str) -> Send:
    return sends_raw(run, name, signed_opening(run.bench, opening(run)))


# -- agreements --------------------------------------------------------------------------------


def half_open(run: Run, run_id: str = "") -> list[bytes]:
    """Open a run at everybody and return the offers, before anybody has them."""
    content, heard = signed_opening(run.bench, opening(run, run_id)), hellos(run, run_id=run_id)
    sent = [one.answer for one in heard.values()]
    beside = [one.approval for one in heard.values()]
    found = [run.bench.custodian(n).open_run(content, sent, beside) for n in run.bench.names]
    assert all(isinstance(offer, bytes) for offer in found), found
    return [offer for offer in found if isinstance(offer, bytes)]


def agrees(run: Run, name: str, offers: Sequence[bytes], run_id: str = "") -> Send:
    asked = run_id or new(run)
    return lambda: run.bench.custodian(name).agree(run.bench.study.id, asked, offers)


def reoffered(run: Run, offers: Sequence[bytes], name: str, **changes: object) -> list[bytes]:
    """Offers in which one member says something else, and signs it."""
    party = run.bench.party(name)
    place = run.bench.names.index(name)
    body = open_envelope(offers[place], KeyOffer, party.roster, party.protection).body
    envelope = party.sign(body.model_copy(update=changes))
    return [*offers[:place], envelope, *offers[place + 1 :]]


@case("keys for a run that was not opened", RefusalCode.UNKNOWN_RUN)
def _agree_unopened(run: Run, name: str) -> Send:
    return agrees(run, name, half_open(run), "elsewhere")


@case("keys for a study that was not approved", RefusalCode.UNKNOWN_STUDY)
def _agree_study(run: Run, name: str) -> Send:
    offers = half_open(run)
    return lambda: run.bench.custodian(name).agree(NOBODY, new(run), offers)


@case("an offer too few", RefusalCode.BAD_KEYS)
def _offer_missing(run: Run, name: str) -> Send:
    return agrees(run, name, half_open(run)[:-1])


@case("offers in the wrong places", RefusalCode.BAD_SIGNATURE)
def _offers_swapped(run: Run, name: str) -> Send:
    return agrees(run, name, half_open(run)[::-1])


@case("offers of another opening", RefusalCode.BAD_KEYS)
def _offers_of_another(run: Run, name: str) -> Send:
    others = half_open(run, f"{new(run)}er")
    half_open(run)
    return agrees(run, name, others)


@case("its own offer changed", RefusalCode.BAD_KEYS)
def _own_offer(run: Run, name: str) -> Send:
    return agrees(run, name, reoffered(run, half_open(run), name, ciphertexts={"bank-x": ""}))


@case("a request before the keys were agreed", RefusalCode.KEYS_GONE)
def _request_before_keys(run: Run, name: str) -> Send:
    half_open(run)
    body = opening(run)
    return sends(
        run,
        name,
        run.request(run=new(run), opening=body.hash, participants=body.participants),
    )


def low_order(run: Run, name: str, point: int) -> Send:
    """A member whose X25519 key makes every shared secret zero (RFC 7748, section 6.1)."""
    mallory = other(run, name)
    key = encode_key(point.to_bytes(32, "little"))
    changed = answer_of(run, mallory).model_copy(update={"x25519": key})
    higher = {n: encapsulate(answer_of(run, n))[1] for n in run.bench.names if n > mallory}
    (body, envelopes), beside = with_answer(run, changed), approvals(run)
    content, signer = signed_opening(run.bench, body), run.bench.federation.identities.signers
    fake = KeyOffer(opening=body.hash, institution=mallory, ciphertexts=higher, time=0)
    offers = []
    for n in run.bench.names:
        honest = run.bench.custodian(n).open_run(content, envelopes, beside)
        offers.append(honest if isinstance(honest, bytes) else sign_envelope(fake, n, signer[n]))
    return agrees(run, name, offers)


@case("an X25519 key of order one", RefusalCode.BAD_KEYS)
def _order_one(run: Run, name: str) -> Send:
    return low_order(run, name, 0)


# -- hello ---------------------------------------------------------------------------------------


@case("hello for a study that was not approved", RefusalCode.UNKNOWN_STUDY)
def _hello_study(run: Run, name: str) -> Send:
    return lambda: run.bench.custodian(name).describe(NOBODY)


@case("hello for a name that holds no study", RefusalCode.UNKNOWN_STUDY)
def _hello_state(run: Run, name: str) -> Send:
    return lambda: run.bench.custodian(name).describe(":ledger")


@case("hello with a reply that is none", RefusalCode.MALFORMED)
def _hello_garbage(run: Run, name: str) -> Send:
    return lambda: run.bench.custodian(name).describe(run.bench.study.id, b"reply")


@case("hello with another's reply", RefusalCode.BAD_SIGNATURE)
def _hello_foreign(run: Run, name: str) -> Send:
    reply = run.answer(other(run, name), run.request()).reply
    return lambda: run.bench.custodian(name).describe(run.bench.study.id, reply)
