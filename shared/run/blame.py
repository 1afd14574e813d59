"""Who lied in a rehearsal whose masks did not cancel: a pure function of what was signed.

A rehearsal has no records and no noise, so every participant's vector follows from keys alone. Once
the private keys of its opening are published (docs/protocol.md, "A rehearsal that fails"), anybody
makes the masks of every participant again and compares.

What is compared was signed by whom it is held against: the vector by its hash in the commitment,
the seed in the reply, the public keys in the answer to `hello`. A ciphertext is its sender's word,
who may have signed two: so each says with its keys which offers it was shown, and nothing is held
against a member that says others than are kept. So nobody is proved a liar by what a coordinator
changed on the way. Nor can what one member publishes name
another: masks are made with a member's own X25519 key, and with the ML-KEM key of a peer only where
it is the one in the peer's own answer.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.messages import (
    KeyOffer,
    MessageBody,
    RehearsalKeys,
    ReleaseKind,
    Request,
    RunAnswer,
    offers_hash,
    open_envelope,
)
from fieldfare.shared.protocol.plan import carries_last_sum
from fieldfare.shared.protocol.secure_sum import (
    EphemeralKeys,
    RunKeys,
    decapsulate,
    pair_key,
    seed_stream,
)
from fieldfare.shared.ring import Word, WordBits, decode, subtract
from fieldfare.shared.run.state import RunState
from fieldfare.shared.transcript.leaves import Leaf, LeafKind


class Lie(Enum):
    """What one participant is named for; its value is read after the participant's name."""

    MASKS = "'s masked zeros do not follow from its keys"  # a proof, in the transcript
    KEYS = " published keys that are not those of its answer"  # a proof, in the transcript
    OFFERS = " says that it was shown other key offers: it lies, or the coordinator does"
    SILENT = " published no keys"  # the coordinator's word: it may have kept them back


@dataclass(frozen=True, eq=False)
class FailedRehearsal:
    """Everything that tells who lied; by institution, signatures verified, hashes compared.

    Attributes:
        request: R of the rehearsal.
        answers: of the participants, to `hello`.
        offers: of the opening.
        vectors: y, as its commitment binds it.
        seeds: that opened them, hex.
        published: private keys of those who published any.
    """

    request: Request
    answers: Mapping[str, RunAnswer]
    offers: Mapping[str, KeyOffer]
    vectors: Mapping[str, bytes]
    seeds: Mapping[str, str]
    published: Mapping[str, RehearsalKeys]


@dataclass(frozen=True)
class Blame:
    """Who is named for a rehearsal that failed.

    Attributes:
        named: why, by institution, sorted.
        unchecked: whose masks cannot be made again, because a peer's keys are missing.
    """

    named: Mapping[str, Lie]
    unchecked: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, object]:
        """Return it for programs."""
        named = {name: lie.name.lower() for name, lie in self.named.items()}
        return {"named": named, "unchecked": list(self.unchecked)}

    @property
    def text(self) -> str:
        """Who lied, in one line; proofs first."""
        said = [f"{name}{lie.value}" for lie in Lie for name, of in self.named.items() if of is lie]
        if self.unchecked:
            said.append(f"not checked for want of these: {', '.join(self.unchecked)}")
        return "rehearsal failed: " + ("; ".join(said) or "nobody's keys say who lied")


def blame(found: FailedRehearsal) -> Blame:
    """Make everybody's masks again, and name who lied.

    Args:
        found: of a rehearsal whose sum is not zero.

    Formal Guarantees:
        Somebody is named: where all published the keys of their answers, masks made from them
        cancel, so some vector is not its member's masks. Nobody who masked zeros and published its
        own keys is named for masks or keys, up to the failure of ML-KEM to decapsulate what was
        honestly made (FIPS 203: below 2^-164); and for offers only where the coordinator showed it
        others. Of several who lied together at least one is.
    """
    kept = offers_hash(found.offers.values())
    own = {name: _own_keys(found, name) for name in found.answers}
    keys = {name: one for name, one in own.items() if one is not None}
    named: dict[str, Lie] = {}
    unchecked = []
    for name in sorted(found.answers):
        if name not in found.published:
            named[name] = Lie.SILENT
        elif name not in keys:
            named[name] = Lie.KEYS
        elif found.published[name].offers != kept:
            named[name] = Lie.OFFERS
        elif (masks := _masks(found, name, keys)) is None:
            unchecked.append(name)
        elif (_opened(found, name) != masks).any():
            named[name] = Lie.MASKS
    return Blame(named, tuple(unchecked))


