"""Hostile cases as rows of a table: what is sent to a custodian, and the code it must answer.

`test_hostile_requests` sends each to custodians and watches their ledgers;
`test_refusals_say_nothing` sends each to custodians with different records.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.support.federations.bench import STEPS, OpenedVector, Run

from fieldfare.client.custodian.ports import CommitmentReply, HelloAnswer
from fieldfare.shared.errors import RefusalCode
from fieldfare.shared.protocol.messages import (
    NO_LAST_SUM,
    IdentitySigner,
    LastSum,
    Participant,
    Refusal,
    ReleaseKind,
    Request,
    Signer,
    encode_key,
    parameters_to_bytes,
    sign_envelope,
)
from fieldfare.shared.protocol.plan import ReleaseTerms
from fieldfare.shared.protocol.roster import COORDINATOR

Answer = bytes | HelloAnswer | OpenedVector | CommitmentReply | Refusal
Send = Callable[[], Answer]
Build = Callable[[Run, str], Send]

NOBODY: Final = "0" * 64
TRAINING, EVALUATION, REHEARSAL = (
    ReleaseKind.TRAINING,
    ReleaseKind.EVALUATION,
    ReleaseKind.REHEARSAL,
)


@dataclass(frozen=True)
class Hostile:
    """What must be refused: `build` prepares and returns what then is sent."""

    code: RefusalCode
    build: Build
    study: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


CASES: dict[str, Hostile] = {}


def case(name: str, code: RefusalCode, **study: Mapping[str, Any]) -> Callable[[Build], Build]:
    """Enter a row."""

    def enter(build: Build) -> Build:
        CASES[name] = Hostile(code, build, study)
        return build

    return enter


# -- what can be sent ---------------------------------------------------------------------


def forge(kind: str, body: Mapping[str, Any], signer_id: str, signer: Signer) -> bytes:
    """An envelope with a valid signature over any content, well-formed or not."""
    signed = kind.encode() + b"\x00" + rfc8785.dumps(dict(body))
    signature = encode_key(signer.sign(signed))
    envelope: Any = {"type": kind, "body": dict(body), "signer": signer_id, "signature": signature}
    return rfc8785.dumps(envelope)


def forged_request(run: Run, changes: Mapping[str, object]) -> bytes:
    """A request that the coordinator did sign, with fields that no model would admit."""
    body = {**run.request().model_dump(mode="json"), **changes}
    signer = run.bench.federation.identities.coordinator
    return forge(
        Request.TYPE, {k: v for k, v in body.items() if v is not None}, COORDINATOR, signer
    )


def sends(run: Run, name: str, request: Request, parameters: bytes | None = None) -> Send:
    return lambda: run.ask(name, request, parameters)


def sends_raw(run: Run, name: str, content: bytes) -> Send:
    return lambda: run.bench.custodian(name).release(content, run.bench.parameters())


def other(run: Run, name: str) -> str:
    return next(n for n in run.bench.names if n != name)


# -- requests with one wrong field -----------------------------------------------------------


CHANGED: Final[dict[str, tuple[RefusalCode, dict[str, object]]]] = {
    "wrong study": (RefusalCode.UNKNOWN_STUDY, {"study": NOBODY}),
    "wrong roster": (RefusalCode.WRONG_ROSTER, {"roster": NOBODY}),
    "a run that was not opened": (RefusalCode.UNKNOWN_RUN, {"run": "elsewhere"}),
    "a run named like a state": (RefusalCode.UNKNOWN_RUN, {"run": "approval"}),
    "the protocol before this one": (RefusalCode.UNKNOWN_VERSION, {"protocol": 1}),
    "another protocol version": (RefusalCode.UNKNOWN_VERSION, {"protocol": 3}),
    "t of 0": (RefusalCode.WRONG_TERMS, {"t": 0}),
    "t larger than the study's": (RefusalCode.WRONG_TERMS, {"t": 2}),
    "t as large as n": (RefusalCode.WRONG_TERMS, {"t": 4}),
    "another M": (RefusalCode.WRONG_TERMS, {"multiplicity": 2}),
    "M of 0": (RefusalCode.WRONG_TERMS, {"multiplicity": 0}),
    "no C": (RefusalCode.WRONG_TERMS, {"clipping_norm": 0.0}),
    "no sigma": (RefusalCode.WRONG_TERMS, {"sigma": 0.0}),
    "a coarser gamma": (RefusalCode.WRONG_TERMS, {"gamma_bits": 20}),
    "a finer gamma": (RefusalCode.WRONG_TERMS, {"gamma_bits": 29}),
    "another ring": (RefusalCode.WRONG_TERMS, {"word_bits": 32, "dtype": "<u4"}),
    "another dtype": (RefusalCode.WRONG_TERMS, {"dtype": "<u4"}),
    "no entries": (RefusalCode.WRONG_TERMS, {"entries": 0}),
    "n above the participants": (RefusalCode.MALFORMED, {"n": 5}),
    "n below the participants": (RefusalCode.MALFORMED, {"n": 3}),
    "training as evaluation": (RefusalCode.NOT_IN_PLAN, {"kind": EVALUATION}),
    "training as rehearsal": (RefusalCode.WRONG_TERMS, {"kind": REHEARSAL}),
    "another hash of parameters": (RefusalCode.BAD_PARAMETERS, {"parameters": NOBODY}),
}


def _changed(code: RefusalCode, changes: dict[str, object]) -> Hostile:
    def build(run: Run, name: str) -> Send:
        return sends(run, name, run.request().model_copy(update=changes))

    return Hostile(code, build)


CASES |= {name: _changed(code, changes) for name, (code, changes) in CHANGED.items()}

NEAR_THE_PLAN: Final[dict[str, Callable[[ReleaseTerms], dict[str, object]]]] = {
    "a larger C": lambda terms: {"clipping_norm": 2 * terms.vectors.clipping_norm},
    "a smaller C": lambda terms: {"clipping_norm": terms.vectors.clipping_norm / 2},
    "half of sigma": lambda terms: {"sigma": terms.sigma / 2},
    "twice sigma": lambda terms: {"sigma": terms.sigma * 2},
    "sigma one bit smaller": lambda terms: {"sigma": float(np.nextafter(terms.sigma, 0))},
    "more entries": lambda terms: {"entries": terms.vectors.entries + 1},
}


def _near_the_plan(change: Callable[[ReleaseTerms], dict[str, object]]) -> Hostile:
    def build(run: Run, name: str) -> Send:
        return sends(run, name, run.request().model_copy(update=change(run.bench.plan.training)))

    return Hostile(RefusalCode.WRONG_TERMS, build)


CASES |= {name: _near_the_plan(change) for name, change in NEAR_THE_PLAN.items()}

OUT_OF_PLAN: Final[dict[str, tuple[ReleaseKind, int]]] = {
    "a training step after the last": (TRAINING, STEPS),
    "a far training step": (TRAINING, 2**53 - 1),
    "an evaluation at step 0": (EVALUATION, 0),
    "an evaluation at the last training step": (EVALUATION, STEPS - 1),
    "an evaluation after the evaluation": (EVALUATION, STEPS + 1),
    "a rehearsal at step 1": (REHEARSAL, 1),
}


def _out_of_plan(kind: ReleaseKind, step: int) -> Hostile:
    return Hostile(
        RefusalCode.NOT_IN_PLAN,
        lambda run, name: sends(run, name, run.request(kind, step)),
    )


CASES |= {name: _out_of_plan(kind, step) for name, (kind, step) in OUT_OF_PLAN.items()}

RAW_FIELDS: Final[dict[str, Mapping[str, object]]] = {
    "an unknown kind": {"kind": "census"},
    "a further field": {"note": "x"},
    "a missing field": {"sigma": None},
    "another format": {"format": 2},
    "a big-endian dtype": {"dtype": ">u8"},
    "a ring of 16 bits": {"word_bits": 16},
    "a negative step": {"step": -1},
    "a step as text": {"step": "0"},
    "a step as truth": {"step": True},
    "a study as number": {"study": 0},
    "an upper-case hash": {"study": "A" * 64},
    "participants as text": {"participants": "bank-a"},
    "a run with a colon": {"run": ":approval"},
}


def _raw(changes: Mapping[str, object]) -> Hostile:
    return Hostile(
        RefusalCode.MALFORMED,
        lambda run, name: sends_raw(run, name, forged_request(run, changes)),
    )


CASES |= {name: _raw(changes) for name, changes in RAW_FIELDS.items()}

NO_MESSAGES: Final[dict[str, bytes]] = {
    "nothing": b"",
    "no JSON": b"\xff\xfe",
    "a JSON list": b"[]",
    "deep JSON": b"[" * 100_000,
    "a huge number": b'{"type":' + b"9" * 10_000 + b"}",
    "a lone surrogate": b'{"type":"\\ud800","body":{},"signer":"\\ud800","signature":""}',
    "seventeen megabytes": b" " * (17 * 1024 * 1024),
}


def _no_message(content: bytes) -> Hostile:
    return Hostile(RefusalCode.MALFORMED, lambda run, name: sends_raw(run, name, content))


CASES |= {name: _no_message(content) for name, content in NO_MESSAGES.items()}

BAD_VALUES: Final[dict[str, float]] = {
    "a parameter that is not a number": float("nan"),
    "an infinite parameter": float("inf"),
    "a parameter of minus infinity": float("-inf"),
    "a huge parameter": 1e300,
    "a parameter just too large": 1e4 + 1e-9,
}


def _bad_value(value: float) -> Hostile:
    def build(run: Run, name: str) -> Send:
        entries = run.bench.plan.training.parameter_entries
        parameters = np.zeros(entries)
        parameters[-1] = value
        content = parameters_to_bytes(parameters)
        return sends(run, name, run.request(parameters=content), content)

    return Hostile(RefusalCode.BAD_PARAMETERS, build)


CASES |= {name: _bad_value(value) for name, value in BAD_VALUES.items()}


@case("too few parameters", RefusalCode.BAD_PARAMETERS)
def _few_parameters(run: Run, name: str) -> Send:
    content = run.bench.parameters()[:-8]
    return sends(run, name, run.request(parameters=content), content)


@case("other parameters than R binds", RefusalCode.BAD_PARAMETERS)
def _other_parameters(run: Run, name: str) -> Send:
    return sends(run, name, run.request(), run.bench.parameters(bias=-2.0))


# -- participants ----------------------------------------------------------------------------


def _participants(run: Run, participants: Sequence[Participant]) -> Request:
    return run.request(participants=tuple(participants), n=len(participants))


@case("an unknown participant", RefusalCode.BAD_PARTICIPANTS)
def _unknown(run: Run, name: str) -> Send:
    stranger = Participant(institution="bank-x", answer=NOBODY)
    return sends(run, name, _participants(run, [*run.request().participants, stranger]))


@case("a participant twice", RefusalCode.MALFORMED)
def _twice(run: Run, name: str) -> Send:
    everybody = run.request().participants
    return sends(run, name, _participants(run, [everybody[0], *everybody]))


@case("a participant under two answers", RefusalCode.MALFORMED)
def _two_approvals(run: Run, name: str) -> Send:
    first, *others = run.request().participants
    changed = first.model_copy(update={"answer": NOBODY})
    return sends(run, name, _participants(run, [first, changed, *others]))


@case("participants out of order", RefusalCode.MALFORMED)
def _unsorted(run: Run, name: str) -> Send:
    return sends(run, name, _participants(run, run.request().participants[::-1]))


@case("a participant under another answer", RefusalCode.BAD_PARTICIPANTS)
def _other_approval(run: Run, name: str) -> Send:
    changed = [
        p if p.institution == name else p.model_copy(update={"answer": NOBODY})
        for p in run.request().participants
    ]
    return sends(run, name, _participants(run, changed))


@case("itself under another answer", RefusalCode.BAD_PARTICIPANTS)
def _own_approval(run: Run, name: str) -> Send:
    changed = [
        p.model_copy(update={"answer": NOBODY}) if p.institution == name else p
        for p in run.request().participants
    ]
    return sends(run, name, _participants(run, changed))


@case("a sum without itself", RefusalCode.BAD_PARTICIPANTS)
def _without_itself(run: Run, name: str) -> Send:
    return sends(run, name, run.request(names=[n for n in run.bench.names if n != name]))


@case("two participants", RefusalCode.TOO_FEW_PARTICIPANTS)
def _two(run: Run, name: str) -> Send:
    return sends(run, name, run.request(names=[name, other(run, name)]))


@case("itself alone", RefusalCode.TOO_FEW_PARTICIPANTS)
def _alone(run: Run, name: str) -> Send:
    return sends(run, name, run.request(names=[name]))


@case("nobody", RefusalCode.BAD_PARTICIPANTS)
def _nobody(run: Run, name: str) -> Send:
    return sends(run, name, _participants(run, []))


@case(
    "fewer than t + 2",
    RefusalCode.TOO_FEW_PARTICIPANTS,
    privacy={"collusion_tolerance": 2},
    aggregation={"minimum_institutions": 4},
)
def _fewer_than_honest(run: Run, name: str) -> Send:
    return sends(
        run, name, run.request(names=[n for n in run.bench.names if n != other(run, name)])
    )


# -- signatures --------------------------------------------------------------------------------


@case("a forged signature of the coordinator", RefusalCode.BAD_SIGNATURE)
def _forged(run: Run, name: str) -> Send:
    stranger = IdentitySigner(Ed25519PrivateKey.generate())
    return sends_raw(run, name, run.bench.sign(run.request(), stranger))


@case("a signature without a key", RefusalCode.BAD_SIGNATURE)
def _unsigned(run: Run, name: str) -> Send:
    envelope = json.loads(run.bench.sign(run.request())) | {"signature": ""}
    return sends_raw(run, name, rfc8785.dumps(envelope))


@case("a changed body under the old signature", RefusalCode.BAD_SIGNATURE)
def _changed_body(run: Run, name: str) -> Send:
    envelope = json.loads(run.bench.sign(run.request()))
    envelope["body"]["step"] = 1
    return sends_raw(run, name, rfc8785.dumps(envelope))


@case("a request signed by a member", RefusalCode.BAD_SIGNATURE)
def _member(run: Run, name: str) -> Send:
    member = other(run, name)
    signer = run.bench.federation.identities.signers[member]
    return sends_raw(run, name, sign_envelope(run.request(), member, signer))


@case("a request signed by itself", RefusalCode.BAD_SIGNATURE)
def _itself(run: Run, name: str) -> Send:
    signer = run.bench.federation.identities.signers[name]
    return sends_raw(run, name, sign_envelope(run.request(), name, signer))


@case("a member in the coordinator's name", RefusalCode.BAD_SIGNATURE)
def _impersonation(run: Run, name: str) -> Send:
    signer = run.bench.federation.identities.signers[other(run, name)]
    return sends_raw(run, name, run.bench.sign(run.request(), signer))


@case("a signer who is on no roster", RefusalCode.BAD_SIGNATURE)
def _no_signer(run: Run, name: str) -> Send:
    signer = run.bench.federation.identities.coordinator
    return sends_raw(run, name, sign_envelope(run.request(), "bank-x", signer))


@case("a second spelling of a request", RefusalCode.MALFORMED)
def _spelling(run: Run, name: str) -> Send:
    envelope = json.loads(run.bench.sign(run.request()))
    return sends_raw(run, name, json.dumps(envelope, indent=1).encode())


# -- parameters that do not follow ---------------------------------------------------------------


def _crafted(kind: ReleaseKind, step: int) -> Hostile:
    """Parameters of the coordinator's choice, with a hash and a signature that fit them."""

    def build(run: Run, name: str) -> Send:
        content = run.bench.parameters(bias=-2.0)
        return sends(run, name, run.request(kind, step, parameters=content), content)

    def after_the_steps_before(run: Run, name: str) -> Send:
        run.state(step)
        return build(run, name)

    return Hostile(RefusalCode.NOT_RECOMPUTED, after_the_steps_before)


