"""Hostile offers, heads and models: rows of the same table as hostile requests."""

import json
from collections.abc import Callable, Sequence
from typing import Final

import rfc8785
from tests.support.attacks import keys  # noqa: F401 -- fills its part of the table
from tests.support.attacks.requests import (
    CASES,
    EVALUATION,
    NOBODY,
    Hostile,
    Send,
    case,
    other,
)
from tests.support.federations.bench import STEPS, Run

from fieldfare.shared.canonical import bytes_hash, canonical_bytes
from fieldfare.shared.errors import RefusalCode
from fieldfare.shared.protocol.delivery import Delivery
from fieldfare.shared.protocol.messages import MessageBody, sign_envelope
from fieldfare.shared.protocol.roster import COORDINATOR
from fieldfare.shared.protocol.signed_files import StudyOffer, offer_study
from fieldfare.shared.study.study import Study
from fieldfare.shared.transcript.heads import ShownLog
from fieldfare.shared.transcript.leaves import EndRecord, Leaf, tree_head

# -- offered studies -----------------------------------------------------------------------------


def hellos(run: Run, name: str, study: str, offer: bytes) -> Send:
    return lambda: run.bench.custodian(name).describe(study, b"", offer)


def _offered(code: RefusalCode, offer: Callable[[Run, str, Study], bytes]) -> Hostile:
    def build(run: Run, name: str) -> Send:
        study = run.bench.study.model_copy(update={"name": f"another-{run.tag}"})
        return hellos(run, name, study.id, offer(run, name, study))

    return Hostile(code, build)


CASES |= {
    "an offer of an unknown study": _offered(
        RefusalCode.UNKNOWN_STUDY,
        lambda run, _, study: offer_study(study, run.bench.federation.identities.coordinator),
    ),
    "an offer of another study than was asked for": _offered(
        RefusalCode.MALFORMED,
        lambda run, _, __: offer_study(
            run.bench.study, run.bench.federation.identities.coordinator
        ),
    ),
    "an offer by a member": _offered(
        RefusalCode.BAD_SIGNATURE,
        lambda run, name, study: sign_envelope(
            StudyOffer(study=canonical_bytes(study).decode()),
            other(run, name),
            run.bench.federation.identities.signers[other(run, name)],
        ),
    ),
    "an offer with a member's key": _offered(
        RefusalCode.BAD_SIGNATURE,
        lambda run, name, study: offer_study(
            study, run.bench.federation.identities.signers[other(run, name)]
        ),
    ),
    "an offer of rubbish": _offered(RefusalCode.MALFORMED, lambda _, __, ___: b"rubbish"),
    "a request for an offer": _offered(
        RefusalCode.MALFORMED, lambda run, _, __: run.bench.sign(run.request())
    ),
}


# -- heads of transcripts ------------------------------------------------------------------------


LEAVES: Final = [EndRecord(state="stopped", reason=str(place)).leaf() for place in range(9)]
HASHES: Final = [leaf.hash for leaf in LEAVES]


def head(run: Run, size: int, signer: str = COORDINATOR, /, **changes: object) -> bytes:
    body = tree_head(run.bench.study.id, run.federation.run, HASHES[:size])
    return forged_envelope(run, body.model_copy(update=changes), signer)


def forged_envelope(run: Run, body: MessageBody, signer: str = COORDINATOR) -> bytes:
    identities = run.bench.federation.identities
    key = identities.coordinator if signer == COORDINATOR else identities.signers[signer]
    return sign_envelope(body, signer, key)


def lines(leaves: Sequence[Leaf]) -> bytes:
    return b"\n".join(leaf.to_bytes() for leaf in leaves)


def cosigns(run: Run, name: str, content: bytes, log: bytes = b"", hashes: bytes = b"") -> Send:
    study, asked = run.bench.study.id, run.federation.run
    shown = ShownLog(content, log, hashes)
    return lambda: run.bench.custodian(name).cosign(study, asked, shown)


def _head(code: RefusalCode, make: Callable[[Run, str], tuple[bytes, bytes]]) -> Hostile:
    """After a head of five leaves was co-signed."""

    def build(run: Run, name: str) -> Send:
        assert isinstance(cosigns(run, name, head(run, 5), lines(LEAVES[:5]))(), bytes)
        return cosigns(run, name, *make(run, name))

    return Hostile(code, build)


def rewritten(run: Run) -> tuple[bytes, bytes]:
    """A log of nine leaves with another past."""
    changed = [LEAVES[8], *LEAVES[1:]]
    body = tree_head(run.bench.study.id, run.federation.run, [leaf.hash for leaf in changed])
    return forged_envelope(run, body), lines(changed)