def _own_keys(found: FailedRehearsal, name: str) -> EphemeralKeys | None:
    """Return the keys that a participant published, if they are those of its answer."""
    published, answer = found.published.get(name), found.answers[name]
    if published is None:
        return None
    try:
        keys = EphemeralKeys.from_private(published.x25519, published.mlkem768)
    except ProtocolError:
        return None
    return keys if keys.public == (answer.x25519, answer.mlkem768) else None


def _masks(found: FailedRehearsal, name: str, keys: Mapping[str, EphemeralKeys]) -> Word | None:
    """Return what a participant adds to its zeros; None where a peer's keys are needed for that."""
    request, pairs = found.request, {}
    for peer in set(found.answers) - {name}:
        low, high = sorted((name, peer))
        if high not in keys:
            return None
        ciphertext = found.offers[low].ciphertexts[high]
        try:
            pairs[peer] = pair_key(
                keys[name],
                decapsulate(keys[high], ciphertext),
                found.answers[name],
                found.answers[peer],
                opening=request.opening,
                ciphertext=ciphertext,
            )
        except ProtocolError:  # a key of small order, to which nobody has a private one
            return None
    bits = WordBits(request.word_bits)
    return RunKeys(0, pairs).mask(name, frozenset(pairs), request.hash, request.entries, bits)


def _opened(found: FailedRehearsal, name: str) -> Word:
    """Return a participant's vector, less the stream of its seed."""
    bits, entries = WordBits(found.request.word_bits), found.request.entries
    vector = decode(found.vectors[name], bits, entries)
    return subtract(vector, seed_stream(bytes.fromhex(found.seeds[name]), entries, bits), bits)


def may_publish(state: RunState) -> bool:
    """Say whether a rehearsal failed of which custodians publish keys (docs/protocol.md).

    Nobody is silent who was not to speak: vectors that are too large to travel, and a rehearsal
    without some who opened the run, leave nothing to publish.
    """
    last, run = state.last, state.run
    if last is None or not state.results.remains:
        return False
    opened = [named.institution for named in run.opening.participants]
    by = state.openings.opened_by if state.openings else len(opened)
    return list(last.answers) == opened and carries_last_sum(run.plan, ReleaseKind.REHEARSAL, by)


def failed_rehearsal(
    state: RunState, leaves: Iterable[Leaf], vector: Callable[[str], bytes]
) -> FailedRehearsal | None:
    """Return what a run's log says of its failed rehearsal; None where no keys are of use.

    Args:
        state: of the run, folded from the leaves.
        leaves: of its log.
        vector: returns the vector of a SHA-256.

    Raises:
        ProtocolError: as `vector`, or a leaf that is not well-formed.
    """
    last = state.last
    if last is None or not may_publish(state):
        return None
    answers: dict[str, RunAnswer] = {}
    offers: dict[str, KeyOffer] = {}
    for leaf in leaves:
        if leaf.kind is LeafKind.HELLO:
            answer = _read(leaf, RunAnswer, state)
            if last.answers.get(answer.institution) == answer.hash:
                answers[answer.institution] = answer
        elif leaf.kind is LeafKind.OFFER:
            offer = _read(leaf, KeyOffer, state)
            if offer.opening == last.request.opening:
                offers[offer.institution] = offer
    replies = {name: reply.body for name, reply in last.replies.items()}
    return FailedRehearsal(
        last.request,
        answers,
        offers,
        {name: vector(reply.vector) for name, reply in replies.items()},
        {name: reply.seed for name, reply in replies.items()},
        state.published,
    )


M = TypeVar("M", bound=MessageBody)


def _read(leaf: Leaf, body: type[M], state: RunState) -> M:
    """Read a message of a log whose signatures were verified when it was folded."""
    return open_envelope(leaf.content, body, state.roster, Protection.SIMULATED).body