CASES |= {
    "crafted parameters in the rehearsal": _crafted(REHEARSAL, 0),
    "crafted parameters in the first step": _crafted(TRAINING, 0),
    "crafted parameters in a later step": _crafted(TRAINING, 1),
    "crafted parameters in the last step": _crafted(TRAINING, STEPS - 1),
    "crafted parameters in the evaluation": _crafted(EVALUATION, STEPS),
}


def _last(change: Callable[[Run, LastSum], LastSum]) -> Hostile:
    """The true parameters, without the evidence that they are."""

    def build(run: Run, name: str) -> Send:
        request = run.request(step=1)
        last = change(run, run.last(1))
        return lambda: run.ask(name, request, last=last)

    return Hostile(RefusalCode.NOT_RECOMPUTED, build)


CASES |= {
    "a step without the last sum": _last(lambda _, __: NO_LAST_SUM),
    "a last sum without a reply": _last(
        lambda _, last: replace(last, replies=last.replies[:-1], vectors=last.vectors[:-1])
    ),
    "a last sum with a changed vector": _last(
        lambda _, last: replace(last, vectors=(bytes(len(last.vectors[0])), *last.vectors[1:]))
    ),
    "a last sum in another order": _last(
        lambda _, last: replace(last, replies=last.replies[::-1], vectors=last.vectors[::-1])
    ),
    "the last sum of another run": _last(lambda run, _: run.bench.open_run().last(1)),
    "a last sum of rubbish": _last(lambda _, __: LastSum(b"R", (b"",), (b"",))),
    "a last sum of a thousand replies": _last(
        lambda _, last: replace(last, replies=last.replies * 250, vectors=last.vectors * 250)
    ),
}


