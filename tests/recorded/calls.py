"""A kept run at one custodian: every frame in and out, and the fields that it frames.

A real coordinator's side conducts a run of three custodians; one of them is asked over frames of
bytes, as its node asks it. Then every frame comes once more, and one that cannot be read for each
call, so that refusals are kept too. Of each call a line of JSON: its name, both frames, both sets
of fields. Who frames the same fields otherwise can ask the same, and compare what comes out.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from google.protobuf.message import Message
from tests.recorded.stillness import NOW, SeededNoise, stillness
from tests.support.federations.bench import make_study, make_sums

from fieldfare.client.custodian.answering import CALLS, answer
from fieldfare.client.custodian.custodian import Custodian
from fieldfare.client.node.remote_custodian import RemoteCustodian
from fieldfare.client.wire import custodian_pb2
from fieldfare.server.run.closing import compose
from fieldfare.shared.finished_model.card_writing import CardFacts
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.messages import sign_envelope
from fieldfare.shared.protocol.roster import COORDINATOR
from fieldfare.shared.run.card_facts import card_facts
from fieldfare.shared.transcript.heads import ShownLog
from fieldfare.shared.transcript.leaves import tree_head
from fieldfare.simulations.federation.federation import LocalFederation

NAMES: Final = ("bank-a", "bank-b", "bank-c")
ASKED: Final = "bank-a"
RUN: Final = "run-1"
UNITS: Final = 100
UNREADABLE: Final = b"\xff"
OPENED: Final = {"deadline_seconds": 5, "opening": "on", "participants": "any"}


@dataclass
class Framed:
    """A channel to a custodian in this process, which keeps what goes in and out."""

    custodian: Custodian
    lines: list[dict[str, Any]] = field(default_factory=list)

    def unary_unary(self, path: str) -> Any:
        """As a channel of gRPC: a function from a frame to a frame."""
        call = path.rpartition("/")[2]
        return lambda frame, timeout: self.ask(call, frame)  # noqa: ARG005 -- nothing waits here

    def ask(self, call: str, frame: bytes) -> bytes:
        found = answer(self.custodian, call, frame)
        asked = getattr(custodian_pb2, f"{call}Request")
        self.lines.append({
            "call": call,
            "frame": frame.hex(),
            "fields": None if frame == UNREADABLE else _fields(asked.FromString(frame)),
            "answer": found.hex(),
            "answered": _fields(CALLS[call].answer.FromString(found)),  # type: ignore[attr-defined]
        })  # fmt: skip
        return found


def _fields(message: Message) -> dict[str, Any]:
    """Every field that is set: texts as they are, bytes in hex, lists of them, messages."""
    return {one.name: _plain(value) for one, value in message.ListFields()}


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Message):
        return _fields(value)
    return value if isinstance(value, str) else [_plain(one) for one in value]


def kept_run(folder: Path, *, steps: int = 3) -> list[dict[str, Any]]:
    """Conduct the run in a folder; return its calls in order."""
    study = make_study(aggregation=OPENED, training={"steps": steps})
    sums = {name: make_sums(study, UNITS, seed=index) for index, name in enumerate(NAMES)}
    with stillness("a kept run") as entropy:
        sources = {name: SeededNoise(entropy) for name in NAMES}
        exact = Protection.EXACT
        made = LocalFederation(study, sums, exact, seed=0, directory=folder, sources=sources)
        with made as federation:
            channel: Any = Framed(federation.custodians[ASKED])
            remote: Any = RemoteCustodian(lambda: channel)
            federation.custodians[ASKED] = remote
            _conduct(federation, remote)
            for line in [*channel.lines]:
                channel.ask(line["call"], bytes.fromhex(line["frame"]))
            for call in CALLS:
                channel.ask(call, UNREADABLE)
    return list(channel.lines)


def _conduct(federation: LocalFederation, remote: RemoteCustodian) -> None:
    """Carry the run out, have its head signed, and deliver its model."""
    job, signer = federation.job(RUN), federation.identities.coordinator
    federation.run(job)
    leaves, study = job.record.leaves, federation.study.id
    head = tree_head(study, RUN, [leaf.hash for leaf in leaves])
    log = b"\n".join(leaf.to_bytes() for leaf in leaves)
    remote.cosign(study, RUN, ShownLog(sign_envelope(head, COORDINATOR, signer), log))
    facts: CardFacts = card_facts(job.record.run, size=head.size, root=head.root)
    model = job.record.run.results.plain_model
    delivered = compose(federation.plan, model, facts, signer, NOW)  # type: ignore[arg-type]
    remote.deliver(delivered.envelope, delivered.model, delivered.card)


def record_calls(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the recording of a kept run: a file for each call, in order."""
    for number, line in enumerate(kept_run(folder), start=1):
        text = json.dumps(line, indent=1, sort_keys=True)
        yield f"calls/{number:03}-{line['call']}.json", text.encode() + b"\n"
