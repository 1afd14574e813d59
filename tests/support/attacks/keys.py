"""Hostile openings, key offers and hellos: rows of the same table as hostile requests."""

from collections.abc import Sequence

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

from fieldfare.shared.errors import RefusalCode
from fieldfare.shared.protocol.messages import (
    Approval,
    KeyOffer,
    Participant,
    RunOpening,
    encode_key,
    open_envelope,
    sign_envelope,
)
from fieldfare.shared.protocol.roster import COORDINATOR
from fieldfare.shared.protocol.secure_sum import StudyKeys, encapsulate

# -- openings ----------------------------------------------------------------------------------


def new(run: Run) -> str:
    return f"{run.federation.run}-new{run.tag}"


def opening(run: Run, run_id: str | None = None, **changes: object) -> RunOpening:
    """The opening of a run that nobody has seen yet."""
    body = RunOpening(
        study=run.bench.study.id,
        roster=run.federation.roster.hash,
        run=run_id or new(run),
        participants=tuple(run.federation.participants[n] for n in run.bench.names),
    )
    return body.model_copy(update=changes)


def signed_opening(bench: Bench, body: RunOpening) -> bytes:
    return sign_envelope(body, COORDINATOR, bench.federation.identities.coordinator)


def approvals(run: Run, names: Sequence[str] | None = None) -> list[bytes]:
    """Signed approvals, as `hello` got them."""
    answers = [
        run.bench.custodian(n).describe(run.bench.study.id) for n in names or run.bench.names
    ]
    return [answer for answer in answers if isinstance(answer, bytes)]


def opens(run: Run, name: str, body: RunOpening, envelopes: Sequence[bytes]) -> Send:
    content = signed_opening(run.bench, body)
    return lambda: run.bench.custodian(name).open_run(content, envelopes)


def with_approval(run: Run, approval: Approval) -> tuple[RunOpening, list[bytes]]:
    """An opening in which one institution stands with another approval, which it did sign."""
    signer = run.bench.federation.identities.signers[approval.institution]
    changed = Participant(institution=approval.institution, approval=approval.hash)
    participants = {**run.federation.participants, approval.institution: changed}
    envelopes = dict(zip(run.bench.names, approvals(run), strict=True))
    envelopes[approval.institution] = sign_envelope(approval, approval.institution, signer)
    body = opening(run, participants=tuple(participants[n] for n in run.bench.names))
    return body, [envelopes[n] for n in run.bench.names]


def approval_of(run: Run, name: str) -> Approval:
    (envelope,) = approvals(run, [name])
    site = run.bench.site(name)
    return open_envelope(envelope, Approval, site.roster, site.assurance).body


@case("a run opened again with other participants", RefusalCode.REPLAY_CHANGED)
def _reopened(run: Run, name: str) -> Send:
    names = [n for n in run.bench.names if n != other(run, name)]
    participants = tuple(run.federation.participants[n] for n in names)
    body = opening(run, run.federation.run, participants=participants)
    return opens(run, name, body, approvals(run, names))


@case("an opening signed by a member", RefusalCode.BAD_SIGNATURE)
def _opening_by_member(run: Run, name: str) -> Send:
    member = other(run, name)
    content = sign_envelope(opening(run), member, run.bench.federation.identities.signers[member])
    return lambda: run.bench.custodian(name).open_run(content, approvals(run))


@case("an opening of another study", RefusalCode.UNKNOWN_STUDY)
def _opening_study(run: Run, name: str) -> Send:
    return opens(run, name, opening(run, study=NOBODY), approvals(run))


@case("an opening under another roster", RefusalCode.WRONG_ROSTER)
def _opening_roster(run: Run, name: str) -> Send:
    return opens(run, name, opening(run, roster=NOBODY), approvals(run))


@case("an opening with participants out of order", RefusalCode.MALFORMED)
def _opening_unsorted(run: Run, name: str) -> Send:
    body = opening(run)
    return opens(
        run, name, opening(run, participants=body.participants[::-1]), approvals(run)[::-1]
    )


@case("an opening without itself", RefusalCode.BAD_PARTICIPANTS)
def _opening_without(run: Run, name: str) -> Send:
    names = [n for n in run.bench.names if n != name]
    participants = tuple(run.federation.participants[n] for n in names)
    return opens(run, name, opening(run, participants=participants), approvals(run, names))


@case("an approval too few", RefusalCode.BAD_KEYS)
def _approval_missing(run: Run, name: str) -> Send:
    return opens(run, name, opening(run), approvals(run)[:-1])


@case("approvals in the wrong places", RefusalCode.BAD_SIGNATURE)
def _approvals_swapped(run: Run, name: str) -> Send:
    return opens(run, name, opening(run), approvals(run)[::-1])