@case("a step before the one that it follows from", RefusalCode.NOT_RECOMPUTED)
def _two_steps_ahead(run: Run, name: str) -> Send:
    ahead, behind = run.bench.open_run(), run
    request = behind.moved(ahead.request(step=2))
    content, last = ahead.contents[request.parameters], ahead.last(2)
    return lambda: behind.ask(name, request, content, last)


@case("another second attempt of the same step", RefusalCode.NOT_RECOMPUTED)
def _other_attempt(run: Run, name: str) -> Send:
    run.answer(name, run.request(step=1))
    content = run.bench.parameters(bias=-2.0)
    return sends(run, name, run.request(step=1, attempt=1, parameters=content), content)


# -- order and budget --------------------------------------------------------------------------


@case("another R for an answered attempt", RefusalCode.REPLAY_CHANGED)
def _replay(run: Run, name: str) -> Send:
    run.answer(name, run.request())
    content = run.bench.parameters(bias=-2.0)
    return sends(run, name, run.request(parameters=content), content)


@case("the same attempt with fewer participants", RefusalCode.REPLAY_CHANGED)
def _replay_fewer(run: Run, name: str) -> Send:
    run.answer(name, run.request())
    fewer = [n for n in run.bench.names if n != other(run, name)]
    return sends(run, name, run.request(names=fewer))