ALL: Final = lines(LEAVES)
CASES |= {
    "a log that shrank": _head(
        RefusalCode.MALFORMED, lambda run, _: (head(run, 3), lines(LEAVES[:3]))
    ),
    "a log of which nothing is shown": _head(
        RefusalCode.MALFORMED, lambda run, _: (head(run, 9), b"")
    ),
    "a root over leaves that do not exist": _head(
        RefusalCode.MALFORMED, lambda run, _: (head(run, 9, root="13" * 32), ALL)
    ),
    "a log that is shown in part": _head(
        RefusalCode.MALFORMED, lambda run, _: (head(run, 9), lines(LEAVES[:8]))
    ),
    "a log that holds no leaves": _head(
        RefusalCode.MALFORMED, lambda run, _: (head(run, 9), b"{}\n" * 8 + b"{}")
    ),
    "a log with another past": _head(RefusalCode.MALFORMED, lambda run, _: rewritten(run)),
    "a log of one size with another root": _head(
        RefusalCode.MALFORMED, lambda run, _: (head(run, 5, root=NOBODY), lines(LEAVES[:5]))
    ),
    "a head of another run": _head(
        RefusalCode.MALFORMED, lambda run, _: (head(run, 9, run="elsewhere"), ALL)
    ),
    "a head of another study": _head(
        RefusalCode.MALFORMED, lambda run, _: (head(run, 9, study=NOBODY), ALL)
    ),
    "a head by a member": _head(
        RefusalCode.BAD_SIGNATURE, lambda run, name: (head(run, 9, other(run, name)), ALL)
    ),
    "a head by itself": _head(
        RefusalCode.BAD_SIGNATURE, lambda run, name: (head(run, 9, name), ALL)
    ),
    "a head without a signature": _head(
        RefusalCode.BAD_SIGNATURE,
        lambda run, _: (rfc8785.dumps(json.loads(head(run, 9)) | {"signature": ""}), ALL),
    ),
    "a request for a head": _head(
        RefusalCode.MALFORMED, lambda run, _: (run.bench.sign(run.request()), ALL)
    ),
}


@case("a head of a run that was not opened", RefusalCode.UNKNOWN_RUN)
def _head_unopened(run: Run, name: str) -> Send:
    content = head(run, 5, run="elsewhere")
    return lambda: run.bench.custodian(name).cosign(
        run.bench.study.id, "elsewhere", ShownLog(content, ALL)
    )


@case("a head of a study that was not approved", RefusalCode.UNKNOWN_STUDY)
def _head_unapproved(run: Run, name: str) -> Send:
    content = head(run, 5, study=NOBODY)
    return lambda: run.bench.custodian(name).cosign(
        NOBODY, run.federation.run, ShownLog(content, ALL)
    )


# -- finished models -----------------------------------------------------------------------------


def _delivered(
    code: RefusalCode,
    signer: Callable[[Run, str], str] = lambda _, __: COORDINATOR,
    model: bytes = b"model",
    **changes: object,
) -> Hostile:
    def build(run: Run, name: str) -> Send:
        body = Delivery(
            study=run.bench.study.id,
            run=run.federation.run,
            model=NOBODY,
            file=bytes_hash(b"model"),
            card=bytes_hash(b"card"),
        )
        content = forged_envelope(run, body.model_copy(update=changes), signer(run, name))
        return lambda: run.bench.custodian(name).deliver(content, model, b"card")

    return Hostile(code, build)


CASES |= {
    "a delivery of another model": _delivered(RefusalCode.MALFORMED, model=b"other"),
    "a delivery with another card": _delivered(RefusalCode.MALFORMED, card=NOBODY),
    "a delivery of an unknown study": _delivered(RefusalCode.UNKNOWN_STUDY, study=NOBODY),
    "a delivery by a member": _delivered(RefusalCode.BAD_SIGNATURE, other),
    "a delivery by itself": _delivered(RefusalCode.BAD_SIGNATURE, lambda _, name: name),
    "a model of a run that never ran": _delivered(RefusalCode.NOT_RECOMPUTED, run="elsewhere"),
}


@case("a model that does not follow from the run", RefusalCode.NOT_RECOMPUTED)
def _other_model(run: Run, name: str) -> Send:
    run.answer(name, run.request(EVALUATION, STEPS))
    return _delivered(RefusalCode.NOT_RECOMPUTED).build(run, name)


@case("a request for a delivery", RefusalCode.MALFORMED)
def _request_delivered(run: Run, name: str) -> Send:
    content = run.bench.sign(run.request())
    return lambda: run.bench.custodian(name).deliver(content, b"model", b"card")


HOSTILE: Final = CASES
"""All parts of the table: importing this module has filled it."""