@case("an approval that the opening does not name", RefusalCode.BAD_PARTICIPANTS)
def _approval_unnamed(run: Run, name: str) -> Send:
    mallory = other(run, name)
    changed = approval_of(run, mallory).model_copy(update={"number": 2})
    _, envelopes = with_approval(run, changed)
    return opens(run, name, opening(run), envelopes)


@case("an approval of another study", RefusalCode.BAD_PARTICIPANTS)
def _approval_study(run: Run, name: str) -> Send:
    changed = approval_of(run, other(run, name)).model_copy(update={"study": NOBODY})
    return opens(run, name, *with_approval(run, changed))


@case("its own approval with other keys", RefusalCode.BAD_PARTICIPANTS)
def _own_keys(run: Run, name: str) -> Send:
    x25519, mlkem768 = StudyKeys.generate().public
    changed = approval_of(run, name).model_copy(update={"x25519": x25519, "mlkem768": mlkem768})
    return opens(run, name, *with_approval(run, changed))


def _copied(fields: Sequence[str], *, from_itself: bool) -> Hostile:
    """A member that copies another's keys: its masks could be made to cancel."""

    def build(run: Run, name: str) -> Send:
        mallory, victim = [n for n in run.bench.names if n != name][:2]
        keys = approval_of(run, name if from_itself else victim)
        copied = {kind: getattr(keys, kind) for kind in fields}
        changed = approval_of(run, mallory).model_copy(update=copied)
        return opens(run, name, *with_approval(run, changed))

    return Hostile(RefusalCode.BAD_KEYS, build)


CASES |= {
    "a member with another's keys": _copied(("x25519", "mlkem768"), from_itself=False),
    "a member with another's X25519 key": _copied(("x25519",), from_itself=False),
    "a member with another's ML-KEM key": _copied(("mlkem768",), from_itself=False),
    "a member with one's own keys": _copied(("x25519", "mlkem768"), from_itself=True),
}


@case("a key that is too short", RefusalCode.BAD_KEYS)
def _short_key(run: Run, name: str) -> Send:
    changed = approval_of(run, other(run, name)).model_copy(
        update={"x25519": encode_key(bytes(31))}
    )
    return opens(run, name, *with_approval(run, changed))


@case("an opening as a request", RefusalCode.MALFORMED)
def _opening_as_request(run: Run, name: str) -> Send:
    return sends_raw(run, name, signed_opening(run.bench, opening(run)))


# -- agreements --------------------------------------------------------------------------------


def half_open(run: Run, run_id: str | None = None) -> list[bytes]:
    """Open a run at everybody and return the offers, before anybody has them."""
    content, envelopes = signed_opening(run.bench, opening(run, run_id)), approvals(run)
    answers = [run.bench.custodian(n).open_run(content, envelopes) for n in run.bench.names]
    assert all(isinstance(answer, bytes) for answer in answers)
    return [answer for answer in answers if isinstance(answer, bytes)]


def agrees(run: Run, name: str, offers: Sequence[bytes], run_id: str | None = None) -> Send:
    asked = run_id or new(run)
    return lambda: run.bench.custodian(name).agree(run.bench.study.id, asked, offers)


def reoffered(run: Run, offers: Sequence[bytes], name: str, **changes: object) -> list[bytes]:
    """Offers in which one member says something else, and signs it."""
    site = run.bench.site(name)
    place = run.bench.names.index(name)
    body = open_envelope(offers[place], KeyOffer, site.roster, site.assurance).body
    envelope = site.sign(body.model_copy(update=changes))
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
    half_open(run)
    return agrees(run, name, half_open(run, f"{new(run)}er"))


@case("its own offer changed", RefusalCode.BAD_KEYS)
def _own_offer(run: Run, name: str) -> Send:
    return agrees(run, name, reoffered(run, half_open(run), name, ciphertexts={"bank-x": ""}))


@case("a request before the keys were agreed", RefusalCode.UNKNOWN_RUN)
def _request_before_keys(run: Run, name: str) -> Send:
    half_open(run)
    return sends(run, name, run.request(run=new(run)))


def low_order(run: Run, name: str, point: int) -> Send:
    """A member whose X25519 key makes every shared secret zero (RFC 7748, section 6.1)."""
    mallory = other(run, name)
    key = encode_key(point.to_bytes(32, "little"))
    changed = approval_of(run, mallory).model_copy(update={"x25519": key})
    body, envelopes = with_approval(run, changed)
    content, signer = signed_opening(run.bench, body), run.bench.federation.identities.signers
    higher = {n: encapsulate(approval_of(run, n))[1] for n in run.bench.names if n > mallory}
    fake = KeyOffer(opening=body.hash, institution=mallory, ciphertexts=higher)
    offers = []
    for n in run.bench.names:
        honest = run.bench.custodian(n).open_run(content, envelopes)
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