@case("an older attempt after a newer", RefusalCode.ATTEMPT_CLOSED)
def _older_attempt(run: Run, name: str) -> Send:
    run.answer(name, run.request(attempt=1))
    return sends(run, name, run.request(attempt=0))


@case("an older step after a newer", RefusalCode.STEP_CLOSED)
def _older_step(run: Run, name: str) -> Send:
    run.answer(name, run.request(step=1))
    return sends(run, name, run.request(step=0, attempt=1))


@case("a training step after the evaluation", RefusalCode.STEP_CLOSED)
def _after_evaluation(run: Run, name: str) -> Send:
    run.answer(name, run.request(EVALUATION, STEPS))
    return sends(run, name, run.request(step=STEPS - 1, attempt=1))


@case("a step that was left out, asked for later", RefusalCode.STEP_CLOSED)
def _left_out_later(run: Run, name: str) -> Send:
    run.answer(name, run.request(step=1))
    fewer = [n for n in run.bench.names if n != other(run, name)]
    return sends(run, name, run.request(step=0, attempt=2, names=fewer))


@case("a rehearsal after step 0", RefusalCode.STEP_CLOSED)
def _late_rehearsal(run: Run, name: str) -> Send:
    run.answer(name, run.request())
    return sends(run, name, run.request(REHEARSAL))


@case("a rehearsal after step 1", RefusalCode.STEP_CLOSED)
def _later_rehearsal(run: Run, name: str) -> Send:
    run.answer(name, run.request(step=1))
    return sends(run, name, run.request(REHEARSAL))


@case("an attempt above the cap", RefusalCode.TOO_MANY_ATTEMPTS)
def _too_many_attempts(run: Run, name: str) -> Send:
    return sends(run, name, run.request(attempt=run.bench.study.aggregation.most_tries))


@case(
    "an exhausted budget",
    RefusalCode.BUDGET_EXHAUSTED,
    privacy={"spare_releases": 0},
    evaluation={"spare_releases": 0},
)
def _exhausted(run: Run, name: str) -> Send:
    for step in range(STEPS):
        run.answer(name, run.request(step=step))
    run.answer(name, run.request(EVALUATION, STEPS))
    return sends(run.bench.open_run(), name, run.bench.open_run().request())
