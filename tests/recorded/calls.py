"""A kept run at one custodian: what every call asks with and gets, once its frames are taken off.

A real coordinator's side conducts a run of three custodians; one of them is asked over frames of
bytes, as its node asks it. Then every frame comes once more, and one that cannot be read for each
call, so that refusals are kept too. Of each call a line of JSON: its name, and both sets of fields.
Who frames the same fields otherwise can ask the same, and compare what comes out.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.recorded.stillness import NOW, SeededNoise, stillness
from tests.support.federations.bench import make_study, make_sums
from tests.support.network.calling import Caller

from fieldfare.client.custodian.answering import answer
from fieldfare.client.custodian.custodian import Custodian
from fieldfare.client.node.client_app import decode_answer
from fieldfare.client.wire.calls import CALLS
from fieldfare.client.wire.frames import decode
from fieldfare.server.run.closing import compose
from fieldfare.shared.finished_model.card_writing import CardFacts
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.flower_record import Call, Content
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
    """A port of a custodian in this process, which keeps what goes in and out."""

    custodian: Custodian
    asked: list[tuple[Call, bytes]] = field(default_factory=list)
    lines: list[dict[str, Any]] = field(default_factory=list)

    def ask(self, call: Call, frame: bytes) -> bytes:
        found = answer(self.custodian, call, frame)
        self.asked.append((call, frame))
        unreadable = frame == UNREADABLE
        self.lines.append({
            "call": call.value,
            "fields": None if unreadable else _plain(decode(frame, CALLS[call].question)),
            "answered": _plain(decode_answer(call, found)),
        })  # fmt: skip
        return found


def _plain(content: Content) -> dict[str, str | list[str]]:
    """Every field that is there, in hex."""
    return {
        name: [one.hex() for one in value] if isinstance(value, list) else value.hex()
        for name, value in content.items()
    }


def kept_run(folder: Path, *, steps: int = 3) -> list[dict[str, Any]]:
    """Conduct the run in a folder; return its calls in order."""
    study = make_study(aggregation=OPENED, training={"steps": steps})
    sums = {name: make_sums(study, UNITS, seed=index) for index, name in enumerate(NAMES)}
    with stillness("a kept run") as entropy:
        sources = {name: SeededNoise(entropy) for name in NAMES}
        exact = Protection.EXACT
        made = LocalFederation(study, sums, exact, seed=0, directory=folder, sources=sources)
        with made as federation:
            framed = Framed(federation.custodians[ASKED])
            remote: Any = Caller(framed.ask)
            federation.custodians[ASKED] = remote
            _conduct(federation, remote)
            for call, frame in [*framed.asked]:
                framed.ask(call, frame)
            for call in CALLS:
                framed.ask(call, UNREADABLE)
    return list(framed.lines)


def _conduct(federation: LocalFederation, remote: Caller) -> None:
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
